"""What the clock does to allocations: notices before the end, Entry renewed by itself, others lapsed.

Nothing here stops a server. One that runs when its allocation ends goes on to its planned end, on the credits
that were set aside for it.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.orm import Session

from nexus_allocator.domain.endings import Phase, ReadOnly, notice_due, phase, read_only, renews_itself
from nexus_allocator.domain.policy import Policy
from nexus_allocator.domain.records import Act
from nexus_allocator.domain.requests import RENEWABLE
from nexus_allocator.domain.states import EntryKind, HoldState, NoticeKind, TierSlug
from nexus_allocator.domain.webhooks import EventKind
from nexus_allocator.services import allocations, places
from nexus_allocator.services.holds import reading_of
from nexus_allocator.services.notices import owners, tell
from nexus_allocator.services.records import record
from nexus_allocator.services.webhooks import emit
from nexus_allocator.store import accounts, holds, ledger, requests
from nexus_allocator.store.session import Database
from nexus_allocator.store.tables import Account, Allocation, TierRequest

PLATFORM = "nexus"


def turn_all(database: Database, *, policy: Policy, now: datetime) -> int:
    """Do what the clock owes each allocation, in a transaction of its own; return how many were touched."""
    longest = max((day for tier in policy.tiers.values() for day in tier.notice_days), default=0)
    with database.reading_scope() as session:
        near = accounts.ending_before(session, now + timedelta(days=longest))
        due = [allocation.id for allocation in near if _is_due(policy, allocation, now)]
    for allocation_id in due:
        with database.session_scope() as session:
            turn(session, allocation_id, policy=policy, now=now)
    return len(due)


def turn(session: Session, allocation_id: UUID, *, policy: Policy, now: datetime) -> None:
    """Do what the clock owes one allocation. Doing it again does nothing."""
    allocation = accounts.lock(session, [allocation_id])[allocation_id]
    account = accounts.by_id(session, allocation.account_id)
    if not _is_due(policy, allocation, now):
        return
    tier = policy.tiers[allocation.tier]
    if renews_itself(tier):
        _renew(session, account, allocation, policy=policy, now=now)
    elif phase(tier, allocation.expires_at, now) is Phase.OVER:
        _lapse(session, account, allocation, policy=policy, now=now)
    else:
        _give_notice(session, account, allocation, policy=policy, now=now)


def before_launch(
    session: Session, account: Account, allocation: Allocation, *, policy: Policy, now: datetime
) -> ReadOnly | None:
    """Do what the clock owes a locked allocation that ended; return what its days of grace offer."""
    if now < allocation.expires_at:
        return None
    if phase(policy.tiers[allocation.tier], allocation.expires_at, now) is Phase.OVER:
        turn(session, allocation.id, policy=policy, now=now)
    return offer(session, account, allocation, policy=policy, now=now)


def offer(
    session: Session, account: Account, allocation: Allocation, *, policy: Policy, now: datetime
) -> ReadOnly | None:
    """Return what may be launched to read and download; None outside of the days of grace."""
    if now < allocation.expires_at:
        return None
    used_s = sum(
        reading_of(hold).seconds
        if hold.state == HoldState.SETTLED
        else (hold.planned_minutes + hold.grace_minutes) * 60
        for hold in holds.read_only_since(session, allocation.id, allocation.expires_at)
    )
    return read_only(
        policy, policy.tiers[allocation.tier], account.kind, expires_at=allocation.expires_at, used_s=used_s,
        now=now,
    )  # fmt: skip


def is_renewal(session: Session, request: TierRequest) -> bool:
    """Say whether the request is for what its account has or had, about to end or ended."""
    return any(
        earlier.tier == request.tier and earlier.state in RENEWABLE and earlier.id != request.id
        for earlier in requests.living_of_account(session, request.account_id)
    )


def begin_anew(session: Session, allocation: Allocation, *, expires_at: datetime) -> None:
    """Let a locked allocation run to a new end, of which nobody has been told."""
    allocation.expires_at, allocation.told_days, allocation.closed_at = expires_at, None, None


def _is_due(policy: Policy, allocation: Allocation, now: datetime) -> bool:
    if allocation.closed_at is not None:
        return False
    tier, ends_at = policy.tiers[allocation.tier], allocation.expires_at
    stands = phase(tier, ends_at, now)
    if renews_itself(tier):
        return stands is not Phase.RUNNING
    if stands is Phase.OVER:
        return True
    return _notice_days(policy, allocation, now) is not None


def _notice_days(policy: Policy, allocation: Allocation, now: datetime) -> int | None:
    """Return which notice is due, by its days; 0 is that of the end itself."""
    tier = policy.tiers[allocation.tier]
    if phase(tier, allocation.expires_at, now) is Phase.GRACE:
        return 0 if allocation.told_days != 0 else None
    return notice_due(
        tier.notice_days, expires_at=allocation.expires_at, told_days=allocation.told_days, now=now
    )


def _give_notice(
    session: Session, account: Account, allocation: Allocation, *, policy: Policy, now: datetime
) -> None:
    days = _notice_days(policy, allocation, now)
    if days is None:
        return
    tier = policy.tiers[allocation.tier]
    allocation.told_days = days
    record(session, Act.ALLOCATION_NOTICED, account.id, by=PLATFORM, after={"days": days}, now=now)
    facts = {
        "account": account.label, "tier": tier.label, "days": days, "team": account.team_id is not None,
        "ends_on": allocation.expires_at.date().isoformat(),
        "grace_until": (allocation.expires_at + tier.grace).date().isoformat(),
        "grace_hours": tier.grace_hours,
    }  # fmt: skip
    kind = NoticeKind.ALLOCATION_ENDS if days else NoticeKind.ALLOCATION_ENDED
    _tell_owners(session, account, kind, f"{allocation.expires_at.isoformat()}/{days}", facts=facts, now=now)


def _renew(
    session: Session, account: Account, allocation: Allocation, *, policy: Policy, now: datetime
) -> None:
    """Begin another term of a tier that everybody has: the rest lapses, the tier's credits are granted."""
    tier, ended = policy.tiers[allocation.tier], allocation.expires_at
    lapsed = _take_back(session, allocation, why=f"{tier.label} term ended", now=now)
    begin_anew(session, allocation, expires_at=now + tier.length)
    record(session, Act.ALLOCATION_RENEWED, account.id, by=PLATFORM, before={"expires_at": ended},
           after={"expires_at": allocation.expires_at, "lapsed_micro": lapsed}, now=now)  # fmt: skip
    allocation.starts_at, allocation.policy_version = now, policy.version
    if tier.credits_micro:
        allocations.award(
            session, allocation.id, tier.credits_micro, key=f"renewal/{allocation.id}/{ended.isoformat()}",
            actor=PLATFORM, reason=f"{tier.label} allocation renewed", now=now,
        )  # fmt: skip
    facts = {
        "account": account.label,
        "tier": tier.label,
        "ends_on": allocation.expires_at.date().isoformat(),
    }
    _tell_owners(session, account, NoticeKind.ALLOCATION_RENEWED, ended.isoformat(), facts=facts, now=now)


