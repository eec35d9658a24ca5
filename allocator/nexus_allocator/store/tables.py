"""The tables. Entries of the ledger never change (triggers forbid it); holds stand beside it and do."""

from datetime import date, datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import JSON, CheckConstraint, ForeignKey, Index, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from nexus_allocator.domain.leases import OfflineKind
from nexus_allocator.domain.states import (
    AccountKind,
    BookKind,
    EntryKind,
    HoldState,
    InvitationState,
    NoticeKind,
    RequestState,
    Role,
    ShareKind,
    TeamMoveKind,
    TierSlug,
)
from nexus_allocator.store.base import Base, Word

OPEN_HOLD = text("state IN ('placed', 'running')")
STANDING_NOTICE = text("cleared_at IS NULL")
LIVING_SUBGROUP = text("ended_at IS NULL")
ONE_LEAD = text("role = 'lead'")
OPEN_REQUEST = text("state IN ('draft', 'submitted', 'in-review', 'returned', 'offered', 'accepted')")


class Counter(Base):
    """The next number to give: uids and gids are never given twice."""

    __tablename__ = "counter"
    name: Mapped[str] = mapped_column(Text, primary_key=True)
    next_value: Mapped[int]


class TakenName(Base):
    """Every name ever given to a person, team or account; rows stay when their owner goes."""

    __tablename__ = "taken_name"
    name: Mapped[str] = mapped_column(Text, primary_key=True)
    taken_at: Mapped[datetime]


class Person(Base):
    __tablename__ = "person"
    __table_args__ = (UniqueConstraint("issuer", "subject"),)
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    issuer: Mapped[str] = mapped_column(Text)
    subject: Mapped[str] = mapped_column(Text)
    hub_name: Mapped[str] = mapped_column(Text, unique=True)
    preferred_username: Mapped[str] = mapped_column(Text)
    display_name: Mapped[str] = mapped_column(Text)
    email: Mapped[str | None] = mapped_column(Text)
    uid: Mapped[int] = mapped_column(unique=True)
    is_administrator: Mapped[bool]
    suspended_at: Mapped[datetime | None]
    suspension_reason: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime]
    signed_in_at: Mapped[datetime | None]
    home_name: Mapped[str | None] = mapped_column(Text)
    erased_at: Mapped[datetime | None]
    merged_into_id: Mapped[UUID | None] = mapped_column(ForeignKey("person.id"))

    @property
    def home_folder(self) -> str:
        """The name of the home, which keeps its first name when the person is called otherwise."""
        return self.home_name or self.hub_name


class Acceptance(Base):
    __tablename__ = "acceptance"
    person_id: Mapped[UUID] = mapped_column(ForeignKey("person.id"), primary_key=True)
    version: Mapped[str] = mapped_column(Text, primary_key=True)
    accepted_at: Mapped[datetime]


class AgreementText(Base):
    """A version of the user agreement as it was when first shown; a version's text never changes."""

    __tablename__ = "agreement_text"
    version: Mapped[str] = mapped_column(Text, primary_key=True)
    title: Mapped[str] = mapped_column(Text)
    text_html: Mapped[str] = mapped_column(Text)
    first_used_at: Mapped[datetime]


class Home(Base):
    """A person's home: where it is and the identity that owns it."""

    __tablename__ = "home"
    person_id: Mapped[UUID] = mapped_column(ForeignKey("person.id"), primary_key=True)
    name: Mapped[str] = mapped_column(Text, unique=True)
    created_at: Mapped[datetime]


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


class PortalNotice(Base):
    """Something a person is told once; ``key`` names it, so that it isn't told again."""

    __tablename__ = "portal_notice"
    __table_args__ = (Index("ix_portal_notice_person", "person_id", "read_at"),)
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    person_id: Mapped[UUID] = mapped_column(ForeignKey("person.id"))
    kind: Mapped[NoticeKind] = mapped_column(Word(NoticeKind))
    key: Mapped[str] = mapped_column(Text, unique=True)
    facts: Mapped[dict[str, Any]] = mapped_column(JSON)
    at: Mapped[datetime]
    read_at: Mapped[datetime | None]


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


class Book(Base):
    """One side of an entry: an allocation's book, or one of the platform's."""

    __tablename__ = "book"
    __table_args__ = (
        CheckConstraint("(kind = 'allocation') = (allocation_id IS NOT NULL)", name="owner"),
        UniqueConstraint("allocation_id"),
        Index(
            "ix_book_platform",
            "kind",
            unique=True,
            sqlite_where=text("allocation_id IS NULL"),
            postgresql_where=text("allocation_id IS NULL"),
        ),
    )
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    kind: Mapped[BookKind] = mapped_column(Word(BookKind))
    allocation_id: Mapped[UUID | None] = mapped_column(ForeignKey("allocation.id"))


