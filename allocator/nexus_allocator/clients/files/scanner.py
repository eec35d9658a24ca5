"""The scanner: a tree of any size into a compact index, again and again, reading only what may have changed.

The walk is the compiled `walker` (see walker.c), made when the package is installed where a C compiler is
there; elsewhere Python walks, slower by far, with the same result. The index is a folder with a table of all
folders and one or more segments of entries (Parquet); an entry counts while its folder points to its segment.

What a re-scan can't see: a folder's own times change when entries come, go or are renamed, not when a file
in it is written in place. So a folder is read again, its times unchanged or not, if an entry of it changed
within `HOT_DAYS` before the last scan (what is worked on), if it changed while the last scan ran, and in any
case once in `READ_EVERY` scans. Until then sizes and times of quiet files written in place are old. No purge
relies on them: each file is looked at again before it is moved.
"""

import json
import os
import struct
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from nexus_allocator.clients.files import handles
from nexus_allocator.clients.files.volumes import VolumeError

WALKER = Path(__file__).with_name("walker")
HOT_DAYS, READ_EVERY = 7, 30
RACY_NS = 2 * 10**9  # coarser than any file system's clock
DAY_NS = 86_400 * 10**9
BATCH = 1 << 15  # records of a block
GROUP = 1 << 18  # entries per row group, and so the most that waits in memory
PIPE_BYTES = 1 << 20  # the most that anybody may ask for; a twelfth of the switches that 64 KiB cost
FOLDERS, ENTRIES = 1, 2
NO_PARENT = 2**32 - 1
ENOENT = 2

# As in walker.c.
FOLDER = np.dtype(
    [(name, "<u4") for name in ("id", "parent", "name_end", "mode", "uid", "gid", "error", "read")]
    + [("inode", "<u8"), ("mtime_ns", "<i8"), ("ctime_ns", "<i8"), ("own_bytes", "<i8")]
)
ENTRY = np.dtype(
    [(name, "<u4") for name in ("folder", "name_end", "mode", "uid", "gid", "names")]
    + [("inode", "<u8")]
    + [(name, "<i8") for name in ("size_bytes", "own_bytes", "mtime_ns", "ctime_ns")]
)
KNOWN = np.dtype(
    [(name, "<u4") for name in ("id", "children", "n_children", "name_start", "name_size", "reread")]
    + [("inode", "<u8"), ("mtime_ns", "<i8"), ("ctime_ns", "<i8")]
)
SUMS = (("segment", np.uint32), ("entries", np.uint32), ("bytes", np.int64), ("newest_ns", np.int64))

Records = NDArray[Any]
Block = tuple[int, Records, bytes]
Progress = Callable[[int, int], None]


class ScanFailed(VolumeError):  # noqa: N818 - says what it is
    """The walk ended early; the index is as it was before."""


@dataclass(frozen=True)
class Summary:
    """An index as a whole; ``folders_read`` were read anew by its last scan."""

    scan: int
    started_ns: int
    next_id: int
    folders: int
    entries: int
    own_bytes: int  # a file counts under each of its names
    folders_read: int
    unreadable: int
    segments: tuple[tuple[int, int], ...]  # number, entries when written


def scan(
    root: Path,
    index: Path,
    *,
    started_ns: int,
    threads: int = 2,
    gentle: bool = True,
    whole: bool = False,
    walker: Path | None = WALKER,
    progress: Progress | None = None,
) -> Summary:
    """Bring the index of ``root`` up to what is there, and return it.

    ``threads`` pays off on network storage, where each look waits; ``gentle`` walks at the lowest priority of
    processor and disk; ``whole`` reads every folder. ``progress`` hears of folders and entries seen. Raises
    ScanFailed; the old index stays until the new one is complete.
    """
    index.mkdir(mode=0o700, parents=True, exist_ok=True)
    before = summary(index)
    old = None if before is None else pq.read_table(index / f"folders-{before.scan}.parquet")
    number = 1 if before is None else before.scan + 1
    with tempfile.TemporaryDirectory(dir=index) as scratch:
        known = None
        if before and old is not None and not whole:
            known = Path(scratch) / "known"
            known.write_bytes(_known(old, before))
        words = [str(threads), str(int(gentle)), *([str(known)] if known else [])]
        blocks = _native(walker, root, words) if walker and walker.exists() else _plain(root)
        writing = _Writing(Path(scratch) / "entries.parquet", number)
        for block in blocks:
            writing.add(block)
            if progress:
                progress(writing.n_folders, writing.n_entries)
        writing.close()
        table = _table(writing, old if known else None)
        return _put_in_force(
            index, Path(scratch), writing=writing, table=table, before=before, started_ns=started_ns
        )


