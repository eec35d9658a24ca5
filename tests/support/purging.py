"""A place with files in it, a purge of it, and a clock; its methods are the sentences of the tests."""

import hashlib
import os
import stat
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from nexus_allocator.clients.files import purging
from nexus_allocator.clients.files.handles import Parts
from nexus_allocator.clients.files.plans import Head
from nexus_allocator.clients.files.purge_run import Exemptions, Ground, Outcome
from nexus_allocator.clients.files.purge_state import Standing
from nexus_allocator.clients.files.quarantine import Step, nothing
from nexus_allocator.domain.places import QUARANTINE
from nexus_allocator.domain.purges import Exemption, Left, Terms, is_unused

KEY = b"a key for tests, 32 bytes long.."
TERMS = Terms(grace=timedelta(days=14), window=timedelta(days=7))
UNUSED_DAYS = 90
A_DAY = timedelta(days=1)


def nobody_has_any_open(_device: int) -> frozenset[int]:
    return frozenset()


@dataclass
class Purged:
    """One place below ``folder`` or ``elsewhere``. Files are made now; the clock runs 200 days ahead."""

    folder: Path
    now: datetime = field(default_factory=lambda: datetime.now(UTC) + timedelta(days=200))
    exempt: Exemptions = ()
    step: Step = nothing
    plan_id: str = ""
    elsewhere: Path | None = None

    def __post_init__(self) -> None:
        self.place.mkdir(exist_ok=True)
        (self.place / QUARANTINE).mkdir(mode=0o700, exist_ok=True)

    @property
    def place(self) -> Path:
        return self.elsewhere or self.folder / "place"

    @property
    def ground(self) -> Ground:
        return Ground(self.place, self.folder / "records", KEY, nobody_has_any_open, self.step)

    def write(self, name: str | bytes, content: bytes = b"old", *, mode: int = 0o640) -> Path:
        path = Path(os.fsdecode(os.path.join(os.fsencode(self.place), os.fsencode(name))))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(mode)
        return path

    def drafted(self, owners: frozenset[int] | None = None) -> Standing:
        self.plan_id = uuid.uuid4().hex
        head = Head(self.plan_id, "homes/anna", f"unused for {UNUSED_DAYS} days", TERMS)
        return purging.draft(
            self.ground, head, choose=lambda _, found: is_unused(found, for_days=UNUSED_DAYS, now=self.now),
            owners=owners, exempt=self.exempt, now=self.now,
        )  # fmt: skip

    def noticed(self) -> None:
        purging.notice(self.ground, self.plan_id, told=["anna"], now=self.now)

    def days_pass(self, days: int) -> None:
        """Each day the clock is looked at, as the daily job does."""
        for _ in range(days):
            self.now += A_DAY
            purging.look(self.ground, self.plan_id, now=self.now)

    def ready(self) -> None:
        """A plan whose people were told, and whose grace has passed."""
        self.drafted()
        self.noticed()
        self.days_pass(TERMS.grace.days)

    def take(self) -> Outcome:
        return purging.take(self.ground, self.plan_id, exempt=self.exempt, now=self.now)

    def restore(self, *under: bytes) -> Outcome:
        return purging.restore(self.ground, self.plan_id, under=under, by="anna", now=self.now)

    def delete(self) -> Outcome:
        return purging.delete(self.ground, self.plan_id, exempt=self.exempt, now=self.now)

    def exempts(self, *path: bytes, days: int = 365) -> None:
        self.exempt += (Exemption(path, self.now + timedelta(days=days), "for the test"),)

    def standing(self) -> Standing:
        return purging.standing(self.ground, self.plan_id)

    def waiting(self) -> int:
        """How many files lie in the quarantine, whoever's name it bears."""
        top = self.place / QUARANTINE
        return sum(len(files) for _, _, files in os.walk(top))


def reasons(outcome: Outcome) -> dict[Parts, Left]:
    return dict(outcome.left)


Entry = tuple[object, ...]


def manifest(root: Path) -> dict[bytes, Entry]:
    """Everything below ``root`` but the quarantine: kind, rights, owners, times, attributes and checksums.

    Of folders not the times: what goes in and out of them sets those.
    """
    found: dict[bytes, Entry] = {}
    top = os.fsencode(root)
    for folder, folders, files in os.walk(top):
        folders[:] = [name for name in folders if name != QUARANTINE.encode()]
        for name in (*folders, *files):
            path = os.path.join(folder, name)
            found[os.path.relpath(path, top)] = _entry(path)
    return found


def _entry(path: bytes) -> Entry:
    status = os.lstat(path)
    rights: Entry = (status.st_mode, status.st_uid, status.st_gid)
    if stat.S_ISDIR(status.st_mode):
        return rights
    marks = {name: os.getxattr(path, name, follow_symlinks=False) for name in _attributes(path)}
    if stat.S_ISLNK(status.st_mode):
        content = os.readlink(path)
    elif stat.S_ISREG(status.st_mode):
        with open(path, "rb") as file:
            content = hashlib.sha256(file.read()).digest()
    else:
        content = b""
    return (*rights, status.st_mtime_ns, status.st_size, content, tuple(sorted(marks.items())))


def _attributes(path: bytes) -> list[str]:
    return os.listxattr(path, follow_symlinks=False)
