"""The command line of places, as CronJobs and operators call it: list, size, measure, charge, settle."""

from datetime import timedelta

import boto3
import pytest
from tests.allocator.test_places import delivered, opens
from tests.allocator.test_storage import Nexus, Run, nexus, run
from tests.support.s3 import s3_server

from nexus_allocator.clients.files.directory import DirectoryVolume
from nexus_allocator.domain.places import Place, PlaceKind

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
    assert "0.001 GB" in run("size", "homes/astronomer", "0.001", "--reason", "for the test")
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


def test_what_accounts_keep_in_the_object_store_is_told_the_largest_first(
    nexus: Nexus, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with s3_server("nexus") as environment:
        for name, value in {**environment, "NEXUS_STORE_BUCKET": "nexus"}.items():
            monkeypatch.setenv(name, value)
        client = boto3.client("s3")
        for key, size in (
            ("accounts/astronomer/a", 1_000_000),
            ("accounts/astronomer/deep/b", 2_000_000),
            ("accounts/gone/c", 4_000_000),
            ("accounts/stray", 9_000_000),
            ("mission/d", 9_000_000),
        ):
            client.put_object(Bucket="nexus", Key=key, Body=bytes(size))
        # The server of the test has its say before.
        assert run("objects").splitlines()[-2:] == [
            "gone\t0.004 GB\t1 objects\tno account of this name",
            "astronomer\t0.003 GB\t2 objects",
        ]