def summary(index: Path) -> Summary | None:
    """Return what the index says of itself, None before the first scan."""
    file = index / "index.json"
    if not file.exists():
        return None
    said = json.loads(file.read_text())
    return Summary(**said | {"segments": tuple(map(tuple, said["segments"]))})


def folders(index: Path) -> pa.Table:
    """Return the folders: id, parent (`NO_PARENT` of the root), name, rights, times, sums."""
    said = summary(index)
    if said is None:
        raise ScanFailed(f"{index} holds no scan")
    return pq.read_table(index / f"folders-{said.scan}.parquet")


def entries(index: Path, columns: list[str] | None = None) -> Iterator[pa.Table]:
    """Yield what is no folder, a part at a time; ``folder`` is the id of the folder that an entry lies in."""
    table, said = folders(index), summary(index)
    by_id = np.zeros(said.next_id if said else 0, np.uint32)
    by_id[table["id"].to_numpy()] = table["segment"].to_numpy()
    wanted = None if columns is None else list(dict.fromkeys([*columns, "folder"]))
    for segment, _ in said.segments if said else ():
        with pq.ParquetFile(index / f"entries-{segment}.parquet") as file:
            for batch in file.iter_batches(GROUP, columns=wanted):
                lives = by_id[batch.column("folder").to_numpy()] == segment
                yield pa.Table.from_batches([batch.filter(pa.array(lives))])


def bytes_below(table: pa.Table) -> NDArray[np.int64]:
    """Return, for each row of the table of folders, the bytes that it and everything below it take."""
    ids, parents = table["id"].to_numpy(), table["parent"].to_numpy()
    total: NDArray[np.int64] = table["bytes"].to_numpy() + table["own_bytes"].to_numpy()
    row = np.full(int(ids.max()) + 1, -1, np.int64)
    row[ids] = np.arange(len(ids))
    above = np.where(parents == NO_PARENT, -1, row[np.where(parents == NO_PARENT, 0, parents)])
    depth = _depths(above)
    for level in range(int(np.max(depth)), 0, -1):
        here = np.flatnonzero(depth == level)
        np.add.at(total, above[here], total[here])
    return total


def _depths(above: NDArray[np.int64]) -> NDArray[np.int64]:
    depth, at = np.zeros(len(above), np.int64), above.copy()
    while (climbing := at >= 0).any():
        depth[climbing] += 1
        at[climbing] = above[at[climbing]]
    return depth


class _Writing:
    """Takes blocks of the walk: entries go to the new segment, folders and their sums stay in memory."""

    def __init__(self, path: Path, segment: int) -> None:
        self.path, self.segment = path, segment
        self.n_folders, self.n_entries = 0, 0
        self.blocks: list[Block] = []
        self._sums = {name: np.zeros(1, kind) for name, kind in SUMS}
        self._writer: pq.ParquetWriter | None = None
        self._waiting: list[pa.Table] = []

    def add(self, block: Block) -> None:
        kind, records, _ = block
        if kind == FOLDERS:
            self.blocks.append(block)
            self.n_folders += len(records)
            return
        self.n_entries += len(records)
        self._sum(records)
        self._waiting.append(_columns(records, block[2]))
        if sum(map(len, self._waiting)) >= GROUP:
            self._flush()

    def sums(self, name: str, ids: NDArray[np.uint32]) -> NDArray[Any]:
        values = self._sums[name]
        found: NDArray[Any] = np.where(ids < len(values), values[np.minimum(ids, len(values) - 1)], 0)
        return found

    def close(self) -> None:
        self._flush()
        if self._writer:
            self._writer.close()

    def _sum(self, records: Records) -> None:
        ids = records["folder"]
        need = int(ids.max()) + 1
        for name, values in self._sums.items():
            if need > len(values):
                self._sums[name] = np.concatenate([values, np.zeros(2 * need - len(values), values.dtype)])
        np.add.at(self._sums["entries"], ids, 1)
        np.add.at(self._sums["bytes"], ids, records["own_bytes"])
        np.maximum.at(self._sums["newest_ns"], ids, np.maximum(records["mtime_ns"], records["ctime_ns"]))

    def _flush(self) -> None:
        if not self._waiting:
            return
        table = pa.concat_tables(self._waiting)
        self._waiting = []
        if self._writer is None:
            self._writer = parquet_writer(self.path, table.schema)
        self._writer.write_table(table, row_group_size=GROUP)


