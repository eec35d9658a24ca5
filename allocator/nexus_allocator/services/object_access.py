"""Credentials for an account's prefix of the object store: for its people, and for a server that runs on it.

Nothing is kept of them: whose they are stands in the session's name, which the store's own trail keeps.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.orm import Session

from nexus_allocator.clients.objects.credentials import AccountStore, Credentials, issue
from nexus_allocator.domain.errors import NoAccountStore
from nexus_allocator.domain.rights import Action
from nexus_allocator.services.lab_reading import live_hold
from nexus_allocator.services.rights import account_for, in_good_standing, person_called

# AWS's clients ask for new ones a quarter of an hour before the end. Who may no longer, by leaving a team
# or by suspension, has what they have until then.
LAST = timedelta(minutes=30)


@dataclass(frozen=True)
class Access:
    """To an account's prefix, by whom; who may only read it gets no more from the store."""

    account: str
    by: str
    read_only: bool


def of_person(session: Session, slug: str, *, hub_name: str, now: datetime) -> Access:
    """Return what the person may in the account's prefix: read alone once its allocation has ended.

    Raises Suspended, UnknownAccount.
    """
    person = in_good_standing(person_called(session, hub_name))
    account = account_for(session, person, slug, Action.STORE_OPEN)
    has_ended = account.allocation.expires_at <= now
    return Access(account.slug, f"person-{person.id}", read_only=has_ended)


def of_server(session: Session, hold_id: UUID) -> Access:
    """Return what a server may in the prefix of the account that it runs on. Raises UnknownHold."""
    hold = live_hold(session, hold_id)
    return Access(hold.allocation.account.slug, f"hold-{hold_id}", read_only=hold.read_only)


def credentials(store: AccountStore | None, access: Access) -> Credentials:
    """Return credentials for what was found to be allowed; asked for when no transaction is open.

    Raises NoAccountStore, ObjectStoreUnavailable.
    """
    if store is None:
        raise NoAccountStore()
    return issue(store, access.account, session_name=access.by, lasts=LAST, read_only=access.read_only)
