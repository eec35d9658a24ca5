"""Random trees, edits, exemptions, crashes and clock steps: what a purge may never do."""

import os
import shutil
import tempfile
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.support.purging import TERMS, Purged, manifest

from nexus_allocator.domain.errors import AllocatorError
from nexus_allocator.domain.purges import MOST_AT_ONCE, Phase

FOLDERS = st.sampled_from([b"", b"a", b"a/b", b"\xff", b"keep"])
NAMES = st.sampled_from([b"one", b"two", b"three\n", b"\xfe\xfd"])
# Where syncing costs nothing: that is not what is tested here.
MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108 - a folder of our own
STEPS = st.one_of(st.none(), st.integers(1, 40))


class Crash(BaseException):
    """The process dies here, as far as the run can tell."""


@dataclass
class Told:
    """What the machine knows of the plan: what it lists, and how much time really passed since."""

    contents: dict[bytes, bytes]  # by path, when it was planned
    noticed: bool = False
    since_notice: timedelta = timedelta()
    since_taken: timedelta | None = None
    glitches: int = 0


class Purges(RuleBasedStateMachine):
    """Each change gives a file a new number as its content, which so tells which state of which it is."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="nexus-purges-", dir=MEMORY))
        self.purged = Purged(self.folder)
        self.outside = self.folder / "outside"
        self.outside.mkdir()
        (self.outside / "one").write_text("somebody's")
        self.outside_before = manifest(self.outside)
        self.count = 0
        self.living: set[bytes] = set()  # contents that nobody but a purge may make vanish
        self.told: Told | None = None
        self.open_files: list[int] = []

    def teardown(self) -> None:
        for file in self.open_files:
            os.close(file)
        shutil.rmtree(self.folder)

    # What the owner does.

    def path(self, folder: bytes, name: bytes) -> bytes:
        return os.path.join(os.fsencode(self.purged.place), folder, name)

    def leads_out(self, folder: bytes) -> bool:
        """Say whether the owner's own way there goes through a link."""
        real = os.path.realpath(self.path(folder, b""))
        return real != self.path(folder, b"").rstrip(b"/")

    @initialize()
    def a_few_old_files(self) -> None:
        for folder in (b"", b"a/b", b"keep"):
            self.writes(folder, b"one")

    @rule(folder=FOLDERS, name=NAMES)
    def writes(self, folder: bytes, name: bytes) -> None:
        path = self.path(folder, name)
        if self.leads_out(folder) or os.path.isdir(path):
            return
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            return
        self.loses(path)
        self.count += 1
        content = b"%06d" % self.count
        # In place where it exists: same inode, same size, and its old time is put back.
        before = os.lstat(path) if os.path.isfile(path) and not os.path.islink(path) else None
        if os.path.islink(path):
            os.unlink(path)
        with open(path, "r+b" if before else "wb") as file:
            file.write(content)
        if before:
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        self.living.add(content)

    @rule(folder=FOLDERS, name=NAMES)
    def removes(self, folder: bytes, name: bytes) -> None:
        path = self.path(folder, name)
        if not self.leads_out(folder) and (os.path.isfile(path) or os.path.islink(path)):
            self.loses(path)
            os.unlink(path)

    @rule(folder=st.sampled_from([b"a", b"a/b", b"\xff"]), to=st.sampled_from([b"moved", b"a2", b"keep/in"]))
    def moves_a_folder(self, folder: bytes, to: bytes) -> None:
        source, target = self.path(folder, b"").rstrip(b"/"), self.path(to, b"").rstrip(b"/")
        free = not os.path.lexists(target) and os.path.isdir(os.path.dirname(target))
        if free and os.path.isdir(source) and not os.path.islink(source):
            os.rename(source, target)

    @rule(folder=st.sampled_from([b"a", b"\xff"]))
    def puts_a_link_in_a_folders_stead(self, folder: bytes) -> None:
        path = self.path(folder, b"").rstrip(b"/")
        if not os.path.lexists(path):
            os.symlink(self.outside, path)

    @rule(folder=FOLDERS, name=NAMES)
    def gives_a_second_name(self, folder: bytes, name: bytes) -> None:
        path = self.path(folder, name)
        target = self.path(b"", b"second-%d" % self.count)
        if os.path.isfile(path) and not self.leads_out(folder) and not os.path.lexists(target):
            os.link(path, target, follow_symlinks=False)

    @rule(folder=FOLDERS, name=NAMES)
    def keeps_a_file_open(self, folder: bytes, name: bytes) -> None:
        path = self.path(folder, name)
        if os.path.isfile(path) and not os.path.islink(path) and not self.leads_out(folder):
            self.open_files.append(os.open(path, os.O_RDWR))

    @precondition(lambda self: self.open_files)
    @rule()
    def writes_through_an_open_descriptor(self) -> None:
        """Wherever the file is by now; its own time is put back, its change time can't be."""
        file = self.open_files.pop()
        status = os.fstat(file)
        if status.st_nlink:
            self.living.discard(os.pread(file, 100, 0))
            self.count += 1
            content = b"%06d" % self.count
            os.pwrite(file, content, 0)
            os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
            self.living.add(content)
        os.close(file)

    def loses(self, path: bytes) -> None:
        """The owner ends this content; another name of the file changes with it."""
        if os.path.isfile(path) and not os.path.islink(path):
            with open(path, "rb") as file:
                content = file.read()
            if os.lstat(path).st_nlink == 1 or os.path.exists(path):
                self.living.discard(content)

    @rule(path=st.sampled_from([(b"keep",), (b"a",), (b"one",)]))
    def is_exempted(self, path: tuple[bytes, ...]) -> None:
        self.purged.exempts(*path, days=30)

    # Time.

    @rule(days=st.integers(1, 20))
    def days_pass(self, days: int) -> None:
        if self.told is None:
            self.purged.now += timedelta(days=days)
            return
        self.purged.days_pass(days)
        self.told.since_notice += timedelta(days=days)
        if self.told.since_taken is not None:
            self.told.since_taken += timedelta(days=days)

    @rule(days=st.integers(-400, 400))
    def the_clock_steps(self, days: int) -> None:
        self.purged.now += timedelta(days=days)
        if self.told:
            self.told.glitches += 1

    # The platform.

    @precondition(lambda self: self.told is None)
    @rule()
    def plans(self) -> None:
        self.purged.drafted()
        self.told = Told(self.on_disk())

    @precondition(lambda self: self.told is None)
    @rule()
    def plans_and_waits(self) -> None:
        """The whole way to a purge at once: left to chance it is walked too seldom."""
        self.plans()
        self.tells()
        self.days_pass(TERMS.grace.days)

    @precondition(lambda self: self.told is not None and self.phase() is Phase.NOTICED)
    @rule()
    def takes_and_waits(self) -> None:
        self.takes(None)
        self.days_pass(TERMS.window.days)

    @precondition(lambda self: self.told is None)
    @rule(last=st.sampled_from(["exempt", "write", "nothing"]), folder=FOLDERS, name=NAMES, crash_at=STEPS)
    def a_whole_purge(self, last: str, folder: bytes, name: bytes, crash_at: int | None) -> None:
        """With something done while its files wait in quarantine."""
        self.writes(folder, name)
        self.keeps_a_file_open(folder, name)
        self.plans_and_waits()
        self.takes_and_waits()
        if last == "exempt":
            self.is_exempted(tuple(part for part in (*folder.split(b"/"), name) if part))
        if last == "write" and self.open_files:
            self.writes_through_an_open_descriptor()
        self.deletes(crash_at)

    @precondition(lambda self: self.told is not None and not self.told.noticed)
    @rule()
    def tells(self) -> None:
        assert self.told
        self.purged.noticed()
        self.told.noticed = True
        self.told.since_notice = timedelta()

    @precondition(lambda self: self.told is not None)
    @rule(crash_at=STEPS)
    def takes(self, crash_at: int | None) -> None:
        assert self.told
        before = self.on_disk()
        self.crashing(self.purged.take, crash_at)
        gone = set(before.values()) - set(self.on_disk().values())
        if gone:
            assert self.told.noticed
            assert self.told.since_notice + MOST_AT_ONCE * self.told.glitches >= TERMS.grace
        if self.phase() is Phase.QUARANTINED and self.told.since_taken is None:
            self.told.since_taken = timedelta()

    @precondition(lambda self: self.told is not None)
    @rule(crash_at=STEPS, under=st.sampled_from([(), (b"a",), (b"keep",)]))
    def restores(self, crash_at: int | None, under: tuple[bytes, ...]) -> None:
        self.crashing(lambda: self.purged.restore(*under), crash_at)
        self.perhaps_over()

    @precondition(lambda self: self.told is not None)
    @rule(crash_at=STEPS)
    def deletes(self, crash_at: int | None) -> None:
        assert self.told
        before = self.everywhere()
        self.crashing(self.purged.delete, crash_at)
        for content in before - self.everywhere():
            self.may_have_gone(content)
        self.perhaps_over()

    def may_have_gone(self, content: bytes) -> None:
        """Assert all that must hold before a purge removes a content for good."""
        assert self.told
        paths = [path for path, planned in self.told.contents.items() if planned == content]
        assert paths, "a file that was not in the plan, or was changed after it, is gone"
        assert self.told.noticed
        assert self.told.since_taken is not None
        assert self.told.since_taken + MOST_AT_ONCE * self.told.glitches >= TERMS.window
        for path in paths:
            parts = tuple(path.split(b"/"))
            assert not any(each.covers(parts, self.purged.now) for each in self.purged.exempt)
        self.living.discard(content)

    def perhaps_over(self) -> None:
        if self.phase() is Phase.FINISHED:
            self.told = None

    def phase(self) -> Phase:
        return self.purged.standing().phase

    def crashing(self, act: object, crash_at: int | None) -> None:
        """Act, and die at the given step; what the domain refuses is fine."""
        left = [crash_at or 10**9]

        def step(_name: str) -> None:
            left[0] -= 1
            if left[0] == 0:
                raise Crash

        self.purged.step = step
        try:
            act()  # type: ignore[operator]
        except (Crash, AllocatorError):
            pass
        finally:
            self.purged.step = lambda _name: None

    # What always holds.

    def on_disk(self) -> dict[bytes, bytes]:
        """Return what the owner can see: content by path, links not followed."""
        return dict(self.contents(lambda parts: parts[0] != b".nexus-quarantine"))

    def everywhere(self) -> set[bytes]:
        return {content for _, content in self.contents(lambda _: True)}

    def contents(self, wanted: object) -> list[tuple[bytes, bytes]]:
        top, found = os.fsencode(self.purged.place), []
        for folder, _, files in os.walk(top):
            for name in files:
                path = os.path.join(folder, name)
                relative = os.path.relpath(path, top)
                if not os.path.islink(path) and wanted(relative.split(b"/")):  # type: ignore[operator]
                    with open(path, "rb") as file:
                        found.append((relative, file.read()))
        return found

    @invariant()
    def nothing_vanished_that_may_not(self) -> None:
        assert self.living <= self.everywhere()

    @invariant()
    def nothing_outside_was_touched(self) -> None:
        assert manifest(self.outside) == self.outside_before


TestPurges = Purges.TestCase
TestPurges.settings = settings(
    max_examples=int(os.environ.get("NEXUS_PURGE_EXAMPLES", "40")), stateful_step_count=30, deadline=None,
    derandomize="NEXUS_PURGE_EXAMPLES" not in os.environ,
)  # fmt: skip
