"""Offline leases: offered beforehand, collected from the hub as holds once the service is back."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.orm import Session

from nexus_allocator.clients.hub import Sighting
from nexus_allocator.domain.leases import Lease, Offer, OfflineKind, OfflineRefusal
from nexus_allocator.domain.policy import Policy
from nexus_allocator.domain.states import HoldState, StopReason
from nexus_allocator.domain.stops import Evidence
from nexus_allocator.services import holds as lifecycle
from nexus_allocator.services.admission import UMASK
from nexus_allocator.services.rights import person_called
from nexus_allocator.store import accounts, holds, ledger, offline, people
from nexus_allocator.store.session import Database, announce
from nexus_allocator.store.tables import Account, Hold, OfflineEvent, Person

log = logging.getLogger(__name__)

# The hub drops what it reads here; longer ago it has.
REMEMBERED = timedelta(days=60)
COUNTED, SHOWN = timedelta(days=30), 20


@dataclass(frozen=True)
class Offline:
    """What the hub is told of a person: what may start while the service is away, and what is collected."""

    offer: Offer | None
    collected: list[UUID]


def offline_of(
    session: Session, *, policy: Policy, hub_name: str, grace_minutes: int, now: datetime
) -> Offline:
    """Return the person's offer and what was collected of them. Raises UnknownPerson."""
    person = person_called(session, hub_name)
    made = _offer(session, policy, person, grace_minutes=grace_minutes, now=now)
    return Offline(made, offline.of_person(session, person.id, since=now - REMEMBERED))


def _offer(
    session: Session, policy: Policy, person: Person, *, grace_minutes: int, now: datetime
) -> Offer | None:
    """Return what the person may start offline; None for who could not start it now either."""
    account = accounts.of_person(session, person.id)
    terms = policy.offline_leases
    if account is None or not _may_launch(session, policy, person, account, now=now):
        return None
    size, image = policy.size(terms.size), next(image for image in policy.images if image.default)
    offer = Offer(
        account=account.slug, size=size.slug, size_label=size.label, cpu=size.cpu,
        memory_bytes=size.memory_bytes, image=image.slug, home=person.home_folder, uid=person.uid,
        gid=person.uid, umask=UMASK, rate_micro_per_hour=policy.rate_micro(size),
        rate_card_version=policy.rate_card.version, grace_minutes=grace_minutes,
        minutes=terms.minutes + grace_minutes, total_minutes=terms.total_minutes,
        until=min(now + terms.offered_for, account.allocation.expires_at),
    )  # fmt: skip
    available = ledger.balance(session, account.allocation.id) - ledger.held(session, account.allocation.id)
    return offer if available >= offer.cap_micro() else None


def _may_launch(session: Session, policy: Policy, person: Person, account: Account, *, now: datetime) -> bool:
    return (
        person.suspended_at is None
        and people.has_accepted(session, person.id, policy.agreement.version)
        and now < account.allocation.expires_at
        and policy.offline_leases.size in policy.tiers[account.allocation.tier].sizes
    )


@dataclass(frozen=True)
class OfflineRow:
    """A launch without the service; ``why`` it was refused, or what its lease cost so far."""

    at: datetime
    person_label: str
    account: str
    size: str
    why: str | None
    usage_micro: int | None


@dataclass(frozen=True)
class WhileAway:
    leases: int
    refusals: int
    rows: list[OfflineRow]


def while_away(session: Session, *, now: datetime) -> WhileAway:
    """Return what the hub did alone: counted over 30 days, and the last of it."""
    counts = offline.counts(session, since=now - COUNTED)
    rows = [_offline_row(session, event) for event in offline.latest(session, limit=SHOWN)]
    return WhileAway(counts.get(OfflineKind.LEASE, 0), counts.get(OfflineKind.REFUSAL, 0), rows)


def _offline_row(session: Session, event: OfflineEvent) -> OfflineRow:
    hold = holds.by_id(session, event.id) if event.kind == OfflineKind.LEASE else None
    usage = None if hold is None else hold.usage_micro
    return OfflineRow(event.at, event.person.display_name, event.account, event.size, event.why, usage)


