"""Star fields over the focal plane: where the stars are, where a mispointed telescope says they are."""

from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from typing import Any

import numpy as np
from astropy.coordinates import get_body_barycentric
from astropy.time import Time
from numpy.typing import NDArray

from nexus_pipeline.instrument.wfi import DETECTORS, N_ACTIVE
from nexus_pipeline.products.model import Pointing
from nexus_pipeline.sky import correction, wcs
from nexus_pipeline.sky.distortion import synthetic_distortion
from nexus_pipeline.sky.plane_fit import PlaneMap
from nexus_pipeline.sky.star_table import StarsAtEpoch
from nexus_pipeline.sky.tangent import directions_of, plane_about
from nexus_pipeline.steps.tweakreg import DetectorStars

Floats = NDArray[np.float64]

POINTING = Pointing(ra_deg=268.0, dec_deg=-29.0, roll_deg=60.0)
STAR_ERROR_MAS = 5.0


@dataclass(frozen=True)
class Truth:
    """The true WCS of each detector, what is seen with a wrong one, and the stars themselves."""

    wcs: list[Any]
    seen: list[DetectorStars]
    references: StarsAtEpoch


def pixel_grid(size: int = N_ACTIVE) -> tuple[Floats, Floats]:
    nodes = np.linspace(0, size - 1.0, 7)
    x, y = np.meshgrid(nodes, nodes)
    return x.ravel(), y.ravel()


def detector_wcs(detector: str, *, aberration_scale: float = 1.0) -> tuple[Any, Pointing]:
    pointing = replace(POINTING, aberration_scale=aberration_scale)
    return wcs.build(distortion(detector), pointing), pointing


@cache
def distortion(detector: str) -> Any:
    return synthetic_distortion(detector)


def difference_mas(one: Any, other: Any, *, size: int = N_ACTIVE) -> Floats:
    """Return how far two WCS put the same pixels apart, (n, 2) mas, on a grid over the detector."""
    x, y = pixel_grid(size)
    there = [directions_of(*each(x, y, with_bounding_box=False)) for each in (one, other)]
    plane = plane_about(there[0])
    return 1000 * (plane.project(there[1]) - plane.project(there[0]))


def focal_plane(
    *,
    seed: int,
    shift_arcsec: float,
    roll_arcsec: float,
    jitter_mas: float,
    n_stars: int,
    strangers: int = 0,
) -> Truth:
    """Return 18 detectors of ``n_stars`` each, told to look elsewhere than they do.

    The whole plane is turned and shifted (in RA, Dec together by ``shift_arcsec``), each detector shifted by
    ``jitter_mas`` rms an axis; star positions have 5 mas of error an axis. ``strangers`` more stand in
    either list of each detector.
    """
    rng = np.random.default_rng(seed)
    images = [detector_wcs(detector, aberration_scale=1.00005) for detector in DETECTORS]
    plane = plane_about(np.concatenate([directions_of(*image(*pixel_grid())) for image, _ in images]))
    angle, towards = np.deg2rad(roll_arcsec / 3600), rng.uniform(0, 2 * np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    shift = shift_arcsec * np.array([np.cos(towards), np.sin(towards)])
    truths, seen, stars = [], [], []
    for detector, (image, pointing) in zip(DETECTORS, images, strict=True):
        own = shift + rng.normal(0, jitter_mas / 1000, 2)
        sky_shift = correction.SkyShift(plane, PlaneMap(turn, own))
        true = correction.corrected(image, pointing, sky_shift, name="true")
        x, y = rng.uniform(0, N_ACTIVE - 1, (2, n_stars + strangers))
        stars.append(directions_of(*true(x, y))[:n_stars])
        strange = rng.uniform(0, N_ACTIVE - 1, (2, strangers))
        stars.append(directions_of(*true(*strange)) if strangers else np.empty((0, 3)))
        error = STAR_ERROR_MAS / 110
        noise = rng.normal(0, error, (2, len(x)))
        seen.append(
            DetectorStars(detector, x + noise[0], y + noise[1], np.full(len(x), error), image, pointing)
        )
        truths.append(true)
    directions = np.concatenate(stars)
    return Truth(truths, seen, StarsAtEpoch("gaia", directions, np.full(len(directions), 2e-4)))


def parallax_factors(ra_deg: float, dec_deg: float, when: datetime) -> tuple[float, float]:
    """Return how far east and north a star of parallax 1 is seen from the Earth, by astropy's ephemeris."""
    place = get_body_barycentric("earth", Time(when), ephemeris="builtin").xyz.to_value("au")
    ra, dec = np.deg2rad(ra_deg), np.deg2rad(dec_deg)
    east = np.array([-np.sin(ra), np.cos(ra), 0])
    north = np.array([-np.sin(dec) * np.cos(ra), -np.sin(dec) * np.sin(ra), np.cos(dec)])
    return float(-place @ east), float(-place @ north)