def parquet_writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """Return a writer of entries. Only columns of few different values are worth a dictionary."""
    few = ["folder", "mode", "uid", "gid", "names"]
    return pq.ParquetWriter(path, schema, compression="lz4", use_dictionary=few, write_statistics=False)


def _columns(records: Records, names: bytes) -> pa.Table:
    """Return records and their names as a table, the names as bytes."""
    ends = np.zeros(len(records) + 1, np.int32)
    ends[1:] = records["name_end"]
    name = pa.Array.from_buffers(
        pa.binary(), len(records), [None, pa.py_buffer(ends.tobytes()), pa.py_buffer(names)]
    )
    kinds = [kind for kind in records.dtype.names or () if kind != "name_end"]
    arrays = {kind: pa.array(np.ascontiguousarray(records[kind])) for kind in kinds}
    return pa.table({**arrays, "name": name})


def _table(writing: _Writing, old: pa.Table | None) -> pa.Table:
    """Return the table of folders: with new sums where they were read, with the old ones elsewhere."""
    table = pa.concat_tables([_columns(records, names) for _, records, names in writing.blocks])
    # Gone between being listed and being visited.
    table = table.filter(pa.array(table["error"].to_numpy() != ENOENT))
    ids, was_read = table["id"].to_numpy(), table["read"].to_numpy() == 1
    for name, _ in SUMS:
        fresh = writing.sums(name, ids)
        if name == "segment":
            fresh = np.full(len(ids), writing.segment, np.uint32)
        if old is not None:
            kept = np.zeros(max(int(old["id"].to_numpy().max()), int(ids.max())) + 1, fresh.dtype)
            kept[old["id"].to_numpy()] = old[name].to_numpy()
            fresh = np.where(was_read, fresh, kept[ids])
        table = table.append_column(name, pa.array(fresh))
    return table


def _put_in_force(
    index: Path,
    scratch: Path,
    *,
    writing: _Writing,
    table: pa.Table,
    before: Summary | None,
    started_ns: int,
) -> Summary:
    """Write the new state beside the old, switch over in one rename, and remove what is no longer needed."""
    number = writing.segment
    alive = set(np.unique(table["segment"].to_numpy()[table["entries"].to_numpy() > 0]).tolist())
    segments = [each for each in (before.segments if before else ()) if each[0] in alive]
    if writing.n_entries:
        os.replace(writing.path, index / f"entries-{number}.parquet")
        segments.append((number, writing.n_entries))
    pq.write_table(table, index / f"folders-{number}.parquet", compression="lz4")
    made = Summary(
        scan=number,
        started_ns=started_ns,
        next_id=int(table["id"].to_numpy().max()) + 1,
        folders=len(table),
        entries=int(table["entries"].to_numpy().sum(dtype=np.int64)),
        own_bytes=int(table["bytes"].to_numpy().sum() + table["own_bytes"].to_numpy().sum()),
        folders_read=int(table["read"].to_numpy().sum(dtype=np.int64)),
        unreadable=int((table["error"].to_numpy() != 0).sum()),
        segments=tuple(segments),
    )
    (scratch / "index.json").write_text(json.dumps(asdict(made)))
    os.replace(scratch / "index.json", index / "index.json")
    kept = {f"folders-{number}.parquet", *(f"entries-{segment}.parquet" for segment, _ in segments)}
    for file in index.glob("*.parquet"):
        if file.name not in kept:
            file.unlink()
    return made


def _known(old: pa.Table, before: Summary) -> bytes:
    """Return the old folders as the walker takes them, marked where they must be read in any case."""
    old = old.take(pa.array(np.argsort(old["parent"].to_numpy(), kind="stable")))
    ids, parents = old["id"].to_numpy(), old["parent"].to_numpy()
    names = old["name"].combine_chunks()
    if isinstance(names, pa.ChunkedArray):
        names = pa.concat_arrays(names.chunks)
    ends = np.frombuffer(names.buffers()[1], np.int32, len(names) + 1, names.offset * 4)
    records = np.zeros(len(ids), KNOWN)
    records["id"] = ids
    records["children"] = np.searchsorted(parents, ids, "left")
    records["n_children"] = np.searchsorted(parents, ids, "right") - records["children"]
    records["name_start"], records["name_size"] = ends[:-1], np.diff(ends)
    records["reread"] = _must_be_read(old, before)
    for kind in ("inode", "mtime_ns", "ctime_ns"):
        records[kind] = old[kind].to_numpy()
    head = struct.pack("<QQ", len(ids), before.next_id)
    return head + records.tobytes() + bytes(names.buffers()[2])


