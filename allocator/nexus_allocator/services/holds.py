"""The life of a hold: its server starts, is seen alive, ends; usage reaches the ledger on the way.

Every function locks the allocation first and may be called again with the same news to no effect.
"""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.orm import Session

from nexus_allocator.domain.clusters import CLUSTER
from nexus_allocator.domain.errors import UnknownHold
from nexus_allocator.domain.mailing import LetterKind
from nexus_allocator.domain.readings import Reading
from nexus_allocator.domain.states import EntryKind, HoldState, StopReason
from nexus_allocator.domain.stops import Evidence, deduced_reason
from nexus_allocator.domain.webhooks import EventKind
from nexus_allocator.services import outbox, storage_quotas
from nexus_allocator.services.webhooks import emit
from nexus_allocator.store import holds, ledger
from nexus_allocator.store.session import announce
from nexus_allocator.store.tables import Hold

METER = "meter"
# An intent explains a stop that follows soon; a server that lived on after it stopped for another reason.
INTENT_LASTS = timedelta(minutes=15)
# What a person did, or what never ran, is no news to them.
NOTHING_RAN = (StopReason.NEVER_STARTED, StopReason.REPLACED)
UNTOLD = (StopReason.OWN_HAND, *NOTHING_RAN)
# Word of why a server ended may come after the meter found it gone.
WORD_COMES = timedelta(minutes=2)


def started(session: Session, hold_id: UUID, *, process_started_at: datetime) -> None:
    """The hub says that the hold's process started. Raises UnknownHold.

    The news may come late or again, from a retry: it vouches for the process at its start only.
    """
    hold = _locked(session, hold_id)
    if hold.state != HoldState.SETTLED:
        _witness(session, hold, process_started_at, process_started_at)


def witness(
    session: Session,
    hold_id: UUID,
    *,
    process_started_at: datetime,
    at: datetime,
    posting_interval: timedelta,
) -> None:
    """The hub says that the hold's process was alive ``at``; its reading goes on, and is posted when due."""
    hold = _locked(session, hold_id)
    if hold.state == HoldState.SETTLED:
        return
    _witness(session, hold, process_started_at, at)
    if at - (hold.posted_at or hold.placed_at) >= posting_interval:
        _post(session, hold, at)


def witness_part(
    session: Session, hold_id: UUID, *, seconds: float, at: datetime, posting_interval: timedelta
) -> None:
    """The gateway says that the hold's cluster lives and has used ``seconds`` of the whole cluster since.

    The reading's own clock stands still: all of its time is carried along.
    """
    hold = _locked(session, hold_id)
    if hold.state == HoldState.SETTLED:
        return
    began = hold.process_started_at or max(at, hold.placed_at)
    hold.state = HoldState.RUNNING
    _keep(hold, Reading(hold.placed_at, began, began, hold.earlier_s + seconds))
    if at - (hold.posted_at or hold.placed_at) >= posting_interval:
        _post(session, hold, at)


def stopped(session: Session, hold_id: UUID, evidence: Evidence, *, now: datetime) -> None:
    """The hub says that the hold's server ended. Raises UnknownHold."""
    settle(session, hold_id, evidence, reason=None, now=now)


def settle(
    session: Session, hold_id: UUID, evidence: Evidence, *, reason: StopReason | None, now: datetime
) -> None:
    """Charge what was witnessed, give the rest back and keep why the server stopped.

    Settling again changes nothing, save that evidence of the end which arrives late, after the meter
    had only seen the server gone, completes the time and the reason.
    """
    hold = _locked(session, hold_id)
    if hold.state == HoldState.SETTLED and not _completes(hold, evidence):
        return
    ended_at = None if evidence.stopped_at is None else min(evidence.stopped_at, now)
    reading, began = reading_of(hold), evidence.process_started_at
    if began is not None:
        reading = reading.witnessed(began, at=began)
    _keep(hold, reading.ended(ended_at))
    _explain(session, hold, evidence, reason=reason, now=now)
    hold.stopped_at = ended_at
    hold.settled_at = hold.settled_at or now
    hold.state = HoldState.SETTLED
    _post(session, hold, now)
    _tell(session, hold, now)
    storage_quotas.look_again(session, hold.person_id, now=now)
    announce(
        session, "settled", hold_id=hold.id, allocation_id=hold.allocation_id, usage_micro=hold.usage_micro,
        reason=hold.stop_reason,
    )  # fmt: skip


