"""The panel's rounds and reviewers, the requests before it, and what was said of them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session, aliased, joinedload

from nexus_allocator.domain.requests import LIVING, WAITING
from nexus_allocator.domain.states import RequestState, TierSlug
from nexus_allocator.store.panel_tables import (
    PanelBypass,
    PanelCase,
    PanelConflict,
    PanelReview,
    PanelRound,
    PanelTerm,
    RequestOffer,
)
from nexus_allocator.store.tables import Account, Membership, Person, RequestMove, TierRequest

UNDECIDED = (*WAITING, RequestState.OFFERED)
Numbered = type[PanelReview] | type[PanelBypass] | type[RequestOffer]


def rounds(session: Session, *, limit: int = 100) -> Sequence[PanelRound]:
    """Return the rounds, the latest first."""
    latest = select(PanelRound).order_by(PanelRound.opens_at.desc(), PanelRound.label)
    return session.scalars(latest.limit(limit)).all()


def round_by_id(session: Session, round_id: UUID, *, lock: bool = False) -> PanelRound | None:
    return session.get(PanelRound, round_id, with_for_update=lock or None, populate_existing=lock)


def round_open_at(session: Session, moment: datetime) -> PanelRound | None:
    """Return the round that is open then; of several, the one that closes first."""
    found = select(PanelRound).where(PanelRound.opens_at <= moment, PanelRound.closes_at > moment)
    return session.scalar(found.order_by(PanelRound.closes_at, PanelRound.id).limit(1))


def term_of(session: Session, person_id: UUID) -> PanelTerm | None:
    """Return a reviewer's present term, None for who is no reviewer."""
    found = select(PanelTerm).where(PanelTerm.person_id == person_id, PanelTerm.ended_at.is_(None))
    return session.scalar(found)


def reviewers(session: Session) -> Sequence[tuple[Person, PanelTerm]]:
    found = select(Person, PanelTerm).join(PanelTerm, PanelTerm.person_id == Person.id)
    rows = session.execute(found.where(PanelTerm.ended_at.is_(None)).order_by(Person.hub_name))
    return [(person, term) for person, term in rows]


def case(session: Session, request_id: UUID) -> PanelCase | None:
    return session.get(PanelCase, request_id)


def waiting(session: Session, *, limit: int = 500) -> Sequence[tuple[TierRequest, PanelCase]]:
    """Return the requests that the panel or, with an offer, their applicant has, the oldest first."""
    return _cases(session, _with_case().where(TierRequest.state.in_(UNDECIDED)).limit(limit))


def of_round(session: Session, round_id: UUID) -> Sequence[tuple[TierRequest, PanelCase]]:
    return _cases(session, _with_case().where(PanelCase.round_id == round_id))


def cases_per_round(session: Session) -> Mapping[UUID, int]:
    found = select(PanelCase.round_id, func.count()).where(PanelCase.round_id.is_not(None))
    return {
        round_id: count for round_id, count in session.execute(found.group_by(PanelCase.round_id)) if round_id
    }


def awarded_in_round(session: Session, round_id: UUID) -> int:
    total = select(func.coalesce(func.sum(TierRequest.awarded_micro), 0))
    found = total.join(PanelCase, PanelCase.request_id == TierRequest.id)
    return int(session.scalars(found.where(PanelCase.round_id == round_id)).one() or 0)


def _with_case() -> Select[TierRequest, PanelCase]:
    account = joinedload(TierRequest.account).joinedload(Account.allocation)
    found = select(TierRequest, PanelCase).join(PanelCase, PanelCase.request_id == TierRequest.id)
    return found.options(account, joinedload(TierRequest.person))


def _cases(
    session: Session, found: Select[TierRequest, PanelCase]
) -> Sequence[tuple[TierRequest, PanelCase]]:
    return [(request, case) for request, case in session.execute(found.order_by(TierRequest.submitted_at))]


def forget_case(session: Session, request_id: UUID) -> None:
    found = case(session, request_id)
    if found is not None:
        session.delete(found)
        session.flush()


def member_ids(session: Session, team_id: UUID) -> frozenset[UUID]:
    return frozenset(session.scalars(select(Membership.person_id).where(Membership.team_id == team_id)))


def conflict(session: Session, request_id: UUID, person_id: UUID) -> PanelConflict | None:
    return session.get(PanelConflict, (request_id, person_id))


