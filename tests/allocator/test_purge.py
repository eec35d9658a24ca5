"""A purge of files: planned, told, quarantined, given back or deleted; and those who would mislead it."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.support.purging import KEY, TERMS, Purged, manifest, reasons
from tests.support.volumes import FILL, LIST, as_person, btrfs_volume, reachable_folder

from nexus_allocator.clients.files import handles, purging
from nexus_allocator.clients.files.btrfs import BtrfsVolume
from nexus_allocator.clients.files.open_files import open_inodes
from nexus_allocator.clients.files.purge_run import Ground
from nexus_allocator.clients.files.purge_state import State
from nexus_allocator.clients.files.signed_log import LogBroken, SignedLog
from nexus_allocator.clients.files.volumes import with_room
from nexus_allocator.domain.errors import BadPurgeTerms, PlaceBusy, PurgePhase, PurgeTooSoon, UnknownPlan
from nexus_allocator.domain.places import QUARANTINE, Owner, Place, PlaceKind
from nexus_allocator.domain.purges import Identity, Left, Phase, Terms, Wait, is_unused, under_pressure

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts, and gives files to others")
ANNA, BEN = 20_001, 20_002


@pytest.fixture
def purged(tmp_path: Path) -> Purged:
    return Purged(tmp_path)


def a_tree(purged: Purged) -> None:
    """Files of many kinds, all old."""
    purged.write("top")
    marked = purged.write("deep/er/file", b"content" * 1000, mode=0o4711)
    os.utime(marked, ns=(5, 1_600_000_000_123_456_789))
    os.setxattr(marked, "user.origin", b"tele\0scope")
    purged.write(b"deep/not-utf8-\xff\xfe")
    purged.write("deep/" + "x" * 255)
    purged.write("line\nbreak")
    (purged.place / "link").symlink_to("/etc/passwd")
    (purged.place / "dangling").symlink_to("nowhere")
    (purged.place / "empty").mkdir()
    if os.geteuid() == 0:
        os.chown(marked, ANNA, BEN)
        os.chown(marked.parent, ANNA, BEN)
        marked.parent.chmod(0o2770)


PLANNED_OF_THE_TREE = 7


def test_what_went_into_quarantine_comes_back_as_it_was(purged: Purged) -> None:
    a_tree(purged)
    before = manifest(purged.place)
    purged.ready()
    taken = purged.take()
    assert (taken.done, taken.left) == (PLANNED_OF_THE_TREE, ())
    assert purged.waiting() == PLANNED_OF_THE_TREE
    assert set(manifest(purged.place)) == {b"deep", b"deep/er", b"empty"}
    back = purged.restore()
    assert (back.done, back.done_bytes) == (taken.done, taken.done_bytes)
    assert manifest(purged.place) == before
    assert purged.standing().phase is Phase.FINISHED
    assert list((purged.place / QUARANTINE).iterdir()) == []


def test_one_folder_comes_back_though_its_way_there_is_gone_and_the_rest_is_deleted(purged: Purged) -> None:
    a_tree(purged)
    before = manifest(purged.place)
    purged.ready()
    purged.take()
    subprocess.run(["rm", "-r", purged.place / "deep"], check=True)
    assert purged.restore(b"deep", b"er").done == 1
    expected = {
        path: entry for path, entry in before.items() if path in (b"deep", b"deep/er", b"deep/er/file")
    }
    after = manifest(purged.place)
    assert {path: after[path] for path in expected} == expected
    purged.days_pass(TERMS.window.days)
    gone = purged.delete()
    assert (gone.done, gone.left) == (PLANNED_OF_THE_TREE - 1, ())
    assert (purged.waiting(), purged.standing().phase) == (0, Phase.FINISHED)
    assert set(manifest(purged.place)) == {*expected, b"empty"}


def test_nothing_goes_before_its_people_were_told_and_the_grace_has_passed(purged: Purged) -> None:
    purged.write("file")
    purged.drafted()
    with pytest.raises(PurgePhase):
        purged.take()
    purged.noticed()
    purged.days_pass(TERMS.grace.days - 1)
    with pytest.raises(PurgeTooSoon):
        purged.take()
    purged.days_pass(1)
    purged.take()
    purged.days_pass(TERMS.window.days - 1)
    with pytest.raises(PurgeTooSoon):
        purged.delete()
    assert purged.waiting() == 1


def test_a_clock_that_steps_a_year_ahead_shortens_the_grace_by_a_day_and_a_half_at_most(
    purged: Purged,
) -> None:
    purged.write("file")
    purged.drafted()
    purged.noticed()
    purged.now += timedelta(days=365)
    with pytest.raises(PurgeTooSoon):
        purged.take()
    purged.now -= timedelta(days=365)
    # The first look after the clock is right again sees no time pass.
    purged.days_pass(12)
    with pytest.raises(PurgeTooSoon):
        purged.take()
    purged.days_pass(2)
    assert purged.take().done == 1


def test_what_changed_went_or_was_exempted_after_the_plan_is_left(purged: Purged) -> None:
    for name in (
        "appended",
        "touched",
        "chmodded",
        "replaced",
        "gone",
        "renamed/in",
        "exempt/file",
        "kept",
        "old",
    ):
        purged.write(name)
    purged.ready()
    with (purged.place / "appended").open("ab") as file:
        file.write(b"!")
    os.utime(purged.place / "touched")
    (purged.place / "chmodded").chmod(0o600)
    stand_in = purged.write("stand-in")
    before = (purged.place / "replaced").stat()
    os.utime(stand_in, ns=(before.st_atime_ns, before.st_mtime_ns))
    stand_in.rename(purged.place / "replaced")
    (purged.place / "gone").unlink()
    (purged.place / "renamed").rename(purged.place / "elsewhere")
    purged.exempts(b"exempt")
    os.link(purged.place / "kept", purged.place / "second name")
    taken = purged.take()
    assert taken.done == 1
    assert reasons(taken) == {
        (b"appended",): Left.CHANGED, (b"touched",): Left.CHANGED, (b"chmodded",): Left.CHANGED,
        (b"replaced",): Left.CHANGED, (b"gone",): Left.GONE, (b"renamed", b"in"): Left.GONE,
        (b"exempt", b"file"): Left.EXEMPT, (b"kept",): Left.CHANGED,
    }  # fmt: skip
    assert not (purged.place / "old").exists()


def test_what_no_plan_may_list_is_in_none(purged: Purged) -> None:
    first = purged.write("first name")
    os.link(first, purged.place / "second name")
    os.mkfifo(purged.place / "pipe")
    purged.exempts(b"exempt")
    purged.write("exempt/file")
    purged.write(f"{QUARANTINE}/1/2")
    assert purged.drafted().files == 0
    purged.write("theirs")
    assert purged.drafted(owners=frozenset({os.geteuid() + 1})).files == 0


def test_a_file_with_a_date_in_the_future_is_as_old_as_its_last_change() -> None:
    now = datetime(2027, 6, 1, tzinfo=UTC)
    old = Identity(1, 1, mtime_ns=4 * 10**18, ctime_ns=10**18, mode=0o100644, uid=1, gid=1, names=1)
    assert old.mtime_ns > now.timestamp() * 1e9
    assert is_unused(old, for_days=90, now=now)


def test_pressure_takes_large_and_old_files_first_and_no_more_than_needed(purged: Purged) -> None:
    day = 86_400 * 10**9
    now_ns = int(purged.now.timestamp()) * 10**9

    def aged(size: int, days: int) -> tuple[tuple[bytes, ...], Identity]:
        at = now_ns - days * day
        return (b"%d-%d" % (size, days),), Identity(1, size, at, at, 0o100644, 1, 1, 1)

    candidates = [aged(10, 10), aged(100, 10), aged(10, 300), aged(50, 1)]
    chosen = under_pressure(candidates, to_free_bytes=105, now=purged.now)
    assert [path for path, _ in chosen] == [(b"10-300",), (b"100-10",)]


def test_what_is_exempted_while_it_waits_goes_back(purged: Purged) -> None:
    purged.write("thesis/data")
    purged.write("junk")
    before = manifest(purged.place)
    purged.ready()
    purged.take()
    purged.exempts(b"thesis")
    purged.days_pass(TERMS.window.days)
    assert reasons(purged.delete()) == {(b"thesis", b"data"): Left.EXEMPT}
    assert manifest(purged.place) == {path: entry for path, entry in before.items() if path != b"junk"}


def test_a_file_written_through_an_open_descriptor_while_it_waits_goes_back(purged: Purged) -> None:
    path = purged.write("file", b"one")
    with path.open("ab", buffering=0) as still_open:
        purged.ready()
        assert purged.take().done == 1
        still_open.write(b" more")
    purged.days_pass(TERMS.window.days)
    assert reasons(purged.delete()) == {(b"file",): Left.CHANGED}
    assert path.read_bytes() == b"one more"


def test_a_file_that_a_process_here_holds_open_is_left(purged: Purged) -> None:
    path, other = purged.write("open"), purged.write("closed")
    with path.open("rb"):
        inodes = open_inodes(path.stat().st_dev)
        assert path.stat().st_ino in inodes
        assert other.stat().st_ino not in inodes
        purged.ready()
        ground = Ground(purged.place, purged.folder / "records", KEY)
        taken = purging.take(ground, purged.plan_id, exempt=(), now=purged.now)
    assert reasons(taken) == {(b"open",): Left.OPEN}
    assert (path.exists(), other.exists()) == (True, False)


def test_a_run_pauses_while_somebody_works_there(purged: Purged) -> None:
    purged.write("file")
    purged.ready()
    paused = purging.take(purged.ground, purged.plan_id, exempt=(), now=purged.now, busy=lambda: True)
    assert (paused.done, purged.standing().phase) == (0, Phase.QUARANTINING)
    assert purged.take().done == 1


def test_a_new_file_of_the_same_name_is_never_written_over(purged: Purged) -> None:
    purged.write("file", b"old")
    purged.write("x" * 255, b"long")
    purged.ready()
    purged.take()
    purged.write("file", b"new")
    purged.write("x" * 255, b"new")
    purged.restore()
    assert (purged.place / "file").read_bytes() == b"new"
    assert (purged.place / "file.restored-0").read_bytes() == b"old"
    assert (purged.place / ("x" * 244 + ".restored-1")).read_bytes() == b"long"


@needs_root
def test_what_is_mounted_in_a_place_is_not_the_places(purged: Purged) -> None:
    for name in ("mounted", "bound"):
        (purged.place / name).mkdir()
    outside = purged.folder / "outside"
    outside.mkdir()
    (outside / "theirs").write_text("somebody's")
    purged.write("bound/mine")
    os.system(f"mount -t tmpfs tmpfs {purged.place}/mounted")  # noqa: S605 - paths of the test's own
    try:
        (purged.place / "mounted" / "theirs").write_text("somebody's")
        assert purged.drafted().files == 1
        purged.ready()
        # Over a planned file another file system's file is bound, with the very same name.
        (outside / "mine").write_text("somebody's")
        os.system(f"mount --bind {outside} {purged.place}/bound")  # noqa: S605
        assert reasons(purged.take()) == {(b"bound", b"mine"): Left.CHANGED}
    finally:
        os.system(f"umount {purged.place}/mounted {purged.place}/bound")  # noqa: S605
    assert (outside / "mine").read_text() == "somebody's"


# What a hostile owner does at a step of the run: the folder `a` is planned, with the file `file` in it.
def replaced_by_a_link(purged: Purged) -> None:
    (purged.place / "a").rename(purged.place / "b")
    (purged.place / "a").symlink_to(purged.folder / "outside")


def file_swapped_for_a_link(purged: Purged) -> None:
    (purged.place / "a" / "file").unlink(missing_ok=True)
    (purged.place / "a" / "file").symlink_to(purged.folder / "outside" / "file")


def tree_moved_out(purged: Purged) -> None:
    (purged.place / "a").rename(purged.folder / "moved out")


def emptied_and_filled_anew(purged: Purged) -> None:
    (purged.place / "a" / "file").unlink(missing_ok=True)
    purged.write("a/file", b"precious")


def removed_whole(purged: Purged) -> None:
    subprocess.run(["rm", "-rf", purged.place / "a"], check=True)


ATTACKS = [
    replaced_by_a_link,
    file_swapped_for_a_link,
    tree_moved_out,
    emptied_and_filled_anew,
    removed_whole,
]


class _Once:
    """Acts at the first of the steps called ``at``."""

    def __init__(self, at: str, act: Callable[[], None]) -> None:
        self.at, self.act, self.done = at, act, False

    def __call__(self, step: str) -> None:
        if step == self.at and not self.done:
            self.done = True
            self.act()


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("at", ["log quarantining", "take", "taken", "log taken", "log going", "erase"])
def test_nothing_outside_and_nothing_precious_goes_whatever_the_owner_does_meanwhile(
    purged: Purged, attack: Callable[[Purged], None], at: str
) -> None:
    outside = purged.folder / "outside"
    outside.mkdir()
    (outside / "file").write_text("somebody's")
    before = manifest(outside)
    purged.write("a/file", b"old")
    purged.write("z", b"old too")
    purged.ready()
    hostile = _Once(at, lambda: attack(purged))
    purged.step = hostile
    purged.take()
    purged.days_pass(TERMS.window.days)
    if purged.standing().phase is not Phase.FINISHED:
        purged.delete()
    assert hostile.done
    assert manifest(outside) == before
    if attack is emptied_and_filled_anew:
        everywhere = [path.read_bytes() for path in purged.place.rglob("file*") if path.is_file()]
        assert b"precious" in everywhere
    # What nobody meddled with went its way.
    assert not (purged.place / "z").exists()


def test_what_was_swapped_in_the_instant_of_the_taking_is_back_at_once(purged: Purged) -> None:
    purged.write("a/file", b"old")
    purged.ready()
    purged.step = _Once("take", lambda: emptied_and_filled_anew(purged))
    assert reasons(purged.take()) == {(b"a", b"file"): Left.CHANGED}
    assert (purged.place / "a" / "file").read_bytes() == b"precious"
    assert purged.waiting() == 0


def test_a_folder_moved_away_in_the_instant_of_the_taking_has_its_file_back_at_once(purged: Purged) -> None:
    purged.write("a/file", b"old")
    purged.ready()
    purged.step = _Once("take", lambda: tree_moved_out(purged))
    taken = purged.take()
    assert reasons(taken) == {(b"a", b"file"): Left.MOVED}
    assert (purged.folder / "moved out" / "file").read_bytes() == b"old"


@pytest.mark.parametrize("attack", [replaced_by_a_link, tree_moved_out, removed_whole])
def test_a_restore_writes_nowhere_outside_the_place(purged: Purged, attack: Callable[[Purged], None]) -> None:
    outside = purged.folder / "outside"
    outside.mkdir()
    purged.write("a/file", b"old")
    purged.ready()
    purged.take()
    attack(purged)
    back = purged.restore()
    assert list(outside.iterdir()) == []
    if attack is replaced_by_a_link:
        # Still there, to be had again once the link is out of the way.
        assert (reasons(back), purged.waiting()) == ({(b"a", b"file"): Left.MOVED}, 1)
        (purged.place / "a").unlink()
        assert purged.restore().done == 1
    assert (purged.place / "a" / "file").read_bytes() == b"old"


@pytest.mark.parametrize("name", ["..", ".", "", "a/b", "a\0b"])
def test_a_plan_whose_names_lead_upwards_is_refused(purged: Purged, name: str) -> None:
    purged.write("a/file")
    purged.ready()
    plan = purged.folder / "records" / purged.plan_id / "plan.jsonl"
    lines = [json.loads(line) for line in plan.read_text().splitlines()]
    for line in lines:
        if line[0] == "folder" and line[1]:
            line[1] = [name]
    plan.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(LogBroken):
        purged.take()
    assert (purged.place / "a" / "file").exists()


def test_names_that_lead_upwards_are_refused_by_the_handles_too(purged: Purged) -> None:
    (purged.place / "a").mkdir()
    with handles.opened(purged.place) as place:
        for name in (b"..", b".", b"", b"a/../..", b"a\0"):
            with pytest.raises(handles.OutOfReach):
                handles.open_below(place, (b"a", name))


def test_a_quarantine_renamed_by_its_places_owner_is_found_and_not_planned_again(purged: Purged) -> None:
    purged.write("file", b"old")
    purged.ready()
    purged.take()
    (purged.place / QUARANTINE).rename(purged.place / "mine now")
    (purged.place / QUARANTINE).symlink_to(purged.folder)
    first = purged.plan_id
    if os.geteuid() == 0:
        # The link is an old entry like others; what waits is not.
        assert purged.drafted().files <= 1
    purged.plan_id = first
    assert purged.restore().done == 1
    assert (purged.place / "file").read_bytes() == b"old"


def test_a_quarantine_that_is_not_ours_alone_is_not_used(purged: Purged) -> None:
    purged.write("file")
    purged.ready()
    (purged.place / QUARANTINE).chmod(0o755)
    with pytest.raises(PlaceBusy):
        purged.take()
    (purged.place / QUARANTINE).rmdir()
    (purged.place / QUARANTINE).symlink_to(purged.folder)
    with pytest.raises(PlaceBusy):
        purged.take()
    assert (purged.place / "file").exists()


def test_two_runs_of_one_plan_do_not_meet(purged: Purged) -> None:
    purged.write("file")
    purged.ready()
    refused: list[str] = []

    def meanwhile() -> None:
        with pytest.raises(PlaceBusy):
            purging.look(Ground(purged.place, purged.folder / "records", KEY), purged.plan_id, now=purged.now)
        refused.append("yes")

    purged.step = _Once("take", meanwhile)
    purged.take()
    assert refused == ["yes"]


def test_the_log_tells_what_went_and_that_its_owner_was_told(purged: Purged) -> None:
    purged.write("file")
    purged.ready()
    purged.take()
    purged.days_pass(TERMS.window.days)
    purged.delete()
    log = SignedLog(purged.folder / "records" / purged.plan_id / "log.jsonl", KEY)
    told = [event["what"] for event in log.read() if event["what"] != "looked"]
    assert told == [
        "planned", "noticed", "quarantining", "taken", "quarantined", "deleting", "going", "deleted",
        "finished",
    ]  # fmt: skip
    assert purged.standing().count(State.DELETED) == 1


def test_a_log_whose_lines_were_changed_dropped_or_swapped_is_refused(purged: Purged) -> None:
    purged.write("file")
    purged.ready()
    path = purged.folder / "records" / purged.plan_id / "log.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    forged = [
        [lines[0].replace(b"homes/anna", b"homes/bert"), *lines[1:]],
        [lines[0], *lines[2:]],
        [lines[1], lines[0], *lines[2:]],
        [b"not JSON\n", *lines],
        [*lines, b"[]\n"],
    ]
    for each in forged:
        path.write_bytes(b"".join(each))
        with pytest.raises(LogBroken):
            purged.take()
    path.write_bytes(b"".join(lines))
    with pytest.raises(LogBroken):
        SignedLog(path, b"x" * 32).read()
    with pytest.raises(ValueError, match="fewer than 32"):
        SignedLog(path, b"short")
    # A line cut short by a power failure was never relied on.
    path.write_bytes(b"".join(lines) + lines[0][:20])
    assert purged.take().done == 1


def test_plans_are_cancelled_before_anything_was_taken_and_unknown_ones_refused(purged: Purged) -> None:
    purged.write("file")
    purged.drafted()
    purging.cancel(purged.ground, purged.plan_id, reason="asked", now=purged.now)
    with pytest.raises(PurgePhase):
        purged.noticed()
    for plan_id in ("../records", "", "0" * 32):
        with pytest.raises(UnknownPlan):
            purging.standing(purged.ground, plan_id)
    purged.ready()
    purged.take()
    with pytest.raises(PurgePhase):
        purging.cancel(purged.ground, purged.plan_id, reason="too late", now=purged.now)


def test_a_purge_without_a_day_of_grace_is_none() -> None:
    with pytest.raises(BadPurgeTerms):
        Terms(grace=timedelta(hours=23), window=timedelta(days=7))


def test_a_wait_that_nobody_looked_at_for_a_month_has_passed_for_a_day_and_a_half(purged: Purged) -> None:
    wait = Wait(purged.now).look(purged.now + timedelta(days=30))
    assert wait.passed == timedelta(hours=36)
    assert wait.look(purged.now).passed == wait.passed


@pytest.fixture
def full_home() -> Iterator[tuple[BtrfsVolume, Place, Path]]:
    with btrfs_volume() as mounted:
        volume = BtrfsVolume(mounted)
        volume.prepare()
        place = Place(PlaceKind.HOME, "anna")
        folder = volume.create(place, Owner(ANNA, ANNA, 0o750))
        volume.set_quota(place, 16 << 20)
        yield volume, place, folder


@needs_root
def test_a_home_that_is_full_to_its_limit_is_purged_and_has_room_again(
    full_home: tuple[BtrfsVolume, Place, Path], tmp_path: Path
) -> None:
    volume, place, folder = full_home
    for number in range(3):
        as_person(ANNA, FILL.replace("1 << 30", "4 << 20"), folder / f"file {number}")
    assert as_person(ANNA, FILL, folder / "last")["errno"] == "EDQUOT"
    purged = Purged(tmp_path, elsewhere=folder)
    purged.ready()
    with pytest.raises(OSError, match="quota"):
        purged.take()
    with with_room(volume, place):
        assert purged.take().done == 4
    assert volume.usage(place).charged_bytes < 1 << 20
    # It still fills the disk: the room comes with the deletion.
    assert as_person(ANNA, FILL, folder / "new")["errno"] == "EDQUOT"
    purged.days_pass(TERMS.window.days)
    with with_room(volume, place):
        assert purged.delete().done == 4
    volume.usage(place)
    assert as_person(ANNA, FILL.replace("1 << 30", "8 << 20"), folder / "new")["errno"] is None


@needs_root
def test_a_person_cannot_enter_the_quarantine_of_their_own_home() -> None:
    with reachable_folder() as folder:
        purged = Purged(folder)
        os.chown(purged.place, ANNA, ANNA)
        purged.write("file")
        purged.ready()
        purged.take()
        assert as_person(ANNA, LIST, purged.place) == {"errno": None}
        assert as_person(ANNA, LIST, purged.place / QUARANTINE) == {"errno": "EACCES"}
