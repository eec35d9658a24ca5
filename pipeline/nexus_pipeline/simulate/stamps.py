"""Stars and galaxies on stamps of their own, of unit light: what is put into images that exist already.

Takes places in an image's pixels, its ePSF and world coordinates; leaves shares of light per pixel.
"""

from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.psf.grid import PsfGrid
from nexus_pipeline.simulate import galaxies, scene
from nexus_pipeline.simulate.catalog import Sources

Floats = NDArray[np.float64]
Stamp = tuple[int, int, NDArray[np.float32]]

_MISSING: Final = 5e-3
"""The share of a galaxy's light that may lie beyond the stamp it is drawn on; it is folded back onto it."""
_LEAST_ARCSEC: Final = 1.0
"""Half the edge of the smallest stamp of a star."""


class Placed(Protocol):
    """Sources as ``catalog.Sources`` has them, with their pixels."""

    @property
    def x(self) -> Floats: ...
    @property
    def y(self) -> Floats: ...
    @property
    def ra_deg(self) -> Floats: ...
    @property
    def dec_deg(self) -> Floats: ...
    @property
    def flux_jy(self) -> Floats: ...
    @property
    def is_star(self) -> NDArray[np.bool_]: ...
    @property
    def sersic_n(self) -> Floats: ...
    @property
    def half_light_radius_arcsec(self) -> Floats: ...
    @property
    def axis_ratio(self) -> Floats: ...
    @property
    def position_angle_deg(self) -> Floats: ...


def render(sources: Placed, psf: PsfGrid, wcs: Any, *, least: Floats) -> list[Stamp]:
    """Return for each source the first column and row of its stamp and the shares of its light there.

    No pixel beyond a stamp has more than ``least`` (n,) of its source's light.
    """
    out: list[Stamp | None] = [None] * len(sources.x)
    radii = np.maximum(psf.reach(least), _least_radius(wcs, sources))
    for k in np.flatnonzero(sources.is_star).tolist():
        out[k] = _star(float(sources.x[k]), float(sources.y[k]), psf, min(int(radii[k]), psf.radius - 1))
    rows = np.flatnonzero(~sources.is_star)
    for k, stamp in zip(rows.tolist(), _galaxies(sources, rows, psf, wcs), strict=True):
        out[k] = _trimmed(stamp, float(least[k]))
    return [stamp for stamp in out if stamp is not None]


def _star(x: float, y: float, psf: PsfGrid, radius: int) -> Stamp:
    first_x, first_y = int(np.floor(x + 0.5)) - radius, int(np.floor(y + 0.5)) - radius
    light = np.zeros((2 * radius + 1,) * 2, np.float32)
    at_x, at_y = np.array([x - first_x]), np.array([y - first_y])
    psf.moved(first_x, first_y).add_to(light, at_x, at_y, np.ones(1), radii=np.array([radius]))
    return first_x, first_y, light


def _galaxies(sources: Placed, rows: NDArray[np.int64], psf: PsfGrid, wcs: Any) -> list[Stamp]:
    if not rows.size:
        return []
    bodies = Sources(
        sources.ra_deg, sources.dec_deg, sources.flux_jy, sources.is_star, sources.sersic_n,
        sources.half_light_radius_arcsec, sources.axis_ratio, sources.position_angle_deg,
    )  # fmt: skip
    x, y = sources.x[rows], sources.y[rows]
    drawn = scene.galaxies_of(bodies, scene.Placed(rows, x, y, np.ones(rows.size)), wcs)
    sizes = galaxies.stamp_sizes(drawn, np.full(rows.size, _MISSING))
    stamps = galaxies.stamps(drawn, psf, sizes=sizes)
    first = [(np.rint(at) - sizes // 2).astype(int).tolist() for at in (x, y)]
    return list(zip(*first, stamps, strict=True))


def _trimmed(stamp: Stamp, least: float) -> Stamp:
    """Return the part of ``stamp`` that holds all its pixels of more than ``least``."""
    first_x, first_y, light = stamp
    there = light > least
    if not there.any():
        return stamp
    rows, columns = np.flatnonzero(there.any(axis=1)), np.flatnonzero(there.any(axis=0))
    part = light[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return first_x + int(columns[0]), first_y + int(rows[0]), part


def _least_radius(wcs: Any, sources: Placed) -> int:
    """Return ``_LEAST_ARCSEC`` in pixels."""
    if not len(sources.x):
        return 1
    here = np.array([sources.x[0], sources.y[0]])
    ra, dec = wcs(here[0] + np.array([0.0, 1.0]), here[1] + np.zeros(2), with_bounding_box=False)
    step = np.hypot((ra[1] - ra[0]) * np.cos(np.deg2rad(dec[0])), dec[1] - dec[0]) * 3600
    return max(1, round(_LEAST_ARCSEC / float(step)))
