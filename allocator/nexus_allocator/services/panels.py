"""The panel: its rounds and reviewers, and which requests come before it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from nexus_allocator.domain.credits import MICRO
from nexus_allocator.domain.errors import (
    AlreadyReviewer,
    AlreadyWithPanel,
    BadAmount,
    ReviewClosed,
    UnknownPerson,
    UnknownRequest,
    UnknownRound,
)
from nexus_allocator.domain.panel import Parties, Window, conflict_of, require_window
from nexus_allocator.domain.policy import Policy
from nexus_allocator.domain.records import OPERATOR, Act
from nexus_allocator.domain.requests import WAITING
from nexus_allocator.domain.rights import Action
from nexus_allocator.domain.states import Approval, NoticeKind
from nexus_allocator.services import allocations
from nexus_allocator.services.notices import tell
from nexus_allocator.services.records import record
from nexus_allocator.services.rights import in_good_standing, locked_person_called, overseer
from nexus_allocator.store import accounts, panel, requests
from nexus_allocator.store.panel_tables import PanelCase, PanelRound, PanelTerm
from nexus_allocator.store.tables import TierRequest


@dataclass(frozen=True)
class RoundPlan:
    """A round as somebody plans it; ``budget_micro`` is what it may award, shown and not enforced."""

    label: str
    window: Window
    budget_micro: int | None = None


def make_round(session: Session, plan: RoundPlan, *, by: UUID | None, now: datetime) -> PanelRound:
    """Make a round; ``by`` None is an operator. Raises NotAllowed, BadRound, BadAmount."""
    if by is not None:
        overseer(session, by, Action.PANEL_RUN)
    made = PanelRound(made_by=by, made_at=now)
    _write(made, plan)
    session.add(made)
    session.flush()
    record(session, Act.ROUND_MADE, made.id, by=by or OPERATOR, after=_facts(made), now=now)
    return made


def change_round(
    session: Session, round_id: UUID, plan: RoundPlan, *, by: UUID | None, now: datetime
) -> PanelRound:
    """Change a round; the requests in it stay. Raises as `make_round`, UnknownRound."""
    if by is not None:
        overseer(session, by, Action.PANEL_RUN)
    changed = round_called(session, round_id, lock=True)
    before = _facts(changed)
    _write(changed, plan)
    record(session, Act.ROUND_CHANGED, changed.id, by=by or OPERATOR, before=before, after=_facts(changed),
           now=now)  # fmt: skip
    return changed


def appoint(session: Session, hub_name: str, *, by: UUID | None, now: datetime) -> PanelTerm:
    """Make somebody a reviewer and tell them.

    Raises NotAllowed, UnknownPerson, Suspended, AlreadyReviewer.
    """
    if by is not None:
        overseer(session, by, Action.PANEL_RUN)
    person = in_good_standing(locked_person_called(session, hub_name))
    if panel.term_of(session, person.id) is not None:
        raise AlreadyReviewer(person=person.hub_name)
    term = PanelTerm(person_id=person.id, appointed_by=by, appointed_at=now)
    session.add(term)
    session.flush()
    tell(session, person.id, NoticeKind.REVIEWER_APPOINTED, key=f"reviewer/{term.id}", facts={}, now=now)
    record(session, Act.REVIEWER_APPOINTED, person.id, by=by or OPERATOR, now=now)
    return term


def dismiss(session: Session, hub_name: str, *, by: UUID | None, now: datetime) -> PanelTerm:
    """End a reviewer's term and tell them; their reviews stay and count. Raises NotAllowed, UnknownPerson."""
    if by is not None:
        overseer(session, by, Action.PANEL_RUN)
    person = locked_person_called(session, hub_name)
    term = panel.term_of(session, person.id)
    if term is None:
        raise UnknownPerson(person=f"the reviewer {person.hub_name}")
    term.ended_at, term.ended_by = now, by
    tell(session, person.id, NoticeKind.REVIEWER_ENDED, key=f"reviewer-ended/{term.id}", facts={}, now=now)
    record(session, Act.REVIEWER_ENDED, person.id, by=by or OPERATOR, now=now)
    return term


def enter(session: Session, request: TierRequest, *, policy: Policy, now: datetime) -> None:
    """Bring a request that was just sent before the panel when its tier, or a referral, says so.

    It comes into the round that is open now; where none is it waits for an administrator to place it, and
    one that was returned and revised stays in its round.
    """
    case = panel.case(session, request.id)
    if policy.tiers[request.tier].approval is not Approval.PANEL and (
        case is None or case.referred_by is None
    ):
        # Revised to ask for a tier that needs no panel.
        panel.forget_case(session, request.id)
        return
    if case is None:
        case = PanelCase(request_id=request.id, came_at=now)
        session.add(case)
    found = panel.round_open_at(session, now)
    if found is not None:
        case.round_id, case.placed_by, case.placed_at = found.id, None, now
    session.flush()
    _ask_reviewers(session, request, case, now=now)