def _tell(session: Session, hold: Hold, now: datetime) -> None:
    """Tell of a stop, once; its owner only when it was not their own doing. The letter is read later."""
    stopped = {
        "hold": str(hold.id),
        "size": hold.size,
        "reason": hold.stop_reason,
        "usage_micro": hold.usage_micro,
    }
    emit(session, EventKind.SERVER_STOPPED, key=str(hold.id), facts=stopped, now=now)
    if hold.size == CLUSTER or hold.stop_reason in UNTOLD or hold.process_started_at is None:
        return
    outbox.mail(
        session, hold.person_id, LetterKind.SERVER_STOPPED, key=f"{LetterKind.SERVER_STOPPED}/{hold.id}",
        facts={"hold": str(hold.id)}, now=now, after=WORD_COMES,
    )  # fmt: skip


def reading_of(hold: Hold) -> Reading:
    return Reading(hold.placed_at, hold.process_started_at, hold.last_seen_at, hold.earlier_s)


def _locked(session: Session, hold_id: UUID) -> Hold:
    hold = holds.lock(session, hold_id)
    if hold is None:
        raise UnknownHold(hold_id=str(hold_id))
    return hold


def _witness(session: Session, hold: Hold, process_started_at: datetime, at: datetime) -> None:
    if hold.state == HoldState.PLACED:
        hold.state = HoldState.RUNNING
        announce(session, "started", hold_id=hold.id, allocation_id=hold.allocation_id)
    _keep(hold, reading_of(hold).witnessed(process_started_at, at=at))


def _keep(hold: Hold, reading: Reading) -> None:
    hold.process_started_at, hold.last_seen_at = reading.started_at, reading.seen_at
    hold.earlier_s = reading.earlier_s
    hold.usage_micro = reading.usage_micro(hold.rate_micro_per_hour)


def _completes(hold: Hold, evidence: Evidence) -> bool:
    """Whether this is the first word of the end of a server that was only found gone."""
    return (
        (hold.process_started_at or evidence.process_started_at) is not None
        and hold.stopped_at is None
        and (evidence.stopped_at is not None or hold.stop_reason == StopReason.UNKNOWN)
        and evidence != Evidence()
    )


def _explain(
    session: Session, hold: Hold, evidence: Evidence, *, reason: StopReason | None, now: datetime
) -> None:
    hold.exit_signal, hold.exit_code = evidence.exit_signal, evidence.exit_code
    was_guessed = hold.stop_reason in NOTHING_RAN and hold.process_started_at is not None
    if hold.stop_reason not in (None, StopReason.UNKNOWN) and not was_guessed:
        return
    ended_at = evidence.stopped_at or hold.settled_at or now
    intent = holds.latest_intent(session, hold.id, since=ended_at - INTENT_LASTS)
    if intent is not None:
        hold.stop_reason, hold.stop_actor, hold.stop_note = intent.reason, intent.actor, intent.note
    elif hold.process_started_at is None:
        hold.stop_reason, hold.stop_actor = reason or StopReason.NEVER_STARTED, None
    else:
        hold.stop_reason, hold.stop_actor = reason or deduced_reason(evidence), None


def _post(session: Session, hold: Hold, at: datetime) -> None:
    """Bring the ledger up to the reading: the part not yet posted, or what was posted too much."""
    due = hold.usage_micro - hold.posted_micro
    hold.posted_at = at
    if due == 0:
        return
    kind = EntryKind.USAGE if due > 0 else EntryKind.CORRECTION
    reason = f"{hold.size} server" if due > 0 else "the server had ended before it was last thought alive"
    ledger.append(
        session, hold.allocation_id, -due, kind=kind, at=at, actor=METER, reason=reason, hold_id=hold.id,
        key=f"{kind}/{hold.id}/{hold.posted_micro}-{hold.usage_micro}",
        rate_card_version=hold.rate_card_version,
    )  # fmt: skip
    hold.posted_micro = hold.usage_micro
    announce(session, "posted", hold_id=hold.id, allocation_id=hold.allocation_id, amount_micro=due)