def collect(database: Database, sightings: Iterable[Sighting], *, now: datetime) -> int:
    """Turn what the hub granted and refused alone into holds and events; return how many were new.

    What was collected before is left alone, so that it may be called with the same sightings again.
    """
    new = 0
    for sighting in sightings:
        happened = {lease.id for lease in sighting.leases}
        happened |= {refusal.id for refusal in sighting.offline_refusals}
        if not happened:
            continue
        with database.reading_scope() as session:
            known = offline.known(session, happened)
        for lease in sighting.leases:
            if lease.id not in known:
                with database.session_scope() as session:
                    new += _collect_lease(session, sighting, lease, now=now)
        refusals = [refusal for refusal in sighting.offline_refusals if refusal.id not in known]
        with database.session_scope() as session:
            new += sum(_collect_refusal(session, sighting.hub_name, each, now=now) for each in refusals)
    return new


def _collect_refusal(session: Session, hub_name: str, refusal: OfflineRefusal, *, now: datetime) -> int:
    person = people.by_hub_name(session, hub_name)
    if person is None:
        return 0
    _remember(session, person, OfflineKind.REFUSAL, refusal, why=refusal.why, now=now)
    announce(session, "offline_refusal_collected", person_id=person.id)
    return 1


def _collect_lease(session: Session, sighting: Sighting, lease: Lease, *, now: datetime) -> int:
    person = people.by_hub_name(session, sighting.hub_name)
    account = accounts.of_person(session, person.id) if person else None
    if person is None or account is None or account.slug != lease.account:
        log.error("a lease of %s names an account that is not theirs; it stays with the hub", lease.id)
        return 0
    is_live = lease.ended is None and sighting.hold_id == lease.id
    earlier = holds.open_of_server(session, person.id, lease.server_name) if is_live else None
    accounts.lock(session, {account.allocation.id} | ({earlier.allocation_id} if earlier else set()))
    if earlier is not None:
        # Its admission was lost on the way back, or it ended: the lease's server runs in its place.
        replaced = StopReason.REPLACED if earlier.state == HoldState.PLACED else None
        lifecycle.settle(session, earlier.id, Evidence(), reason=replaced, now=now)
    hold = _hold(person, account, lease)
    session.add(hold)
    if is_live:
        session.flush()
        if lease.process_started_at is not None:
            lifecycle.started(session, hold.id, process_started_at=lease.process_started_at)
    else:
        _end(session, hold, lease, now=now)
    _remember(session, person, OfflineKind.LEASE, lease, why=None, now=now)
    announce(session, "lease_collected", hold_id=hold.id, allocation_id=hold.allocation_id)
    return 1


def _hold(person: Person, account: Account, lease: Lease) -> Hold:
    return Hold(
        id=lease.id, allocation_id=account.allocation.id, person_id=person.id,
        server_name=lease.server_name, state=HoldState.PLACED, size=lease.size, cpu=lease.cpu,
        memory_bytes=lease.memory_bytes, gpu=0, image=lease.image, planned_minutes=lease.planned_minutes,
        grace_minutes=lease.grace_minutes, rate_micro_per_hour=lease.rate_micro_per_hour,
        rate_card_version=lease.rate_card_version, amount_micro=lease.amount_micro, placed_at=lease.at,
        until=lease.until,
    )  # fmt: skip


def _end(session: Session, hold: Hold, lease: Lease, *, now: datetime) -> None:
    """Charge a lease whose server has ended; its person may run another server of that name by now."""
    evidence = lease.ended or Evidence()
    hold.state, hold.settled_at = HoldState.SETTLED, now
    hold.process_started_at = hold.last_seen_at = lease.process_started_at
    hold.earlier_s, hold.usage_micro, hold.posted_micro = 0.0, 0, 0
    hold.stop_reason = lease.stop_reason or StopReason.UNKNOWN
    if lease.process_started_at is None:
        hold.stop_reason = StopReason.NEVER_STARTED
    session.flush()
    # Completes what is known of the end, and charges it.
    lifecycle.settle(session, hold.id, evidence, reason=None, now=now)


def _remember(
    session: Session,
    person: Person,
    kind: OfflineKind,
    happened: Lease | OfflineRefusal,
    *,
    why: str | None,
    now: datetime,
) -> None:
    offline.add(
        session,
        OfflineEvent(
            id=happened.id, person_id=person.id, kind=kind, at=happened.at, account=happened.account,
            size=happened.size, why=why, collected_at=now,
        ),
    )  # fmt: skip
