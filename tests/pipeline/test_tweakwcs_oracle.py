"""Our fit of matched stars beside that of tweakwcs, which romancal registers with."""

from dataclasses import replace

import asdf
import numpy as np
import pytest
from numpy.typing import NDArray
from tests.support import star_fields as fields
from tests.support.oracle import stcal

from nexus_pipeline.instrument.ma_table import IMAGING
from nexus_pipeline.sky.tangent import degrees_of, directions_of, plane_about
from nexus_pipeline.steps import tweakreg

Floats = NDArray[np.float64]

N_STARS = 60
NO_CLIPPING = 1e6
# So many detectors fitted together, and what may differ.
CASES = ((1, "shift"), (1, "rshift"), (1, "rscale"), (1, "general"), (4, "rshift"))


@pytest.fixture(scope="module")
def given() -> tuple[fields.Truth, list[tweakreg.DetectorStars]]:
    """Return an exposure astray and the stars seen: weights matter, every other has three times the error."""
    truth = fields.focal_plane(seed=31, shift_arcsec=1.0, roll_arcsec=20.0, jitter_mas=0.0, n_stars=N_STARS)
    errors = np.where(np.arange(N_STARS) % 2, 1.0, 3.0) * fields.STAR_ERROR_MAS / 110
    return truth, [replace(each, error_pixels=errors) for each in truth.seen[:4]]


@pytest.fixture(scope="module")
def theirs(
    given: tuple[fields.Truth, list[tweakreg.DetectorStars]], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Floats]:
    """Return where tweakwcs puts the pixels of ``fields.pixel_grid`` (detector, 2, n) in each case."""
    truth, seen = given
    file = tmp_path_factory.mktemp("tweakwcs") / "wcs.asdf"
    asdf.AsdfFile({"wcs": [each.wcs for each in seen]}).write_to(file)
    error = np.concatenate([each.error_pixels for each in seen]) * tweakreg.PIXEL_ARCSEC
    ra, dec = degrees_of(truth.references.directions[: len(seen) * N_STARS])
    pointing = seen[0].pointing
    return stcal(
        "tweakwcs",
        IMAGING,
        wcs_file=np.array(str(file)),
        numbers=np.array([n for n, _ in CASES]),
        geometries=np.array([geometry for _, geometry in CASES]),
        owner=np.repeat(np.arange(len(seen)), N_STARS),
        x=np.concatenate([each.x for each in seen]),
        y=np.concatenate([each.y for each in seen]),
        # The reference stars' 0.2 mas and the floor of 1 mas count as with us.
        weight=1 / (error**2 + 2e-4**2 + 1e-3**2),
        ra=ra,
        dec=dec,
        angles=np.array([pointing.v2_ref_arcsec, pointing.v3_ref_arcsec, pointing.roll_deg]),
        grid=np.array(fields.pixel_grid()),
    )


def apart_mas(ours: list[tweakreg.Registered], other: Floats) -> Floats:
    away = []
    for each, sky in zip(ours, other, strict=True):
        here = directions_of(*each.wcs(*fields.pixel_grid(), with_bounding_box=False))
        plane = plane_about(here)
        away.append(1000 * (plane.project(directions_of(*sky)) - plane.project(here)))
    return np.hypot(*np.concatenate(away).T)


@pytest.mark.parametrize(("n_detectors", "geometry"), CASES)
def test_matched_stars_give_the_wcs_that_tweakwcs_gives(
    given: tuple[fields.Truth, list[tweakreg.DetectorStars]],
    theirs: dict[str, Floats],
    n_detectors: int,
    geometry: str,
) -> None:
    truth, seen = given
    settings = tweakreg.Settings(geometry=geometry, detector_geometry="none", clip_sigma=NO_CLIPPING)
    ours = tweakreg.align(seen[:n_detectors], truth.references, settings)
    assert {each.results["nmatches"] for each in ours if each.results} == {N_STARS}
    apart = apart_mas(ours, theirs[f"{geometry}_{n_detectors}"])
    print(f"{n_detectors} detectors, {geometry}: {apart.max():.5f} mas at worst")
    # A hundred times less than the stars tell.
    assert apart.max() <= 0.1
