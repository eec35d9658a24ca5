"""Portal sessions: opened at sign-in, found by an opaque id that only the browser keeps.

The row's key is a hash of the id and its hub token is encrypted with a key made from the id, so a copy of
the database opens no session and holds no usable token.
"""

import base64
import hashlib
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy.orm import Session

from nexus_allocator.domain.errors import UnknownPerson
from nexus_allocator.store import panel, web_sessions
from nexus_allocator.store.tables import WebSession

SESSION_AGE = timedelta(hours=12)


@dataclass(frozen=True)
class OpenSession:
    """A live session, its hub token decrypted for the request at hand."""

    person_id: UUID
    hub_name: str
    display_name: str
    is_administrator: bool
    csrf: str = field(repr=False)
    hub_token: str = field(repr=False)
    is_reviewer: bool = False


def open_session(session: Session, *, hub_name: str, hub_token: str, now: datetime) -> str:
    """Open a session and return its id. Raises UnknownPerson for a hub user the service has never met."""
    person_id = web_sessions.person_id_of(session, hub_name)
    if person_id is None:
        raise UnknownPerson(person=hub_name)
    web_sessions.remove_expired(session, now=now)
    session_id = secrets.token_urlsafe(32)
    row = WebSession(
        id_hash=_hash(session_id),
        person_id=person_id,
        hub_token=_seal(session_id).encrypt(hub_token.encode()).decode(),
        csrf_secret=secrets.token_urlsafe(32),
        created_at=now,
        expires_at=now + SESSION_AGE,
    )
    web_sessions.add(session, row)
    return session_id


def find_session(session: Session, session_id: str, *, now: datetime) -> OpenSession | None:
    """Return the session with this id, None when there is none or it has expired."""
    found = web_sessions.find(session, _hash(session_id), now=now)
    if found is None:
        return None
    row, person = found
    token = _seal(session_id).decrypt(row.hub_token.encode()).decode()
    return OpenSession(
        person_id=person.id,
        hub_name=person.hub_name,
        display_name=person.display_name,
        is_administrator=person.is_administrator and person.suspended_at is None,
        csrf=row.csrf_secret,
        hub_token=token,
        is_reviewer=panel.term_of(session, person.id) is not None,
    )


def close_session(session: Session, session_id: str) -> None:
    """Forget the session; closing it twice is no error."""
    web_sessions.remove(session, _hash(session_id))


def _hash(session_id: str) -> str:
    # The id is 256 random bits, so an unsalted hash can't be searched.
    return hashlib.sha256(session_id.encode()).hexdigest()


def _seal(session_id: str) -> Fernet:
    key = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"nexus portal hub token").derive(
        session_id.encode()
    )
    return Fernet(base64.urlsafe_b64encode(key))
