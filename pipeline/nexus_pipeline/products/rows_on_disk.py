"""Arrays of an ASDF file that are read by rows, so that they are never whole in memory.

asdf itself gives an array whole. By the ASDF standard 1.6 a binary block is a header and its bytes; with lz4,
asdf writes pieces of one size, each after its compressed length.
"""

import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import lz4.block  # type: ignore[import-untyped]
import numpy as np
from asdf.util import load_yaml
from numpy.typing import NDArray

from nexus_pipeline.products import asdf_file, store

_MAGIC: Final = b"\xd3BLK"
_HEADER: Final = struct.Struct("!I4sQQQ16s")
"""Flags, compression, bytes there is room for, used and uncompressed, checksum."""
_LENGTH: Final = struct.Struct("!I")
_SIZE: Final = struct.Struct("<I")
_KEPT_BY: Final = {b"\0\0\0\0": None, b"lz4\0": "lz4"}


@dataclass(frozen=True)
class _Block:
    """Where a block's pieces begin in the file, how long they are there, and of what size they are unpacked.

    A block without compression is one piece.
    """

    path: Path
    compression: str | None
    begins: NDArray[np.int64]
    lengths: NDArray[np.int64]
    piece_bytes: int

    def bytes_between(self, first: int, last: int, into: memoryview) -> None:
        """Write bytes ``first`` to ``last`` of the unpacked block into ``into``."""
        with self.path.open("rb", buffering=0) as handle:
            if self.compression is None:
                _read(handle.fileno(), into, int(self.begins[0]) + first)
                return
            for number in range(first // self.piece_bytes, -(-last // self.piece_bytes)):
                at = number * self.piece_bytes
                packed = bytearray(int(self.lengths[number]))
                _read(handle.fileno(), memoryview(packed), int(self.begins[number]))
                piece = memoryview(lz4.block.decompress(packed))
                low, high = max(first - at, 0), min(last - at, len(piece))
                into[at + low - first : at + high - first] = piece[low:high]


@dataclass(frozen=True, eq=False)
class RowsOnDisk:
    """An array (…, ny, nx) in a local file, of which ``rows`` gives some."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int
    block: _Block

    def rows(self, first: int, last: int) -> NDArray[Any]:
        """Return rows ``first`` to ``last`` (…, last - first, nx) in native byte order.

        Raises UnreadableProductError where the file is broken.
        """
        *planes, n_rows, n_columns = self.shape
        found = np.empty((*planes, last - first, n_columns), self.dtype)
        row_bytes = n_columns * self.dtype.itemsize
        with asdf_file.reading(str(self.block.path)):
            for number, plane in enumerate(found.reshape(-1, last - first, n_columns)):
                begin = self.offset + (number * n_rows + first) * row_bytes
                end = begin + (last - first) * row_bytes
                self.block.bytes_between(begin, end, plane.reshape(-1).view(np.uint8).data)
        return found.astype(self.dtype.newbyteorder("="), copy=False)


def on_disk(url: str, keys: Mapping[str, str]) -> dict[str, RowsOnDisk]:
    """Return those arrays of the ``roman`` node that can be read by rows, by name; ``keys`` says their keys.

    Left out is what lies in no local file, is packed otherwise than by lz4, or is no plain array of
    numbers with rows. Raises UnreadableProductError for a file that is broken.
    """
    if not store.is_local(url):
        return {}
    path = store.local_path(url)
    with asdf_file.reading(url):
        node, blocks = load_yaml(path)["roman"], list(_blocks(path))
        told = {name: node[key] for name, key in keys.items()}
        return {
            name: _rows(entry, block)
            for name, entry in told.items()
            if _is_plain(entry) and (block := blocks[entry["source"]]) is not None
        }


def _is_plain(entry: Any) -> bool:
    """Tell whether an array is one of numbers that lie one after the other in a block of this file."""
    return (
        isinstance(entry, dict)
        and isinstance(entry.get("source"), int)
        and isinstance(entry.get("datatype"), str)
        and not {"strides", "mask"} & entry.keys()
        and len(entry["shape"]) > 1
        and "*" not in entry["shape"]
    )


def _rows(entry: Mapping[str, Any], block: _Block) -> RowsOnDisk:
    dtype = np.dtype(entry["datatype"]).newbyteorder(entry["byteorder"])
    return RowsOnDisk(tuple(entry["shape"]), dtype, int(entry.get("offset", 0)), block)


def _blocks(path: Path) -> Iterator[_Block | None]:
    """Yield the blocks of a file in their order; None for one that is packed in a way not known here."""
    end = path.stat().st_size
    with path.open("rb") as handle:
        at = _first_block(handle.read(1 << 20))
        while at + len(_MAGIC) + 2 <= end:
            handle.seek(at)
            if handle.read(len(_MAGIC)) != _MAGIC:
                return
            (size,) = struct.unpack("!H", handle.read(2))
            _, packing, room, used, whole, _ = _HEADER.unpack(handle.read(_HEADER.size))
            begin = at + len(_MAGIC) + 2 + size
            if begin + used > end:
                raise EOFError(f"{begin + used - end} bytes are missing")
            yield _block(path, packing, begin=begin, used=used, whole=whole)
            at = begin + room


def _first_block(head: bytes) -> int:
    """Return where the blocks begin: after the document end of the tree."""
    after = head.find(b"\n...\n")
    at = head.find(_MAGIC, max(after, 0))
    if after < 0 or at < 0:
        raise ValueError("no binary block after its tree")
    return at


def _block(path: Path, packing: bytes, *, begin: int, used: int, whole: int) -> _Block | None:
    if packing not in _KEPT_BY:
        return None
    compression = _KEPT_BY[packing]
    if compression is None:
        return _Block(path, None, np.array([begin]), np.array([used]), whole)
    begins, lengths, sizes = _pieces(path, begin, begin + used)
    # What is read by place must be of one size, but for the last.
    return _Block(path, compression, begins, lengths, sizes[0]) if len(set(sizes[:-1])) <= 1 else None


def _pieces(path: Path, begin: int, end: int) -> tuple[NDArray[np.int64], NDArray[np.int64], list[int]]:
    """Return where the packed pieces begin, how long they are, and their sizes when unpacked."""
    begins, lengths, sizes = [], [], []
    with path.open("rb", buffering=0) as handle:
        while begin < end:
            head = memoryview(bytearray(_LENGTH.size + _SIZE.size))
            _read(handle.fileno(), head, begin)
            (length,), (size,) = _LENGTH.unpack_from(head), _SIZE.unpack_from(head, _LENGTH.size)
            begins.append(begin + _LENGTH.size)
            lengths.append(length)
            sizes.append(size)
            begin += _LENGTH.size + length
    return np.array(begins), np.array(lengths), sizes


def _read(descriptor: int, into: memoryview, at: int) -> None:
    """Fill ``into`` from place ``at`` of a file."""
    while into:
        count = os.preadv(descriptor, [into], at)
        if count == 0:
            raise EOFError("it ends before its arrays do")
        into, at = into[count:], at + count
