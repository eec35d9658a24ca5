"""Places: opened with their account, sized by its tier, and brought onto a volume by the outbox.

A place's row says how the place shall be; the volume is asked to make it so after the commit, and again by
`settle_all` until it was seen to be.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from nexus_allocator.domain.errors import BadAmount, UnknownPlace, UnknownVolume
from nexus_allocator.domain.outbox import Channel, FileCall
from nexus_allocator.domain.places import Place, PlaceKind
from nexus_allocator.domain.policy import Policy
from nexus_allocator.domain.quotas import GB, Limits, StorageTerms, own_place
from nexus_allocator.domain.records import NEXUS, Act
from nexus_allocator.services.allocations import require_reason
from nexus_allocator.services.outbox import enqueue
from nexus_allocator.services.records import By, record
from nexus_allocator.store import accounts, people, places
from nexus_allocator.store.places_tables import PlaceRow, VolumeRow
from nexus_allocator.store.session import Database
from nexus_allocator.store.tables import Account

LARGEST_BYTES = 10**6 * GB
SIZE_RANGE = "above zero and at most a million GB"


def open_volume(
    session: Session, name: str, *, driver: str, enforces: bool, most_places: int | None, now: datetime
) -> None:
    """Let a volume take places, or say anew what it is; `settle_undone` brings what waits onto it."""
    row = places.volume(session, name)
    if row is None:
        row = VolumeRow(name=name, driver=driver, enforces=enforces, most_places=most_places, opened_at=now)
        places.add(session, row)
    elif (row.driver, row.enforces, row.most_places, row.closed_at) == (driver, enforces, most_places, None):
        return
    row.driver, row.enforces, row.most_places, row.closed_at = driver, enforces, most_places, None
    facts = {"volume": name, "driver": driver, "enforces": enforces, "most_places": most_places}
    record(session, Act.VOLUME_OPENED, None, by=NEXUS, after=facts, now=now)


def close_volume(session: Session, name: str, *, by: By, now: datetime) -> None:
    """Let a volume take no more places; those on it stay. Raises UnknownVolume."""
    row = places.volume(session, name)
    if row is None:
        raise UnknownVolume(volume=name[:40])
    row.closed_at = row.closed_at or now
    record(session, Act.VOLUME_CLOSED, None, by=by, after={"volume": name}, now=now)


def open_own(session: Session, account: Account, *, name: str, policy: Policy, now: datetime) -> PlaceRow:
    """Open the home of a person's account or the folder of a team's."""
    kind, tier = own_place(account.kind), accounts.by_id(session, account.id).allocation.tier
    row = opened(session, account, Place(kind, name), now=now)
    fit(session, row, size_bytes=policy.tiers[tier].place_bytes(kind), terms=policy.storage, now=now)
    return row


def opened(session: Session, account: Account, place: Place, *, now: datetime, **lease: datetime) -> PlaceRow:
    """Write a new place's row, on the volume with most room; it is not limited and not made yet."""
    row = PlaceRow(
        kind=place.kind, name=place.name, account_id=account.id, volume=places.volume_with_room(session),
        created_at=now, **lease,
    )  # fmt: skip
    places.add(session, row)
    row.account = account
    facts = {"kind": place.kind, "volume": row.volume}
    record(session, Act.PLACE_OPENED, account.id, by=NEXUS, person_id=account.person_id, after=facts, now=now)
    return row


def awarded(session: Session, account: Account, *, policy: Policy, now: datetime) -> None:
    """Give an account's places the sizes of its tier, in the stead of what was set by hand before."""
    for row in places.of_account(session, account.id):
        if row.kind is not PlaceKind.SCRATCH:
            row.set_bytes = None
            _resize(session, row, policy=policy, by=NEXUS, reason=None, now=now)


def set_size(
    session: Session, place: Place, size_bytes: int, *, policy: Policy, reason: str, by: By, now: datetime
) -> None:
    """Give a place another size than its tier's, until the next award.

    Raises UnknownPlace, BadAmount, BadReason.
    """
    row = called(session, place)
    if not 0 < size_bytes <= LARGEST_BYTES:
        raise BadAmount(amount=size_bytes / GB, must_be=SIZE_RANGE)
    row.set_bytes = size_bytes
    _resize(session, row, policy=policy, by=by, reason=require_reason(reason), now=now)


def called(session: Session, place: Place) -> PlaceRow:
    """Return the place's row. Raises UnknownPlace."""
    row = places.called(session, place)
    if row is None:
        raise UnknownPlace(place=str(place))
    return row


