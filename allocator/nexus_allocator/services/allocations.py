"""Opening accounts, and granting and correcting what they hold."""

from datetime import datetime
from uuid import UUID, uuid4

from sqlalchemy.orm import Session

from nexus_allocator.domain.credits import MICRO
from nexus_allocator.domain.errors import (
    BadAmount,
    BadReason,
    NotBetweenTeamAndMember,
    TransferTooLarge,
    UnknownAccount,
)
from nexus_allocator.domain.policy import Policy
from nexus_allocator.domain.records import Act
from nexus_allocator.domain.states import AccountKind, EntryKind, TierSlug
from nexus_allocator.services.records import record, signature
from nexus_allocator.store import accounts, ledger
from nexus_allocator.store.tables import Account, Allocation, Entry

REASON_LENGTH = (3, 2000)
# Far above any award, far below what sums of 64-bit integers can bear.
LARGEST_MICRO = 10**15
GRANT_RANGE = "above zero and at most a thousand million credits"
CORRECTION_RANGE = "other than zero and at most a thousand million credits"


def open_account(
    session: Session,
    *,
    policy: Policy,
    slug: str,
    label: str,
    kind: AccountKind,
    owner_id: UUID,
    tier: TierSlug,
    actor: str,
    now: datetime,
    with_grant: bool = True,
) -> Account:
    """Make an account with its allocation in ``tier`` and, where the tier states credits, their grant.

    ``with_grant`` False: an award decides what is granted.
    """
    owner = {"person_id": owner_id} if kind is AccountKind.PERSONAL else {"team_id": owner_id}
    account = Account(slug=slug, label=label, kind=kind, created_at=now, **owner)
    session.add(account)
    session.flush()
    terms = policy.tiers[tier]
    allocation = Allocation(
        account_id=account.id, tier=tier, starts_at=now, expires_at=now + terms.length,
        policy_version=policy.version,
    )  # fmt: skip
    session.add(allocation)
    session.flush()
    ledger.open_book(session, allocation.id)
    record(session, Act.ACCOUNT_OPENED, account.id, by=actor, person_id=account.person_id, now=now,
           after={"tier": tier, "expires_at": allocation.expires_at})  # fmt: skip
    if terms.credits_micro and with_grant:
        reason = f"{terms.label} allocation"
        award(session, allocation.id, terms.credits_micro, key=f"open/{allocation.id}", actor=actor,
              reason=reason, now=now)  # fmt: skip
    return account


def award(
    session: Session,
    allocation_id: UUID,
    amount_micro: int,
    *,
    key: str,
    actor: str,
    reason: str,
    now: datetime,
) -> Entry:
    """Grant credits; ``key`` names the decision, so that it can't be granted twice."""
    entry = ledger.append(
        session, allocation_id, amount_micro, kind=EntryKind.GRANT, key=f"grant/{key}", at=now,
        actor=signature(session, actor), reason=reason,
    )  # fmt: skip
    account = accounts.of_allocation(session, allocation_id)
    record(session, Act.GRANTED, account.id, by=actor, person_id=account.person_id, reason=reason, now=now,
           after={"amount_micro": amount_micro, "entry_id": entry.id})  # fmt: skip
    return entry


def grant(
    session: Session, *, account: str, amount_micro: int, reason: str, actor: str, now: datetime
) -> Entry:
    """Add credits to an account by an operator's hand. Raises UnknownAccount, BadAmount, BadReason."""
    if not 0 < amount_micro <= LARGEST_MICRO:
        raise BadAmount(amount=amount_micro / MICRO, must_be=GRANT_RANGE)
    allocation = _allocation_of(session, account)
    return award(session, allocation.id, amount_micro, key=str(uuid4()), actor=actor,
                 reason=require_reason(reason), now=now)  # fmt: skip


def correct(
    session: Session, *, account: str, amount_micro: int, reason: str, actor: str, now: datetime
) -> Entry:
    """Repair an account by ``amount_micro``, which may be negative; entries themselves never change.

    Raises UnknownAccount, BadAmount, BadReason.
    """
    if amount_micro == 0 or abs(amount_micro) > LARGEST_MICRO:
        raise BadAmount(amount=amount_micro / MICRO, must_be=CORRECTION_RANGE)
    allocation = _allocation_of(session, account)
    entry = ledger.append(
        session, allocation.id, amount_micro, kind=EntryKind.CORRECTION, key=f"correction/{uuid4()}",
        at=now, actor=signature(session, actor), reason=require_reason(reason),
    )  # fmt: skip
    record(session, Act.CORRECTED, allocation.account_id, by=actor, reason=entry.reason, now=now,
           after={"amount_micro": amount_micro, "entry_id": entry.id})  # fmt: skip
    return entry


def transfer(
    session: Session,
    *,
    source: str,
    target: str,
    amount_micro: int,
    reason: str,
    actor: str,
    now: datetime,
) -> Entry:
    """Move credits between a team and one of its members, either way, as far as none is held.

    Raises UnknownAccount, NotBetweenTeamAndMember, BadAmount, BadReason, TransferTooLarge.
    """
    if not 0 < amount_micro <= LARGEST_MICRO:
        raise BadAmount(amount=amount_micro / MICRO, must_be=GRANT_RANGE)
    giving, taking = _account_called(session, source), _account_called(session, target)
    if not _is_team_and_member(session, giving, taking):
        raise NotBetweenTeamAndMember(source=source[:40], target=target[:40])
    text = require_reason(reason)
    accounts.lock(session, [giving.allocation.id, taking.allocation.id])
    available = ledger.balance(session, giving.allocation.id) - ledger.held(session, giving.allocation.id)
    if amount_micro > available:
        raise TransferTooLarge(account=giving.slug, requested_micro=amount_micro, available_micro=available)
    entry = ledger.transfer(
        session, giving.allocation.id, taking.allocation.id, amount_micro, key=f"transfer/{uuid4()}",
        at=now, actor=signature(session, actor), reason=text,
    )  # fmt: skip
    record(session, Act.TRANSFERRED, giving.id, by=actor, reason=text, now=now,
           after={"to": taking.id, "amount_micro": amount_micro, "entry_id": entry.id})  # fmt: skip
    return entry


def _is_team_and_member(session: Session, one: Account, other: Account) -> bool:
    for team, own in ((one, other), (other, one)):
        if team.team_id is not None and own.person_id is not None:
            return accounts.membership(session, team.team_id, own.person_id) is not None
    return False


def require_reason(reason: str) -> str:
    """Return the reason without surrounding space. Raises BadReason when it is too short or too long."""
    text = reason.strip()
    if not REASON_LENGTH[0] <= len(text) <= REASON_LENGTH[1] or "\x00" in text:
        raise BadReason(min=REASON_LENGTH[0], max=REASON_LENGTH[1])
    return text


def _allocation_of(session: Session, slug: str) -> Allocation:
    account = _account_called(session, slug)
    return accounts.lock(session, [account.allocation.id])[account.allocation.id]


def _account_called(session: Session, slug: str) -> Account:
    account = accounts.by_slug(session, slug)
    if account is None:
        raise UnknownAccount(account=slug[:40])
    return account
