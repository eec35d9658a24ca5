"""The tables of what leaves the service: rows of deciding transactions, and people's choices of mail."""

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import JSON, ForeignKey, Index, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from nexus_allocator.domain.mailing import MailKind, Timing
from nexus_allocator.domain.outbox import Channel, OutgoingState
from nexus_allocator.store.base import Base, Word

WAITING = text("state = 'waiting'")
FOR_DIGEST = text("state = 'for-digest'")


class Outgoing(Base):
    """One mail, webhook call or call to the hub, to be sent until it is sent.

    ``key`` says what it is for, so that the same is not written twice; ``id`` goes with every attempt, so
    that who gets it twice can tell. A deliverer's claim is ``claimed_by`` until ``claimed_until``.
    """

    __tablename__ = "outgoing"
    __table_args__ = (
        Index("ix_outgoing_due", "channel", "due_at", sqlite_where=WAITING, postgresql_where=WAITING),
        Index("ix_outgoing_digest", "person_id", sqlite_where=FOR_DIGEST, postgresql_where=FOR_DIGEST),
        Index("ix_outgoing_state", "state", "created_at"),
    )
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    key: Mapped[str] = mapped_column(Text, unique=True)
    channel: Mapped[Channel] = mapped_column(Word(Channel))
    kind: Mapped[str] = mapped_column(Text)
    person_id: Mapped[UUID | None] = mapped_column(ForeignKey("person.id"))
    facts: Mapped[dict[str, Any]] = mapped_column(JSON)
    state: Mapped[OutgoingState] = mapped_column(Word(OutgoingState))
    created_at: Mapped[datetime]
    due_at: Mapped[datetime]
    attempts: Mapped[int] = mapped_column(default=0)
    claimed_by: Mapped[UUID | None]
    claimed_until: Mapped[datetime | None]
    problem: Mapped[str | None] = mapped_column(Text)
    over_at: Mapped[datetime | None]


class MailPreference(Base):
    """When a person wants mail of one kind; without a row, at once."""

    __tablename__ = "mail_preference"
    person_id: Mapped[UUID] = mapped_column(ForeignKey("person.id"), primary_key=True)
    kind: Mapped[MailKind] = mapped_column(Word(MailKind), primary_key=True)
    timing: Mapped[Timing] = mapped_column(Word(Timing))