def settle_all(database: Database, *, policy: Policy, now: datetime) -> int:
    """Open what is missing, bring what has none onto a volume, and order again what was not seen to be done.

    Return how many places were touched. Doing it again changes nothing.
    """
    with database.session_scope() as session:
        missing = places.without_place(session)
        for account in missing:
            open_own(session, account, name=own_name(session, account), policy=policy, now=now)
        wanted = places.every_id(session)
    return len(missing) + _settled(database, wanted, policy=policy, now=now)


def settle_undone(database: Database, *, policy: Policy, now: datetime) -> int:
    """As `settle_all`, for the places alone that were not seen to be as their rows say."""
    with database.reading_scope() as session:
        wanted = places.undone(session)
    return _settled(database, wanted, policy=policy, now=now)


def _settled(database: Database, wanted: Sequence[UUID], *, policy: Policy, now: datetime) -> int:
    touched = 0
    for place_id in wanted:
        with database.session_scope() as session:
            touched += _settle(session, place_id, policy=policy, now=now)
    return touched


def _settle(session: Session, place_id: UUID, *, policy: Policy, now: datetime) -> bool:
    row = places.lock(session, place_id)
    if row is None:
        return False
    row.volume = row.volume or places.volume_with_room(session)
    if row.kind is PlaceKind.SCRATCH:
        enforce(session, row, terms=policy.storage, now=now)
    else:
        _resize(session, row, policy=policy, by=NEXUS, reason=None, now=now)
    undone = row.volume is not None and (row.made_at is None or row.applied_bytes != row.limit_bytes)
    if undone:
        order(session, row, now=now)
    return undone


def _resize(
    session: Session, row: PlaceRow, *, policy: Policy, by: By, reason: str | None, now: datetime
) -> None:
    before = row.hard_bytes
    size = row.set_bytes or policy.tiers[row.account.allocation.tier].place_bytes(row.kind)
    fit(session, row, size_bytes=size, terms=policy.storage, now=now)
    if row.hard_bytes == before:
        return
    facts = {"kind": row.kind, "bytes": row.hard_bytes}
    record(session, Act.PLACE_SIZED, row.account_id, by=by, person_id=row.account.person_id, reason=reason,
           before={"bytes": before}, after=facts, now=now)  # fmt: skip


def fit(
    session: Session, row: PlaceRow, *, size_bytes: int | None, terms: StorageTerms, now: datetime
) -> None:
    """Set the place's limits to a size, and order what changes; None leaves them as they are.

    Who holds more than a smaller size keeps the hard limit they had: the soft one's grace has begun.
    """
    if size_bytes is not None:
        used = _used(session, row)
        held = row.hard_bytes if row.hard_bytes is not None and used > size_bytes else None
        row.hard_bytes, row.soft_bytes = max(size_bytes, held or 0), terms.soft_bytes(size_bytes)
        row.over_since = limits_of(row, terms).after(used, now=now)
    enforce(session, row, terms=terms, now=now)


def enforce(session: Session, row: PlaceRow, *, terms: StorageTerms, now: datetime) -> None:
    """Order the limit that holds now, unless it is the one that was ordered before."""
    wanted = None if row.hard_bytes is None else limits_of(row, terms).enforced_bytes(now=now)
    if row.ended_at is not None:
        wanted = 0
    if row.made_at is None or wanted != row.limit_bytes:
        row.limit_bytes = wanted
        order(session, row, now=now)


def limits_of(row: PlaceRow, terms: StorageTerms) -> Limits:
    """Return the limits of a place that has some."""
    hard, soft = row.hard_bytes or 0, row.soft_bytes or 0
    return Limits(soft, hard, terms.grace, row.over_since)


def order(session: Session, row: PlaceRow, *, now: datetime) -> None:
    """Have the place's volume asked to make it as its row says."""
    if row.volume is not None:
        enqueue(
            session, Channel.FILES, FileCall.SETTLE_PLACE, key=f"place/{row.id}/{now.isoformat()}",
            facts={"place": str(row.id)}, person_id=row.account.person_id, now=now,
        )  # fmt: skip


def _used(session: Session, row: PlaceRow) -> int:
    found = places.latest_usage(session, [row.id]).get(row.id)
    return found.used_bytes if found else 0


def own_name(session: Session, account: Account) -> str:
    """Return the name of an account's own place: its person's home as first called, or its team."""
    if account.person_id is None:
        return account.slug
    home = people.home(session, account.person_id)
    assert home is not None  # noqa: S101 - only the housed are asked for
    return home.name
