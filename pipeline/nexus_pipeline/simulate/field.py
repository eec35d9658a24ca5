"""A made-up but plausible patch of sky: stars and galaxies as a high-latitude exposure sees them.

Takes a place and random numbers; leaves a catalogue table the simulator reads. Counts rise with
magnitude as in deep fields (stars ∝ 10^0.15 m, galaxies ∝ 10^0.32 m); galaxies shrink as they fade
(half-light radius 0.45″ at 21 mag, 0.2″ at 25 mag, scatter 0.2 dex: COSMOS, Weaver et al. 2022).
"""

from typing import Final

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from nexus_pipeline.sky.tangent import degrees_of, directions_of, plane_about

Floats = NDArray[np.float64]

STAR_SLOPE: Final = 0.15
GALAXY_SLOPE: Final = 0.32
STAR_MAGNITUDES: Final = (16.5, 25.5)
GALAXY_MAGNITUDES: Final = (18.0, 26.0)
_DISC_SHARE: Final = 0.8


def number_within(radius_deg: float, per_arcmin2: float) -> int:
    """Return how many sources of a density lie within a disc."""
    return round(np.pi * (60 * radius_deg) ** 2 * per_arcmin2)


def make_field(
    ra_deg: float,
    dec_deg: float,
    *,
    n_stars: int,
    n_galaxies: int,
    rng: np.random.Generator,
    filter_name: str = "F158",
    radius_deg: float = 0.095,
) -> Table:
    """Return ``n_stars`` and ``n_galaxies`` within ``radius_deg`` (the default covers any one detector)."""
    n = n_stars + n_galaxies
    ra, dec = _scatter(ra_deg, dec_deg, radius_deg, n, rng=rng)
    magnitude = np.concatenate(
        [
            _magnitudes(STAR_MAGNITUDES, STAR_SLOPE, n_stars, rng),
            _magnitudes(GALAXY_MAGNITUDES, GALAXY_SLOPE, n_galaxies, rng),
        ]
    )
    table = Table({"ra": ra, "dec": dec, "type": ["PSF"] * n_stars + ["SER"] * n_galaxies})
    table[f"mag_{filter_name}"] = magnitude
    shapes = _shapes(magnitude[n_stars:], rng)
    for name, values in shapes.items():
        table[name] = np.concatenate([np.zeros(n_stars), values])
    return table


def _scatter(
    ra_deg: float, dec_deg: float, radius_deg: float, n: int, *, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Return points evenly spread over a small disc."""
    radius, angle = 3600 * radius_deg * np.sqrt(rng.random(n)), 2 * np.pi * rng.random(n)
    plane = plane_about(directions_of(np.array([ra_deg]), np.array([dec_deg])))
    return degrees_of(plane.raise_to_sky(np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])))


def _magnitudes(limits: tuple[float, float], slope: float, n: int, rng: np.random.Generator) -> Floats:
    low, high = (10.0 ** (slope * limit) for limit in limits)
    return np.asarray(np.log10(low + (high - low) * rng.random(n)) / slope)


def _shapes(magnitude: Floats, rng: np.random.Generator) -> dict[str, Floats]:
    n = magnitude.size
    typical = 0.45 * 10 ** (-0.088 * (magnitude - 21.0))
    disc = rng.random(n) < _DISC_SHARE
    index = np.where(disc, rng.normal(1.0, 0.25, n), rng.normal(3.2, 0.7, n))
    return {
        "n": np.clip(index, 0.5, 5.0),
        "half_light_radius": typical * 10 ** rng.normal(0, 0.2, n),
        "ba": rng.beta(3.0, 1.5, n) * 0.8 + 0.2,
        "pa": rng.uniform(0, 180, n),
    }
