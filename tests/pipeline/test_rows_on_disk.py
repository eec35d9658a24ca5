"""Planes that stay on disk: the same rows as in memory, whatever packs them, and broken files refused."""

from pathlib import Path
from typing import Any

import asdf
import numpy as np
import pytest
from numpy.typing import NDArray
from tests.support import pipeline as build

from nexus_pipeline.errors import MismatchedReferenceError, UnreadableProductError
from nexus_pipeline.products.rows_on_disk import on_disk
from nexus_pipeline.recipes.exposure import BY_ROWS
from nexus_pipeline.recipes.ramp_pass import rows_of
from nexus_pipeline.references.kinds import GainReference

ROWS = [(0, 3), (7, 8), (40, 97), (0, 97), (96, 97)]


def cube(dtype: str) -> NDArray[Any]:
    return np.random.default_rng(1).integers(0, 1000, (3, 97, 41)).astype(dtype)


def written(folder: Path, array: NDArray[Any], **how: Any) -> str:
    """A file of two other blocks and the array between them."""
    path = folder / "cube.asdf"
    tree = {"roman": {"before": np.arange(5000), "cube": array, "after": np.arange(77)}}
    asdf.AsdfFile(tree).write_to(path, **how)
    return str(path)


@pytest.mark.parametrize("piece_bytes", [41 * 4, 1000, 1 << 22])
@pytest.mark.parametrize("dtype", [">f4", "<u2", "<f8"])
def test_rows_are_those_of_the_array_in_pieces_of_any_size(
    tmp_path: Path, dtype: str, piece_bytes: int
) -> None:
    given = cube(dtype)
    how = {"all_array_compression": "lz4", "compression_kwargs": {"compression_block_size": piece_bytes}}
    plane = on_disk(written(tmp_path, given, **how), {"planes": "cube"})["planes"]
    assert (plane.shape, plane.dtype) == (given.shape, given.dtype)
    for first, last in ROWS:
        np.testing.assert_array_equal(plane.rows(first, last), given[:, first:last])
        assert plane.rows(first, last).dtype.isnative


def test_rows_are_those_of_the_array_without_packing(tmp_path: Path) -> None:
    given = cube("<f4")
    plane = on_disk(written(tmp_path, given), {"planes": "cube"})["planes"]
    for first, last in ROWS:
        np.testing.assert_array_equal(plane.rows(first, last), given[:, first:last])


def test_what_cannot_be_read_by_rows_is_left_to_asdf(tmp_path: Path) -> None:
    packed = written(tmp_path, cube("<f4"), all_array_compression="zlib")
    assert on_disk(packed, {"planes": "cube"}) == {}
    assert on_disk(written(tmp_path, cube("<f4")[:, :, ::2]), {"planes": "cube"}) == {}
    assert on_disk(written(tmp_path, cube("<f4")), {"list": "after"}) == {}
    assert on_disk("s3://bucket/cube.asdf", {"planes": "cube"}) == {}


@pytest.mark.parametrize("packing", [None, "lz4"])
def test_a_truncated_file_is_refused_when_it_is_opened(tmp_path: Path, packing: str | None) -> None:
    path = Path(written(tmp_path, cube("<f4"), all_array_compression=packing))
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(UnreadableProductError, match=r"cube.asdf: .*truncated"):
        on_disk(str(path), {"planes": "cube"})


def test_bytes_that_were_spoilt_are_refused_when_they_are_read(tmp_path: Path) -> None:
    path = Path(written(tmp_path, cube("<f4"), all_array_compression="lz4"))
    plane = on_disk(str(path), {"planes": "cube"})["planes"]
    content = bytearray(path.read_bytes())
    begin, length = int(plane.block.begins[0]), int(plane.block.lengths[0])
    content[begin + 4 : begin + length] = b"\xff" * (length - 4)
    path.write_bytes(content)
    with pytest.raises(UnreadableProductError, match=r"cube.asdf"):
        plane.rows(0, 97)


def test_every_reference_that_stays_on_disk_gives_the_rows_it_gives_from_memory(tmp_path: Path) -> None:
    store = build.small_store(str(tmp_path))
    for cls in BY_ROWS:
        rule = store.find(cls.kind, detector=build.DETECTOR, filter_name=build.FILTER, date=build.START)
        whole, left = store.read(cls, rule), store.read(cls, rule, by_rows=True)
        assert not any(isinstance(plane, np.ndarray) for plane in left.planes.values())
        for first, last in ((0, 9), (31, 33)):
            expected, found = rows_of(whole, first, last), rows_of(left, first, last)
            for name, plane in expected.planes.items():
                np.testing.assert_array_equal(found.planes[name], plane)


def test_a_plane_on_disk_without_a_number_is_refused(tmp_path: Path) -> None:
    nothing = np.full((64, 64), np.nan, np.float32)
    store = build.small_store(str(tmp_path)).add([GainReference(detector=build.DETECTOR, gain=nothing)])
    rule = store.find("gain", detector=build.DETECTOR, filter_name=build.FILTER, date=build.START)
    with pytest.raises(MismatchedReferenceError, match="its gain holds no number at all"):
        store.read(GainReference, rule, by_rows=True)
