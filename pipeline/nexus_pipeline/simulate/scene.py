"""The scene: what light falls on each pixel of a detector before the detector does anything to it.

Takes sources, world coordinates, the ePSF and the sky; leaves flux per pixel (stars and galaxies) and
surface brightness, both in the units of an ideal L2 image (DN/s), and where each source fell.
"""

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from nexus_pipeline.instrument.wfi import NOMINAL_PIXEL_AREA_SR
from nexus_pipeline.psf.grid import PsfGrid
from nexus_pipeline.simulate import galaxies
from nexus_pipeline.simulate.catalog import Sources
from nexus_pipeline.simulate.changing import TRAIL_STEP_PIXELS
from nexus_pipeline.simulate.colour import ColourPsfs
from nexus_pipeline.sky.wcs import to_pixels

Floats = NDArray[np.float64]

MARGIN_PIXELS: Final = 50
"""Sources this far off the detector still throw light onto it."""
_REACH_DEG: Final = 0.12
"""From the middle of a detector to beyond its corners (0.088 degrees) and the margin."""
FAINT_STAR_RADIUS: Final = 20
_BRIGHT_STAR_DN_S: Final = 50.0
"""From here on what a star sends beyond 20 pixels would be seen: its whole stamp is drawn."""
_LOST_DN_S: Final = 0.01
"""Light that may lie outside a galaxy's stamp, a tenth of the faintest detection's noise…"""
_MOST_MISSING: Final = 2e-3
"""… but no larger share than this."""


@dataclass(frozen=True)
class Placed:
    """Sources that matter to a detector: which rows of the catalogue, pixel position, DN/s."""

    row: NDArray[np.int64]
    x: Floats
    y: Floats
    flux: Floats


@dataclass(frozen=True)
class Drawn:
    """DN/s per pixel (size²); of each placed source the share of its light outside its stamp, and its bin of
    colour.
    """

    image: NDArray[np.float32]
    outside: Floats
    colour_bin: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))


def place(
    sources: Sources,
    wcs: Any,
    *,
    conversion_megajanskys: float,
    size: int,
    margin: int = MARGIN_PIXELS,
    reach_deg: float = _REACH_DEG,
) -> Placed:
    """Return the sources within the margin of a size² detector, flux as DN/s summed over pixels.

    What is further than ``reach_deg`` from the middle is not looked at.
    """
    # A polynomial goes astray far off the detector: only the sky near the detector may land on it, and of
    # a catalogue for the whole focal plane most is dropped before the dear part.
    ra, dec = wcs((size - 1) / 2, (size - 1) / 2)
    apart = _separation_deg(sources.ra_deg, sources.dec_deg, float(ra), float(dec))
    row = np.flatnonzero(apart < reach_deg)
    x, y = to_pixels(wcs, sources.ra_deg[row], sources.dec_deg[row])
    low, high = -margin, size + margin
    near = (x > low) & (x < high) & (y > low) & (y < high)
    row = row[near]
    flux = sources.flux_jy[row] / (conversion_megajanskys * 1e6 * NOMINAL_PIXEL_AREA_SR)
    return Placed(row, x[near], y[near], flux)


def draw(
    sources: Sources,
    placed: Placed,
    wcs: Any,
    psf: PsfGrid,
    *,
    size: int,
    colours: ColourPsfs | None = None,
    threads: int = 2,
    exposure_time_s: float = 0.0,
    faint_radius: int = FAINT_STAR_RADIUS,
) -> Drawn:
    """Return the light of stars and galaxies (size²); what moves leaves a trail, as a mean over the time.

    With ``colours`` a source that has a colour gets its PSF instead of ``psf``. Of all but bright stars no
    more is drawn than lies within ``faint_radius`` pixels.
    """
    bins = _colour_bins(sources, placed, colours)
    at, parts = _trails(sources, placed, wcs, exposure_time_s)
    image = np.zeros((size, size), dtype=np.float32)
    star, outside = sources.is_star[parts.row], np.empty(len(at))
    for is_star in (True, False):
        for colour_bin in np.unique(bins[at][star == is_star]):
            chosen = (star == is_star) & (bins[at] == colour_bin)
            own = psf if colours is None else colours.psf(int(colour_bin))
            some = Placed(*(each[chosen] for each in (parts.row, parts.x, parts.y, parts.flux)))
            if is_star:
                outside[chosen] = _add_stars(image, some, own, faint_radius)
            else:
                outside[chosen] = _add_galaxies(image, galaxies_of(sources, some, wcs), own, threads=threads)
    share = np.empty(len(placed.row))
    share[at] = outside
    return Drawn(image, share, bins)


def _colour_bins(sources: Sources, placed: Placed, colours: ColourPsfs | None) -> NDArray[np.int64]:
    if colours is None or sources.effective_um is None:
        return np.zeros(len(placed.row), dtype=np.int64)
    return colours.bins(sources.effective_um[placed.row])


def _add_stars(image: NDArray[np.float32], placed: Placed, psf: PsfGrid, faint_radius: int) -> Floats:
    """Add stars to ``image`` in place; return the share of each one's light that lies outside its stamp."""
    radii = np.where(placed.flux > _BRIGHT_STAR_DN_S, psf.radius - 1, faint_radius).astype(np.int64)
    psf.add_to(image, placed.x, placed.y, placed.flux, radii=radii)
    return _outside_stars(psf, radii)


