"""What administrators answer to a request, and what an approved grant answers by itself."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.orm import Session

from nexus_allocator.domain.credits import MICRO
from nexus_allocator.domain.errors import BadAmount, BadDate, UnknownRequest
from nexus_allocator.domain.policy import Policy, Tier
from nexus_allocator.domain.records import Act
from nexus_allocator.domain.requests import require_move
from nexus_allocator.domain.rights import Action
from nexus_allocator.domain.states import Mover, RequestState, TierSlug
from nexus_allocator.services import allocations, endings, founding, places, reviews, shares
from nexus_allocator.services.records import record
from nexus_allocator.services.request_moves import move, renew
from nexus_allocator.services.rights import overseer
from nexus_allocator.store import accounts, requests
from nexus_allocator.store.tables import Person, TierRequest

LONGEST = timedelta(days=3653)
PLATFORM = "nexus"


@dataclass(frozen=True)
class Award:
    """What is given; None is as the tier asked for states it.

    ``bypass`` is why an administrator decides a panel's request without enough reviews.
    """

    credits_micro: int | None = None
    tier: TierSlug | None = None
    expires_at: datetime | None = None
    note: str | None = None
    bypass: str | None = None


def review(session: Session, *, request_id: UUID, administrator_id: UUID, now: datetime) -> TierRequest:
    """Take a request into review. Raises NotAllowed, UnknownRequest, IllegalMove."""
    request, admin = asked(session, request_id, administrator_id)
    move(session, request, RequestState.IN_REVIEW, mover=Mover.ADMINISTRATOR, actor_id=admin.id, now=now)
    return request


def send_back(
    session: Session, *, request_id: UUID, administrator_id: UUID, reason: str, now: datetime
) -> TierRequest:
    """Return a request to be revised. Raises NotAllowed, UnknownRequest, BadReason, IllegalMove."""
    request, admin = asked(session, request_id, administrator_id)
    text = allocations.require_reason(reason)
    move(session, request, RequestState.RETURNED, mover=Mover.ADMINISTRATOR, actor_id=admin.id, reason=text,
         now=now)  # fmt: skip
    return request


def deny(
    session: Session, *, request_id: UUID, administrator_id: UUID, reason: str, now: datetime
) -> TierRequest:
    """Say no, with a reason. Raises NotAllowed, UnknownRequest, BadReason, IllegalMove."""
    request, admin = asked(session, request_id, administrator_id)
    text = allocations.require_reason(reason)
    move(session, request, RequestState.DENIED, mover=Mover.ADMINISTRATOR, actor_id=admin.id, reason=text,
         now=now)  # fmt: skip
    request.decided_at, request.decided_by, request.decision_reason = now, admin.id, text
    return request


def award(
    session: Session,
    *,
    policy: Policy,
    request_id: UUID,
    administrator_id: UUID,
    award: Award,
    now: datetime,
) -> TierRequest:
    """Say yes: the tier changes, its credits are granted and its length starts, all at the next launch.

    Less than the tier states makes a partial award, more a larger one.
    Raises NotAllowed, UnknownRequest, Conflicted, PanelNotHeard, IllegalMove, BadAmount, BadDate, BadReason.
    """
    request, admin = asked(session, request_id, administrator_id)
    require_move(request.state, RequestState.AWARDED, Mover.ADMINISTRATOR)
    reviews.require_panel(session, request, rules=policy.panel, admin=admin, bypass=award.bypass, now=now)
    _give(session, request, award, policy=policy, admin=admin, now=now)
    return request


def award_as_offered(
    session: Session, request: TierRequest, given: Award, *, policy: Policy, made_by: Person, now: datetime
) -> None:
    """Award the locked request on the terms its applicant accepted, as who offered. Raises as `award`."""
    _give(session, request, given, policy=policy, admin=made_by, now=now, mover=Mover.PLATFORM)


def award_by_grant(
    session: Session, request: TierRequest, person: Person, *, policy: Policy, now: datetime
) -> bool:
    """Award the request when it names an approved grant of this person that was not used; say whether."""
    if request.grant_number is None or not policy.tiers[request.tier].automatic_with_grant:
        return False
    found = requests.lock_grant(session, request.grant_number)
    if found is None or found.request_id is not None or found.ends_at <= now:
        return False
    if (person.email or "").casefold() != found.holder_email.casefold():
        return False
    found.request_id = request.id
    given = Award(found.credits_micro, note=f"Approved grant {found.number}")
    _give(session, request, given, policy=policy, admin=None, now=now)
    return True


def grant_key(number: str | None) -> str | None:
    """Return a grant's number as the list keeps it; None for an empty one."""
    return "".join((number or "").upper().split())[:64] or None


