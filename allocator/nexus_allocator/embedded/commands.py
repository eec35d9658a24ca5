"""What the parent runs: the command and environment of each process of the one-machine Nexus."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nexus_allocator.embedded.settings import FOR_SERVICE, NODE_FOLDER, OWN, BadSetting, Settings
from nexus_allocator.embedded.state import Secrets
from nexus_allocator.hub import confinement

CLIENT_ID = "nexus-hub"
SHARED_IDENTITY = (
    "All servers on this machine run as one identity: nothing keeps people’s files and notebooks apart."
)


@dataclass(frozen=True)
class Command:
    """One process; ``health_url`` answers 200 once it is ready, None for one that has no address."""

    name: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    health_url: str | None


def find_node() -> str:
    """Return the Node to run: the one installed beside this Python, or the machine's.

    Either may be a wrapper that starts Node as a child, which would outlive a stop; Node knows its own path.
    """
    beside = Path(sys.executable).parent / "node"
    found = str(beside) if beside.exists() else shutil.which("node")
    if found is None:
        raise BadSetting(
            "Node 20 or newer is needed (make up installs one where it is missing): ./bootstrap run"
        )
    asked = subprocess.run([found, "-p", "process.execPath"], capture_output=True, text=True, check=False)  # noqa: S603
    if asked.returncode != 0:
        raise BadSetting(f"{found} does not run: {asked.stderr.strip()}")
    return asked.stdout.strip()


def plain_environment() -> dict[str, str]:
    """Return this process's environment without any setting of the Nexus."""
    return {name: value for name, value in os.environ.items() if not name.startswith("NEXUS_")}


def own_environment() -> dict[str, str]:
    """Return the settings that the hub's and the culler's configuration read again."""
    return {name: value for name, value in os.environ.items() if name in OWN}


def confinement_sentence() -> str:
    sentence = confinement.describe(confinement.find_controllers())
    return sentence if os.geteuid() == 0 else f"{sentence} {SHARED_IDENTITY}"


def service_environment(settings: Settings, secrets: Secrets) -> dict[str, str]:
    """Return the allocation service's environment; whatever else the caller set for it is passed on."""
    passed_on = {name: value for name, value in os.environ.items() if name in FOR_SERVICE}
    return {
        **plain_environment(),
        "NEXUS_DATABASE_URL": f"sqlite:///{settings.folder('db') / 'allocator.sqlite'}",
        "NEXUS_HUB_API_URL": f"{settings.hub_url}/hub/api",
        "NEXUS_HUB_TOKEN": secrets.service,
        "NEXUS_INTERNAL_TOKEN": secrets.internal,
        "NEXUS_PUBLIC_URL": settings.public_url,
        "NEXUS_SERVICE_PREFIX": "/services/nexus/",
        "NEXUS_ISSUER": settings.issuer,
        "NEXUS_CONFINEMENT": confinement_sentence(),
        # Everything of this Nexus is on this machine; so may be what it tells.
        "NEXUS_WEBHOOK_REACH": "loopback",
        # For backup and restore.
        "NEXUS_HUB_DATABASE_URL": f"sqlite:///{settings.folder('db') / 'hub.sqlite'}",
        "NEXUS_STORAGE_ROOT": str(settings.state),
        "NEXUS_STORAGE_DRIVER": "directory",
        "NEXUS_STORAGE_RECORDS": str(settings.folder("purges")),
        "NEXUS_STORAGE_KEY_FILE": str(settings.folder("secrets") / "storage-log"),
        **passed_on,
    }


def provider(settings: Settings, secrets: Secrets) -> Command:
    """Return the provider's command; writes its configuration, which holds the client's secret."""
    configuration = settings.folder("secrets") / "provider.json"
    configuration.touch(mode=0o600)
    configuration.write_text(
        json.dumps(
            {
                "issuer": settings.issuer,
                "port": settings.port + 4,
                "state_dir": str(settings.folder("secrets")),
                "people_file": str(settings.people_file),
                "home": settings.public_url,
                "access_token_ttl_s": settings.access_token_ttl_s,
                "client": {
                    "id": CLIENT_ID,
                    "secret": secrets.client,
                    "redirect_uri": f"{settings.public_url}/hub/oauth_callback",
                    "post_logout_redirect_uri": f"{settings.public_url}/hub/signed-out",
                },
            }
        )
    )
    arguments = (find_node(), str(NODE_FOLDER / "provider.mjs"), str(configuration))
    health = f"{settings.issuer}/.well-known/openid-configuration"
    return Command("sign-in provider", arguments, plain_environment(), health)


def proxy(settings: Settings, secrets: Secrets) -> Command:
    script = NODE_FOLDER / "node_modules/configurable-http-proxy/bin/configurable-http-proxy"
    if not script.exists():
        raise BadSetting("The node packages are not installed: run ./bootstrap run")
    arguments = (
        *(find_node(), str(script)),
        *("--ip", "127.0.0.1", "--port", str(settings.port)),
        *("--api-ip", "127.0.0.1", "--api-port", str(settings.port + 1)),
        *("--default-target", settings.hub_url, "--error-target", f"{settings.hub_url}/hub/error"),
        *("--log-level", "warn"),
    )
    environment = {**plain_environment(), "CONFIGPROXY_AUTH_TOKEN": secrets.proxy}
    return Command("proxy", arguments, environment, f"{settings.public_url}/_chp_healthz")


def service(settings: Settings, secrets: Secrets) -> Command:
    arguments = (
        *(sys.executable, "-m", "uvicorn", "--factory", "nexus_allocator.main:app_factory"),
        *("--host", "127.0.0.1", "--port", str(settings.port + 3)),
        *("--log-level", "warning", "--no-server-header", "--timeout-graceful-shutdown", "5"),
    )
    environment = service_environment(settings, secrets)
    return Command("allocation service", arguments, environment, f"{settings.service_api_url}/health")


def hub(settings: Settings) -> Command:
    configuration = Path(__file__).parent / "jupyterhub_config.py"
    arguments = (sys.executable, "-m", "jupyterhub", "-f", str(configuration))
    environment = {**plain_environment(), **own_environment()}
    return Command("hub", arguments, environment, f"{settings.hub_url}/hub/health")


def culler(settings: Settings, secrets: Secrets) -> Command:
    configuration = Path(__file__).parent / "idle_culler_config.py"
    every = max(1, min(60, settings.idle_timeout_s // 4))
    arguments = (
        *(sys.executable, "-m", "jupyterhub_idle_culler", f"--config={configuration}"),
        *(
            f"--url={settings.hub_url}/hub/api",
            f"--timeout={settings.idle_timeout_s}",
            f"--cull-every={every}",
        ),
    )
    environment = {**plain_environment(), **own_environment(), "JUPYTERHUB_API_TOKEN": secrets.culler}
    return Command("idle culler", arguments, environment, None)


def allocator(arguments: tuple[str, ...]) -> tuple[str, ...]:
    """Return the command line of the service's own tool."""
    return (sys.executable, "-c", "from nexus_allocator.cli import main; main()", *arguments)
