"""What pages and programs show of places: what they hold, their limits, and what they cost."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from nexus_allocator.domain.errors import UnknownAccount
from nexus_allocator.domain.places import Place, PlaceKind
from nexus_allocator.domain.policy import Policy
from nexus_allocator.domain.quotas import MONTH_DAYS, Filling, day_micro
from nexus_allocator.domain.rights import Action
from nexus_allocator.services import places as service
from nexus_allocator.services import storage_quotas
from nexus_allocator.services.rights import account_for, person_called, themselves
from nexus_allocator.store import places
from nexus_allocator.store.places_tables import PlaceRow, PlaceUsage


@dataclass(frozen=True)
class PlaceReading:
    """A place as last looked at; sizes are bytes. ``month_micro`` is what 30 days like this cost."""

    place: Place
    account: str
    account_label: str
    volume: str | None
    enforced: bool
    is_made: bool
    looked_at: datetime | None
    used_bytes: int
    quarantined_bytes: int
    snapshot_bytes: int
    hard_bytes: int | None
    soft_bytes: int | None
    filling: Filling
    grace_ends_at: datetime | None
    ends_at: datetime | None
    ended_at: datetime | None
    month_micro: int
    paid_micro: int
    grown_bytes: int
    parts: dict[str, Any] = field(default_factory=dict)

    @property
    def percent(self) -> int | None:
        return None if not self.hard_bytes else 100 * self.used_bytes // self.hard_bytes


@dataclass(frozen=True)
class AccountStorage:
    """An account's places; ``may_take`` says whether the viewer may ask for scratch on it."""

    account: str
    label: str
    places: tuple[PlaceReading, ...]
    may_take: bool
    scratch_most_bytes: int | None
    scratch_most_days: int


@dataclass(frozen=True)
class Everything:
    """All places, the largest first, of those that match; sums are over all."""

    rows: tuple[PlaceReading, ...]
    total: int
    used_bytes: int
    quarantined_bytes: int
    grown_bytes: int
    month_micro: int


def mine(session: Session, *, hub_name: str, policy: Policy, now: datetime) -> list[PlaceReading]:
    """Return the places that a person reaches: their own and their teams'."""
    person = themselves(session, hub_name, Action.STORAGE_SEE)
    return _readings(session, places.reached_by(session, person.id), policy=policy, now=now)


def of_account(
    session: Session, slug: str, *, hub_name: str, policy: Policy, now: datetime
) -> AccountStorage:
    """Return an account's places. Raises UnknownAccount for one that isn't the viewer's to see."""
    person = person_called(session, hub_name)
    account = account_for(session, person, slug, Action.STORAGE_SEE)
    rows = places.of_account(session, account.id)
    may_take = True
    try:
        account_for(session, person, slug, Action.SCRATCH_TAKE)
    except UnknownAccount:
        may_take = False
    return AccountStorage(
        account=account.slug,
        label=account.label,
        places=tuple(_readings(session, rows, policy=policy, with_parts=True, now=now)),
        may_take=may_take,
        scratch_most_bytes=policy.tiers[account.allocation.tier].place_bytes(PlaceKind.SCRATCH),
        scratch_most_days=policy.storage.scratch_most_days,
    )


def look_again(session: Session, slug: str, *, hub_name: str, now: datetime) -> None:
    """Have an account's places looked at again. Raises UnknownAccount."""
    account = account_for(session, person_called(session, hub_name), slug, Action.STORAGE_SEE)
    for row in places.of_account(session, account.id):
        storage_quotas.order_look(session, row, now=now)


def everything(
    session: Session, *, policy: Policy, now: datetime, query: str = "", limit: int = 100
) -> Everything:
    """Return all places, of those whose name holds ``query`` the largest first."""
    found = every_place(session, policy=policy, now=now)
    matching = [each for each in found if query.strip().lower() in str(each.place)]
    largest = sorted(matching, key=lambda each: (-each.used_bytes, str(each.place)))
    return Everything(
        rows=tuple(largest[:limit]),
        total=len(matching),
        used_bytes=sum(each.used_bytes for each in found),
        quarantined_bytes=sum(each.quarantined_bytes for each in found),
        grown_bytes=sum(each.grown_bytes for each in found),
        month_micro=sum(each.month_micro for each in found),
    )


def every_place(session: Session, *, policy: Policy, now: datetime) -> list[PlaceReading]:
    """Return all places, without what they are made of."""
    return _readings(session, places.every(session), policy=policy, now=now)


def _readings(
    session: Session,
    rows: Sequence[PlaceRow],
    *,
    policy: Policy,
    with_parts: bool = False,
    now: datetime,
) -> list[PlaceReading]:
    ids, since = [row.id for row in rows], now - timedelta(days=MONTH_DAYS)
    latest = places.latest_usage(session, ids, with_parts=with_parts)
    before = places.latest_usage(session, ids, until=since)
    paid = places.paid_since(session, ids, since.date())
    enforces = {volume.name: volume.enforces for volume in places.volumes(session)}
    found = []
    for row in rows:
        usage, then = latest.get(row.id), before.get(row.id)
        found.append(
            _reading(
                row, usage, policy=policy, enforced=enforces.get(row.volume or "", False),
                paid_micro=paid.get(row.id, 0), then_bytes=then.used_bytes if then else 0,
                parts=dict(usage.parts or {}) if usage and with_parts else {}, now=now,
            )
        )  # fmt: skip
    return found


def _reading(
    row: PlaceRow,
    usage: PlaceUsage | None,
    *,
    policy: Policy,
    enforced: bool,
    paid_micro: int,
    then_bytes: int,
    parts: dict[str, Any],
    now: datetime,
) -> PlaceReading:
    terms, account = policy.storage, row.account
    used = usage.used_bytes if usage else 0
    quarantined = usage.quarantined_bytes if usage else 0
    filling = storage_quotas.filling_of(row, usage, terms=terms, now=now)
    return PlaceReading(
        place=row.place, account=account.slug, account_label=account.label, volume=row.volume,
        enforced=enforced, is_made=row.made_at is not None, looked_at=usage.at if usage else None,
        used_bytes=used, quarantined_bytes=quarantined, snapshot_bytes=usage.snapshot_bytes if usage else 0,
        hard_bytes=row.hard_bytes, soft_bytes=row.soft_bytes, filling=filling,
        grace_ends_at=service.limits_of(row, terms).grace_ends_at if filling is Filling.SOFT else None,
        ends_at=row.ends_at, ended_at=row.ended_at,
        month_micro=MONTH_DAYS * day_micro(max(0, used - quarantined), policy.rate_card.gb_month_micro),
        paid_micro=paid_micro, grown_bytes=used - then_bytes,
        parts=parts,
    )  # fmt: skip
