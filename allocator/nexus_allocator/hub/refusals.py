"""How a launch is refused: with words for people, and without counting as a failed start."""

from html import escape
from typing import Any

from tornado import web

from nexus_allocator.hub.service import Refused, ServiceUnavailable

try:
    from jupyterhub.spawner import SpawnException
except ImportError:  # JupyterHub 5.x
    SpawnException = None

OUT_OF_ORDER = (
    "The allocation service does not answer, so nothing was started and nothing was charged. "
    "Try again in a minute; tell the operator if it lasts."
)


def refusal(handler: Any, status: int, message: str) -> Exception:
    """Return the exception with which a launch is refused; the caller raises it before anything was started.

    ``handler`` is the hub's handler of the request that asked, None when the hub itself did.

    JupyterHub 5 counts every exception out of a spawn as a failure and exits after
    ``consecutive_failure_limit`` of them: five polite refusals in a row would end the hub
    for everyone. So the count is given back first. JupyterHub 6 knows refusals.
    """
    if SpawnException is not None:
        return with_text(SpawnException(message, reason="refused", status_code=status), message)
    give_back_failure(handler)
    return readable(status, message)


def readable(status: int, message: str) -> Exception:
    """Return an HTTP error whose text the hub shows to people as it is."""
    # Tornado would format the message with arguments.
    return with_text(web.HTTPError(status, message.replace("%", "%%"), reason="Launch refused"), message)


def with_text(error: Any, message: str) -> Exception:
    error.jupyterhub_message = message
    error.jupyterhub_html_message = f'<span class="nx-refusal">{escape(message)}</span>'
    return error  # type: ignore[no-any-return]


def give_back_failure(handler: Any) -> None:
    """Take one off the hub's count of failed starts, into which the hub is about to put this refusal."""
    if handler is not None:
        handler.settings["failure_count"] = handler.settings.get("failure_count", 0) - 1


def refusal_from(handler: Any, error: Refused | ServiceUnavailable) -> Exception:
    if isinstance(error, Refused):
        return refusal(handler, error.status, error.message)
    return refusal(handler, 503, OUT_OF_ORDER)
