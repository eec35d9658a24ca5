"""Which mail a person gets and when: read and changed by the person alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from nexus_allocator.domain.mailing import ESSENTIAL, FOR_ADMINISTRATORS, MailKind, Timing, timing_of
from nexus_allocator.domain.records import Act
from nexus_allocator.domain.rights import Action
from nexus_allocator.services.records import record
from nexus_allocator.services.rights import themselves
from nexus_allocator.store import outbox


@dataclass(frozen=True)
class Choice:
    kind: MailKind
    timing: Timing
    is_fixed: bool


@dataclass(frozen=True)
class Choices:
    """What a person chose; ``address`` None when the sign-in provider told none."""

    address: str | None
    rows: tuple[Choice, ...]


def of_person(session: Session, *, hub_name: str) -> Choices:
    """Return each kind of mail that the person may get. Raises UnknownPerson, NotAllowed."""
    person = themselves(session, hub_name, Action.MAIL_CHOOSE)
    chosen = outbox.timings(session, person.id)
    rows = tuple(
        Choice(kind, timing_of(kind, chosen.get(kind)), kind in ESSENTIAL)
        for kind in MailKind
        if person.is_administrator or kind not in FOR_ADMINISTRATORS
    )
    return Choices(person.email, rows)


def choose(session: Session, wanted: Mapping[MailKind, Timing], *, hub_name: str, now: datetime) -> None:
    """Keep what the person wants, but for what can't be switched off. Raises UnknownPerson, NotAllowed.

    What waits for a digest already comes with the next one.
    """
    person = themselves(session, hub_name, Action.MAIL_CHOOSE)
    for kind, timing in wanted.items():
        if kind not in ESSENTIAL:
            outbox.choose(session, person.id, kind, timing)
    chosen = {kind.value: timing.value for kind, timing in wanted.items()}
    record(session, Act.MAIL_CHOSEN, person.id, by=person.id, after=chosen, now=now)
