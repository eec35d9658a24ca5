"""The command line of places, as CronJobs and operators call it: list, size, measure, charge, settle."""

from datetime import timedelta

import boto3
import pytest
from tests.allocator.test_places import delivered, opens
from tests.allocator.test_scratch import takes
from tests.allocator.test_storage import Nexus, Run, nexus, run
from tests.allocator.test_storage_quotas import finds
from tests.support.s3 import s3_server

from nexus_allocator.clients.files.directory import DirectoryVolume
from nexus_allocator.domain.places import Place, PlaceKind
from nexus_allocator.services import snapshot_asks

__all__ = ["nexus", "run"]
HOME = Place(PlaceKind.HOME, "astronomer")


def test_places_are_settled_looked_at_and_charged_by_daily_commands(nexus: Nexus, run: Run) -> None:
    assert "homes/astronomer\tno volume\tnot looked at of 10 GB\twaits for its volume" in run("list")
    nexus.world.clock.at = nexus.now
    opens(nexus.world)
    volume = DirectoryVolume(nexus.folder / "volume")
    assert run("settle") == "1 places opened or ordered, 0 leases of scratch told of or ended\n"
    delivered(nexus.world, volume)
    assert run("settle").startswith("0 places")
    (volume.path(HOME) / "run").mkdir()
    (volume.path(HOME) / "run" / "image.asdf").write_bytes(b"x" * 5_000_000)
    assert run("measure") == "1 places looked at, 0 over their soft limit\n"
    assert "homes/astronomer\tmain\t0.005 GB of 10 GB\tas ordered" in run("list")
    assert "size" in run("size", "homes/astronomer", "0.001", ends=2)
    resize = ("size", "homes/astronomer", "0.001", "--reason", "for the test")
    assert "0.005 GB, may hold 10 GB, would 0.001 GB\nnothing was done" in run(*resize)
    assert "of 10 GB" in run("list")
    assert "0.001 GB" in run(*resize, "--yes")
    assert run("measure") == "1 places looked at, 1 over their soft limit\n"
    assert nexus.world.told("astronomer")[0].startswith("homes/astronomer holds 0.0 GB")
    nexus.now += timedelta(days=1)
    assert run("charge") != run("charge") == "0.00 credits charged\n"
    assert run("close-volume", "main") == "closed\n"
    assert "No volume other is known" in run("close-volume", "other", ends=1)


def test_a_place_that_can_not_be_looked_at_is_named_and_the_command_fails(nexus: Nexus, run: Run) -> None:
    nexus.world.clock.at = nexus.now
    opens(nexus.world)
    run("settle")
    volume = DirectoryVolume(nexus.folder / "volume")
    delivered(nexus.world, volume)
    volume.remove(HOME)
    said = run("measure", ends=1)
    assert "0 places looked at" in said
    assert "homes/astronomer: " in said


def test_who_has_the_volume_makes_what_was_ordered_and_brings_back_what_was_asked(
    nexus: Nexus, run: Run
) -> None:
    nexus.world.clock.at = nexus.now
    assert run("work") == "1 jobs done, 0 to be tried again, 0 given up\n"
    assert "homes/astronomer\tmain\tnot looked at of 10 GB\tas ordered" in run("list")
    with nexus.world.database.session_scope() as session:
        snapshot_asks.keep_seen(session, HOME, ["2026-11-20"], now=nexus.now)
        snapshot_asks.ask(session, HOME, "2026-11-20", "notes", hub_name="astronomer", now=nexus.now)
    # This volume has no snapshots: nothing is there, which is told, and asked no more.
    assert run("work") == "1 jobs done, 0 to be tried again, 0 given up\n"
    assert any("nothing at notes" in each for each in nexus.world.told("astronomer"))
    assert run("work") == "0 jobs done, 0 to be tried again, 0 given up\n"


def test_scratch_and_growth_are_printed(nexus: Nexus, run: Run) -> None:
    nexus.world.clock.at = nexus.now
    opens(nexus.world)
    run("settle")
    nexus.world.ends("astronomer", nexus.now + timedelta(days=365))
    takes(nexus.world, 5, 30)
    for days, gb in ((40, 1), (0, 3)):
        nexus.world.clock.at = nexus.now - timedelta(days=days)
        finds(nexus.world, gb)
    assert run("scratch").split("\t")[:3] == ["scratch/astronomer", "astronomer", "0.000 of 5 GB"]
    assert f"ends on {nexus.now + timedelta(days=30):%Y-%m-%d}" in run("scratch")
    first, *_, last = run("growth").splitlines()
    assert first == "homes/astronomer\t+2.000 GB\t3.000 GB\t0.24 credits a month"
    assert last == "all 2\t+2.000 GB\t3.000 GB\t0.24 credits a month"
    assert len(run("growth", "--most", "1").splitlines()) == 2


def test_what_accounts_keep_in_the_object_store_is_told_the_largest_first(
    nexus: Nexus, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    # moto keeps buckets for as long as the process lasts: this one is the test's own.
    with s3_server("kept") as environment:
        for name, value in {**environment, "NEXUS_STORE_BUCKET": "kept"}.items():
            monkeypatch.setenv(name, value)
        client = boto3.client("s3")
        for key, size in (
            ("accounts/astronomer/a", 1_000_000),
            ("accounts/astronomer/deep/b", 2_000_000),
            ("accounts/gone/c", 4_000_000),
            ("accounts/stray", 9_000_000),
            ("mission/d", 9_000_000),
        ):
            client.put_object(Bucket="kept", Key=key, Body=bytes(size))
        # The server of the test has its say before.
        assert run("objects").splitlines()[-2:] == [
            "gone\t0.004 GB\t1 objects\tno account of this name",
            "astronomer\t0.003 GB\t2 objects",
        ]
