"""What the launch page shows: who may pay, for which sizes, what it costs and what is left."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.orm import Session

from nexus_allocator.domain.endings import ReadOnly
from nexus_allocator.domain.forecast import PACE_DAYS, Burn, burn
from nexus_allocator.domain.policy import Policy, Size
from nexus_allocator.domain.pool import PoolState
from nexus_allocator.domain.states import AccountKind, TierSlug
from nexus_allocator.services import announcements, endings, enforcement, maintenance, pool, shares
from nexus_allocator.services.announcements import Announced
from nexus_allocator.services.maintenance import Held
from nexus_allocator.services.rights import person_called
from nexus_allocator.store import accounts, forecasting, holds, ledger, people, requests, spend_notices
from nexus_allocator.store.tables import Account, Allocation, Hold, SpendNotice


@dataclass(frozen=True)
class Standing:
    """Where an allocation stands, in micro-credits.

    ``balance_micro`` is the ledger's sum less what running servers have used and not yet posted;
    ``available_micro`` is what a new launch may set aside.
    """

    balance_micro: int
    held_micro: int
    available_micro: int
    burn: Burn


@dataclass(frozen=True)
class AccountChoice:
    slug: str
    label: str
    kind: AccountKind
    tier: TierSlug
    expires_at: datetime
    standing: Standing
    sizes: list[Size]
    notice: enforcement.Standing | None
    reading: ReadOnly | None = None


@dataclass(frozen=True)
class LastStop:
    reason: str
    actor: str | None
    at: datetime
    exit_signal: int | None
    exit_code: int | None


@dataclass(frozen=True)
class LaunchPage:
    accepted: bool
    accounts: list[AccountChoice]
    last_stop: LastStop | None
    can_request: bool
    brake: PoolState | None
    held: Held | None = None
    announced: tuple[Announced, ...] = ()


def launch_page(session: Session, *, policy: Policy, hub_name: str, now: datetime) -> LaunchPage:
    """Return what a person may launch; nothing but the agreement before it is accepted."""
    person = person_called(session, hub_name)
    if not people.has_accepted(session, person.id, policy.agreement.version):
        return LaunchPage(accepted=False, accounts=[], last_stop=None, can_request=False, brake=None)
    chargeable = accounts.chargeable_by(session, person.id)
    noticed = spend_notices.highest(session, [account.allocation.id for account in chargeable])
    return LaunchPage(
        accepted=True,
        accounts=[
            _choice(session, policy, account, person.id, notice=noticed.get(account.allocation.id), now=now)
            for account in chargeable
        ],
        last_stop=last_stop(session, person.id),
        held=maintenance.standing(session, now=now),
        announced=tuple(announcements.standing(session, now=now)),
        can_request=any(_can_request(session, policy, account) for account in chargeable),
        brake=pool.braking(session, policy.pool, now=now),
    )


def standing(session: Session, allocation: Allocation, *, now: datetime) -> Standing:
    """Return the allocation's balance, held and available amounts and its pace."""
    posted, held = ledger.balance(session, allocation.id), ledger.held(session, allocation.id)
    unposted = ledger.unposted(session, allocation.id)
    began = max(allocation.starts_at, now - timedelta(days=PACE_DAYS))
    by_day = forecasting.spent_by_day(session, [allocation.id], since=began)[allocation.id]
    spent = sum(by_day.values()) + unposted
    days = max((now - began) / timedelta(days=1), 1.0)
    left = posted - unposted
    pace = burn(spent_micro=spent, days=days, balance_micro=left, now=now, expires_at=allocation.expires_at)
    return Standing(left, held - unposted, posted - held, pace)


def last_stop(session: Session, person_id: UUID) -> LastStop | None:
    """Return why the person's latest server stopped; None when none ever ran."""
    for hold in holds.settled_of_person(session, person_id, limit=1):
        return _stop_of(hold)
    return None


def _stop_of(hold: Hold) -> LastStop | None:
    if hold.stop_reason is None or hold.settled_at is None:
        return None
    at = hold.stopped_at or hold.last_seen_at or hold.settled_at
    return LastStop(hold.stop_reason, hold.stop_actor, at, hold.exit_signal, hold.exit_code)


def _choice(
    session: Session,
    policy: Policy,
    account: Account,
    person_id: UUID,
    *,
    notice: SpendNotice | None,
    now: datetime,
) -> AccountChoice:
    allocation = account.allocation
    reading = endings.offer(session, account, allocation, policy=policy, now=now)
    return AccountChoice(
        slug=account.slug,
        label=account.label,
        kind=account.kind,
        tier=allocation.tier,
        expires_at=allocation.expires_at,
        standing=_own_standing(session, account, person_id, now=now),
        sizes=_sizes(policy, allocation, reading, now=now),
        reading=reading,
        notice=enforcement.standing(notice, policy.enforcement) if notice else None,
    )


def _sizes(policy: Policy, allocation: Allocation, reading: ReadOnly | None, *, now: datetime) -> list[Size]:
    if now < allocation.expires_at:
        return policy.sizes_of(allocation.tier, only=allocation.sizes)
    return [reading.size] if reading and reading.minutes_left else []


def _own_standing(session: Session, account: Account, person_id: UUID, *, now: datetime) -> Standing:
    """Return where the account stands, with what is available no more than the person's part of it."""
    whole = standing(session, account.allocation, now=now)
    if account.team_id is None:
        return whole
    part = shares.standing_of(session, account.team_id, account.allocation.id, person_id=person_id, now=now)
    if part is None or part.room_micro is None:
        return whole
    return replace(whole, available_micro=min(whole.available_micro, part.room_micro))


def _can_request(session: Session, policy: Policy, account: Account) -> bool:
    above = policy.requestable(account.kind, account.allocation.tier)
    return bool(above) and requests.open_of_account(session, account.id) is None
