"""Requests for a tier, their moves, and grants approved elsewhere."""

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import JSON, ForeignKey, Index, Text, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from nexus_allocator.domain.states import RequestState, TierSlug
from nexus_allocator.store.account_tables import Account
from nexus_allocator.store.base import Base, Word
from nexus_allocator.store.people_tables import Person

OPEN_REQUEST = text("state IN ('draft', 'submitted', 'in-review', 'returned', 'offered', 'accepted')")


class TierRequest(Base):
    __tablename__ = "tier_request"
    __table_args__ = (
        Index(
            "ix_tier_request_open",
            "account_id",
            unique=True,
            sqlite_where=OPEN_REQUEST,
            postgresql_where=OPEN_REQUEST,
        ),
    )
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    account_id: Mapped[UUID] = mapped_column(ForeignKey("account.id"))
    person_id: Mapped[UUID] = mapped_column(ForeignKey("person.id"), index=True)
    tier: Mapped[TierSlug] = mapped_column(Word(TierSlug))
    tier_before: Mapped[TierSlug] = mapped_column(Word(TierSlug))
    justification: Mapped[str] = mapped_column(Text)
    state: Mapped[RequestState] = mapped_column(Word(RequestState))
    submitted_at: Mapped[datetime]
    decided_at: Mapped[datetime | None]
    decided_by: Mapped[UUID | None] = mapped_column(ForeignKey("person.id"))
    decision_reason: Mapped[str | None] = mapped_column(Text)
    awarded_micro: Mapped[int | None]
    title: Mapped[str | None] = mapped_column(Text)
    exposures: Mapped[int | None]
    grant_number: Mapped[str | None] = mapped_column(Text)
    members: Mapped[list[str] | None] = mapped_column(JSON)
    asked_micro: Mapped[int | None]
    ends_at: Mapped[datetime | None]
    team_label: Mapped[str | None] = mapped_column(Text)
    results: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    account: Mapped[Account] = relationship(lazy="raise_on_sql")
    person: Mapped[Person] = relationship(lazy="raise_on_sql", foreign_keys=[person_id])


class RequestMove(Base):
    """One move of a request: from what to what, by whom, when and why; rows never change.

    ``actor_id`` None is the platform itself, by the clock or by the list of grants.
    """

    __tablename__ = "request_move"
    request_id: Mapped[UUID] = mapped_column(ForeignKey("tier_request.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    before: Mapped[RequestState | None] = mapped_column(Word(RequestState))
    after: Mapped[RequestState] = mapped_column(Word(RequestState))
    actor_id: Mapped[UUID | None] = mapped_column(ForeignKey("person.id"))
    reason: Mapped[str | None] = mapped_column(Text)
    at: Mapped[datetime]


class ApprovedGrant(Base):
    """A grant that was approved elsewhere: who holds it gets its award without an administrator, once."""

    __tablename__ = "approved_grant"
    number: Mapped[str] = mapped_column(Text, primary_key=True)
    holder_email: Mapped[str] = mapped_column(Text)
    credits_micro: Mapped[int | None]
    ends_at: Mapped[datetime]
    imported_at: Mapped[datetime]
    request_id: Mapped[UUID | None] = mapped_column(ForeignKey("tier_request.id"))
