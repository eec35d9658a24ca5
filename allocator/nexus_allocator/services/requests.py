"""Asking for a larger tier, and the yes or no."""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.orm import Session

from nexus_allocator.domain.credits import MICRO
from nexus_allocator.domain.errors import (
    AgreementRequired,
    BadAmount,
    BadDate,
    RequestDecided,
    RequestOpen,
    TierNotRequestable,
    UnknownRequest,
)
from nexus_allocator.domain.policy import Policy
from nexus_allocator.domain.states import RequestState, TierSlug
from nexus_allocator.services import allocations
from nexus_allocator.services.rights import (
    account_to_speak_for,
    administrator,
    in_good_standing,
    person_called,
)
from nexus_allocator.store import accounts, people, requests
from nexus_allocator.store.session import announce
from nexus_allocator.store.tables import TierRequest

LONGEST = timedelta(days=3653)


def submit(
    session: Session,
    *,
    policy: Policy,
    hub_name: str,
    account: str,
    tier: str,
    justification: str,
    now: datetime,
) -> TierRequest:
    """Ask for ``tier`` on an account one may speak for.

    Raises AgreementRequired, UnknownAccount, TierNotRequestable, BadReason, RequestOpen.
    """
    person = in_good_standing(people.lock(session, person_called(session, hub_name).id))
    if not people.has_accepted(session, person.id, policy.agreement.version):
        raise AgreementRequired(version=policy.agreement.version)
    speaking = account_to_speak_for(session, person, account)
    allocation = accounts.lock(session, [speaking.allocation.id])[speaking.allocation.id]
    above = [choice.slug for choice in policy.requestable(speaking.kind, allocation.tier)]
    if tier not in above:
        raise TierNotRequestable(tier=tier[:40], requestable=above)
    text = allocations.require_reason(justification)
    if requests.open_of_account(session, speaking.id) is not None:
        raise RequestOpen(account=account)
    request = TierRequest(
        account_id=speaking.id, person_id=person.id, tier=TierSlug(tier), tier_before=allocation.tier,
        justification=text, state=RequestState.SUBMITTED, submitted_at=now,
    )  # fmt: skip
    session.add(request)
    session.flush()
    announce(session, "tier_requested", request_id=request.id, account_id=speaking.id, tier=tier)
    return request


def award(
    session: Session,
    *,
    policy: Policy,
    request_id: UUID,
    administrator_id: UUID,
    credits_micro: int | None = None,
    tier: TierSlug | None = None,
    expires_at: datetime | None = None,
    note: str | None = None,
    now: datetime,
) -> TierRequest:
    """Say yes: the tier changes, its credits are granted and its length starts, all at the next launch.

    What is None is as the tier asked for states it; other values make a partial or a larger award.
    Raises NotAllowed, UnknownRequest, RequestDecided, BadAmount, BadDate.
    """
    request = _open_request(session, request_id, administrator_id)
    terms = policy.tiers[tier or request.tier]
    amount = _amount(terms.credits_micro if credits_micro is None else credits_micro)
    found = accounts.by_id(session, request.account_id)
    allocation = accounts.lock(session, [found.allocation.id])[found.allocation.id]
    ends = expires_at or max(allocation.expires_at, now + terms.length)
    if not now < ends <= now + LONGEST:
        raise BadDate(date=ends.date().isoformat(), must_be="in the future and within ten years")
    allocation.tier, allocation.policy_version, allocation.expires_at = terms.slug, policy.version, ends
    reason = allocations.require_reason(note) if note else None
    actor = _decide(session, request, RequestState.AWARDED, by=administrator_id, reason=reason, now=now)
    request.awarded_micro = amount
    allocations.award(session, allocation.id, amount, key=f"request/{request.id}", actor=actor,
                      reason=f"{terms.label} award", now=now)  # fmt: skip
    return request


def _amount(credits_micro: int | None) -> int:
    if credits_micro is None or not 0 < credits_micro <= allocations.LARGEST_MICRO:
        raise BadAmount(amount=(credits_micro or 0) / MICRO, must_be=allocations.GRANT_RANGE)
    return credits_micro


def deny(
    session: Session, *, request_id: UUID, administrator_id: UUID, reason: str, now: datetime
) -> TierRequest:
    """Say no, with a reason. Raises NotAllowed, UnknownRequest, RequestDecided, BadReason."""
    request = _open_request(session, request_id, administrator_id)
    _decide(
        session, request, RequestState.DENIED, by=administrator_id,
        reason=allocations.require_reason(reason), now=now,
    )  # fmt: skip
    return request


def _open_request(session: Session, request_id: UUID, administrator_id: UUID) -> TierRequest:
    administrator(session, administrator_id)
    request = requests.lock(session, request_id)
    if request is None:
        raise UnknownRequest(request_id=str(request_id))
    if request.state != RequestState.SUBMITTED:
        raise RequestDecided(state=request.state)
    return request


def _decide(
    session: Session,
    request: TierRequest,
    state: RequestState,
    *,
    by: UUID,
    reason: str | None,
    now: datetime,
) -> str:
    request.state, request.decided_at, request.decided_by = state, now, by
    request.decision_reason = reason
    announce(session, f"request_{state}", request_id=request.id, decided_by=by)
    return administrator(session, by).hub_name
