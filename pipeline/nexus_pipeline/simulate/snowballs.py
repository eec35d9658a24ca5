"""Snowballs: discs of charge beyond the full well within a halo, each there from one read on.

Takes the length of an exposure and how often they come; leaves deposits of electrons and a table of them.
JWST sees about one in 20 s on each 2048² detector of 18 µm pixels, "a very rough estimate" (its user
documentation, "Shower and Snowball Artifacts"; Regan 2023, JWST-STScI-008545): that rate per area is
taken for these detectors of the same make. What follows is our own, to resemble its pictures: cores of
15 to 120 µm, the larger the rarer; a halo that falls off exponentially to two or three core radii. All
charge comes at once: what a real halo lets go of for minutes afterwards is left out.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from nexus_pipeline.errors import InputError
from nexus_pipeline.instrument.ma_table import MATable
from nexus_pipeline.instrument.wfi import BORDER
from nexus_pipeline.simulate.cosmic_rays import PIXEL_UM, Deposits, no_deposits, sorted_by_row

RATE_PER_CM2_S: Final = 1 / 20 / (2048 * 18e-4) ** 2
"""0.0037: nine in the 139 s of a wide-area exposure of one detector."""
CORE_E: Final = 400_000.0
"""Of each pixel of the core: several times the full well."""
HALO_E: Final = 20_000.0
"""Of a pixel at the inner edge of the halo."""
HALO_SCALE: Final = 0.3
"""The halo's e-folding length over the radius of the core."""
_CORE_UM: Final = (15.0, 120.0)
_CORE_SLOPE: Final = -2.0
_FAINTEST_E: Final = 2.0


@dataclass(frozen=True)
class Snowballs:
    """How often they come; 0 turns them off."""

    per_cm2_s: float = RATE_PER_CM2_S

    def off(self) -> "Snowballs":
        return replace(self, per_cm2_s=0.0)


def draw(snowballs: Snowballs, table: MATable, *, size: int, rng: np.random.Generator) -> Table:
    """Return the snowballs of an exposure of a size² detector.

    Columns: ``x``, ``y`` (pixels of L2: 0-based, without the border), ``read`` (from 1) before which it
    comes, ``core_radius`` and ``halo_scale`` in pixels. Raises InputError for an impossible rate.
    """
    if not 0 <= snowballs.per_cm2_s < np.inf:
        raise InputError(f"snowballs cannot come at {snowballs.per_cm2_s} per cm² and s")
    area_cm2 = (size * PIXEL_UM * 1e-4) ** 2
    n = int(rng.poisson(snowballs.per_cm2_s * area_cm2 * table.exposure_time_s))
    x, y, share = rng.uniform(-0.5, size - 0.5, n), rng.uniform(-0.5, size - 0.5, n), rng.random(n)
    read = rng.integers(1, table.n_reads + 1, n)
    small, large = ((limit / PIXEL_UM) ** (_CORE_SLOPE + 1) for limit in _CORE_UM)
    radius = (small + share * (large - small)) ** (1 / (_CORE_SLOPE + 1))
    names = ("x", "y", "read", "core_radius", "halo_scale")
    return Table([x - BORDER, y - BORDER, read, radius, HALO_SCALE * radius], names=names)


def deposits(balls: Table, *, size: int, rng: np.random.Generator) -> Deposits:
    """Return the electrons that ``balls`` leave in a size² detector."""
    parts = [_footprint(ball, size) for ball in balls]
    if not parts:
        return no_deposits(size)
    row, column, expected = (np.concatenate(each) for each in zip(*parts, strict=True))
    read = np.repeat(np.asarray(balls["read"], np.int64), [part[0].size for part in parts])
    return sorted_by_row(row, column, read, rng.poisson(expected), size=size)


def _footprint(
    ball: Table.Row, size: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return the rows and columns of a frame with its border that ``ball`` touches, and electrons."""
    core, scale = ball["core_radius"], ball["halo_scale"]
    reach = core + scale * np.log(HALO_E / _FAINTEST_E)
    rows, columns = (_between(ball[axis] + BORDER, reach, size) for axis in ("y", "x"))
    row, column = (grid.ravel() for grid in np.meshgrid(rows, columns, indexing="ij"))
    distance = np.hypot(column - ball["x"] - BORDER, row - ball["y"] - BORDER)
    halo = HALO_E * np.exp(-(distance - core) / scale)
    near = distance <= reach
    return row[near], column[near], np.where(distance <= core, CORE_E, halo)[near]


def _between(middle: float, reach: float, size: int) -> NDArray[np.int64]:
    return np.arange(max(int(np.ceil(middle - reach)), 0), min(int(np.floor(middle + reach)) + 1, size))
