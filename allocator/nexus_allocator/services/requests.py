"""What an applicant does: write a request, send it, send it again after a revision, withdraw it."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from nexus_allocator.domain import science
from nexus_allocator.domain.errors import (
    AgreementRequired,
    BadAmount,
    BadName,
    BadReason,
    RequestOpen,
    TierNotRequestable,
    UnknownRequest,
)
from nexus_allocator.domain.names import MUST_BE, NAME
from nexus_allocator.domain.policy import Policy, Tier
from nexus_allocator.domain.records import Act
from nexus_allocator.domain.requests import RENEWABLE, WITH_APPLICANT, results
from nexus_allocator.domain.rights import Action
from nexus_allocator.domain.states import AccountKind, Mover, RequestState, TierSlug
from nexus_allocator.services import allocations, decisions, endings, founding, panels
from nexus_allocator.services.records import record
from nexus_allocator.services.request_moves import move
from nexus_allocator.services.rights import account_for, in_good_standing, person_called, themselves
from nexus_allocator.services.teams import require_label
from nexus_allocator.store import accounts, people, requests
from nexus_allocator.store.tables import Account, Person, TierRequest

LONGEST_TITLE = 200
MOST_MEMBERS = 50
# Every exposure of a five-year mission would be fewer.
MOST_EXPOSURES = 10_000_000


@dataclass(frozen=True)
class Ask:
    """What a request says; a draft may leave out all but account and tier."""

    account: str
    tier: str
    justification: str
    title: str | None = None
    exposures: int | None = None
    grant_number: str | None = None
    members: tuple[str, ...] = ()
    team_label: str | None = None
    papers: str = ""
    products: str = ""
    dois: str = ""


def submit(session: Session, ask: Ask, *, policy: Policy, hub_name: str, now: datetime) -> TierRequest:
    """Send a request; who holds an approved grant that it names has the award at once.

    Raises AgreementRequired, UnknownAccount, TierNotRequestable, BadReason, BadAmount, BadName, BadResults,
    RequestOpen.
    """
    allocations.require_reason(ask.justification)
    request, person = _written(session, ask, policy=policy, hub_name=hub_name, now=now)
    if founding.founds(request, accounts.by_id(session, request.account_id)):
        require_label(request.team_label or "")
    if endings.is_renewal(session, request):
        results(ask.papers, ask.products, ask.dois)
    request.submitted_at = now
    move(session, request, RequestState.SUBMITTED, mover=Mover.APPLICANT, actor_id=person.id, now=now)
    if not decisions.award_by_grant(session, request, person, policy=policy, now=now):
        panels.enter(session, request, policy=policy, now=now)
    return request


def draft(session: Session, ask: Ask, *, policy: Policy, hub_name: str, now: datetime) -> TierRequest:
    """Keep a request without sending it. Raises as `submit` does."""
    return _written(session, ask, policy=policy, hub_name=hub_name, now=now)[0]


def withdraw(session: Session, request_id: UUID, *, hub_name: str, now: datetime) -> TierRequest:
    """Take an undecided request back. Raises UnknownRequest for another's as for none, IllegalMove."""
    person = themselves(session, hub_name, Action.REQUEST_WITHDRAW)
    request = requests.lock(session, request_id)
    if request is None or request.person_id != person.id:
        raise UnknownRequest(request_id=str(request_id))
    move(session, request, RequestState.WITHDRAWN, mover=Mover.APPLICANT, actor_id=person.id, now=now)
    return request


def tiers_to_ask_for(session: Session, policy: Policy, account: Account) -> list[Tier]:
    """Return the tiers above the account's, and its own once that is about to end or has ended."""
    kind, own = AccountKind(account.kind), policy.tiers[account.allocation.tier]
    above = policy.requestable(kind, own.slug)
    living = requests.living_of_account(session, account.id)
    renewable = kind in own.requestable_by and any(request.state in RENEWABLE for request in living)
    return [own, *above] if renewable else above


def _written(
    session: Session, ask: Ask, *, policy: Policy, hub_name: str, now: datetime
) -> tuple[TierRequest, Person]:
    """Return the account's draft, new or continued, with what ``ask`` says; it is not sent."""
    person = in_good_standing(people.lock(session, person_called(session, hub_name).id))
    if not people.has_accepted(session, person.id, policy.agreement.version):
        raise AgreementRequired(version=policy.agreement.version)
    speaking = account_for(session, person, ask.account, Action.ACCOUNT_ASK)
    allocation = accounts.lock(session, [speaking.allocation.id])[speaking.allocation.id]
    possible = [choice.slug for choice in tiers_to_ask_for(session, policy, speaking)]
    if ask.tier not in possible:
        raise TierNotRequestable(tier=ask.tier[:40], requestable=possible)
    require_sense(ask)
    found = requests.open_of_account(session, speaking.id)
    request = requests.lock(session, found.id) if found else None
    if request is None:
        request = _begun(session, person, speaking, ask, tier_before=allocation.tier, now=now)
    elif request.state not in WITH_APPLICANT or request.person_id != person.id:
        raise RequestOpen(account=ask.account)
    _write(request, ask, policy)
    session.flush()
    record(session, Act.REQUEST_WRITTEN, request.id, by=person.id, now=now,
           after={"tier": request.tier, "asked_micro": request.asked_micro})  # fmt: skip
    return request, person


def _begun(
    session: Session, person: Person, account: Account, ask: Ask, *, tier_before: TierSlug, now: datetime
) -> TierRequest:
    request = TierRequest(
        account_id=account.id, person_id=person.id, tier=TierSlug(ask.tier), tier_before=tier_before,
        justification="", state=RequestState.DRAFT, submitted_at=now,
    )  # fmt: skip
    session.add(request)
    session.flush()
    requests.add_move(session, request, before=None, actor_id=person.id, reason=None, at=now)
    record(session, Act.REQUEST_BEGUN, request.id, by=person.id, after={"account_id": account.id}, now=now)
    return request


def _write(request: TierRequest, ask: Ask, policy: Policy) -> None:
    request.tier, request.justification = TierSlug(ask.tier), ask.justification.strip()
    request.title, request.exposures = ask.title, ask.exposures
    told = {"papers": ask.papers.strip(), "products": ask.products.strip(), "dois": ask.dois.strip()}
    request.results = told if any(told.values()) else None
    request.team_label = (ask.team_label or "").strip() or None
    request.grant_number, request.members = decisions.grant_key(ask.grant_number), list(ask.members)
    wanted = ask.exposures
    request.asked_micro = None if wanted is None else wanted * science.exposure_micro(policy)


def require_sense(ask: Ask) -> None:
    """Raise BadReason, BadAmount or BadName for what can't be kept, in a draft as in a request."""
    longest = allocations.REASON_LENGTH[1]
    for text, most in ((ask.justification, longest), (ask.title or "", LONGEST_TITLE)):
        if len(text.strip()) > most or "\x00" in text:
            raise BadReason(min=0, max=most)
    if ask.papers.strip() or ask.products.strip() or ask.dois.strip():
        results(ask.papers.strip() or "none yet", ask.products, ask.dois)
    if (ask.team_label or "").strip():
        require_label(ask.team_label or "")
    if ask.exposures is not None and not 0 < ask.exposures <= MOST_EXPOSURES:
        raise BadAmount(amount=ask.exposures, must_be=f"from 1 to {MOST_EXPOSURES:,} exposures")
    for name in ask.members:
        if not NAME.fullmatch(name) or len(ask.members) > MOST_MEMBERS:
            raise BadName(name=name[:40], must_be=f"{MUST_BE}; at most {MOST_MEMBERS} names")
