"""The scanner beside a plain listing of the same tree: whole, after changes, and what it can't see."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.walker import compiled, compiler

from nexus_allocator.clients.files import scanner
from nexus_allocator.clients.files.scanner import DAY_NS, ScanFailed, Summary

N_FOLDERS, PER_FOLDER = 60, 50
# As if the tree had been left alone for two months.
QUIET_NS = 60 * DAY_NS
Seen = dict[bytes, tuple[int, ...]]


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if compiler() is None:
        pytest.skip("no C compiler: the compiled walker is not tested")
    return compiled(scanner.WALKER.with_suffix(".c"), tmp_path_factory.mktemp("walker"))


@pytest.fixture(params=["compiled", "python"])
def walker(request: pytest.FixtureRequest) -> Path | None:
    return request.getfixturevalue("native") if request.param == "compiled" else None


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    for number in range(N_FOLDERS):
        folder = root / f"{number % 7}" / f"{number}"
        folder.mkdir(parents=True)
        for file in range(PER_FOLDER):
            (folder / f"file {file}").touch()
    awkward = os.fsencode(root) + b"/0/not-utf8-\xff\xfe"
    os.mkdir(awkward)
    (Path(os.fsdecode(awkward)) / "line\nbreak").write_bytes(b"x" * 10_000)
    (root / "link").symlink_to("/usr")
    os.mkfifo(root / "pipe")
    os.link(root / "0" / "0" / "file 1", root / "second name")
    (root / "empty").mkdir()
    return root


def listed(root: Path) -> Seen:
    """What is there, by path: inode, size, blocks, mode, uid, times."""
    top, found = os.fsencode(root), {}
    for folder, folders, files in os.walk(top):
        for path in [folder, *(os.path.join(folder, name) for name in (*folders, *files))]:
            found[os.path.relpath(path, top)] = facts(os.lstat(path))
    return found


def facts(of: os.stat_result) -> tuple[int, ...]:
    return (of.st_ino, of.st_blocks * 512, of.st_mode, of.st_uid, of.st_mtime_ns, of.st_ctime_ns)


def indexed(index: Path) -> Seen:
    """The same from the index, paths put together from the tables."""
    table = scanner.folders(index).to_pylist()
    named = {row["id"]: (row["parent"], row["name"]) for row in table}

    def path_of(number: int) -> bytes:
        parent, name = named[number]
        return b"." if parent == scanner.NO_PARENT else os.path.normpath(os.path.join(path_of(parent), name))

    found = {path_of(row["id"]): of_row(row) for row in table}
    for part in scanner.entries(index):
        for row in part.to_pylist():
            path = os.path.normpath(os.path.join(path_of(row["folder"]), row["name"]))
            assert path not in found, "an entry is in the index twice"
            found[path] = of_row(row)
    return found


def of_row(row: dict[str, int]) -> tuple[int, ...]:
    return tuple(row[name] for name in ("inode", "own_bytes", "mode", "uid", "mtime_ns", "ctime_ns"))


def scanned(tree: Path, walker: Path | None, *, quiet: bool = True, whole: bool = False) -> Summary:
    started = time.time_ns() + (QUIET_NS if quiet else 0)
    return scanner.scan(tree, tree.parent / "index", started_ns=started, walker=walker, whole=whole)


def test_the_index_holds_what_a_plain_listing_shows(tree: Path, walker: Path | None) -> None:
    found = scanned(tree, walker)
    expected = listed(tree)
    assert indexed(tree.parent / "index") == expected
    assert found.folders + found.entries == len(expected)
    assert found.own_bytes == sum(blocks for _, blocks, *_ in expected.values())
    assert found.unreadable == 0


def test_a_second_scan_of_an_unchanged_tree_reads_only_the_folders_whose_turn_it_is(
    tree: Path, native: Path
) -> None:
    first = scanned(tree, native)
    again = scanned(tree, native)
    assert (again.folders, again.entries, again.own_bytes) == (first.folders, first.entries, first.own_bytes)
    assert again.folders_read <= first.folders / scanner.READ_EVERY + 1
    assert indexed(tree.parent / "index") == listed(tree)


def test_what_came_went_or_was_renamed_is_seen_at_the_next_scan(tree: Path, walker: Path | None) -> None:
    scanned(tree, walker)
    (tree / "1" / "1" / "new").touch()
    (tree / "2" / "2" / "file 0").unlink()
    (tree / "3" / "3").rename(tree / "4" / "moved")
    (tree / "5" / "5" / "file 1").rename(tree / "5" / "5" / "renamed")
    for file in (tree / "6" / "6").iterdir():
        file.unlink()
    (tree / "6" / "6").rmdir()
    (tree / "6" / "6").symlink_to("../5")
    (tree / "empty" / "deep" / "er").mkdir(parents=True)
    found = scanned(tree, walker)
    assert indexed(tree.parent / "index") == listed(tree)
    if walker:
        assert found.folders_read < found.folders / 2


def test_a_file_written_in_place_is_seen_where_work_goes_on_and_else_in_its_folders_turn(
    tree: Path, native: Path
) -> None:
    changed = tree / "1" / "1" / "file 3"
    # Scanned on the day it was made: all of it is being worked on, so all is read again.
    scanned(tree, native, quiet=False)
    changed.write_bytes(b"x" * 10_000)
    scanned(tree, native, quiet=False)
    assert indexed(tree.parent / "index") == listed(tree)
    # Two months later nobody works there; what is written in place waits for its folder's turn.
    scanned(tree, native)
    changed.write_bytes(b"y" * 50_000)
    seen = [indexed(tree.parent / "index") == listed(tree)]
    for _ in range(scanner.READ_EVERY):
        scanned(tree, native)
        seen.append(indexed(tree.parent / "index") == listed(tree))
    assert (seen[0], seen[-1]) == (False, True)


def test_a_change_while_the_last_scan_ran_is_not_missed(tree: Path, native: Path) -> None:
    changed = (tree / "1" / "1").stat().st_mtime_ns
    index = tree.parent / "index"
    # A scan begins within two seconds of the change: another in the same tick of the clock could follow.
    scanner.scan(tree, index, started_ns=changed + scanner.RACY_NS - 1, walker=native)
    again = scanner.scan(tree, index, started_ns=changed + QUIET_NS, walker=native)
    assert again.folders_read == again.folders


def test_segments_that_are_mostly_dead_are_cleared_away(tree: Path, native: Path) -> None:
    scanned(tree, native)
    for turn in range(4):
        for folder in sorted((tree / "1").iterdir()):
            (folder / f"new {turn}").touch()
        for folder in sorted((tree / "2").iterdir()):
            (folder / f"new {turn}").touch()
        found = scanned(tree, native)
    assert indexed(tree.parent / "index") == listed(tree)
    written = sum(entries for _, entries in found.segments)
    assert written < 2.5 * found.entries
    files = sorted(path.name for path in (tree.parent / "index").glob("entries-*"))
    assert files == sorted(f"entries-{number}.parquet" for number, _ in found.segments)


def test_a_whole_scan_reads_everything(tree: Path, native: Path) -> None:
    scanned(tree, native)
    found = scanned(tree, native, whole=True)
    assert found.folders_read == found.folders


def test_the_bytes_below_each_folder_add_up(tree: Path, walker: Path | None) -> None:
    found = scanned(tree, walker)
    table = scanner.folders(tree.parent / "index")
    below = scanner.bytes_below(table)
    top = table["parent"].to_pylist().index(scanner.NO_PARENT)
    assert below[top] == found.own_bytes
    heavy = table["name"].to_pylist().index(b"not-utf8-\xff\xfe")
    assert below[heavy] >= 10_000


def test_links_are_not_followed_and_mounts_not_entered(tree: Path, walker: Path | None) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root mounts")
    os.system(f"mount -t tmpfs tmpfs {tree}/empty")  # noqa: S605 - a path of the test's own
    try:
        (tree / "empty" / "elsewhere").touch()
        scanned(tree, walker)
    finally:
        os.system(f"umount {tree}/empty")  # noqa: S605
    found = indexed(tree.parent / "index")
    assert not [path for path in found if b"elsewhere" in path or path.startswith(b"link/")]


def test_a_tree_deeper_than_any_path_may_be_long_is_walked(tmp_path: Path, native: Path) -> None:
    root = tmp_path / "tree"
    root.mkdir()
    at = os.open(root, os.O_RDONLY)
    for _ in range(40):
        os.mkdir("d" * 200, dir_fd=at)
        following = os.open("d" * 200, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = following
    os.close(at)
    assert scanned(root, native).folders == 41


def test_a_walk_that_fails_leaves_the_index_as_it_was(tree: Path, native: Path) -> None:
    before = scanned(tree, native)
    index = tree.parent / "index"
    with pytest.raises(ScanFailed):
        scanner.scan(tree / "pipe", index, started_ns=1, walker=native)
    with pytest.raises(ScanFailed):
        scanner.scan(tree, index, started_ns=1, walker=Path("/bin/false"))
    assert scanner.summary(index) == before
    assert indexed(index) == listed(tree)


def test_progress_is_told(tree: Path, native: Path) -> None:
    heard: list[tuple[int, int]] = []
    index = tree.parent / "index"
    found = scanner.scan(tree, index, started_ns=1, walker=native, progress=lambda *seen: heard.append(seen))
    assert heard[-1] == (found.folders, found.entries)


@pytest.fixture(autouse=True)
def nothing_left_open() -> Iterator[None]:
    before = len(os.listdir("/proc/self/fd"))
    yield
    assert len(os.listdir("/proc/self/fd")) <= before + 1


def test_an_index_without_a_scan_says_so(tmp_path: Path) -> None:
    assert scanner.summary(tmp_path) is None
    with pytest.raises(ScanFailed):
        scanner.folders(tmp_path)
