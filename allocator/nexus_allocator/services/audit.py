"""The audit: recomputes chains, balances and holds, and compares them with meter, hub and seals."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.orm import Session

from nexus_allocator.clients.hub import Sighting
from nexus_allocator.domain.chain import FIRST, Seal, link_hash
from nexus_allocator.domain.states import HoldState
from nexus_allocator.services.holds import reading_of
from nexus_allocator.services.seals import folded, forged
from nexus_allocator.store import accounts, chains, holds, ledger, meter
from nexus_allocator.store.tables import Hold


@dataclass(frozen=True)
class Drift:
    """One thing that does not add up, with the two figures or moments that disagree."""

    kind: str
    subject: str
    expected: str
    found: str


@dataclass(frozen=True)
class AuditReport:
    allocations: int
    holds: int
    balance_micro: int
    drifts: list[Drift]


@dataclass(frozen=True)
class Outside:
    """What stands outside the database: the hub's live servers, and the seals; None when not asked."""

    sightings: Sequence[Sighting] | None = None
    seals: Sequence[Seal] | None = None


def audit(
    session: Session, *, meter_silence: timedelta, now: datetime, outside: Outside | None = None
) -> AuditReport:
    """Recompute every chain, balance, hold and total; report each drift, mend none."""
    outside = outside or Outside()
    slugs = {row.id: row.account.slug for row in accounts.every_allocation(session)}
    seals = outside.seals or ()
    sealed = folded(seals)
    total, count = 0, 0
    drifts = [Drift("seal", day, "the digest of the seal before it", "another") for day in forged(seals)]
    for book_id, allocation_id in chains.books(session):
        wanted = {head.number: head.hash for head in sealed.pop(book_id, ())}
        balance, found = _chain_drifts(session, book_id, slugs[allocation_id], wanted)
        total += balance
        drifts.extend(found)
    drifts.extend(Drift("sealed", str(book_id), "a book", "none") for book_id in sealed)
    drifts.extend(_ledger_drifts(session, total))
    for batch in holds.batches(session):
        count += len(batch)
        drifts.extend(_hold_drifts(session, batch))
    drifts.extend(_meter_drifts(session, meter_silence, now))
    drifts.extend(_hub_drifts(session, outside.sightings, meter_silence, now))
    return AuditReport(len(slugs), count, total, drifts)


def _chain_drifts(
    session: Session, book_id: UUID, slug: str, sealed: Mapping[int, str]
) -> tuple[int, list[Drift]]:
    """Return one book's sum over its entries, and where chain, checkpoints, seals or sum disagree."""
    previous, number, balance, used = FIRST, 0, 0, 0
    checkpoints, drifts = chains.checkpoints(session, book_id), []
    for link, entry in chains.links(session, book_id):
        number += 1
        facts = chains.facts_of(entry)
        amount = facts.signed_micro(book_id)
        balance, used = balance + amount, used - (amount if facts.is_use else 0)
        previous = link_hash(previous, book_id, number, facts)
        if (link.number, link.amount_micro, link.hash) != (number, amount, previous):
            drifts.append(Drift("chain", f"{slug} {number}", previous, link.hash))
            break
        if (kept := checkpoints.pop(number, None)) not in (None, (balance, used)):
            drifts.append(Drift("checkpoint", f"{slug} {number}", f"{balance} {used}", str(kept)))
        if sealed.get(number, previous) != previous:
            drifts.append(Drift("sealed", f"{slug} {number}", sealed[number], previous))
    drifts.extend(
        Drift("sealed", f"{slug} {lost}", sealed[lost], "no link") for lost in sealed if lost > number
    )
    drifts.extend(
        Drift("checkpoint", f"{slug} {extra}", "no link", str(checkpoints[extra])) for extra in checkpoints
    )
    shown = ledger.balance_of_book(session, book_id)
    if not drifts and shown != balance:
        drifts.append(Drift("balance", slug, str(balance), str(shown)))
    if balance < 0:
        drifts.append(Drift("overspent", slug, "0 or more", str(balance)))
    return balance, drifts


def _ledger_drifts(session: Session, total: int) -> Iterator[Drift]:
    platform = ledger.platform_total(session)
    if platform != -total:
        yield Drift("unbalanced", "platform", str(-total), str(platform))
    if unlinked := chains.unlinked(session):
        yield Drift("unlinked", "ledger", "every entry in its chains", f"{unlinked} are not")


def _hold_drifts(session: Session, batch: Sequence[Hold]) -> Iterator[Drift]:
    by_hold = ledger.posted_of_holds(session, [hold.id for hold in batch])
    for hold in batch:
        posted = by_hold.get(hold.id, 0)
        if posted != hold.posted_micro:
            yield Drift("posted", str(hold.id), str(hold.posted_micro), str(posted))
        usage = reading_of(hold).usage_micro(hold.rate_micro_per_hour)
        if usage != hold.usage_micro:
            yield Drift("reading", str(hold.id), str(usage), str(hold.usage_micro))
        if hold.state == HoldState.SETTLED and hold.usage_micro != hold.posted_micro:
            yield Drift("settled_short", str(hold.id), str(hold.usage_micro), str(hold.posted_micro))


def _meter_drifts(session: Session, silence: timedelta, now: datetime) -> Iterator[Drift]:
    tick = meter.last_tick(session)
    if not holds.every_open(session):
        return
    if tick is None or tick.complete_at is None or now - tick.complete_at > silence:
        found = "never" if tick is None or tick.complete_at is None else tick.complete_at.isoformat()
        yield Drift("meter_silent", "hub", f"a whole answer within {silence}", found)
    for hold_id in tick.facts.get("unaccounted", []) if tick else []:
        yield Drift("unaccounted", hold_id, "an open hold", "a live server without one")


def _hub_drifts(
    session: Session, sightings: Sequence[Sighting] | None, silence: timedelta, now: datetime
) -> Iterator[Drift]:
    if sightings is None:
        return
    # The hub was asked a moment ago: what came or went since then is no drift.
    known = {hold.id for hold in [*holds.every_open(session), *holds.settled_since(session, now - silence)]}
    for sighting in sightings:
        if sighting.ready and not sighting.stopped and sighting.hold_id not in known:
            server = f"{sighting.hub_name}/{sighting.server_name or 'default'}"
            yield Drift("hub_without_hold", server, "an open hold", str(sighting.hold_id or "none"))
    shown = {sighting.hold_id for sighting in sightings}
    for hold in holds.open_servers(session):
        if hold.placed_at + silence < now and hold.id not in shown:
            yield Drift("hold_without_server", str(hold.id), "a live server", "none at the hub")
