"""Keeping files cold: out of the quarantine into an object store, with checksums, and back into it.

A file is erased here only when the log, on the disk, names its object and checksum, and the store was seen to
hold it. What a stopped run had done follows from the log and from what lies in quarantine, as in a purge.
"""

import base64
import errno
import hashlib
import io
import json
import os
import re
import stat
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO

from nexus_allocator.clients.files.deleting import finish, note_absent, why_spared
from nexus_allocator.clients.files.handles import Found
from nexus_allocator.clients.files.plans import PlannedFile
from nexus_allocator.clients.files.purge_run import Exemptions, Outcome, Run, covered, numbered, summed
from nexus_allocator.clients.files.purge_state import State
from nexus_allocator.clients.files.quarantine import Quarantine
from nexus_allocator.clients.files.taking import put_back
from nexus_allocator.clients.objects.bucket import CHUNK_BYTES, Objects
from nexus_allocator.domain.purges import Left, Parts, Phase, readable

FULL = (errno.EDQUOT, errno.ENOSPC)
STUB_MODE = 0o444
STUB = re.compile(rb"COLD-[0-9a-f]{8}\.txt")
# So much may have to be sent again after a stop.
BATCH = 16


@dataclass(frozen=True)
class Cold:
    """Where an account's cold files go: a store, and the prefix of one plan's keys in it."""

    objects: Objects
    prefix: str

    def key(self, number: int) -> str:
        return f"{self.prefix}/{number}"

    def marks_key(self, number: int) -> str:
        """Where a file's extended attributes go, if it has any."""
        return f"{self.prefix}/{number}.xattrs"


def stub_name(plan_id: str) -> str:
    return f"COLD-{plan_id[:8]}.txt"


def is_stub(found: Found) -> bool:
    """Say whether an entry is a listing of what is cold, which no purge takes: ours, at a place's top."""
    named = STUB.fullmatch(found.name) is not None
    return named and found.folder == () and found.status.st_uid == os.geteuid()


def chill_all(run: Run, shelf: Quarantine, cold: Cold, *, exempt: Exemptions, now: datetime) -> Outcome:
    """Store what waits and still is what was planned, then erase it here; give back the rest."""
    in_use = run.ground.open_inodes(os.fstat(shelf.place).st_dev)
    total = Outcome()
    for batch in run.batches(State.WAITING, State.STORED, size=BATCH):
        _erase_stored(run, shelf, batch)
        waiting = [file for file in batch if run.standing.states[file.number] == State.WAITING]
        stored, back = [], []
        for file in note_absent(run, shelf, waiting, now):
            is_exempt = covered(exempt, file.path, now)
            reason = Left.EXEMPT if is_exempt else why_spared(run, shelf, file, in_use=in_use)
            digest = None if reason else _store(shelf, cold, file)
            # Looked at again: who had it open all the while may have written.
            reason = reason or why_spared(run, shelf, file, in_use=in_use)
            if digest and not reason:
                stored.append((file, digest))
            elif put_back(run, shelf, file):
                back.append((file, reason or Left.CHANGED))
        if stored:
            run.note("stored", now, files=[(file.number, digest) for file, digest in stored])
            _erase_stored(run, shelf, [file for file, _ in stored])
        if back:
            run.note("left", now, files=numbered(back))
        total += summed([file for file, _ in stored], back)
    _end(run, shelf, now)
    return total


def thaw_all(run: Run, shelf: Quarantine, cold: Cold, *, under: Parts, now: datetime) -> Outcome:
    """Bring what is stored at or below ``under`` back into quarantine, its checksum seen to be right."""
    total = Outcome()
    for batch in run.batches(State.STORED, size=BATCH):
        thawed, left = [], []
        for file in batch:
            if file.path[: len(under)] == under:
                reason = _fetch(run, shelf, cold, file)
                if reason:
                    left.append((file, reason))
                else:
                    thawed.append(file)
        if thawed:
            ctimes = [(file.number, _ctime(shelf, file.number)) for file in thawed]
            run.note("thawed", now, files=ctimes)
        total += summed(thawed, left)
    return total


def forget_restored(run: Run, cold: Cold) -> None:
    """Remove the objects of files that came back; done again it does no harm."""
    for number in run.standing.digests:
        if run.standing.states[number] in (State.BACK, State.LEFT):
            cold.objects.delete(cold.key(number))
            cold.objects.delete(cold.marks_key(number))


