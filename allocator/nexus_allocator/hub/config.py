"""JupyterHub's configuration, shared by the one machine and the cluster: sign-in, admission, roles, pages.

A ``jupyterhub_config.py`` calls :func:`configure` and adds only what differs: spawner, addresses, database.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nexus_allocator.domain.scopes import ADMIN, ADMINISTRATORS, OF_EVERYBODY, SCOPES, Scope
from nexus_allocator.hub.authenticator import NexusAuthenticator
from nexus_allocator.hub.for_service import CUSTOM_SCOPES
from nexus_allocator.hub.handlers import handlers
from nexus_allocator.hub.lookups import look_people_up_lightly
from nexus_allocator.hub.service import AllocationService

TEMPLATES = Path(__file__).parent / "templates"

# What the allocation service may do: see every server and its state, stop one, end people's tokens, and let
# an administrator into one server.
SERVICE_SCOPES = [
    "list:users",
    "read:users:activity",
    "read:servers",
    "admin:server_state",
    "delete:servers",
    "read:hub",
    *CUSTOM_SCOPES,
]
CULLER_SCOPES = ["list:users", "read:users:activity", "read:servers", "delete:servers"]
PERSON_SCOPES = ["self", "access:services!service=nexus", *(scope.name for scope in OF_EVERYBODY)]


@dataclass(frozen=True)
class SignIn:
    """The Nexus as the OpenID provider's client."""

    issuer: str
    client_id: str
    client_secret: str
    callback_url: str
    service_name: str


@dataclass(frozen=True)
class Tokens:
    """Hub API tokens of the allocation service and the idle culler."""

    service: str
    culler: str


def configure(
    c: Any, *, service: AllocationService, service_url: str, sign_in: SignIn, tokens: Tokens
) -> None:
    """Set everything on ``c`` that holds wherever the hub runs; writes into its argument."""
    look_people_up_lightly()
    configure_sign_in(c, service, sign_in)
    configure_admission(c, service)
    configure_roles(c, service_url, tokens)
    c.JupyterHub.template_paths = [str(TEMPLATES)]
    c.JupyterHub.extra_handlers = handlers(service)
    c.JupyterHub.allow_named_servers = False
    # People choose before anything starts; a link to a stopped server must not start one by itself.
    c.JupyterHub.implicit_spawn_seconds = 0
    c.JupyterHub.redirect_to_server = False
    c.JupyterHub.default_url = landing_page


def landing_page(handler: Any) -> str:
    """Return where people arrive: at their server, or at the launch page while they have none."""
    user = handler.current_user
    if user is None:
        return ""  # the hub then asks for a sign-in, and comes back here
    return str(handler.hub.base_url) + ("home" if user.active else "spawn")


def configure_sign_in(c: Any, service: AllocationService, sign_in: SignIn) -> None:
    c.JupyterHub.authenticator_class = NexusAuthenticator
    auth = c.NexusAuthenticator
    auth.service = service
    auth.issuer = sign_in.issuer
    auth.client_id = sign_in.client_id
    auth.client_secret = sign_in.client_secret
    auth.oauth_callback_url = sign_in.callback_url
    auth.login_service = sign_in.service_name
    auth.scope = ["openid", "profile", "email", "groups"]
    auth.username_claim = "sub"
    auth.enable_pkce = True
    auth.basic_auth = True
    # Whom the provider signs in may come in; what they may start, admission decides.
    auth.allow_all = True
    auth.enable_auth_state = True
    auth.manage_groups = True
    auth.refresh_pre_spawn = True
    auth.auth_refresh_age = 300


def configure_admission(c: Any, service: AllocationService) -> None:
    c.AdmittedServer.service = service
    c.Spawner.consecutive_failure_limit = 5
    c.Spawner.start_timeout = 120
    c.Spawner.http_timeout = 60


def configure_roles(c: Any, service_url: str, tokens: Tokens) -> None:
    """Give each token the scopes it needs and no more; no person is an administrator of the hub."""
    c.JupyterHub.services = [
        {
            "name": "nexus",
            "url": service_url,
            "api_token": tokens.service,
            "oauth_no_confirm": True,
            "display": False,
        },
        {"name": "idle-culler", "api_token": tokens.culler},
    ]
    c.JupyterHub.custom_scopes = {scope.name: defined(scope) for scope in SCOPES} | CUSTOM_SCOPES
    c.JupyterHub.load_roles = [
        {"name": "nexus-service", "scopes": SERVICE_SCOPES, "services": ["nexus"]},
        {"name": "nexus-culler", "scopes": CULLER_SCOPES, "services": ["idle-culler"]},
        {"name": "user", "description": "What every person may do", "scopes": PERSON_SCOPES},
        # The hub's own role of this kind would let its bearers into everybody's server.
        {
            "name": "nexus-administrator",
            "description": "What administrators of the Nexus may let their tokens do",
            "scopes": [scope.name for scope in ADMIN],
            "groups": [ADMINISTRATORS],
        },
    ]


def defined(scope: Scope) -> dict[str, Any]:
    """Return a scope of ours as the hub defines it."""
    return {"description": scope.description} | ({"subscopes": [scope.includes]} if scope.includes else {})
