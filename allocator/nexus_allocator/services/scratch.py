"""Scratch: a large place for a while, with its cost shown first; its lease ends, and can be renewed."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.orm import Session

from nexus_allocator.domain.errors import AllocationExpired, BadAmount, BadDays, ScratchUnpaid
from nexus_allocator.domain.places import Place, PlaceKind
from nexus_allocator.domain.policy import Policy
from nexus_allocator.domain.quotas import GB, lease_micro
from nexus_allocator.domain.records import NEXUS, Act
from nexus_allocator.domain.rights import Action
from nexus_allocator.domain.states import NoticeKind
from nexus_allocator.services import places as service
from nexus_allocator.services.notices import owners, tell
from nexus_allocator.services.records import record
from nexus_allocator.services.rights import account_for, in_good_standing, person_called
from nexus_allocator.store import accounts, ledger, places
from nexus_allocator.store.places_tables import PlaceRow
from nexus_allocator.store.session import Database
from nexus_allocator.store.tables import Account


@dataclass(frozen=True)
class Offer:
    """What a scratch would be and cost at most: full from its first day to its last."""

    size_bytes: int
    days: int
    ends_at: datetime
    cost_micro: int
    available_micro: int


@dataclass(frozen=True)
class Wish:
    account: str
    size_gb: float
    days: int


def offer(session: Session, wish: Wish, *, hub_name: str, policy: Policy, now: datetime) -> Offer:
    """Return what the wished scratch would cost.

    Raises UnknownAccount, AllocationExpired, BadAmount, BadDays.
    """
    account = _account(session, wish, hub_name)
    return _offer(session, account, wish, policy=policy, now=now)


def require_taker(session: Session, slug: str, *, hub_name: str) -> None:
    """Raise UnknownAccount unless the person may ask for scratch on the account."""
    _account(session, Wish(slug, 0, 0), hub_name)


def take(session: Session, wish: Wish, *, hub_name: str, policy: Policy, now: datetime) -> Offer:
    """Take a scratch for an account, or renew the one it has with another size and end.

    Raises as `offer`, and ScratchUnpaid when it could cost more than is left.
    """
    account = _account(session, wish, hub_name)
    accounts.lock(session, [account.allocation.id])
    made = _offer(session, account, wish, policy=policy, now=now)
    if made.cost_micro > made.available_micro:
        raise ScratchUnpaid(cost_micro=made.cost_micro, available_micro=made.available_micro)
    place = Place(PlaceKind.SCRATCH, service.own_name(session, account))
    row = places.called(session, place)
    before = {"ends_at": row.ends_at, "bytes": row.hard_bytes} if row else None
    if row is None:
        row = service.opened(session, account, place, now=now, ends_at=made.ends_at)
    row.ends_at, row.ended_at, row.told_days = made.ends_at, None, None
    service.fit(session, row, size_bytes=made.size_bytes, terms=policy.storage, now=now)
    after = {"ends_at": made.ends_at, "bytes": made.size_bytes, "most_micro": made.cost_micro}
    record(session, Act.SCRATCH_TAKEN, account.id, by=hub_name, person_id=account.person_id, before=before,
           after=after, now=now)  # fmt: skip
    return made


def turn_all(database: Database, *, policy: Policy, now: datetime) -> int:
    """Tell of leases that end, and end those that are over; return how many places were touched."""
    longest = max(policy.storage.scratch_notice_days, default=0)
    with database.reading_scope() as session:
        due = places.leases_ending(session, before=now + timedelta(days=longest))
    touched = 0
    for place_id in due:
        with database.session_scope() as session:
            touched += _turn(session, place_id, policy=policy, now=now)
    return touched


def _turn(session: Session, place_id: UUID, *, policy: Policy, now: datetime) -> bool:
    row = places.lock(session, place_id)
    if row is None or row.ends_at is None or row.ended_at is not None:
        return False
    if row.ends_at <= now:
        row.ended_at = now
        service.enforce(session, row, terms=policy.storage, now=now)
        record(session, Act.SCRATCH_ENDED, row.account_id, by=NEXUS, person_id=row.account.person_id, now=now)
        _tell(session, row, NoticeKind.SCRATCH_ENDED, days=0, now=now)
        return True
    days = [day for day in policy.storage.scratch_notice_days if now >= row.ends_at - timedelta(days=day)]
    if not days or row.told_days == min(days):
        return False
    row.told_days = min(days)
    _tell(session, row, NoticeKind.SCRATCH_ENDS, days=row.told_days, now=now)
    return True


def _tell(session: Session, row: PlaceRow, kind: NoticeKind, *, days: int, now: datetime) -> None:
    assert row.ends_at is not None  # noqa: S101 - a scratch has an end
    facts = {"place": str(row.place), "ends_on": row.ends_at.date().isoformat(), "days": days}
    for person_id in owners(session, row.account):
        key = f"{kind}/{row.id}/{row.ends_at.isoformat()}/{days}"
        tell(session, person_id, kind, key=key, facts=facts, now=now)


def _account(session: Session, wish: Wish, hub_name: str) -> Account:
    person = in_good_standing(person_called(session, hub_name))
    return account_for(session, person, wish.account, Action.SCRATCH_TAKE)


def _offer(session: Session, account: Account, wish: Wish, *, policy: Policy, now: datetime) -> Offer:
    allocation, terms = account.allocation, policy.storage
    if allocation.expires_at <= now:
        raise AllocationExpired(account=account.label, expired_at=allocation.expires_at.date().isoformat())
    most_bytes = policy.tiers[allocation.tier].place_bytes(PlaceKind.SCRATCH)
    most_gb = (service.LARGEST_BYTES if most_bytes is None else most_bytes) / GB
    if not 0 < wish.size_gb <= most_gb:
        raise BadAmount(amount=wish.size_gb, must_be=f"above zero and at most {most_gb:,g} GB")
    if not 1 <= wish.days <= terms.scratch_most_days:
        raise BadDays(days=wish.days, most=terms.scratch_most_days)
    size_bytes = round(wish.size_gb * GB)
    return Offer(
        size_bytes=size_bytes,
        days=wish.days,
        ends_at=now + timedelta(days=wish.days),
        cost_micro=lease_micro(size_bytes, wish.days, policy.rate_card.gb_month_micro),
        available_micro=ledger.balance(session, allocation.id) - ledger.held(session, allocation.id),
    )
