"""Quotas and their costs: notices as a place fills, soft limit and grace, rescue, GB-months by the day."""

import os
import random
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select
from tests.allocator.test_places import HOME, STARS, delivered, opens, row, tier
from tests.support.allocator import START, World
from tests.support.volumes import reachable_folder

from nexus_allocator.clients.files import breakdown, scanner
from nexus_allocator.clients.files.directory import DirectoryVolume
from nexus_allocator.domain.outbox import Channel
from nexus_allocator.domain.places import QUARANTINE, Place, Usage
from nexus_allocator.domain.quotas import GB, Filling, day_micro
from nexus_allocator.domain.states import TierSlug
from nexus_allocator.domain.wording import overfull_sentence
from nexus_allocator.services import place_looks, places, statements, storage_charges, storage_quotas
from nexus_allocator.services.audit import audit
from nexus_allocator.services.delivery_loop import DeliveryLoop
from nexus_allocator.services.letters import MailCarrier
from nexus_allocator.store import ledger
from nexus_allocator.store import places as rows
from nexus_allocator.store.accounts import by_slug
from nexus_allocator.store.forecasting import spent_by_day
from nexus_allocator.store.outbox_tables import Outgoing
from nexus_allocator.store.places_tables import PlaceUsage

# 0.08 credits for a GB and 30 days.
GB_DAY_MICRO = 80_000 / 30


@pytest.fixture
def volume() -> Iterator[DirectoryVolume]:
    with reachable_folder() as folder:
        root = folder / "volume"
        root.mkdir(mode=0o755)
        volume = DirectoryVolume(root)
        volume.prepare()
        yield volume


@pytest.fixture
def housed(world: World, volume: DirectoryVolume) -> World:
    """An astronomer with an Entry home of 10 GB that was made."""
    opens(world)
    world.astronomer()
    delivered(world, volume)
    return world


def finds(world: World, gb: float, *, quarantined: float = 0, place: Place = HOME) -> Filling:
    usage = Usage(round(gb * GB), round(quarantined * GB), 0, None)
    with world.database.session_scope() as session:
        return storage_quotas.found(
            session, places.called(session, place).id, usage, None, terms=world.policy.storage,
            now=world.clock(),
        )  # fmt: skip


def charged(world: World) -> int:
    return storage_charges.charge_all(world.database, card=world.policy.rate_card, now=world.clock())


def rescued(world: World) -> bool:
    with world.database.session_scope() as session:
        return storage_quotas.needs_rescue(
            session, "astronomer", terms=world.policy.storage, now=world.clock()
        )


def test_people_are_told_at_80_90_and_100_percent_each_once(housed: World) -> None:
    for gb in (7.9, 8.0, 8.5, 9.0, 10.0, 10.0):
        finds(housed, gb)
    told = housed.told("astronomer")
    assert sorted(line.split(":")[0] for line in told) == [
        "homes/astronomer is 100 % full", "homes/astronomer is 80 % full", "homes/astronomer is 90 % full",
    ]  # fmt: skip
    with housed.database.reading_scope() as session:
        mailed = [mail.kind for mail in session.query(Outgoing).filter_by(channel=Channel.MAIL)]
    assert mailed.count("place-fills") == 3


def test_over_the_soft_limit_a_grace_runs_then_the_limit_falls_until_there_is_room(
    housed: World, volume: DirectoryVolume
) -> None:
    assert finds(housed, 9.5) is Filling.SOFT
    assert "More than 9.0 GB may stay until 2026-03-16" in housed.told("astronomer")[0]
    assert not rescued(housed)
    housed.clock.forward(days=13)
    assert finds(housed, 9.5) is Filling.SOFT
    housed.clock.forward(days=1)
    assert finds(housed, 9.5) is Filling.LOCKED
    assert "too long" in housed.told("astronomer")[0]
    delivered(housed, volume)
    assert volume.usage(HOME).limit_bytes == 9 * GB
    assert rescued(housed)
    housed.clock.forward(hours=1)
    assert finds(housed, 8.9) is Filling.FINE
    delivered(housed, volume)
    assert volume.usage(HOME).limit_bytes == 10 * GB
    assert not rescued(housed)
    # What is over again begins a grace of its own.
    assert finds(housed, 9.5) is Filling.SOFT


