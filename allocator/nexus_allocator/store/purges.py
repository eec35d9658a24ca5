"""Plans of purges, the folders in them, who was told, and dry runs."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, func, insert, or_, select, update
from sqlalchemy.orm import Session

from nexus_allocator.domain.places import Place
from nexus_allocator.domain.states import NoticeKind
from nexus_allocator.store.purge_tables import Purge, PurgeFolder, PurgeReport, PurgeTold

MOST_LISTED = 500


def add(session: Session, row: Purge) -> None:
    session.add(row)
    session.flush()


def by_id(session: Session, purge_id: UUID) -> Purge | None:
    return session.get(Purge, purge_id)


def lock(session: Session, purge_id: UUID) -> Purge | None:
    return session.get(Purge, purge_id, with_for_update=True, populate_existing=True)


def open_of_rule(session: Session, place: Place, rule: str) -> Purge | None:
    found = select(Purge).where(
        Purge.place_kind == place.kind,
        Purge.place_name == place.name,
        Purge.rule == rule,
        Purge.over_at.is_(None),
    )
    return session.scalar(found)


def last_over(session: Session, place: Place, rule: str) -> datetime | None:
    """Return when the rule's last plan in the place was over."""
    found = select(func.max(Purge.over_at)).where(
        Purge.place_kind == place.kind, Purge.place_name == place.name, Purge.rule == rule
    )
    return session.scalar(found)


def every_open(session: Session) -> Sequence[Purge]:
    found = select(Purge).where(Purge.over_at.is_(None))
    return session.scalars(found.order_by(Purge.planned_at, Purge.id)).all()


def latest(session: Session, places: Collection[Place] | None = None) -> Sequence[Purge]:
    """Return plans of these places, or of all, the latest first."""
    found = select(Purge).order_by(Purge.planned_at.desc(), Purge.id).limit(MOST_LISTED)
    if places is None:
        return session.scalars(found).all()
    if not places:
        return []
    whose = [(Purge.place_kind == place.kind) & (Purge.place_name == place.name) for place in places]
    return session.scalars(found.where(or_(*whose))).all()


def add_folders(session: Session, rows: Sequence[Mapping[str, object]]) -> None:
    if rows:
        session.execute(insert(PurgeFolder), list(rows))


def folders(session: Session, purge_id: UUID, *, below: str = "") -> Sequence[PurgeFolder]:
    """Return the folders with planned files at or below a path, in the order of the list.

    SQLite compares without regard to case here, so that a few more may come.
    """
    found = select(PurgeFolder).where(PurgeFolder.purge_id == purge_id)
    if below:
        inside = PurgeFolder.path.startswith(f"{below}/", autoescape=True)
        found = found.where(or_(PurgeFolder.path == below, inside))
    return session.scalars(found.order_by(PurgeFolder.first)).all()


def set_fates(session: Session, purge_id: UUID, fates: Mapping[int, str]) -> None:
    """Set the fates of the folders that begin with these numbers."""
    for first, text in fates.items():
        at = (PurgeFolder.purge_id == purge_id) & (PurgeFolder.first == first)
        changed = update(PurgeFolder).where(at).values(fates=text)
        session.execute(changed.execution_options(synchronize_session=False))


def note_told(
    session: Session, purge_id: UUID, people: Collection[UUID], kind: NoticeKind, *, now: datetime
) -> None:
    for person_id in people:
        if session.get(PurgeTold, (purge_id, person_id, kind)) is None:
            session.add(PurgeTold(purge_id=purge_id, person_id=person_id, kind=kind, at=now))
    session.flush()


def told(session: Session, purge_id: UUID) -> Sequence[PurgeTold]:
    found = select(PurgeTold).where(PurgeTold.purge_id == purge_id)
    return session.scalars(found.order_by(PurgeTold.at, PurgeTold.person_id)).all()


def report(session: Session, rule: str, place: Place) -> PurgeReport | None:
    return session.get(PurgeReport, (rule, place.kind, place.name))


def put_report(session: Session, row: PurgeReport) -> None:
    session.merge(row)


def reports(session: Session) -> Sequence[PurgeReport]:
    """Return what dry runs found, the largest first."""
    found = select(PurgeReport).order_by(PurgeReport.size_bytes.desc(), PurgeReport.place_name)
    return session.scalars(found.limit(MOST_LISTED)).all()


def forget_report(session: Session, rule: str, place: Place) -> None:
    found = session.get(PurgeReport, (rule, place.kind, place.name))
    if found is not None:
        session.delete(found)


def forget_reports(session: Session, rules: Collection[str]) -> None:
    """Remove the reports of rules that are no longer among these."""
    gone = delete(PurgeReport).where(PurgeReport.rule.not_in(rules))
    session.execute(gone.execution_options(synchronize_session=False))
