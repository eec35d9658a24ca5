"""What a running server proves its hold with: the hold's id, and a code that only hub and service make."""

import hashlib
import hmac
from uuid import UUID


def lab_token(secret: str, hold_id: UUID | str) -> str:
    """Return the token of the server that runs on ``hold_id``; ``secret`` is what hub and service share."""
    return f"{hold_id}.{_code(secret, hold_id)}"


def hold_of_token(secret: str, token: str) -> UUID | None:
    """Return the hold that a token speaks for, None when the token was not made with ``secret``."""
    name, _, code = token.partition(".")
    try:
        hold_id = UUID(name)
    except ValueError:
        return None
    return hold_id if hmac.compare_digest(_code(secret, hold_id).encode(), code.encode()) else None


def _code(secret: str, hold_id: UUID | str) -> str:
    return hmac.new(secret.encode(), f"lab {hold_id}".encode(), hashlib.sha256).hexdigest()
