"""Counter-offers: other terms than a request asked for, which its applicant accepts or declines."""

from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from nexus_allocator.domain.credits import shown
from nexus_allocator.domain.errors import OfferOver, UnknownRequest
from nexus_allocator.domain.policy import Policy
from nexus_allocator.domain.records import NEXUS, Act
from nexus_allocator.domain.requests import require_move
from nexus_allocator.domain.rights import Action
from nexus_allocator.domain.states import Mover, NoticeKind, RequestState
from nexus_allocator.services import allocations, decisions, panels, reviews
from nexus_allocator.services.notices import tell
from nexus_allocator.services.records import record
from nexus_allocator.services.request_moves import move
from nexus_allocator.services.rights import account_for, in_good_standing, overseer, person_called
from nexus_allocator.store import accounts, panel, people, requests
from nexus_allocator.store.panel_tables import RequestOffer
from nexus_allocator.store.session import Database
from nexus_allocator.store.tables import Person, TierRequest


def make(
    session: Session,
    *,
    policy: Policy,
    request_id: UUID,
    administrator_id: UUID,
    award: decisions.Award,
    now: datetime,
) -> RequestOffer:
    """Offer other terms, for as long as the policy lets one think; a panel's needs what an award of it needs.

    Raises NotAllowed, UnknownRequest, Conflicted, PanelNotHeard, IllegalMove, BadAmount, BadDate, BadReason.
    """
    request, admin = decisions.asked(session, request_id, administrator_id)
    require_move(request.state, RequestState.OFFERED, Mover.ADMINISTRATOR)
    reviews.require_panel(session, request, rules=policy.panel, admin=admin, bypass=award.bypass, now=now)
    terms = policy.tiers[request.tier]
    row = RequestOffer(
        request_id=request.id, number=panel.next_number(session, RequestOffer, request.id),
        person_id=admin.id, credits_micro=decisions.amount_of(award, terms),
        ends_at=decisions.require_end(award.expires_at or now + terms.length, now=now),
        note=allocations.require_reason(award.note) if award.note else None, at=now,
        answer_by=now + policy.answers.offer,
    )  # fmt: skip
    session.add(row)
    session.flush()
    move(session, request, RequestState.OFFERED, mover=Mover.ADMINISTRATOR, actor_id=admin.id,
         reason=row.note, now=now)  # fmt: skip
    facts = {
        "credits": shown(row.credits_micro),
        "tier": terms.label,
        "ends_on": row.ends_at.date().isoformat(),
        "answer_by": _day(row),
    }
    tell(session, request.person_id, NoticeKind.OFFER_MADE, key=_key(row), facts=facts, now=now)
    record(session, Act.OFFER_MADE, request.id, by=admin.id, person_id=request.person_id, reason=row.note,
           after={"amount_micro": row.credits_micro, "ends_at": row.ends_at, "answer_by": row.answer_by},
           now=now)  # fmt: skip
    return row


def accept(
    session: Session, request_id: UUID, number: int, *, hub_name: str, policy: Policy, now: datetime
) -> TierRequest:
    """Take the offer that stands; the award follows at once.

    ``number`` is the offer that was read.
    Raises UnknownRequest, UnknownAccount, Suspended, OfferOver, BadDate.
    """
    request, row, person = _offered(session, request_id, number, hub_name, now=now)
    made_by = people.by_id(session, row.person_id)
    assert made_by is not None  # noqa: S101 - rows are never deleted
    move(session, request, RequestState.ACCEPTED, mover=Mover.APPLICANT, actor_id=person.id, now=now)
    given = decisions.Award(row.credits_micro, expires_at=row.ends_at, note=row.note)
    decisions.award_as_offered(session, request, given, policy=policy, made_by=made_by, now=now)
    _tell_who_offered(session, request, row, person=person, answer="accepted", now=now)
    return request


def decline(
    session: Session, request_id: UUID, number: int, *, hub_name: str, reason: str, now: datetime
) -> TierRequest:
    """Refuse the offer, with a reason: the request as it was sent is decided again.

    Raises UnknownRequest, UnknownAccount, Suspended, OfferOver, BadReason.
    """
    request, row, person = _offered(session, request_id, number, hub_name, now=now)
    text = allocations.require_reason(reason)
    move(session, request, RequestState.IN_REVIEW, mover=Mover.APPLICANT, actor_id=person.id, reason=text,
         now=now)  # fmt: skip
    _tell_who_offered(session, request, row, person=person, answer="declined", now=now)
    return request


