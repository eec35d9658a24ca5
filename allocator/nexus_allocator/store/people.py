"""People, their names and numbers, agreements and homes."""

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from nexus_allocator.store.tables import Acceptance, AgreementText, Counter, Hold, Home, Person, TakenName


def by_identity(session: Session, issuer: str, subject: str) -> Person | None:
    return session.scalar(select(Person).where(Person.issuer == issuer, Person.subject == subject))


def by_identity_now(session: Session, issuer: str, subject: str) -> Person | None:
    """Return whom an identity signs in as: who it was merged into, else its own person."""
    found = by_identity(session, issuer, subject)
    if found is None or found.merged_into_id is None:
        return found
    return session.get_one(Person, found.merged_into_id)


def by_hub_name(session: Session, hub_name: str) -> Person | None:
    return session.scalar(select(Person).where(Person.hub_name == hub_name))


def hub_names(session: Session, person_ids: Collection[UUID]) -> dict[UUID, str]:
    rows = session.execute(select(Person.id, Person.hub_name).where(Person.id.in_(set(person_ids))))
    return {row[0]: row[1] for row in rows}


def by_id(session: Session, person_id: UUID) -> Person | None:
    return session.get(Person, person_id)


def lock(session: Session, person_id: UUID) -> Person:
    """Return the person's row, locked, so that two launches of one person follow each other."""
    found = select(Person).where(Person.id == person_id).with_for_update()
    return session.scalars(found.execution_options(populate_existing=True)).one()


def lock_called(session: Session, hub_name: str) -> Person | None:
    """Return the person of that name, locked as `lock` does."""
    found = select(Person).where(Person.hub_name == hub_name).with_for_update()
    return session.scalar(found.execution_options(populate_existing=True))


def last_seen(session: Session, person: Person) -> datetime:
    """Return when a person last signed in, accepted an agreement or launched anything."""
    launched = session.scalar(select(func.max(Hold.placed_at)).where(Hold.person_id == person.id))
    accepted = session.scalar(
        select(func.max(Acceptance.accepted_at)).where(Acceptance.person_id == person.id)
    )
    moments = (person.created_at, person.signed_in_at, launched, accepted)
    return max(moment for moment in moments if moment is not None)


def page(session: Session, *, limit: int, offset: int) -> Sequence[Person]:
    return session.scalars(select(Person).order_by(Person.hub_name).limit(limit).offset(offset)).all()


def count(session: Session) -> int:
    return session.scalar(select(func.count()).select_from(Person)) or 0


def next_number(session: Session, counter: str) -> int:
    """Return the counter's next number and move it on; a number is never given twice."""
    moved = (
        update(Counter)
        .where(Counter.name == counter)
        .values(next_value=Counter.next_value + 1)
        .returning(Counter.next_value)
    )
    return session.scalars(moved.execution_options(synchronize_session=False)).one() - 1


def skip_numbers(session: Session, how_many: int) -> None:
    """Leave out so many numbers of every counter: they may have been given where nobody remembers it."""
    session.execute(update(Counter).values(next_value=Counter.next_value + how_many))


def is_taken(session: Session, name: str) -> bool:
    return session.get(TakenName, name) is not None


def take_name(session: Session, name: str, *, now: datetime) -> None:
    session.add(TakenName(name=name, taken_at=now))
    session.flush()


def has_accepted(session: Session, person_id: UUID, version: str) -> bool:
    return session.get(Acceptance, (person_id, version)) is not None


def accept(session: Session, person_id: UUID, version: str, *, now: datetime) -> None:
    session.add(Acceptance(person_id=person_id, version=version, accepted_at=now))


def acceptances(session: Session, person_id: UUID) -> Sequence[Acceptance]:
    """Return the versions a person accepted, the latest first."""
    found = select(Acceptance).where(Acceptance.person_id == person_id)
    return session.scalars(found.order_by(Acceptance.accepted_at.desc())).all()


def bound_before(session: Session, version: str) -> Sequence[UUID]:
    """Return who accepted an agreement, but not this version; who is suspended accepts nothing now."""
    accepted = select(Acceptance.person_id).where(Acceptance.version == version)
    found = select(Acceptance.person_id).distinct().join(Person, Person.id == Acceptance.person_id)
    rows = found.where(Person.suspended_at.is_(None), Acceptance.person_id.not_in(accepted))
    return session.scalars(rows.order_by(Acceptance.person_id)).all()


def administrators(session: Session) -> Sequence[UUID]:
    """Return the administrators in good standing."""
    found = select(Person.id).where(Person.is_administrator.is_(True), Person.suspended_at.is_(None))
    return session.scalars(found.order_by(Person.id)).all()


def agreement_text(session: Session, version: str) -> AgreementText | None:
    return session.get(AgreementText, version)


def keep_agreement(session: Session, version: str, title: str, text_html: str, *, now: datetime) -> None:
    session.add(AgreementText(version=version, title=title, text_html=text_html, first_used_at=now))


def home(session: Session, person_id: UUID) -> Home | None:
    return session.get(Home, person_id)
