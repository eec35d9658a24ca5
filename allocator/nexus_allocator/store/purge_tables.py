"""Purges as the service knows them: plans, their folders, who was told, and what dry runs found.

The files' own records, a plan that never changes and its signed log, lie beside the volume; these rows
follow them, so that people can see and ask.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from nexus_allocator.domain.places import PlaceKind
from nexus_allocator.domain.purges import PurgeState
from nexus_allocator.domain.states import NoticeKind
from nexus_allocator.store.base import Base, Word

OPEN = text("over_at IS NULL")


class Purge(Base):
    """One plan. ``digest`` is of its list, ``log_head`` the signature of its log's last line then.

    ``next_at`` is when the next step may come at the earliest; of the counts, ``left`` is what the plan
    named and was not taken, or was put back because it had changed. ``remakable`` files can be made again for
    ``remake_micro``; ``keep_micro_a_year`` is what keeping all of the plan would cost.
    """

    __tablename__ = "purge"
    __table_args__ = (
        Index("ix_purge_place", "place_kind", "place_name", "planned_at"),
        Index(
            "ix_purge_open", "place_kind", "place_name", "rule", unique=True, sqlite_where=OPEN,
            postgresql_where=OPEN,
        ),
    )  # fmt: skip
    id: Mapped[UUID] = mapped_column(primary_key=True)
    place_kind: Mapped[PlaceKind] = mapped_column(Word(PlaceKind))
    place_name: Mapped[str] = mapped_column(Text)
    rule: Mapped[str] = mapped_column(Text)
    policy: Mapped[str] = mapped_column(Text)
    grace_days: Mapped[int]
    window_days: Mapped[int]
    state: Mapped[PurgeState] = mapped_column(Word(PurgeState))
    files: Mapped[int]
    size_bytes: Mapped[int]
    waiting: Mapped[int] = mapped_column(default=0)
    restored: Mapped[int] = mapped_column(default=0)
    deleted: Mapped[int] = mapped_column(default=0)
    left: Mapped[int] = mapped_column(default=0)
    cold: Mapped[int] = mapped_column(default=0)
    remakable: Mapped[int] = mapped_column(default=0)
    remakable_bytes: Mapped[int] = mapped_column(default=0)
    remake_micro: Mapped[int] = mapped_column(default=0)
    keep_micro_a_year: Mapped[int] = mapped_column(default=0)
    digest: Mapped[str] = mapped_column(Text)
    log_head: Mapped[str] = mapped_column(Text)
    planned_at: Mapped[datetime]
    announced_at: Mapped[datetime | None]
    quarantined_at: Mapped[datetime | None]
    next_at: Mapped[datetime | None]
    over_at: Mapped[datetime | None]


class PurgeFolder(Base):
    """A folder's own files in a plan: where they stand in its list, and the fate of each, a digit a file."""

    __tablename__ = "purge_folder"
    purge_id: Mapped[UUID] = mapped_column(ForeignKey("purge.id"), primary_key=True)
    first: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    path: Mapped[str] = mapped_column(Text)
    files: Mapped[int]
    size_bytes: Mapped[int]
    list_offset: Mapped[int]
    fates: Mapped[str] = mapped_column(Text)


class PurgeTold(Base):
    """That a person was told of a plan."""

    __tablename__ = "purge_told"
    purge_id: Mapped[UUID] = mapped_column(ForeignKey("purge.id"), primary_key=True)
    person_id: Mapped[UUID] = mapped_column(ForeignKey("person.id"), primary_key=True)
    kind: Mapped[NoticeKind] = mapped_column(Word(NoticeKind), primary_key=True)
    at: Mapped[datetime]


class PurgeReport(Base):
    """What a rule would take of a place, as its last dry run found; ``since`` is when the first was made."""

    __tablename__ = "purge_report"
    rule: Mapped[str] = mapped_column(Text, primary_key=True)
    place_kind: Mapped[PlaceKind] = mapped_column(Word(PlaceKind), primary_key=True)
    place_name: Mapped[str] = mapped_column(Text, primary_key=True)
    policy: Mapped[str] = mapped_column(Text)
    files: Mapped[int]
    size_bytes: Mapped[int]
    since: Mapped[datetime]
    made_at: Mapped[datetime]
