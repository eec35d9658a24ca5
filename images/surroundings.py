"""What of this machine a build needs and no image may keep: how it reaches Debian, PyPI and npm."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

DEBIAN = Path("/etc/apt/sources.list.d/debian.sources")
RELEASE = Path("/etc/os-release")
PIP_KEYS = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout")
CERTIFICATES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS")
ADDRESS = re.compile(r"https?://[^\s\"';]+")


@dataclass(frozen=True)
class Surroundings:
    secrets: dict[str, Path]
    """Files by the name under which a build asks for them."""

    names: list[str]
    """Hosts, users and passwords in them, which no image may hold."""


@contextmanager
def of_this_machine() -> Iterator[Surroundings]:
    """Yield what there is, each as a file that goes afterwards."""
    pip = told_to_pip()
    texts = {
        "debian": debian_sources(), "pip": pip_settings(pip), "npm": npm_settings(), "ca": authority(pip)
    }  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="nexus-images-") as name:
        secrets = {}
        for secret, text in texts.items():
            # An empty file says: as the base has it. Not every engine lets a secret be absent.
            path = Path(name) / secret
            path.write_text(text)
            path.chmod(0o600)
            secrets[secret] = path
        yield Surroundings(
            secrets, sorted(named_in("\n".join(texts[each] for each in ("debian", "pip", "npm"))))
        )


def debian_sources() -> str:
    """Return this machine's sources of Debian for any release of it; empty when this is another system."""
    if not DEBIAN.exists():
        return ""
    release = dict(line.split("=", 1) for line in RELEASE.read_text().splitlines() if "=" in line)
    lines = [line for line in DEBIAN.read_text().splitlines() if not line.startswith("#")]
    return "\n".join(lines).replace(release["VERSION_CODENAME"], "@CODENAME@") + "\n"


def told_to_pip() -> dict[str, str]:
    command = ["python3", "-m", "pip", "config", "list", "--disable-pip-version-check"]
    listed = subprocess.run(command, capture_output=True, text=True, check=False)
    found: dict[str, str] = {}
    for line in listed.stdout.splitlines():
        key, _, value = line.partition("=")
        found[key.rpartition(".")[2]] = value.strip("'\"")
    return found


def pip_settings(found: dict[str, str]) -> str:
    """Return a pip.conf with where pip looks; this machine's folders are no use inside."""
    return "\n".join(["[global]", *(f"{key} = {found[key]}" for key in PIP_KEYS if found.get(key))]) + "\n"


def npm_settings() -> str:
    if shutil.which("npm") is None:
        return ""
    told = subprocess.run(["npm", "config", "get", "registry"], capture_output=True, text=True, check=False)
    return f"registry={told.stdout.strip()}\n" if told.returncode == 0 else ""


def authority(found: dict[str, str]) -> str:
    """Return the certificates this machine trusts, where it is told to trust others than the base does."""
    named = [found.get("cert", ""), *(os.environ.get(variable, "") for variable in CERTIFICATES)]
    return next((Path(name).read_text() for name in named if Path(name).is_file()), "")


def named_in(text: str) -> set[str]:
    """Return hosts, users and passwords of the addresses in ``text``."""
    found: set[str] = set()
    for address in ADDRESS.findall(text):
        parts = urlsplit(address)
        found |= {each for each in (parts.hostname, parts.username, parts.password) if each}
    return found
