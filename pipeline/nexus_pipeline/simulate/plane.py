"""A rate image from elsewhere in place of the scene: a plane of a FITS or ASDF file, in DN/s or e/s.

Takes what the pixels of the active area see of the sources (the background is another effect); leaves L2's
DN/s. Given as DN/s they are those of L2, surface brightness after the flat; e/s are what each pixel detects.
"""

from dataclasses import dataclass
from typing import Any, Final

import asdf
import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from nexus_pipeline.errors import InputError, UnreadableProductError
from nexus_pipeline.products import store

Plane = NDArray[np.float32]

UNITS: Final = ("DN/s", "e/s")
ENDINGS: Final = (".fits", ".fits.gz", ".asdf")


@dataclass(frozen=True)
class RatePlane:
    """Values (ny, nx) in ``unit``, and the name of where they come from."""

    values: Plane
    unit: str
    name: str = "the rate image"


def is_plane(url: str) -> bool:
    """Say whether the name is that of an image and not of a catalogue."""
    return url.endswith(ENDINGS)


def read_plane(url: str, unit: str) -> RatePlane:
    """Return the first plane in the file at ``url``; InputError for another unit or a NaN.

    In ASDF that is ``roman.data``, or ``data`` at the top.
    """
    if unit not in UNITS:
        raise InputError(f"a rate image is in {' or '.join(UNITS)}, not in {unit!r}", unit=unit)
    with store.open_for_reading(url) as handle:
        try:
            values = _fits_plane(handle) if ".fits" in url else _asdf_plane(handle)
        except (OSError, ValueError, KeyError, TypeError, StopIteration) as error:
            raise UnreadableProductError(f"{url}: holds no plane ({error})", url=url) from error
    if not np.isfinite(values).all():
        raise InputError(f"{url}: {int((~np.isfinite(values)).sum())} pixels are not finite", url=url)
    return RatePlane(values, unit, url)


def rate_dn_s(plane: RatePlane, *, flat: Plane, gain: Plane) -> Plane:
    """Return L2's DN/s; InputError for a plane of another shape than the detector's ``flat``."""
    if plane.values.shape != flat.shape:
        raise InputError(f"{plane.name}: shape {plane.values.shape}, the detector's is {flat.shape}")
    return plane.values if plane.unit == "DN/s" else plane.values / (flat * gain)


def _fits_plane(handle: Any) -> Plane:
    with fits.open(handle, memmap=False) as units:
        return np.asarray(
            next(unit.data for unit in units if unit.is_image and unit.data is not None), np.float32
        )


def _asdf_plane(handle: Any) -> Plane:
    with asdf.open(handle, lazy_load=True, memmap=False) as file:
        return np.array(file["roman"]["data"] if "roman" in file.tree else file["data"], np.float32)
