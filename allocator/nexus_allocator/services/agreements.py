"""The user agreement: each version's words are kept, and who accepted an earlier one accepts the new one."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from nexus_allocator.domain.errors import AgreementChanged
from nexus_allocator.domain.mailing import LetterKind
from nexus_allocator.domain.policy import Agreement
from nexus_allocator.domain.records import NEXUS, Act
from nexus_allocator.services import outbox
from nexus_allocator.services.records import record
from nexus_allocator.services.rights import person_called
from nexus_allocator.store import people


@dataclass(frozen=True)
class Standing:
    """Where a person stands with the version in force; ``earlier`` were accepted before it."""

    version: str
    accepted_at: datetime | None
    earlier: tuple[tuple[str, datetime], ...]

    @property
    def changed(self) -> bool:
        """Whether an earlier version was accepted and this one not yet."""
        return self.accepted_at is None and bool(self.earlier)


def keep(session: Session, agreement: Agreement, *, now: datetime) -> None:
    """Keep the words of the version in force. Raises AgreementChanged when it was shown with others."""
    kept = people.agreement_text(session, agreement.version)
    if kept is None:
        people.keep_agreement(session, agreement.version, agreement.title, agreement.text_html, now=now)
        _write(session, agreement, now=now)
        record(session, Act.AGREEMENT_KEPT, None, by=NEXUS, after={"version": agreement.version}, now=now)
    elif (kept.title, kept.text_html) != (agreement.title, agreement.text_html):
        raise AgreementChanged(version=agreement.version)


def _write(session: Session, agreement: Agreement, *, now: datetime) -> None:
    """Write to everybody who accepted an earlier version."""
    for person_id in people.bound_before(session, agreement.version):
        key = f"{LetterKind.AGREEMENT_RENEWED}/{agreement.version}/{person_id}"
        facts = {"version": agreement.version}
        outbox.mail(session, person_id, LetterKind.AGREEMENT_RENEWED, key=key, facts=facts, now=now)


def standing(session: Session, agreement: Agreement, *, hub_name: str) -> Standing:
    """Return what a person accepted and when. Raises UnknownPerson."""
    rows = people.acceptances(session, person_called(session, hub_name).id)
    accepted = {row.version: row.accepted_at for row in rows}
    now_at = accepted.pop(agreement.version, None)
    return Standing(agreement.version, now_at, tuple(accepted.items()))