def _lapse(
    session: Session, account: Account, allocation: Allocation, *, policy: Policy, now: datetime
) -> None:
    """The days of grace are over: what was left lapses, and a person has Entry again, a team nothing."""
    tier, ended = policy.tiers[allocation.tier], allocation.expires_at
    free = _take_back(session, allocation, why=f"{tier.label} allocation ended", now=now)
    record(session, Act.ALLOCATION_LAPSED, account.id, by=PLATFORM, before={"tier": tier.slug},
           after={"lapsed_micro": free}, now=now)  # fmt: skip
    facts = {"account": account.label, "tier": tier.label, "team": account.team_id is not None}
    _tell_owners(session, account, NoticeKind.ALLOCATION_LAPSED, ended.isoformat(), facts=facts, now=now)
    if account.team_id is not None:
        allocation.closed_at = now
        return
    entry = policy.tiers[TierSlug.ENTRY]
    allocation.tier, allocation.policy_version, allocation.starts_at = entry.slug, policy.version, now
    begin_anew(session, allocation, expires_at=now + entry.length)
    places.awarded(session, account, policy=policy, now=now)
    if entry.credits_micro:
        allocations.award(
            session, allocation.id, entry.credits_micro, key=f"lapse/{allocation.id}/{ended.isoformat()}",
            actor=PLATFORM, reason=f"{entry.label} allocation after {tier.label}", now=now,
        )  # fmt: skip


def _take_back(session: Session, allocation: Allocation, *, why: str, now: datetime) -> int:
    """Let what is neither spent nor held lapse and return it; what is held goes on paying for its server."""
    free = ledger.balance(session, allocation.id) - ledger.held(session, allocation.id)
    if free <= 0:
        return 0
    key = f"{EntryKind.LAPSE}/{allocation.id}/{allocation.expires_at.isoformat()}"
    ledger.append(
        session, allocation.id, -free, kind=EntryKind.LAPSE, key=key, at=now, actor=PLATFORM, reason=why
    )
    return free


def _tell_owners(
    session: Session,
    account: Account,
    kind: NoticeKind,
    key: str,
    *,
    facts: Mapping[str, object],
    now: datetime,
) -> None:
    told = {"account": account.slug, "notice": kind.value, "days": facts.get("days")}
    emit(session, EventKind.ALLOCATION_TOLD, key=f"{kind}/{account.id}/{key}", facts=told, now=now)
    for person_id in owners(session, account):
        tell(session, person_id, kind, key=f"{kind}/{account.id}/{key}", facts=facts, now=now)
