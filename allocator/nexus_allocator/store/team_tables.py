"""Teams: who is in them, how they divide their credits, whom they invited, what happened."""

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import JSON, CheckConstraint, ForeignKey, Index, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from nexus_allocator.domain.states import InvitationState, Role, ShareKind, TeamMoveKind
from nexus_allocator.store.base import Base, Word

LIVING_SUBGROUP = text("ended_at IS NULL")
ONE_LEAD = text("role = 'lead'")


class Team(Base):
    __tablename__ = "team"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    slug: Mapped[str] = mapped_column(Text, unique=True)
    label: Mapped[str] = mapped_column(Text)
    gid: Mapped[int] = mapped_column(unique=True)
    created_at: Mapped[datetime]
    counted_from: Mapped[datetime | None]


class Subgroup(Base):
    """Members who have one share between them; its row stays when it ends, because holds name it."""

    __tablename__ = "subgroup"
    __table_args__ = (
        Index(
            "ix_subgroup_label",
            "team_id",
            "label",
            unique=True,
            sqlite_where=LIVING_SUBGROUP,
            postgresql_where=LIVING_SUBGROUP,
        ),
    )
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    team_id: Mapped[UUID] = mapped_column(ForeignKey("team.id"))
    label: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]


class Membership(Base):
    __tablename__ = "membership"
    __table_args__ = (
        Index(
            "ix_membership_lead",
            "team_id",
            unique=True,
            sqlite_where=ONE_LEAD,
            postgresql_where=ONE_LEAD,
        ),
    )
    team_id: Mapped[UUID] = mapped_column(ForeignKey("team.id"), primary_key=True)
    person_id: Mapped[UUID] = mapped_column(ForeignKey("person.id"), primary_key=True, index=True)
    role: Mapped[Role] = mapped_column(Word(Role))
    joined_at: Mapped[datetime]
    subgroup_id: Mapped[UUID | None] = mapped_column(ForeignKey("subgroup.id"))


class Share(Base):
    """A part of a team's allocation, of one member or one sub-group."""

    __tablename__ = "share"
    __table_args__ = (
        CheckConstraint("(person_id IS NULL) <> (subgroup_id IS NULL)", name="one_holder"),
        CheckConstraint("amount_micro >= 0", name="amount"),
        UniqueConstraint("team_id", "person_id"),
        UniqueConstraint("subgroup_id"),
    )
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    team_id: Mapped[UUID] = mapped_column(ForeignKey("team.id"))
    person_id: Mapped[UUID | None] = mapped_column(ForeignKey("person.id"))
    subgroup_id: Mapped[UUID | None] = mapped_column(ForeignKey("subgroup.id"))
    kind: Mapped[ShareKind] = mapped_column(Word(ShareKind))
    amount_micro: Mapped[int]
    set_at: Mapped[datetime]


class Invitation(Base):
    """An invitation to a team: of somebody known, or of whoever signs in with an e-mail address."""

    __tablename__ = "invitation"
    __table_args__ = (
        CheckConstraint("(person_id IS NULL) <> (email IS NULL)", name="one_way"),
        Index("ix_invitation_team", "team_id", "state"),
    )
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    team_id: Mapped[UUID] = mapped_column(ForeignKey("team.id"))
    person_id: Mapped[UUID | None] = mapped_column(ForeignKey("person.id"), index=True)
    email: Mapped[str | None] = mapped_column(Text, index=True)
    role: Mapped[Role] = mapped_column(Word(Role))
    state: Mapped[InvitationState] = mapped_column(Word(InvitationState))
    invited_by: Mapped[UUID | None] = mapped_column(ForeignKey("person.id"))
    invited_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    answered_at: Mapped[datetime | None]


class TeamMove(Base):
    """One thing that happened in a team; rows never change. ``actor_id`` None is an operator."""

    __tablename__ = "team_move"
    team_id: Mapped[UUID] = mapped_column(ForeignKey("team.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    kind: Mapped[TeamMoveKind] = mapped_column(Word(TeamMoveKind))
    actor_id: Mapped[UUID | None] = mapped_column(ForeignKey("person.id"))
    subject_id: Mapped[UUID | None] = mapped_column(ForeignKey("person.id"))
    facts: Mapped[dict[str, Any]] = mapped_column(JSON)
    at: Mapped[datetime]