class Entry(Base):
    """One movement of credits from one book to another: double-entry in one row, so it can't be unbalanced.

    ``key`` says what the entry is for; writing the same thing twice is refused by the database.
    """

    __tablename__ = "entry"
    __table_args__ = (
        CheckConstraint("amount_micro > 0", name="positive"),
        CheckConstraint("from_book_id <> to_book_id", name="two_books"),
        Index("ix_entry_from", "from_book_id", "at"),
        Index("ix_entry_to", "to_book_id", "at"),
        *(
            Index(
                f"ix_entry_{side}_without_hold",
                f"{side}_book_id",
                "at",
                sqlite_where=text("hold_id IS NULL"),
                postgresql_where=text("hold_id IS NULL"),
            )
            for side in ("from", "to")
        ),
    )
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    kind: Mapped[EntryKind] = mapped_column(Word(EntryKind))
    key: Mapped[str] = mapped_column(Text, unique=True)
    from_book_id: Mapped[UUID] = mapped_column(ForeignKey("book.id"))
    to_book_id: Mapped[UUID] = mapped_column(ForeignKey("book.id"))
    amount_micro: Mapped[int]
    at: Mapped[datetime]
    hold_id: Mapped[UUID | None] = mapped_column(ForeignKey("hold.id"), index=True)
    actor: Mapped[str] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(Text)
    rate_card_version: Mapped[int | None]


