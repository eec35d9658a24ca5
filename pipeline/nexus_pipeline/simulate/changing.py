"""Sources that change: light curves and motion, looked up at the time of an exposure.

Takes a catalogue's columns and a table of light curves; leaves fluxes and positions in the middle of the
exposure. A light curve is rows of ``variable`` (its name), ``mjd`` (UTC) and ``delta_mag`` (magnitudes
fainter than the catalogue), linear between rows. Motion is ``ra_rate`` and ``dec_rate`` (arcsec an hour,
along the sky: ra_rate has cos(dec) in it) from the position at ``epoch`` (MJD, UTC).
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np
from astropy.table import Table
from astropy.time import Time
from numpy.typing import NDArray

from nexus_pipeline.errors import InputError

Floats = NDArray[np.float64]

TRAIL_STEP_PIXELS: Final = 0.1
"""A source that moves less during an exposure is drawn at one place; others in steps as short as this."""
_HOURS_PER_DAY: Final = 24.0


@dataclass(frozen=True)
class Moment:
    """The middle of an exposure (MJD, UTC) and how long it is."""

    mjd: float
    length_s: float


def moment(start: datetime, length_s: float) -> Moment:
    """Return the middle of the exposure that begins at ``start``."""
    return Moment(float(Time(start).utc.mjd) + length_s / 86400 / 2, length_s)


def delta_magnitudes(names: NDArray[np.str_], curves: Table | None, when: Moment | None) -> Floats:
    """Return how much fainter each source is than the catalogue says; an empty name stands for no change.

    Raises InputError for a curve that is not there, has NaN in it, or does not reach the time.
    """
    out = np.zeros(len(names))
    for name in np.unique(names[names != ""]):
        out[names == name] = _delta_magnitude(str(name), curves, when)
    return out


def moved(
    ra_deg: Floats, dec_deg: Floats, rates: tuple[Floats, Floats], *, epoch_mjd: Floats, when: Moment | None
) -> tuple[Floats, Floats]:
    """Return ICRS degrees at ``when``; InputError without a time or with an epoch or rate that is NaN."""
    moving = (rates[0] != 0) | (rates[1] != 0)
    if not moving.any():
        return ra_deg, dec_deg
    if when is None:
        raise InputError("moving sources need the time of the exposure")
    wrong = moving & ~np.isfinite(rates[0] + rates[1] + epoch_mjd)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise InputError(f"ra_rate, dec_rate or epoch is not finite, first in row {row}", row=row)
    hours = np.where(moving, (when.mjd - np.where(moving, epoch_mjd, 0.0)) * _HOURS_PER_DAY, 0.0)
    east, north = rates[0] * hours / 3600, rates[1] * hours / 3600
    return (ra_deg + east / np.cos(np.deg2rad(dec_deg))) % 360, dec_deg + north


def _delta_magnitude(name: str, curves: Table | None, when: Moment | None) -> float:
    if curves is None or when is None:
        raise InputError(f"the light curve {name!r} needs a table of light curves and the exposure's time")
    missing = [column for column in ("variable", "mjd", "delta_mag") if column not in curves.colnames]
    if missing:
        raise InputError(f"the light curves lack the columns {', '.join(missing)}", missing=missing)
    own = np.asarray(curves["variable"]).astype(str) == name
    if not own.any():
        raise InputError(f"there is no light curve {name!r}", variable=name)
    mjd, delta = (np.asarray(curves[column][own], dtype=np.float64) for column in ("mjd", "delta_mag"))
    order = np.argsort(mjd)
    if not np.isfinite(mjd + delta).all():
        raise InputError(f"the light curve {name!r} has values that are not finite", variable=name)
    if not mjd.min() <= when.mjd <= mjd.max():
        raise InputError(
            f"the light curve {name!r} goes from MJD {mjd.min():.5f} to {mjd.max():.5f}; the exposure is at "
            f"{when.mjd:.5f}",
            variable=name,
        )
    return float(np.interp(when.mjd, mjd[order], delta[order]))
