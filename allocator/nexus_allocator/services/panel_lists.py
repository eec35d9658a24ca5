"""The panel's lists: what waits and for how long, a round's requests, and what an applicant reads of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.orm import Session

from nexus_allocator.domain.panel import ConflictKind, Tally, in_queue, median_wait, sees_reviews, tally
from nexus_allocator.domain.requests import WAITING
from nexus_allocator.domain.rights import Action
from nexus_allocator.domain.states import RequestState, TierSlug
from nexus_allocator.services import panels, reviews
from nexus_allocator.services.rights import person_called, require_reviewer
from nexus_allocator.store import panel, people, portal_reading, requests
from nexus_allocator.store.panel_tables import PanelCase, PanelReview, PanelRound, RequestOffer
from nexus_allocator.store.tables import Person, TierRequest

MEDIAN_OVER = timedelta(days=365)


@dataclass(frozen=True)
class CaseRow:
    """A request in a list of the panel's; ``mean`` None while it is hidden or nobody scored."""

    id: UUID
    title: str
    applicant: str
    tier: TierSlug
    state: RequestState
    asked_micro: int | None
    awarded_micro: int | None
    submitted_at: datetime
    waited: timedelta
    round: PanelRound | None
    heard: int
    mean: Tally | None
    conflict: ConflictKind | None
    has_given: bool


@dataclass(frozen=True)
class Queue:
    """What waits, how long it has waited, and how long what was decided lately had."""

    cases: tuple[CaseRow, ...]
    median_waiting: timedelta | None
    median_decided: timedelta | None
    decided: int


@dataclass(frozen=True)
class ReviewerRow:
    hub_name: str
    label: str
    since: datetime
    reviews: int


@dataclass(frozen=True)
class OfferRow:
    number: int
    credits_micro: int
    ends_at: datetime
    note: str | None
    answer_by: datetime | None


@dataclass(frozen=True)
class ForApplicant:
    """What a request's applicant reads of the panel, and the offer that stands."""

    offer: OfferRow | None
    comments: tuple[str, ...]


def queue(session: Session, *, viewer: UUID, now: datetime) -> Queue:
    cases = case_rows(session, panel.waiting(session), viewer=viewer, now=now)
    decided = panel.decided_since(session, now - MEDIAN_OVER)
    return Queue(
        cases,
        median_wait([row.waited for row in cases if row.state in WAITING]),
        median_wait(list(waits(session, decided, now=now).values())),
        len(decided),
    )


def rounds(session: Session) -> list[tuple[PanelRound, int]]:
    """Return the rounds, the latest first, each with how many requests are in it."""
    counts = panel.cases_per_round(session)
    return [(row, counts.get(row.id, 0)) for row in panel.rounds(session)]


def reviewers(session: Session) -> list[ReviewerRow]:
    """Return who reviews now, with how many reviews each has given."""
    given = panel.reviews_per_person(session)
    return [
        ReviewerRow(person.hub_name, person.display_name, term.appointed_at, given.get(person.id, 0))
        for person, term in panel.reviewers(session)
    ]


def waits(session: Session, request_ids: Sequence[UUID], *, now: datetime) -> Mapping[UUID, timedelta]:
    """Return how long each request has waited, or had waited when it was decided."""
    moves = requests.moves_of(session, request_ids)
    return {
        request_id: in_queue([(RequestState(row.after), row.at) for row, _ in rows], now=now)
        for request_id, rows in moves.items()
    }


def for_reviewer(session: Session, *, hub_name: str, now: datetime) -> tuple[CaseRow, ...]:
    """Return what waits in rounds, for a reviewer to review. Raises UnknownPerson, NotReviewer."""
    person = person_called(session, hub_name)
    require_reviewer(session, person, Action.REVIEW_SEE)
    placed = [
        (request, case)
        for request, case in panel.waiting(session)
        if case.round_id is not None and request.state in WAITING
    ]
    return case_rows(session, placed, viewer=person.id, now=now)


