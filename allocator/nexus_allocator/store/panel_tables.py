"""The panel's tables: rounds, reviewers, the requests before it, and what was said of them.

Reviews, conflicts, offers and by-passes never change (triggers forbid it); a later row stands for an earlier.
"""

from datetime import datetime
from uuid import UUID, uuid4

from sqlalchemy import JSON, CheckConstraint, ForeignKey, Index, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from nexus_allocator.store.base import Base

SERVING = text("ended_at IS NULL")


class PanelRound(Base):
    """A round of the panel: requests sent between two moments come into it. ``made_by`` None: an operator."""

    __tablename__ = "panel_round"
    __table_args__ = (CheckConstraint("opens_at < closes_at AND closes_at <= due_at", name="dates"),)
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    label: Mapped[str] = mapped_column(Text)
    opens_at: Mapped[datetime]
    closes_at: Mapped[datetime]
    due_at: Mapped[datetime]
    budget_micro: Mapped[int | None]
    made_by: Mapped[UUID | None] = mapped_column(ForeignKey("person.id"))
    made_at: Mapped[datetime]


class PanelTerm(Base):
    """A person's time as a reviewer; who is appointed again has another."""

    __tablename__ = "panel_term"
    __table_args__ = (
        Index(
            "ix_panel_term_serving",
            "person_id",
            unique=True,
            sqlite_where=SERVING,
            postgresql_where=SERVING,
        ),
    )
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    person_id: Mapped[UUID] = mapped_column(ForeignKey("person.id"))
    appointed_by: Mapped[UUID | None] = mapped_column(ForeignKey("person.id"))
    appointed_at: Mapped[datetime]
    ended_by: Mapped[UUID | None] = mapped_column(ForeignKey("person.id"))
    ended_at: Mapped[datetime | None]


class PanelCase(Base):
    """That a request is for the panel, by its tier or because somebody referred it, and in which round.

    ``placed_by`` None: it was sent while the round was open.
    """

    __tablename__ = "panel_case"
    request_id: Mapped[UUID] = mapped_column(ForeignKey("tier_request.id"), primary_key=True)
    round_id: Mapped[UUID | None] = mapped_column(ForeignKey("panel_round.id"), index=True)
    came_at: Mapped[datetime]
    referred_by: Mapped[UUID | None] = mapped_column(ForeignKey("person.id"))
    referral_reason: Mapped[str | None] = mapped_column(Text)
    placed_by: Mapped[UUID | None] = mapped_column(ForeignKey("person.id"))
    placed_at: Mapped[datetime | None]


class PanelConflict(Base):
    """A conflict of interest that a person declared with a request."""

    __tablename__ = "panel_conflict"
    request_id: Mapped[UUID] = mapped_column(ForeignKey("tier_request.id"), primary_key=True)
    person_id: Mapped[UUID] = mapped_column(ForeignKey("person.id"), primary_key=True)
    reason: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime]


class PanelReview(Base):
    """A review, by whom and when. ``sending`` counts how often the request had been sent: a text that was
    revised since is another text, and needs other reviews.
    """

    __tablename__ = "panel_review"
    request_id: Mapped[UUID] = mapped_column(ForeignKey("tier_request.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    person_id: Mapped[UUID] = mapped_column(ForeignKey("person.id"), index=True)
    sending: Mapped[int]
    scores: Mapped[dict[str, int]] = mapped_column(JSON)
    for_panel: Mapped[str] = mapped_column(Text)
    for_applicant: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime]


class PanelBypass(Base):
    """That an administrator decided without enough reviews, why, and how many there were."""

    __tablename__ = "panel_bypass"
    request_id: Mapped[UUID] = mapped_column(ForeignKey("tier_request.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    person_id: Mapped[UUID] = mapped_column(ForeignKey("person.id"))
    reviews: Mapped[int]
    reason: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime]


class RequestOffer(Base):
    """Other terms than a request asked for; the last one stands while the request is in the state offered.

    ``answer_by`` None stands until it is answered: it was made before offers had an end.
    """

    __tablename__ = "request_offer"
    request_id: Mapped[UUID] = mapped_column(ForeignKey("tier_request.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    person_id: Mapped[UUID] = mapped_column(ForeignKey("person.id"))
    credits_micro: Mapped[int]
    ends_at: Mapped[datetime]
    note: Mapped[str | None] = mapped_column(Text)
    at: Mapped[datetime]
    answer_by: Mapped[datetime | None]