def asked(session: Session, request_id: UUID, administrator_id: UUID) -> tuple[TierRequest, Person]:
    """Return the locked request and who decides it. Raises NotAllowed, UnknownRequest, Conflicted."""
    admin = overseer(session, administrator_id, Action.REQUEST_DECIDE)
    request = requests.lock(session, request_id)
    if request is None:
        raise UnknownRequest(request_id=str(request_id))
    reviews.require_unconflicted(session, request, admin)
    return request, admin


def _give(
    session: Session,
    request: TierRequest,
    given: Award,
    *,
    policy: Policy,
    admin: Person | None,
    now: datetime,
    mover: Mover | None = None,
) -> None:
    wished, terms = policy.tiers[request.tier], policy.tiers[given.tier or request.tier]
    actor = admin.hub_name if admin else PLATFORM
    found = founding.account_for(session, request, terms.slug, policy=policy, actor=actor, now=now)
    allocation = accounts.lock(session, [found.allocation.id])[found.allocation.id]
    amount = amount_of(given, terms)
    ends = require_end(given.expires_at or max(allocation.expires_at, now + terms.length), now=now)
    enough = amount >= (wished.credits_micro or 0) and ends >= now + wished.length
    whole = enough and terms.slug == request.tier
    _decide(session, request, whole=whole, note=given.note, admin=admin, mover=mover, now=now)
    record(session, Act.ALLOCATION_CHANGED, found.id, by=admin.id if admin else PLATFORM, now=now,
           before={"tier": allocation.tier, "expires_at": allocation.expires_at},
           after={"tier": terms.slug, "expires_at": ends, "request_id": request.id})  # fmt: skip
    allocation.tier, allocation.policy_version = terms.slug, policy.version
    if found.team_id is not None and endings.is_renewal(session, request):
        shares.count_anew(session, found.team_id, now=now)
    endings.begin_anew(session, allocation, expires_at=ends)
    places.awarded(session, found, policy=policy, now=now)
    request.awarded_micro, request.ends_at = amount, ends
    allocations.award(session, allocation.id, amount, key=f"request/{request.id}", actor=actor,
                      reason=f"{terms.label} award", now=now)  # fmt: skip
    renew(session, request.account_id, by=request.id, now=now)
    move(session, request, RequestState.ACTIVE, mover=Mover.PLATFORM, actor_id=None, now=now)


def _decide(
    session: Session,
    request: TierRequest,
    *,
    whole: bool,
    note: str | None,
    admin: Person | None,
    mover: Mover | None,
    now: datetime,
) -> None:
    after = RequestState.AWARDED if whole else RequestState.AWARDED_IN_PART
    mover = mover or (Mover.ADMINISTRATOR if admin else Mover.PLATFORM)
    decided_by = admin.id if admin else None
    actor_id = decided_by if mover is Mover.ADMINISTRATOR else None
    reason = allocations.require_reason(note) if note else None
    move(session, request, after, mover=mover, actor_id=actor_id, reason=reason, now=now)
    request.decided_at, request.decided_by, request.decision_reason = now, decided_by, reason


def amount_of(given: Award, terms: Tier) -> int:
    """Return the credits of an award, the tier's where it names none. Raises BadAmount."""
    micro = terms.credits_micro if given.credits_micro is None else given.credits_micro
    if micro is None or not 0 < micro <= allocations.LARGEST_MICRO:
        raise BadAmount(amount=(micro or 0) / MICRO, must_be=allocations.GRANT_RANGE)
    return micro


def require_end(ends_at: datetime, *, now: datetime) -> datetime:
    """Return the end of an award. Raises BadDate."""
    if not now < ends_at <= now + LONGEST:
        raise BadDate(date=ends_at.date().isoformat(), must_be="in the future and within ten years")
    return ends_at