def refer(
    session: Session, request_id: UUID, *, administrator_id: UUID, reason: str, now: datetime
) -> PanelCase:
    """Bring a request before the panel whose tier does not ask for that.

    Raises NotAllowed, UnknownRequest, BadReason, ReviewClosed, AlreadyWithPanel.
    """
    admin = overseer(session, administrator_id, Action.REQUEST_DECIDE)
    request = waiting_request(session, request_id)
    text = allocations.require_reason(reason)
    if panel.case(session, request.id) is not None:
        raise AlreadyWithPanel()
    found = panel.round_open_at(session, now)
    case = PanelCase(
        request_id=request.id, came_at=now, referred_by=admin.id, referral_reason=text,
        round_id=found.id if found else None, placed_by=admin.id if found else None,
        placed_at=now if found else None,
    )  # fmt: skip
    session.add(case)
    session.flush()
    record(session, Act.REQUEST_REFERRED, request.id, by=admin.id, person_id=request.person_id, reason=text,
           now=now)  # fmt: skip
    _ask_reviewers(session, request, case, now=now)
    return case


def place(
    session: Session, request_id: UUID, round_id: UUID, *, administrator_id: UUID, now: datetime
) -> PanelCase:
    """Put a request into a round, or into another.

    Raises NotAllowed, UnknownRequest, UnknownRound, ReviewClosed.
    """
    admin = overseer(session, administrator_id, Action.REQUEST_DECIDE)
    request = waiting_request(session, request_id)
    case = panel.case(session, request.id)
    if case is None:
        raise UnknownRequest(request_id=str(request_id))
    case.round_id, case.placed_by, case.placed_at = round_called(session, round_id).id, admin.id, now
    session.flush()
    record(session, Act.REQUEST_PLACED, request.id, by=admin.id, person_id=request.person_id,
           after={"round_id": round_id}, now=now)  # fmt: skip
    _ask_reviewers(session, request, case, now=now)
    return case


def is_reviewer(session: Session, person_id: UUID) -> bool:
    return panel.term_of(session, person_id) is not None


def waiting_request(session: Session, request_id: UUID) -> TierRequest:
    """Return the request, locked, while nobody has decided it. Raises UnknownRequest, ReviewClosed."""
    request = requests.lock(session, request_id)
    if request is None:
        raise UnknownRequest(request_id=str(request_id))
    if request.state not in WAITING:
        raise ReviewClosed(state=request.state.value)
    return request


def round_called(session: Session, round_id: UUID, *, lock: bool = False) -> PanelRound:
    """Return the round. Raises UnknownRound."""
    found = panel.round_by_id(session, round_id, lock=lock)
    if found is None:
        raise UnknownRound(round=str(round_id))
    return found


def _facts(row: PanelRound) -> dict[str, Any]:
    return {
        "label": row.label, "opens_at": row.opens_at, "closes_at": row.closes_at, "due_at": row.due_at,
        "budget_micro": row.budget_micro,
    }  # fmt: skip


def _write(row: PanelRound, plan: RoundPlan) -> None:
    row.label = require_window(plan.label, plan.window)
    if plan.budget_micro is not None and not 0 < plan.budget_micro <= allocations.LARGEST_MICRO:
        raise BadAmount(amount=plan.budget_micro / MICRO, must_be=allocations.GRANT_RANGE)
    row.opens_at, row.closes_at, row.due_at = plan.window.opens_at, plan.window.closes_at, plan.window.due_at
    row.budget_micro = plan.budget_micro


def _ask_reviewers(session: Session, request: TierRequest, case: PanelCase, *, now: datetime) -> None:
    """Tell all reviewers of a request that came into a round, once for each text of it."""
    if case.round_id is None:
        return
    found = round_called(session, case.round_id)
    last = found.due_at - timedelta(microseconds=1)
    facts = {"title": title_of(request), "round": found.label, "due_on": last.date().isoformat()}
    sending = panel.sendings(session, [request.id]).get(request.id, 0)
    key = f"review/{request.id}/{sending}/{found.id}"
    parties = parties_of(session, request)
    for person, _ in panel.reviewers(session):
        if person.suspended_at is None and conflict_of(person.id, person.hub_name, parties) is None:
            tell(session, person.id, NoticeKind.REVIEW_ASKED, key=key, facts=facts, now=now)


def parties_of(session: Session, request: TierRequest) -> Parties:
    """Return whom a request is about, as of now, and who declared a conflict with it."""
    team_id = accounts.by_id(session, request.account_id).team_id
    in_team = panel.member_ids(session, team_id) if team_id else frozenset()
    declared = panel.conflicts(session, [request.id]).get(request.id, [])
    declarers = frozenset(row.person_id for row in declared)
    return Parties(request.person_id, in_team, frozenset(request.members or ()), declarers)


def title_of(request: TierRequest) -> str:
    """Return what a request is called: its title, else the team it would make, else its first words."""
    if request.title or request.team_label:
        return request.title or request.team_label or ""
    words = " ".join(request.justification.split())
    return words if len(words) <= 60 else f"{words[:59]}…"
