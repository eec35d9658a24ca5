"""What a place is full of, from the scanner's index: heaviest folders, types and ages of files, in bytes."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nexus_allocator.clients.files import scanner
from nexus_allocator.domain.places import QUARANTINE

MOST = 12
DAY_NS = 86_400 * 10**9
# Younger than so many days; the last bucket has no end.
AGES = (
    (30, "under a month"),
    (90, "one to three months"),
    (365, "three months to a year"),
    (None, "over a year"),
)
NO_TYPE, OTHERS = "no ending", "others"
LONGEST_TYPE = 12


def parts(index: Path, *, now_ns: int) -> dict[str, Any]:
    """Return the index as a page draws it: ``folders`` (two levels), ``types`` and ``ages``, heaviest first.

    Each is a list of name, bytes, and for a folder the folders in it. What lies in quarantine is left out.
    """
    table = scanner.folders(index)
    return {"folders": _folders(table), **_types_and_ages(index, _outside_quarantine(table), now_ns=now_ns)}


def _folders(table: pa.Table) -> list[dict[str, Any]]:
    below = scanner.bytes_below(table)
    ids, parents = table["id"].to_numpy(), table["parent"].to_numpy()
    names = table["name"].to_pylist()
    top = int(ids[parents == scanner.NO_PARENT][0])
    found = []
    for row in _heaviest(np.flatnonzero(parents == top), below):
        if names[row] == QUARANTINE.encode():
            continue
        inner = _heaviest(np.flatnonzero(parents == ids[row]), below)
        within = [{"name": _shown(names[each]), "bytes": int(below[each])} for each in inner]
        found.append({"name": _shown(names[row]), "bytes": int(below[row]), "folders": within})
    own = int(table["bytes"].to_numpy()[ids == top][0])
    return [*found, {"name": "(files at the top)", "bytes": own, "folders": []}] if own else found


def _heaviest(rows: NDArray[np.int64], below: NDArray[np.int64]) -> list[int]:
    return [int(row) for row in rows[np.argsort(-below[rows], kind="stable")][:MOST]]


def _outside_quarantine(table: pa.Table) -> NDArray[np.bool_]:
    """Return of each folder's id whether it lies outside of the quarantine."""
    ids, parents, names = (
        table["id"].to_numpy(),
        table["parent"].to_numpy(),
        table["name"].to_pylist(),
    )
    top = ids[parents == scanner.NO_PARENT][0]
    inside = {
        int(each)
        for each, parent, name in zip(ids, parents, names, strict=True)
        if parent == top and name == QUARANTINE.encode()
    }
    if inside:
        # A quarantine is three levels deep: plans, shelves, files.
        for _ in range(2):
            inside |= {int(each) for each in ids[np.isin(parents, list(inside))]}
    outside = np.ones(int(ids.max()) + 1, np.bool_)
    outside[list(inside)] = False
    return outside


def _types_and_ages(index: Path, outside: NDArray[np.bool_], *, now_ns: int) -> dict[str, Any]:
    types: dict[str, int] = {}
    ages = np.zeros(len(AGES), np.int64)
    limits = np.array([days * DAY_NS for days, _ in AGES if days])
    for table in scanner.entries(index, ["own_bytes", "mtime_ns", "ctime_ns", "name", "names"]):
        kept = table.filter(pa.array(outside[table["folder"].to_numpy()]))
        # A file of several names counts once for all of them.
        own = kept["own_bytes"].to_numpy() // np.maximum(kept["names"].to_numpy(), 1)
        used = np.maximum(kept["mtime_ns"].to_numpy(), kept["ctime_ns"].to_numpy())
        np.add.at(ages, np.searchsorted(limits, now_ns - used, side="right"), own)
        for name, size in zip(kept["name"].to_pylist(), own.tolist(), strict=True):
            kind = _type_of(name)
            types[kind] = types.get(kind, 0) + size
    heavy = sorted(types.items(), key=lambda pair: (-pair[1], pair[0]))
    shown = [{"name": name, "bytes": size} for name, size in heavy[:MOST]]
    if rest := sum(size for _, size in heavy[MOST:]):
        shown.append({"name": OTHERS, "bytes": rest})
    aged = [{"name": name, "bytes": int(size)} for (_, name), size in zip(AGES, ages, strict=True)]
    return {"types": shown, "ages": aged}


def _type_of(name: bytes) -> str:
    stem, dot, ending = name.rpartition(b".")
    plain = ending.isalnum() and len(ending) <= LONGEST_TYPE
    return "." + ending.decode("ascii", "replace").lower() if stem and dot and plain else NO_TYPE


def _shown(name: bytes) -> str:
    """Return a name that can be stored and shown whatever its bytes are."""
    return "".join(sign if sign.isprintable() else "�" for sign in name.decode("utf-8", "replace"))