def take_back(
    session: Session, request_id: UUID, *, administrator_id: UUID, reason: str, now: datetime
) -> TierRequest:
    """Take the offer back, with a reason. Raises NotAllowed, UnknownRequest, IllegalMove, BadReason."""
    admin = overseer(session, administrator_id, Action.REQUEST_DECIDE)
    request = requests.lock(session, request_id)
    if request is None:
        raise UnknownRequest(request_id=str(request_id))
    require_move(request.state, RequestState.IN_REVIEW, Mover.ADMINISTRATOR)
    if request.state != RequestState.OFFERED:
        raise OfferOver()
    text = allocations.require_reason(reason)
    move(session, request, RequestState.IN_REVIEW, mover=Mover.ADMINISTRATOR, actor_id=admin.id, reason=text,
         now=now)  # fmt: skip
    return request


def turn_all(database: Database, *, now: datetime) -> int:
    """End the offers that nobody answered in time, each in a transaction of its own; return how many."""
    with database.reading_scope() as session:
        due = panel.unanswered(session, now=now)
    for request_id in due:
        with database.session_scope() as session:
            _expire(session, request_id, now=now)
    return len(due)


def _expire(session: Session, request_id: UUID, *, now: datetime) -> None:
    request = requests.lock(session, request_id)
    rows = panel.offers(session, [request_id]).get(request_id, [])
    if request is None or request.state != RequestState.OFFERED or not _is_over(rows[-1], now):
        # Answered, or offered anew, since it was looked at.
        return
    row, reason = rows[-1], f"The offer was not answered by {_day(rows[-1])}."
    move(
        session, request, RequestState.IN_REVIEW, mover=Mover.PLATFORM, actor_id=None, reason=reason, now=now
    )
    facts = {"credits": shown(row.credits_micro), "title": panels.title_of(request), "answer_by": _day(row)}
    for person_id in (request.person_id, row.person_id):
        key = f"{_key(row)}/expired/{person_id}"
        tell(session, person_id, NoticeKind.OFFER_EXPIRED, key=key, facts=facts, now=now)
    record(session, Act.OFFER_EXPIRED, request.id, by=NEXUS, person_id=request.person_id,
           after={"number": row.number}, now=now)  # fmt: skip


def _is_over(row: RequestOffer, now: datetime) -> bool:
    return row.answer_by is not None and row.answer_by <= now


def _day(row: RequestOffer) -> str | None:
    return row.answer_by.date().isoformat() if row.answer_by else None


def _offered(
    session: Session, request_id: UUID, number: int, hub_name: str, *, now: datetime
) -> tuple[TierRequest, RequestOffer, Person]:
    """Return the locked request, the offer that stands, and who answers: its applicant, who still may."""
    person = in_good_standing(person_called(session, hub_name))
    request = requests.lock(session, request_id)
    if request is None or request.person_id != person.id:
        raise UnknownRequest(request_id=str(request_id))
    account_for(session, person, accounts.by_id(session, request.account_id).slug, Action.OFFER_ANSWER)
    rows = panel.offers(session, [request.id]).get(request.id, [])
    if request.state != RequestState.OFFERED or not rows or rows[-1].number != number:
        raise OfferOver()
    if _is_over(rows[-1], now):
        raise OfferOver()
    return request, rows[-1], person


def _tell_who_offered(
    session: Session, request: TierRequest, row: RequestOffer, *, person: Person, answer: str, now: datetime
) -> None:
    facts = {
        "person": person.hub_name, "answer": answer, "credits": shown(row.credits_micro),
        "title": panels.title_of(request),
    }  # fmt: skip
    key = f"{_key(row)}/{answer}"
    tell(session, row.person_id, NoticeKind.OFFER_ANSWERED, key=key, facts=facts, now=now)
    record(session, Act.OFFER_ANSWERED, request.id, by=person.id, person_id=request.person_id,
           after={"answer": answer, "number": row.number}, now=now)  # fmt: skip


def _key(row: RequestOffer) -> str:
    return f"offer/{row.request_id}/{row.number}"
