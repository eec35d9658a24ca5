"""flux: L2 images in the mission's surface brightness.

Takes an L2 image (DN/s) and the map of its pixels onto a mosaic; leaves the part that falls there, MJy/sr.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

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
    scale = np.float32(image.photometry.conversion_megajanskys)
    part = place.part
    data, rnoise, poisson = (
        plane[part] * factor
        for plane, factor in (
            (image.rate, scale), (image.var_rnoise, scale**2), (image.var_poisson, scale**2),
        )
    )  # fmt: skip
    flat = np.zeros_like(data) if image.var_flat is None else image.var_flat[part] * scale**2
    good = usable(image.dq[part]) & np.isfinite(data) & np.isfinite(rnoise + poisson + flat) & (rnoise > 0)
    return Piece(data, rnoise, poisson, flat, good, place, image.meta.ma_table.exposure_time_s)


def usable(dq: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """Say which pixels ``GOOD_BITS`` means."""
    return np.asarray(dq & _BAD == 0)
