"""Accounts, and the allocation of each."""

from datetime import datetime
from uuid import UUID, uuid4

from sqlalchemy import JSON, CheckConstraint, ForeignKey, Index, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from nexus_allocator.domain.states import AccountKind, TierSlug
from nexus_allocator.store.base import Base, Word


class Account(Base):
    __tablename__ = "account"
    __table_args__ = (
        CheckConstraint("(person_id IS NULL) <> (team_id IS NULL)", name="one_owner"),
        UniqueConstraint("person_id"),
        UniqueConstraint("team_id"),
    )
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    slug: Mapped[str] = mapped_column(Text, unique=True)
    label: Mapped[str] = mapped_column(Text)
    kind: Mapped[AccountKind] = mapped_column(Word(AccountKind))
    person_id: Mapped[UUID | None] = mapped_column(ForeignKey("person.id"))
    team_id: Mapped[UUID | None] = mapped_column(ForeignKey("team.id"))
    created_at: Mapped[datetime]
    allocation: Mapped["Allocation"] = relationship(back_populates="account", lazy="raise_on_sql")


class Allocation(Base):
    """An account's right to resources between two dates. Locking this row serialises what spends it.

    ``told_days`` is the nearest notice given of its end, 0 that of the end itself; ``closed_at`` is when the
    rest lapsed and nothing took its place; ``sizes`` are those it may start, None all of its tier's.
    """

    __tablename__ = "allocation"
    __table_args__ = (UniqueConstraint("account_id"), Index("ix_allocation_expires_at", "expires_at"))
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    account_id: Mapped[UUID] = mapped_column(ForeignKey("account.id"))
    tier: Mapped[TierSlug] = mapped_column(Word(TierSlug))
    starts_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    policy_version: Mapped[int]
    told_days: Mapped[int | None]
    closed_at: Mapped[datetime | None]
    sizes: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True))
    account: Mapped[Account] = relationship(back_populates="allocation", lazy="raise_on_sql")
