"""Where the one-machine Nexus lives and listens, from a few environment variables."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
NODE_FOLDER = Path(__file__).parent / "node"

# Read here.
OWN = {
    "NEXUS_ACCESS_TOKEN_TTL_S",
    "NEXUS_CACHE",
    "NEXUS_IDLE_TIMEOUT_S",
    "NEXUS_PEOPLE_FILE",
    "NEXUS_POLL_INTERVAL_S",
    "NEXUS_PORT",
    "NEXUS_STATE",
}

# The allocation service's settings that a caller may set; the parent sets the others.
FOR_SERVICE = {
    "NEXUS_DATABASE_URL",
    "NEXUS_DELIVERY_LEASE_S",
    "NEXUS_HOLD_START_TIMEOUT_S",
    "NEXUS_ISSUER_ADMINS",
    "NEXUS_MAIL_FROM",
    "NEXUS_MAIL_HOST",
    "NEXUS_MAIL_PASSWORD",
    "NEXUS_MAIL_PORT",
    "NEXUS_MAIL_SECURITY",
    "NEXUS_MAIL_USER",
    "NEXUS_METERING_INTERVAL_S",
    "NEXUS_POSTING_INTERVAL_S",
    "NEXUS_SAVE_GRACE_MINUTES",
    "NEXUS_TIERS_FILE",
    "NEXUS_WEBHOOK_KEY",
    "NEXUS_WEBHOOK_REACH",
    "NEXUS_WORKER_THREADS",
}


@dataclass(frozen=True)
class Settings:
    state: Path
    port: int
    people_file: Path
    cache: Path
    access_token_ttl_s: int
    idle_timeout_s: int
    poll_interval_s: int

    @property
    def ports(self) -> dict[str, int]:
        names = ("public address", "proxy control", "hub", "allocation service", "sign-in provider")
        return {name: self.port + offset for offset, name in enumerate(names)}

    def url(self, offset: int) -> str:
        return f"http://127.0.0.1:{self.port + offset}"

    @property
    def public_url(self) -> str:
        return self.url(0)

    @property
    def proxy_api_url(self) -> str:
        return self.url(1)

    @property
    def hub_url(self) -> str:
        return self.url(2)

    @property
    def service_url(self) -> str:
        return self.url(3)

    @property
    def service_api_url(self) -> str:
        return f"{self.service_url}/services/nexus/api/hub"

    @property
    def issuer(self) -> str:
        return self.url(4)

    @property
    def store(self) -> Path:
        return self.state / "store"

    @property
    def references(self) -> Path:
        return self.store / "mission" / "references"

    def folder(self, name: str) -> Path:
        return self.state / name


class BadSetting(Exception):  # noqa: N818 -- told to people as it is
    """A setting that cannot be used; the message says which and why."""


def read_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings; raise BadSetting for a value that cannot be used."""
    port = read_number(environment, "NEXUS_PORT", 8000)
    if not 1024 <= port <= 65530:
        raise BadSetting(f"NEXUS_PORT={port}: five neighbouring ports from 1024 to 65535 are needed.")
    cache = "/var/cache/nexus" if os.geteuid() == 0 else str(Path.home() / ".cache" / "nexus")
    return Settings(
        state=Path(environment.get("NEXUS_STATE") or ROOT / ".nexus").absolute(),
        port=port,
        people_file=Path(
            environment.get("NEXUS_PEOPLE_FILE") or Path(__file__).parent / "people.json"
        ).absolute(),
        cache=Path(environment.get("NEXUS_CACHE") or cache),
        access_token_ttl_s=read_number(environment, "NEXUS_ACCESS_TOKEN_TTL_S", 3600),
        idle_timeout_s=read_number(environment, "NEXUS_IDLE_TIMEOUT_S", 3600),
        poll_interval_s=read_number(environment, "NEXUS_POLL_INTERVAL_S", 5),
    )


def unknown_settings(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Return the NEXUS_ variables that nothing here reads: misspelt, most often."""
    return sorted(name for name in environment if name.startswith("NEXUS_") and name not in OWN | FOR_SERVICE)


def read_number(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name) or str(default)
    if not text.isdigit() or int(text) == 0:
        raise BadSetting(f"{name}={text}: a whole number above zero is needed.")
    return int(text)