def _add_galaxies(
    image: NDArray[np.float32], extended: galaxies.Galaxies, psf: PsfGrid, *, threads: int
) -> Floats:
    """Add galaxies to ``image`` in place; return the share of each one's light outside its stamp."""
    missing = np.clip(_LOST_DN_S / np.maximum(extended.flux, 1e-6), 1e-3, _MOST_MISSING)
    sizes = galaxies.stamp_sizes(extended, missing)
    galaxies.add_galaxies(image, extended, psf, sizes=sizes, threads=threads)
    return galaxies.outside(extended, sizes)


def _trails(
    sources: Sources, placed: Placed, wcs: Any, exposure_time_s: float
) -> tuple[NDArray[np.int64], Placed]:
    """Return the places where light falls, and which entry of ``placed`` each belongs to."""
    if sources.ra_rate is None or sources.dec_rate is None or not len(placed.row):
        return np.arange(len(placed.row)), placed
    way = np.stack([sources.ra_rate[placed.row], sources.dec_rate[placed.row]], axis=1)
    way = np.einsum("nij,nj->ni", _pixels_per_arcsec(wcs, placed.x, placed.y), way * exposure_time_s / 3600)
    steps = np.maximum(np.ceil(np.hypot(*way.T) / TRAIL_STEP_PIXELS), 1).astype(np.int64)
    at = np.repeat(np.arange(len(steps)), steps)
    within = np.arange(at.size) - np.repeat(np.cumsum(steps) - steps, steps)
    along = (within + 0.5) / steps[at] - 0.5
    x, y = placed.x[at] + along * way[at, 0], placed.y[at] + along * way[at, 1]
    return at, Placed(placed.row[at], x, y, placed.flux[at] / steps[at])


def _outside_stars(psf: PsfGrid, radii: NDArray[np.int64]) -> Floats:
    """Return the share of the ePSF (in its middle) beyond each of ``radii`` pixels."""
    middle = psf.xs.mean(), psf.ys.mean()
    kinds, which = np.unique(radii, return_inverse=True)
    share = [1 - psf.stamp(*middle, radius=int(radius)).sum() for radius in kinds]
    return np.maximum(np.asarray(share)[which], 0.0) if len(kinds) else np.empty(0)


def truth(sources: Sources, placed: Placed, drawn: Drawn) -> Table:
    """Return what was put on the detector, one row per source, for comparison with what is found."""
    row = placed.row
    return Table(
        {
            "catalog_row": row,
            "ra": sources.ra_deg[row],
            "dec": sources.dec_deg[row],
            "x": placed.x,
            "y": placed.y,
            "type": np.where(sources.is_star[row], "PSF", "SER"),
            "flux_njy": sources.flux_jy[row] * 1e9,
            "flux_dn_s": placed.flux,
            "n": sources.sersic_n[row],
            "half_light_radius": sources.half_light_radius_arcsec[row],
            "outside_stamp": drawn.outside,
            "effective_um": np.full(len(row), np.nan)
            if sources.effective_um is None
            else sources.effective_um[row],
            "colour_bin": drawn.colour_bin,
        }
    )


def galaxies_of(sources: Sources, placed: Placed, wcs: Any) -> galaxies.Galaxies:
    """Return the placed galaxies with their shapes in pixels."""
    row, x, y = placed.row, placed.x, placed.y
    jacobian = _pixels_per_arcsec(wcs, x, y)
    angle = np.deg2rad(sources.position_angle_deg[row])
    ratio = np.sqrt(sources.axis_ratio[row])
    radius = sources.half_light_radius_arcsec[row]
    # East and north of the long and the short axis; the position angle runs from north to east.
    axes = np.empty((len(row), 2, 2))
    axes[:, 0, 0], axes[:, 1, 0] = np.sin(angle) * radius / ratio, np.cos(angle) * radius / ratio
    axes[:, 0, 1], axes[:, 1, 1] = np.cos(angle) * radius * ratio, -np.sin(angle) * radius * ratio
    shape = np.einsum("nij,njk->nik", jacobian, axes)
    return galaxies.Galaxies(x, y, placed.flux, sources.sersic_n[row], shape)


def _pixels_per_arcsec(wcs: Any, x: Floats, y: Floats) -> Floats:
    """Return ∂(x, y)/∂(east, north) at each position, shape (n, 2, 2)."""
    if not x.size:
        return np.empty((0, 2, 2))
    ra, dec = wcs(x, y, with_bounding_box=False)
    step = 0.5 / 3600
    east = np.subtract(to_pixels(wcs, ra + step / np.cos(np.deg2rad(dec)), dec), (x, y)) / 0.5
    north = np.subtract(to_pixels(wcs, ra, dec + step), (x, y)) / 0.5
    return np.stack([east, north], axis=-1).transpose(1, 0, 2)


def _separation_deg(ra: Floats, dec: Floats, ra0: float, dec0: float) -> Floats:
    a, d, a0, d0 = np.deg2rad(ra), np.deg2rad(dec), np.deg2rad(ra0), np.deg2rad(dec0)
    half = np.sin((d - d0) / 2) ** 2 + np.cos(d) * np.cos(d0) * np.sin((a - a0) / 2) ** 2
    return np.asarray(np.rad2deg(2 * np.arcsin(np.sqrt(half))))