def of_round(
    session: Session, round_id: UUID, *, viewer: UUID, now: datetime
) -> tuple[PanelRound, tuple[CaseRow, ...], int]:
    """Return a round, its requests, the best scores first, and what it awarded. Raises UnknownRound."""
    found = panels.round_called(session, round_id)
    rows = case_rows(session, panel.of_round(session, round_id), viewer=viewer, now=now)
    ranked = sorted(rows, key=lambda row: (-(row.mean.mean if row.mean else 0), row.submitted_at))
    return found, tuple(ranked), panel.awarded_in_round(session, round_id)


def for_applicants(session: Session, request_ids: Sequence[UUID]) -> Mapping[UUID, ForApplicant]:
    """Return of each request what its applicant may read: comments once it was answered, and an offer."""
    offers, said = panel.offers(session, request_ids), panel.reviews(session, request_ids)
    moves = requests.moves_of(session, request_ids)
    found = {}
    for request_id in request_ids:
        made = [(row.before, row.after, row.at) for row, _ in moves.get(request_id, [])]
        state = made[-1][1] if made else RequestState.DRAFT
        answered = [at for before, after, at in made if before in WAITING and after not in WAITING]
        told = [row for row in said.get(request_id, []) if answered and row.at <= answered[-1]]
        offer = _offer(offers.get(request_id, [])) if state == RequestState.OFFERED else None
        found[request_id] = ForApplicant(offer, _comments(session, request_id, told))
    return found


def case_rows(
    session: Session,
    cases: Sequence[tuple[TierRequest, PanelCase]],
    *,
    viewer: UUID,
    now: datetime,
) -> tuple[CaseRow, ...]:
    ids = [request.id for request, _ in cases]
    given, sent = panel.reviews(session, ids), panel.sendings(session, ids)
    waited, rounds = waits(session, ids, now=now), {row.id: row for row in panel.rounds(session, limit=1000)}
    who, is_reviewer = person_of(session, viewer), panels.is_reviewer(session, viewer)
    return tuple(
        _case_row(
            session,
            request,
            [row for row in given.get(request.id, []) if row.sending == sent.get(request.id, 0)],
            waited=waited.get(request.id, timedelta()),
            placed_in=rounds.get(case.round_id) if case.round_id else None,
            viewer=(who, is_reviewer),
        )
        for request, case in cases
    )


def _case_row(
    session: Session,
    request: TierRequest,
    given: Sequence[PanelReview],
    *,
    waited: timedelta,
    placed_in: PanelRound | None,
    viewer: tuple[Person, bool],
) -> CaseRow:
    """Return a list's row; ``given`` are the reviews of the request's present text."""
    who, is_reviewer = viewer
    conflict = reviews.conflict_with(session, request, who)
    counting = reviews.unconflicted(session, request, given)
    has_given = any(row.person_id == who.id for row in given)
    sees = sees_reviews(conflict, is_reviewer=is_reviewer, has_given=has_given)
    return CaseRow(
        id=request.id,
        title=panels.title_of(request),
        applicant=request.person.display_name,
        tier=TierSlug(request.tier),
        state=RequestState(request.state),
        asked_micro=request.asked_micro,
        awarded_micro=request.awarded_micro,
        submitted_at=request.submitted_at,
        waited=waited,
        round=placed_in,
        heard=len(counting),
        mean=tally(reviews.opinion_of(row).mean for row in counting) if sees else None,
        conflict=conflict,
        has_given=has_given,
    )


def _offer(rows: Sequence[RequestOffer]) -> OfferRow | None:
    if not rows:
        return None
    last = rows[-1]
    return OfferRow(last.number, last.credits_micro, last.ends_at, last.note, last.answer_by)


def _comments(session: Session, request_id: UUID, rows: Sequence[PanelReview]) -> tuple[str, ...]:
    """Return the comments meant for the applicant: each reviewer's last of each text, none in conflict."""
    request = portal_reading.request(session, request_id)
    if request is None or not rows:
        return ()
    parties = panels.parties_of(session, request)
    last = {(row.person_id, row.sending): row for row in rows if row.person_id not in parties.declared}
    ordered = sorted(last.values(), key=lambda row: row.number)
    return tuple(row.for_applicant for row in ordered if row.for_applicant)


def person_of(session: Session, person_id: UUID) -> Person:
    """Return the person who looks."""
    found = people.by_id(session, person_id)
    assert found is not None  # noqa: S101 - who looks is signed in
    return found