def _must_be_read(old: pa.Table, before: Summary) -> NDArray[np.bool_]:
    segment, counts = old["segment"].to_numpy(), old["entries"].to_numpy()
    changed = np.maximum(old["mtime_ns"].to_numpy(), old["ctime_ns"].to_numpy())
    racy = changed > before.started_ns - RACY_NS
    hot = old["newest_ns"].to_numpy() > before.started_ns - HOT_DAYS * DAY_NS
    turn = old["id"].to_numpy() % READ_EVERY == before.scan % READ_EVERY
    stale = np.zeros(len(old), bool)
    for number, written in before.segments:
        # Most of the segment is dead: reading the rest anew is what clears it away.
        if 2 * int(counts[segment == number].sum(dtype=np.int64)) < written:
            stale |= segment == number
    must: NDArray[np.bool_] = racy | hot | turn | stale | (old["error"].to_numpy() != 0)
    return must


def _native(walker: Path, root: Path, words: list[str]) -> Iterator[Block]:
    """Yield the blocks of the compiled walker. Raises ScanFailed when it does not come to its end."""
    with tempfile.TemporaryFile() as complaints:
        command = [str(walker), str(root), *words]
        with subprocess.Popen(  # noqa: S603
            command, stdout=subprocess.PIPE, stderr=complaints, pipesize=PIPE_BYTES
        ) as process:
            assert process.stdout is not None  # noqa: S101 - for the type checker
            yield from _blocks(process.stdout)
        if process.returncode:
            complaints.seek(0)
            raise ScanFailed(complaints.read().decode(errors="replace").strip() or "the walker failed")


def _blocks(stream: IO[bytes]) -> Iterator[Block]:
    while head := stream.read(16):
        kind, n, names = struct.unpack("<IIQ", head)
        dtype = FOLDER if kind == FOLDERS else ENTRY
        data = stream.read(n * dtype.itemsize)
        text = stream.read(names)
        if len(data) < n * dtype.itemsize or len(text) < names:
            return
        yield kind, np.frombuffer(data, dtype), text


@dataclass
class _Rows:
    """Records of one kind, gathered until there are enough for a block."""

    kind: int
    rows: list[tuple[int, ...]] = field(default_factory=list)
    names: bytearray = field(default_factory=bytearray)

    def add(self, name: bytes, before: tuple[int, ...], after: tuple[int, ...]) -> None:
        self.names += name
        self.rows.append((*before, len(self.names), *after))

    def block(self, at_least: int) -> Iterator[Block]:
        if len(self.rows) >= at_least:
            yield self.kind, np.array(self.rows, FOLDER if self.kind == FOLDERS else ENTRY), bytes(self.names)
            self.rows, self.names = [], bytearray()


def _plain(root: Path) -> Iterator[Block]:
    """Yield the same blocks from Python's own walk, which reads every folder."""
    ids: dict[handles.Parts, int] = {(): 0}
    folders, entries = _Rows(FOLDERS), _Rows(ENTRIES)
    with handles.opened(root) as top:
        for handle, parts, found in handles.walk(top):
            own = os.fstat(handle)
            name, parent = (parts[-1], ids[parts[:-1]]) if parts else (b"", NO_PARENT)
            rest = (own.st_mode, own.st_uid, own.st_gid, 0, 1, own.st_ino, own.st_mtime_ns, own.st_ctime_ns)
            folders.add(name, (ids[parts], parent), (*rest, own.st_blocks * handles.BLOCK_BYTES))
            for each in found:
                if handles.is_folder(each):
                    ids[each.path] = len(ids)
                else:
                    entries.add(each.name, (ids[parts],), _entry(each.status))
            yield from entries.block(BATCH)
    yield from entries.block(1)
    yield from folders.block(1)


def _entry(of: os.stat_result) -> tuple[int, ...]:
    rights = (of.st_mode, of.st_uid, of.st_gid, of.st_nlink, of.st_ino, of.st_size)
    return (*rights, of.st_blocks * handles.BLOCK_BYTES, of.st_mtime_ns, of.st_ctime_ns)