def conflicts(session: Session, request_ids: Sequence[UUID]) -> Mapping[UUID, list[PanelConflict]]:
    found = select(PanelConflict).where(PanelConflict.request_id.in_(request_ids))
    rows: dict[UUID, list[PanelConflict]] = {}
    for row in session.scalars(found.order_by(PanelConflict.at)):
        rows.setdefault(row.request_id, []).append(row)
    return rows


def reviews(session: Session, request_ids: Sequence[UUID]) -> Mapping[UUID, list[PanelReview]]:
    """Return all reviews of each request, in the order they were given."""
    found = select(PanelReview).where(PanelReview.request_id.in_(request_ids))
    rows: dict[UUID, list[PanelReview]] = {}
    for row in session.scalars(found.order_by(PanelReview.request_id, PanelReview.number)):
        rows.setdefault(row.request_id, []).append(row)
    return rows


def reviews_per_person(session: Session) -> Mapping[UUID, int]:
    """Return of how many requests each person has given a review."""
    distinct = func.count(func.distinct(PanelReview.request_id))
    found = select(PanelReview.person_id, distinct).group_by(PanelReview.person_id)
    return dict(session.execute(found).all())


def sendings(session: Session, request_ids: Sequence[UUID]) -> Mapping[UUID, int]:
    """Return how often each request was sent."""
    found = select(RequestMove.request_id, func.count()).where(
        RequestMove.request_id.in_(request_ids), RequestMove.after == RequestState.SUBMITTED
    )
    return dict(session.execute(found.group_by(RequestMove.request_id)).all())


def offers(session: Session, request_ids: Sequence[UUID]) -> Mapping[UUID, list[RequestOffer]]:
    found = select(RequestOffer).where(RequestOffer.request_id.in_(request_ids))
    rows: dict[UUID, list[RequestOffer]] = {}
    for row in session.scalars(found.order_by(RequestOffer.request_id, RequestOffer.number)):
        rows.setdefault(row.request_id, []).append(row)
    return rows


def bypasses(session: Session, request_id: UUID) -> Sequence[PanelBypass]:
    found = select(PanelBypass).where(PanelBypass.request_id == request_id)
    return session.scalars(found.order_by(PanelBypass.number)).all()


def next_number(session: Session, table: Numbered, request_id: UUID) -> int:
    """Return the number after the last; the request is locked by who asks."""
    last = select(func.coalesce(func.max(table.number), 0)).where(table.request_id == request_id)
    return session.scalars(last).one() + 1


def decided_since(session: Session, moment: datetime, *, limit: int = 1000) -> Sequence[UUID]:
    found = select(TierRequest.id).where(TierRequest.decided_at >= moment)
    return session.scalars(found.order_by(TierRequest.decided_at.desc()).limit(limit)).all()


def awarded_like(
    session: Session, tier: TierSlug, amount_micro: int, *, but: UUID, since: datetime, limit: int
) -> Sequence[TierRequest]:
    """Return the awards of this tier since then that are nearest in size."""
    account = joinedload(TierRequest.account).joinedload(Account.allocation)
    asked = func.coalesce(TierRequest.asked_micro, TierRequest.awarded_micro)
    found = select(TierRequest).where(
        TierRequest.tier == tier, TierRequest.awarded_micro.is_not(None), TierRequest.id != but,
        TierRequest.decided_at >= since, TierRequest.state.in_((*LIVING, RequestState.RENEWED)),
    )  # fmt: skip
    nearest = func.abs(asked - amount_micro)
    return session.scalars(
        found.options(account).order_by(nearest, TierRequest.decided_at.desc()).limit(limit)
    ).all()


def names(session: Session, person_ids: Sequence[UUID]) -> Mapping[UUID, str]:
    found = select(Person.id, Person.display_name).where(Person.id.in_(person_ids))
    return dict(session.execute(found).all())


def unanswered(session: Session, *, now: datetime) -> Sequence[UUID]:
    """Return the requests whose offer was to be answered by now, and was not."""
    latest = aliased(RequestOffer)
    later = select(latest.number).where(
        latest.request_id == RequestOffer.request_id, latest.number > RequestOffer.number
    )
    found = (
        select(RequestOffer.request_id)
        .join(TierRequest, TierRequest.id == RequestOffer.request_id)
        .where(TierRequest.state == RequestState.OFFERED, RequestOffer.answer_by <= now, ~later.exists())
    )
    return session.scalars(found).all()
