# ruff: noqa: PLR0913, PLR0917 - compiled code takes its arrays one by one
"""flux: L2 images in the mission's surface brightness.

Takes an L2 image (DN/s) and the map of its pixels onto a mosaic; leaves the part that falls there, MJy/sr.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.bands import compiled, over_rows
from nexus_pipeline.errors import InputError
from nexus_pipeline.instrument.dq import DQ
from nexus_pipeline.products.model import RateImage, ScienceImage
from nexus_pipeline.sky.pixel_map import PixelMap

Single = NDArray[np.float32]

GOOD_BITS: Final = "~DO_NOT_USE+NON_SCIENCE"
"""What romancal would call our choice of pixels."""
_BAD: Final = np.uint32(DQ.DO_NOT_USE | DQ.NON_SCIENCE)


@dataclass(frozen=True)
class Piece:
    """The part of an L2 image that falls on a mosaic: planes (ny, nx) in MJy/sr and its square.

    ``good`` are the pixels to use; ``place`` says where they lie.
    """

    data: Single
    var_rnoise: Single
    var_poisson: Single
    var_flat: Single
    good: NDArray[np.bool_]
    place: PixelMap
    exposure_time_s: float


def calibrate(image: RateImage | ScienceImage, place: PixelMap, *, name: str) -> Piece:
    """Return the part of ``image`` that ``place`` is of; InputError, with ``name``, if it has no conversion.

    Pixels are not used that are flagged so, or whose value or read noise is none.
    """
    if image.photometry is None:
        raise InputError(f"{name}: has no conversion to MJy/sr (was photom left out?)")
    scale = image.photometry.conversion_megajanskys
    shape = place.shape
    data, rnoise, poisson, flat = (np.empty(shape, np.float32) for _ in range(4))
    good = np.empty(shape, np.bool_)
    # Stands for a plane that is not there.
    var_flat = np.zeros((1, 1), np.float32) if image.var_flat is None else image.var_flat

    def work(first: int, last: int) -> None:
        rows = np.s_[first:last]
        _scale(
            image.rate, image.var_rnoise, image.var_poisson, var_flat, image.dq, place.first[0] + first,
            place.first[1], scale, data[rows], rnoise[rows], poisson[rows], flat[rows], good[rows],
        )  # fmt: skip

    over_rows(work, shape[0])
    return Piece(data, rnoise, poisson, flat, good, place, image.meta.ma_table.exposure_time_s)


@compiled
def _scale(
    rate: Single, var_rnoise: Single, var_poisson: Single, var_flat: Single, dq: NDArray[np.uint32],
    first_y: int, first_x: int, scale: float, data: Single, rnoise: Single, poisson: Single, flat: Single,
    good: NDArray[np.bool_],
) -> None:  # fmt: skip
    has_flat = var_flat.size > 1
    for y in range(data.shape[0]):
        for x in range(data.shape[1]):
            row, column = first_y + y, first_x + x
            data[y, x] = rate[row, column] * scale
            rnoise[y, x] = var_rnoise[row, column] * scale * scale
            poisson[y, x] = var_poisson[row, column] * scale * scale
            flat[y, x] = var_flat[row, column] * scale * scale if has_flat else 0.0
            known = np.isfinite(data[y, x] + rnoise[y, x] + poisson[y, x] + flat[y, x])
            good[y, x] = dq[row, column] & _BAD == 0 and known and rnoise[y, x] > 0


def any_usable(dq: NDArray[np.uint32]) -> bool:
    """Say whether there are pixels of those that ``GOOD_BITS`` means."""
    return any(np.any(row & _BAD == 0) for row in dq)