def _store(shelf: Quarantine, cold: Cold, file: PlannedFile) -> str | None:
    """Store one file and return its SHA-256, once the store was seen to hold it; None when it does not."""
    shelf.step("store")
    with _opened(shelf, file) as body:
        digest, size = _digest(body)
        if not cold.objects.holds(cold.key(file.number), size_bytes=size, sha256=digest):
            body.seek(0)
            cold.objects.put(cold.key(file.number), body, size_bytes=size, sha256=digest)
        marks = _attributes(body)
    if marks:
        text = json.dumps(marks).encode()
        sha256 = hashlib.sha256(text).hexdigest()
        cold.objects.put(cold.marks_key(file.number), io.BytesIO(text), size_bytes=len(text), sha256=sha256)
    shelf.step("stored")
    held = cold.objects.holds(cold.key(file.number), size_bytes=size, sha256=digest)
    return digest if held else None


def _opened(shelf: Quarantine, file: PlannedFile) -> BinaryIO:
    """Return what waits as a stream; of a link its target."""
    if stat.S_ISLNK(file.identity.mode):
        return io.BytesIO(shelf.target(file.number))
    return os.fdopen(shelf.open(file.number, os.O_RDONLY), "rb")


def _digest(body: BinaryIO) -> tuple[str, int]:
    total, size = hashlib.sha256(), 0
    while chunk := body.read(CHUNK_BYTES):
        total.update(chunk)
        size += len(chunk)
    return total.hexdigest(), size


def _attributes(body: BinaryIO) -> dict[str, str]:
    if isinstance(body, io.BytesIO):
        return {}
    names = os.listxattr(body.fileno())
    return {name: base64.b64encode(os.getxattr(body.fileno(), name)).decode() for name in names}


def _erase_stored(run: Run, shelf: Quarantine, files: list[PlannedFile]) -> None:
    for file in files:
        if run.standing.states[file.number] == State.STORED:
            shelf.erase(file.number)


def _fetch(run: Run, shelf: Quarantine, cold: Cold, file: PlannedFile) -> Left | None:
    """Bring one file back under its number; return why not."""
    if shelf.waiting(file.number) is not None:
        # A stopped run had brought it: under its number stands only what was checked.
        return None
    shelf.step("fetch")
    try:
        if not _write_part(run, shelf, cold, file):
            return Left.DAMAGED
    except KeyError:
        return Left.DAMAGED
    except OSError as error:
        if error.errno not in FULL:
            raise
        return Left.NO_ROOM
    shelf.step("fetched")
    shelf.finish_part(file.number)
    return None


def _write_part(run: Run, shelf: Quarantine, cold: Cold, file: PlannedFile) -> bool:
    """Write the object beside its place, with all that the plan says of it; say whether it is right."""
    identity, total = file.identity, hashlib.sha256()
    times = (identity.mtime_ns, identity.mtime_ns)
    if stat.S_ISLNK(identity.mode):
        target = b"".join(cold.objects.get(cold.key(file.number)))
        total.update(target)
        shelf.link_part(file.number, target, uid=identity.uid, gid=identity.gid, times=times)
        return total.hexdigest() == run.standing.digests[file.number]
    with os.fdopen(shelf.new_part(file.number), "wb") as part:
        for chunk in cold.objects.get(cold.key(file.number)):
            total.update(chunk)
            part.write(chunk)
        part.flush()
        if os.geteuid() == 0:
            os.fchown(part.fileno(), identity.uid, identity.gid)
        os.fchmod(part.fileno(), stat.S_IMODE(identity.mode))
        for name, value in _kept_attributes(cold, file.number).items():
            os.setxattr(part.fileno(), name, base64.b64decode(value))
        os.utime(part.fileno(), ns=times)
        os.fsync(part.fileno())
    return total.hexdigest() == run.standing.digests[file.number]


def _kept_attributes(cold: Cold, number: int) -> dict[str, str]:
    try:
        found: dict[str, str] = json.loads(b"".join(cold.objects.get(cold.marks_key(number))))
    except KeyError:
        return {}
    return found


def _ctime(shelf: Quarantine, number: int) -> int:
    found = shelf.waiting(number)
    return found.ctime_ns if found else 0


def _end(run: Run, shelf: Quarantine, now: datetime) -> None:
    """Once nothing waits here any more, leave a listing at the place's top, and say that the plan is cold."""
    if run.standing.count(State.WAITING) or run.standing.phase is not Phase.CHILLING:
        return
    if run.standing.count(State.STORED):
        _leave_stub(run, shelf)
    run.note("cold", now)
    finish(run, shelf, now)


def _leave_stub(run: Run, shelf: Quarantine) -> None:
    plan_id = run.plan.head.plan_id
    lines = [f"Files of {run.plan.head.place} that are kept cold. Plan {plan_id}: have them back on the page"]
    lines.append("of that plan in the portal (Purges of files), a file, a folder or all. Bytes, path:")
    for file in run.plan.files():
        if run.standing.states[file.number] == State.STORED:
            lines.append(f"{file.identity.size_bytes:>15} {readable(file.path)}")
    shelf.leave(stub_name(plan_id), "\n".join(lines).encode() + b"\n", mode=STUB_MODE)