def test_a_full_home_starts_beside_it_and_is_looked_at_again_until_there_is_room(
    housed: World, volume: DirectoryVolume
) -> None:
    finds(housed, 10)
    assert rescued(housed)
    with housed.database.reading_scope() as session:
        person = storage_quotas.person_called(session, "astronomer")
        (told,) = storage_quotas.warnings(session, person.id, terms=housed.policy.storage, now=housed.clock())
    assert "Nothing more can be written there" in overfull_sentence(told)
    # The volume was asked anew, and finds next to nothing.
    assert delivered(housed, volume).sent == 1
    assert not rescued(housed)
    housed.clock.forward(hours=1)
    finds(housed, 10)
    admitted = housed.launch()
    housed.started(admitted.hold_id)
    housed.clock.forward(hours=1)
    housed.stopped(admitted.hold_id, stopped_at=housed.clock())
    assert delivered(housed, volume).sent == 1
    assert not rescued(housed)


def test_a_smaller_tier_leaves_a_full_home_its_old_limit_for_the_grace(
    housed: World, volume: DirectoryVolume
) -> None:
    tier(housed, "astronomer", TierSlug.RESEARCH)
    finds(housed, 60)
    housed.clock.forward(days=1)
    tier(housed, "astronomer", TierSlug.ENTRY)
    assert (row(housed).soft_bytes, row(housed).hard_bytes) == (9 * GB, 100 * GB)
    assert finds(housed, 60) is Filling.SOFT
    assert "more than the 9.0 GB" in housed.told("astronomer")[0]
    assert len(housed.told("astronomer")) == 1
    housed.clock.forward(days=14)
    assert finds(housed, 60) is Filling.LOCKED
    delivered(housed, volume)
    assert volume.usage(HOME).limit_bytes == 9 * GB
    housed.clock.forward(days=1)
    assert finds(housed, 5) is Filling.FINE
    places.settle_all(housed.database, policy=housed.policy, now=housed.clock())
    assert row(housed).hard_bytes == 10 * GB


def test_gigabyte_months_are_charged_by_the_day_once_and_not_for_quarantine(housed: World) -> None:
    before = housed.figures("astronomer").balance
    finds(housed, 6, quarantined=1.5)
    assert charged(housed) == 0
    housed.clock.forward(days=1)
    assert charged(housed) == int(4.5 * GB_DAY_MICRO) == 12_000
    assert charged(housed) == 0
    # A day on which nobody looked costs what was seen last; three days are owed now.
    housed.clock.forward(days=3)
    assert charged(housed) == 3 * 12_000
    assert housed.figures("astronomer").balance == before - 48_000
    with housed.database.reading_scope() as session:
        assert audit(session, meter_silence=timedelta(days=1), now=housed.clock()).drifts == []
        found = statements.of_account(
            session, slug="astronomer", first=date(2026, 3, 3), last=date(2026, 3, 6)
        )
        account = by_slug(session, "astronomer")
        assert account is not None
        assert spent_by_day(session, [account.allocation.id], since=START)[account.allocation.id] == {
            date(2026, 3, 3): 12_000, date(2026, 3, 6): 36_000,
        }  # fmt: skip
        assert (
            ledger.spent(session, [account.allocation.id])[account.allocation.id].used_since_grant == 48_000
        )
    lines = [(line.day.day, line.resource.value, line.amount_micro) for line in found.lines]
    assert lines == [(3, "storage", -12_000), (6, "storage", -36_000)]
    assert found.closing_micro == before - 48_000


def test_storage_takes_neither_what_a_server_needs_nor_more_than_there_is(housed: World) -> None:
    finds(housed, 9)
    left = housed.figures("astronomer").available
    housed.correct("astronomer", -(left - 1000) / 10**6)
    housed.clock.forward(days=1)
    assert charged(housed) == 1000
    assert housed.figures("astronomer").balance == 0
    with housed.database.reading_scope() as session:
        (day,) = session.query(rows.PlaceDay).all()
    assert (day.paid_micro, day.unpaid_micro) == (1000, day_micro(9 * GB, 80_000) - 1000)
    housed.clock.forward(days=1)
    assert charged(housed) == 0


def test_a_team_s_folder_is_charged_to_the_team(housed: World, volume: DirectoryVolume) -> None:
    housed.team("stars", "astronomer")
    delivered(housed, volume)
    finds(housed, 300, place=STARS)
    before = housed.figures("stars").balance
    housed.clock.forward(days=1)
    assert charged(housed) == before - housed.figures("stars").balance == 800_000