class Link(Base):
    """An entry's place in the chain of one allocation's book; a transfer stands in two chains.

    The platform's own books have no chain: it would make every append wait for every other.
    """

    __tablename__ = "link"
    __table_args__ = (UniqueConstraint("entry_id", "book_id"),)
    book_id: Mapped[UUID] = mapped_column(ForeignKey("book.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    entry_id: Mapped[UUID] = mapped_column(ForeignKey("entry.id"))
    amount_micro: Mapped[int]
    hash: Mapped[str] = mapped_column(Text)


class Checkpoint(Base):
    """A book's sums up to one link, derived from its entries so that a balance adds up few rows."""

    __tablename__ = "checkpoint"
    book_id: Mapped[UUID] = mapped_column(ForeignKey("book.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[datetime]
    balance_micro: Mapped[int]
    used_micro: Mapped[int]


class PlatformDay(Base):
    """What servers cost on one UTC day in all accounts, derived from the entries so that a page adds up few.

    The day that was kept ``at`` a moment says what was left then in so many ``running`` allocations.
    """

    __tablename__ = "platform_day"
    day: Mapped[date] = mapped_column(primary_key=True)
    spent_micro: Mapped[int]
    at: Mapped[datetime | None]
    running: Mapped[int | None]
    left_micro: Mapped[int | None]


class RateCardRow(Base):
    """A rate card as it was when first used; a version's rates never change."""

    __tablename__ = "rate_card"
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    first_used_at: Mapped[datetime]
    rates: Mapped[dict[str, int]] = mapped_column(JSON)


class Hold(Base):
    """Credits set aside for one server, and the running reading of what it has used."""

    __tablename__ = "hold"
    __table_args__ = (
        Index(
            "ix_hold_open_server",
            "person_id",
            "server_name",
            unique=True,
            sqlite_where=OPEN_HOLD,
            postgresql_where=OPEN_HOLD,
        ),
        Index("ix_hold_allocation_state", "allocation_id", "state"),
        Index("ix_hold_allocation_person", "allocation_id", "person_id", "placed_at"),
        Index("ix_hold_subgroup", "subgroup_id", "placed_at"),
        Index("ix_hold_allocation_placed", "allocation_id", "placed_at"),
        Index("ix_hold_person_placed", "person_id", "placed_at"),
        Index("ix_hold_person_settled", "person_id", "settled_at"),
        CheckConstraint("posted_micro >= 0", name="posted"),
    )
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    allocation_id: Mapped[UUID] = mapped_column(ForeignKey("allocation.id"))
    person_id: Mapped[UUID] = mapped_column(ForeignKey("person.id"), index=True)
    server_name: Mapped[str] = mapped_column(Text)
    state: Mapped[HoldState] = mapped_column(Word(HoldState), index=True)
    size: Mapped[str] = mapped_column(Text)
    cpu: Mapped[int]
    memory_bytes: Mapped[int]
    gpu: Mapped[int]
    image: Mapped[str] = mapped_column(Text)
    planned_minutes: Mapped[int]
    grace_minutes: Mapped[int]
    rate_micro_per_hour: Mapped[int]
    rate_card_version: Mapped[int]
    amount_micro: Mapped[int]
    placed_at: Mapped[datetime]
    until: Mapped[datetime]
    process_started_at: Mapped[datetime | None]
    last_seen_at: Mapped[datetime | None]
    earlier_s: Mapped[float] = mapped_column(default=0.0)
    usage_micro: Mapped[int] = mapped_column(default=0)
    posted_micro: Mapped[int] = mapped_column(default=0)
    posted_at: Mapped[datetime | None]
    keep_alive_until: Mapped[datetime | None]
    settled_at: Mapped[datetime | None]
    stopped_at: Mapped[datetime | None]
    stop_reason: Mapped[str | None] = mapped_column(Text)
    stop_actor: Mapped[str | None] = mapped_column(Text)
    stop_note: Mapped[str | None] = mapped_column(Text)
    exit_signal: Mapped[int | None]
    exit_code: Mapped[int | None]
    subgroup_id: Mapped[UUID | None] = mapped_column(ForeignKey("subgroup.id"))
    read_only: Mapped[bool] = mapped_column(default=False)
    allocation: Mapped[Allocation] = relationship(lazy="raise_on_sql")
    person: Mapped[Person] = relationship(lazy="raise_on_sql")


class StopIntent(Base):
    """Who is about to stop a server, and why; recorded before the stop, because the hub never tells."""

    __tablename__ = "stop_intent"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    hold_id: Mapped[UUID] = mapped_column(ForeignKey("hold.id"), index=True)
    reason: Mapped[str] = mapped_column(Text)
    actor: Mapped[str] = mapped_column(Text)
    note: Mapped[str | None] = mapped_column(Text)
    at: Mapped[datetime]


class SpendNotice(Base):
    """An award was used up to one of the policy's marks; it stands until credits come in again."""

    __tablename__ = "spend_notice"
    __table_args__ = (
        Index(
            "ix_spend_notice_standing",
            "allocation_id",
            "percent",
            unique=True,
            sqlite_where=STANDING_NOTICE,
            postgresql_where=STANDING_NOTICE,
        ),
    )
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    allocation_id: Mapped[UUID] = mapped_column(ForeignKey("allocation.id"))
    percent: Mapped[int]
    award_micro: Mapped[int]
    left_micro: Mapped[int]
    at: Mapped[datetime]
    cleared_at: Mapped[datetime | None]


class OfflineEvent(Base):
    """A launch that was granted or refused while the service was away, collected from the hub.

    A lease's id is that of its hold.
    """

    __tablename__ = "offline_event"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    person_id: Mapped[UUID] = mapped_column(ForeignKey("person.id"), index=True)
    kind: Mapped[OfflineKind] = mapped_column(Word(OfflineKind))
    at: Mapped[datetime] = mapped_column(index=True)
    account: Mapped[str] = mapped_column(Text)
    size: Mapped[str] = mapped_column(Text)
    why: Mapped[str | None] = mapped_column(Text)
    collected_at: Mapped[datetime]
    person: Mapped[Person] = relationship(lazy="raise_on_sql")


class DaskCluster(Base):
    """A Dask cluster beside its hold: its rates, and the workers that the gateway last reported."""

    __tablename__ = "dask_cluster"
    hold_id: Mapped[UUID] = mapped_column(ForeignKey("hold.id"), primary_key=True)
    name: Mapped[str | None] = mapped_column(Text)
    scheduler_micro_per_hour: Mapped[int]
    worker_micro_per_hour: Mapped[int]
    worker_cpu: Mapped[int]
    workers_max: Mapped[int]
    workers: Mapped[int]
    reported_at: Mapped[datetime | None]


class PoolReading(Base):
    """What all accounts together spent of the platform's budget, as the meter last read it: one row."""

    __tablename__ = "pool_reading"
    name: Mapped[str] = mapped_column(Text, primary_key=True)
    at: Mapped[datetime]
    spent_micro: Mapped[int]
    waits_until: Mapped[datetime | None]


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


class WebSession(Base):
    """A portal session: the browser holds an opaque id, of which only the hash is kept here."""

    __tablename__ = "web_session"
    id_hash: Mapped[str] = mapped_column(Text, primary_key=True)
    person_id: Mapped[UUID] = mapped_column(ForeignKey("person.id"), index=True)
    hub_token: Mapped[str] = mapped_column(Text)
    csrf_secret: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)


class Lease(Base):
    """A time-bound claim to a task that only one process may do at a time."""

    __tablename__ = "lease"
    name: Mapped[str] = mapped_column(Text, primary_key=True)
    holder: Mapped[str] = mapped_column(Text)
    expires_at: Mapped[datetime]


class Maintenance(Base):
    """The platform holds new launches, with a message to who would start one: one row, or none."""

    __tablename__ = "maintenance"
    name: Mapped[str] = mapped_column(Text, primary_key=True)
    message: Mapped[str] = mapped_column(Text)
    since: Mapped[datetime]
    until: Mapped[datetime | None]
    actor: Mapped[str] = mapped_column(Text)


class MeterTick(Base):
    """The last round of the meter, and whether the hub answered in full: one row."""

    __tablename__ = "meter_tick"
    name: Mapped[str] = mapped_column(Text, primary_key=True)
    at: Mapped[datetime]
    complete_at: Mapped[datetime | None]
    trouble: Mapped[str | None] = mapped_column(Text)
    facts: Mapped[dict[str, Any]] = mapped_column(JSON)
