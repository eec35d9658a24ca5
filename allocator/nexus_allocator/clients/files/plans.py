"""A purge plan as a file: a head line, then each folder that planned files lie in, followed by those files.

One JSON list a line. Names keep bytes that are not UTF-8 as lone surrogates, as Python writes them. The log's
first line holds the file's digest, so a plan that was touched afterwards is refused.
"""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass, field, replace
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from nexus_allocator.clients.files.handles import Parts
from nexus_allocator.clients.files.signed_log import LogBroken, digest, sync_folder
from nexus_allocator.domain.purges import Identity, Terms


@dataclass(frozen=True)
class Head:
    """What the whole plan says of itself; ``policy`` is the sentence that people read."""

    plan_id: str
    place: str
    policy: str
    terms: Terms


@dataclass(frozen=True)
class Rights:
    """Of a folder, so that it can be made again should it be gone when a file comes back."""

    mode: int
    uid: int
    gid: int


@dataclass(frozen=True)
class PlannedFile:
    number: int
    folder: Parts
    name: bytes
    identity: Identity

    @property
    def path(self) -> Parts:
        return (*self.folder, self.name)


@dataclass(frozen=True)
class Listing:
    """A folder and which of its entries are planned, none perhaps."""

    folder: Parts
    rights: Rights
    chosen: list[tuple[bytes, Identity]]


@dataclass(frozen=True)
class Written:
    files: int
    size_bytes: int
    digest: str


class _Writer:
    """Writes lines, each folder once and its ancestors before it."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.files, self.size_bytes = 0, 0
        self._above: list[Listing] = []
        self._named = 0  # how many of these have their line

    def add(self, listing: Listing) -> None:
        while self._above and listing.folder[: len(self._above[-1].folder)] != self._above[-1].folder:
            self._above.pop()
        self._named = min(self._named, len(self._above))
        self._above.append(listing)
        if not listing.chosen:
            return
        for each in self._above[self._named :]:
            names = [os.fsdecode(name) for name in each.folder]
            self._write(["folder", names, *astuple(each.rights)])
        self._named = len(self._above)
        for name, identity in listing.chosen:
            self._write(["file", self.files, os.fsdecode(name), *astuple(identity)])
            self.files += 1
            self.size_bytes += identity.size_bytes

    def _write(self, words: list[Any]) -> None:
        self.file.write(_line(words))


def write(path: Path, head: Head, listings: Iterable[Listing]) -> Written:
    """Write the plan in whole or not at all; its files are numbered from 0. Parents come before children."""
    part = path.with_suffix(".part")
    days = [head.terms.grace / timedelta(days=1), head.terms.window / timedelta(days=1)]
    with part.open("wb") as file:
        file.write(_line(["plan", head.plan_id, head.place, head.policy, *days]))
        writer = _Writer(file)
        for listing in listings:
            writer.add(listing)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)
    sync_folder(path.parent)
    return Written(writer.files, writer.size_bytes, digest_of(path))


def digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return digest(file)


def read_head(path: Path) -> Head:
    with path.open("rb") as file:
        _, plan_id, place, policy, grace, window = json.loads(next(file))
    return Head(plan_id, place, policy, Terms(timedelta(days=grace), timedelta(days=window)))


def read(path: Path, expected_digest: str) -> "Plan":
    """Return the plan. Raises LogBroken when it is not, byte for byte, the one that was logged."""
    if digest_of(path) != expected_digest:
        raise LogBroken(f"{path} is not the plan that was logged")
    return Plan(path, read_head(path))


@dataclass
class Plan:
    """A plan read back. Its files come in order; ``folders`` fills on the way, each before its files."""

    path: Path
    head: Head
    folders: dict[Parts, Rights] = field(default_factory=dict)

    def files(self) -> Iterator[PlannedFile]:
        folder: Parts = ()
        with self.path.open("rb") as file:
            next(file)
            for line in file:
                kind, first, *words = json.loads(line)
                if kind == "folder":
                    folder = tuple(map(os.fsencode, first))
                    self.folders[folder] = Rights(*words)
                else:
                    yield PlannedFile(first, folder, os.fsencode(words[0]), Identity(*words[1:]))


@dataclass(frozen=True)
class Section:
    """A folder's own files in the list: numbered from ``first`` on, their lines beginning at ``offset``."""

    folder: Parts
    first: int
    files: int
    size_bytes: int
    offset: int


def sections(path: Path) -> Iterator[Section]:
    """Yield the folders that have planned files, in the order of the list."""
    here: Section | None = None
    folder: Parts = ()
    offset = 0
    with path.open("rb") as file:
        for line in file:
            start, offset = offset, offset + len(line)
            kind, first, *words = json.loads(line)
            if kind == "folder":
                folder = tuple(map(os.fsencode, first))
            elif kind == "file":
                if here is None or here.folder != folder:
                    if here is not None:
                        yield here
                    here = Section(folder, first, 0, 0, start)
                size = here.size_bytes + Identity(*words[1:]).size_bytes
                here = replace(here, files=here.files + 1, size_bytes=size)
    if here is not None:
        yield here


def read_section(path: Path, folder: Parts, offset: int, *, files: int) -> list[PlannedFile]:
    """Return as many files of a folder, whose lines begin at ``offset``."""
    with path.open("rb") as file:
        file.seek(offset)
        lines = [json.loads(line) for line in islice(file, files)]
    return [PlannedFile(words[1], folder, os.fsencode(words[2]), Identity(*words[3:])) for words in lines]


def _line(words: list[Any]) -> bytes:
    return json.dumps(words, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"


def identity_of(status: os.stat_result) -> Identity:
    return Identity(
        status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_mode,
        status.st_uid, status.st_gid, status.st_nlink,
    )  # fmt: skip


def rights_of(status: os.stat_result) -> Rights:
    return Rights(status.st_mode & 0o7777, status.st_uid, status.st_gid)
