"""Files kept cold in an object store: moved with checksums, listed, brought back as they were; kills."""

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from tests.support import cold_purge
from tests.support.cold_purge import BUCKET, chill, restore
from tests.support.purging import Purged, manifest, reasons
from tests.support.s3 import s3_server

from nexus_allocator.clients.files import purging
from nexus_allocator.clients.files.plans import PlannedFile
from nexus_allocator.clients.files.purge_state import State
from nexus_allocator.domain.purges import Left, Phase, PurgeState, shown_state


class Killed(BaseException):
    """The process was stopped here."""


@pytest.fixture(scope="module")
def server() -> Iterator[dict[str, str]]:
    with s3_server(BUCKET) as environment:
        yield environment


@pytest.fixture
def purged(tmp_path: Path, server: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Purged:
    for name, value in server.items():
        monkeypatch.setenv(name, value)
    made = Purged(tmp_path)
    made.write("runs/one", b"1" * 3_000_000, mode=0o604)
    made.write("runs/two", b"")
    made.write(b"odd \xff name", b"three")
    (made.place / "runs/link").symlink_to("one")
    os.utime(made.place / "runs/one", ns=(1_700_000_000_123_456_789, 1_700_000_000_123_456_789))
    return made


def taken(purged: Purged) -> dict[bytes, tuple[object, ...]]:
    """Let everything wait in quarantine; return how it was before."""
    before = manifest(purged.place)
    purged.ready()
    purged.take()
    return before


def keys() -> set[str]:
    found = boto3.client("s3").list_objects_v2(Bucket=BUCKET).get("Contents", [])
    return {each["Key"] for each in found}


def of_plan(purged: Purged) -> set[str]:
    return {key for key in keys() if purged.plan_id in key}


def stub(purged: Purged) -> Path:
    return purged.place / f"COLD-{purged.plan_id[:8]}.txt"


def test_what_is_kept_cold_frees_its_space_is_listed_and_comes_back_as_it_was(purged: Purged) -> None:
    before = taken(purged)
    assert chill(purged).done == 4
    assert purged.standing().phase is Phase.COLD
    assert purged.waiting() == 0
    assert len(of_plan(purged)) == 4
    said = stub(purged).read_text()
    assert "3000000 runs/one" in said
    assert "odd \\xff name" in said
    assert restore(purged).done == 4
    after = manifest(purged.place)
    after.pop(stub(purged).name.encode())
    assert after == before
    assert purged.standing().phase is Phase.FINISHED
    assert of_plan(purged) == set()


@pytest.mark.skipif(sys.platform != "linux", reason="extended attributes as Linux has them")
def test_extended_attributes_come_back_too(purged: Purged) -> None:
    path = purged.place / "runs/one"
    os.setxattr(path, "user.colour", b"blue \x00")
    taken(purged)
    chill(purged)
    restore(purged)
    assert os.getxattr(path, "user.colour") == b"blue \x00"


def test_a_folder_comes_back_alone_and_the_rest_stays_cold(purged: Purged) -> None:
    taken(purged)
    chill(purged)
    assert restore(purged, b"runs").done == 3
    assert (purged.place / "runs/one").is_file()
    standing = purged.standing()
    assert (standing.count(State.STORED), standing.phase) == (1, Phase.COLD)
    assert len(of_plan(purged)) == 1
    assert shown_state(Phase.COLD, waiting=0, restored=3, deleted=0) is PurgeState.COLD


def test_an_object_that_was_changed_or_is_gone_is_not_brought_back(purged: Purged) -> None:
    taken(purged)
    chill(purged)
    client = boto3.client("s3")
    numbers = {file.path: file.number for file in purged_files(purged)}
    prefix = cold_purge.cold(purged.plan_id).prefix
    client.put_object(Bucket=BUCKET, Key=f"{prefix}/{numbers[(b'runs', b'one')]}", Body=b"forged")
    client.delete_object(Bucket=BUCKET, Key=f"{prefix}/{numbers[(b'runs', b'two')]}")
    outcome = restore(purged)
    assert reasons(outcome) == {(b"runs", b"one"): Left.DAMAGED, (b"runs", b"two"): Left.DAMAGED}
    assert not (purged.place / "runs/one").exists()
    assert purged.standing().count(State.STORED) == 2


def test_what_was_changed_in_quarantine_or_is_exempt_by_now_is_given_back_and_not_stored(
    purged: Purged,
) -> None:
    taken(purged)
    purged.exempts(b"runs")
    outcome = chill(purged)
    assert outcome.done == 1
    assert set(reasons(outcome).values()) == {Left.EXEMPT}
    assert (purged.place / "runs/one").is_file()


@pytest.mark.parametrize("act", [chill, restore])
def test_stopped_at_any_step_and_called_again_nothing_is_lost(purged: Purged, act: object) -> None:
    before = taken(purged)
    if act is restore:
        chill(purged)
    for step in range(1, 200):
        left = [step]

        def stops(_name: str, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] == 0:
                raise Killed

        purged.step = stops
        try:
            chill(purged) if act is chill else restore(purged)
        except Killed:
            continue
        break
    purged.step = lambda _name: None
    if act is chill:
        assert purged.standing().phase is Phase.COLD
        restore(purged)
    after = manifest(purged.place)
    after.pop(stub(purged).name.encode(), None)
    assert after == before
    assert of_plan(purged) == set()


def test_killed_half_way_again_and_again_it_goes_on(purged: Purged) -> None:
    for number in range(36):
        purged.write(f"many/{number}", b"%d" % number)
    before = taken(purged)
    rng = random.Random(6)  # noqa: S311 - the same kills each time
    kills = 0
    for act, over in (("chill", Phase.COLD), ("restore", Phase.FINISHED)):
        for _ in range(20):
            words = [sys.executable, "-m", "tests.support.cold_purge", purged.folder, purged.plan_id, act]
            surroundings = {**os.environ, "PURGED_NOW": purged.now.isoformat()}
            done = subprocess.run(
                [*map(str, words), str(rng.randrange(70, 100))], env=surroundings, check=False,
                capture_output=True, text=True,
            )  # fmt: skip
            if done.returncode == 0:
                break
            assert done.returncode == -9, done.stderr
            kills += 1
        assert purged.standing().phase is over
    assert kills >= 4
    after = manifest(purged.place)
    after.pop(stub(purged).name.encode())
    assert after == before


def purged_files(purged: Purged) -> list[PlannedFile]:
    return [file for file, _ in purging.listed(purged.ground, purged.plan_id)]