def test_looking_at_all_places_keeps_what_they_hold_and_of_what_it_is_made(
    housed: World, volume: DirectoryVolume, tmp_path: Path
) -> None:
    home = volume.path(HOME)
    (home / "runs" / "first").mkdir(parents=True)
    (home / "runs" / "first" / "image.ASDF").write_bytes(b"x" * 2_000_000)
    (home / "runs" / "old.fits").write_bytes(b"x" * 1_000_000)
    os.utime(home / "runs" / "old.fits", (0, 0))
    (home / "notes").write_bytes(b"x" * 50_000)
    (home / QUARANTINE / "plan" / "0").mkdir(parents=True)
    (home / QUARANTINE / "plan" / "0" / "gone.fits").write_bytes(b"x" * 3_000_000)
    looked = place_looks.look_at_all(
        housed.database, volume, "main", indices=tmp_path / "indices", terms=housed.policy.storage,
        clock=housed.clock,
    )  # fmt: skip
    assert (looked.places, looked.overfull, looked.failed) == (1, 0, [])
    with housed.database.reading_scope() as session:
        found = rows.latest_usage(session, [row(housed).id], with_parts=True)[row(housed).id]
    assert found.quarantined_bytes >= 3_000_000
    assert found.parts is not None
    (runs, top) = found.parts["folders"]
    assert (runs["name"], top["name"]) == ("runs", "(files at the top)")
    assert runs["folders"][0]["name"] == "first"
    assert runs["bytes"] > runs["folders"][0]["bytes"] >= 2_000_000
    types = {each["name"]: each["bytes"] for each in found.parts["types"]}
    assert list(types) == [".asdf", ".fits", "no ending"]
    assert 1_000_000 <= types[".fits"] < 1_100_000
    # Just changed, whatever its times say: the kernel's own can't be set.
    assert sum(each["bytes"] for each in found.parts["ages"]) == sum(types.values())


def test_ages_are_those_of_the_last_change(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file.dat").write_bytes(b"x" * 100_000)
    changed_ns = (tmp_path / "tree" / "file.dat").stat().st_ctime_ns
    scanner.scan(tmp_path / "tree", tmp_path / "index", started_ns=changed_ns)
    for days, age in ((1, 0), (31, 1), (91, 2), (400, 3)):
        found = breakdown.parts(tmp_path / "index", now_ns=changed_ns + days * breakdown.DAY_NS)
        assert [number for number, each in enumerate(found["ages"]) if each["bytes"]] == [age]


def test_what_places_held_is_kept_thinner_as_it_gets_older_by_the_rounds(housed: World) -> None:
    def kept() -> list[tuple[float, bool]]:
        """How many days ago each look was, and whether it says what the place is made of."""
        with housed.database.reading_scope() as session:
            looks = session.scalars(select(PlaceUsage).order_by(PlaceUsage.at))
            return [((now - each.at) / timedelta(days=1), each.parts is not None) for each in looks]

    now = START + timedelta(days=900)
    looks = (800.6, 800.5, 790, 770, 200.6, 200.5, 199.5, 80.6, 80.5, 8, 6)
    for days in looks:
        housed.clock.at = now - timedelta(days=days)
        usage, parts = Usage(GB, 0, 0, None), {"folders": []}
        with housed.database.session_scope() as session:
            place_id = places.called(session, HOME).id
            storage_quotas.found(
                session, place_id, usage, parts, terms=housed.policy.storage, now=housed.clock()
            )
    housed.clock.at = now
    carriers = {Channel.MAIL: MailCarrier(None, None)}
    rng = random.Random(1)  # noqa: S311 - spreads attempts, hides nothing
    loop = DeliveryLoop(housed.database, carriers, clock=housed.clock, rng=rng, lease=timedelta(minutes=3))
    loop.turn(Channel.MAIL)
    left = kept()
    # Of 30 days, as counted from 1970, 800.6, 800.5 and 790 days ago are one.
    assert [days for days, _ in left] == pytest.approx([790, 770, 200.5, 199.5, 80.6, 80.5, 8, 6])
    assert [has_parts for _, has_parts in left] == [False] * (len(left) - 1) + [True]
    loop.turn(Channel.MAIL)
    assert kept() == left
