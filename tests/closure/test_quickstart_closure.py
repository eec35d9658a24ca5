"""Simulate, calibrate, catalogue, compare: the whole way on a full detector."""

import warnings
from typing import Any

import numpy as np
import pytest
import roman_datamodels.datamodels as rdm
from tests.closure.conftest import FullFrame

from nexus_pipeline.instrument.wfi import N_ACTIVE
from nexus_pipeline.measure import compare

pytestmark = pytest.mark.slow

PULL_LIMITS = (0.9, 1.15)


def pairs(frame: FullFrame) -> compare.Pairs:
    return compare.isolated_stars(frame.truth, frame.catalog.table, size=N_ACTIVE, isolation=30.0)


def check(name: str, value: float, error: float, *, limits: tuple[float, float]) -> None:
    """Print a figure with its error and limits; fail outside them, or if they are too tight to judge."""
    low, high = limits
    print(f"{name}: {value:+.5f} ± {error:.5f} (limits {low:+.4f} … {high:+.4f})")
    assert high - low >= 2 * 3 * error, f"{name}: the limits are narrower than 3 standard errors"
    assert low <= value <= high


def test_isolated_stars_return_their_flux(full_frame: FullFrame) -> None:
    found = pairs(full_frame)
    good = found.signal_to_noise >= 100
    assert good.sum() >= 1500
    value, error = compare.median_and_error(found.flux_ratio[good] - 1)
    check(f"flux bias of {good.sum()} stars at S/N ≥ 100", value, error, limits=(-0.001, 0.001))


@pytest.mark.parametrize(
    ("low", "high", "limit"), [(30, 60, 0.004), (60, 150, 0.002), (150, 400, 0.001), (400, 2000, 0.001)]
)
def test_no_brightness_is_biased_and_errors_are_honest_at_each(
    full_frame: FullFrame, low: float, high: float, limit: float
) -> None:
    found = pairs(full_frame)
    chosen = (found.signal_to_noise >= low) & (found.signal_to_noise < high)
    assert chosen.sum() >= 300
    value, error = compare.median_and_error(found.flux_ratio[chosen] - 1)
    check(f"S/N {low}…{high}: flux bias of {chosen.sum()} stars", value, error, limits=(-limit, limit))
    width = compare.robust_width(found.flux_pull[chosen])
    error = compare.robust_width_error(found.flux_pull[chosen])
    low_pull, high_pull = PULL_LIMITS
    # Some hundred stars tell the width to a few per cent: three of those on each side of the limits.
    check(
        f"S/N {low}…{high}: width of the pulls",
        width,
        error,
        limits=(low_pull - 3 * error, high_pull + 3 * error),
    )


def test_quoted_errors_are_honest(full_frame: FullFrame) -> None:
    found = pairs(full_frame)
    pulls = found.flux_pull[found.signal_to_noise >= 30]
    width, error = compare.robust_width(pulls), compare.robust_width_error(pulls)
    check(f"robust width of {len(pulls)} pulls", width, error, limits=PULL_LIMITS)


def test_positions_have_no_offset(full_frame: FullFrame) -> None:
    found = pairs(full_frame)
    good = found.signal_to_noise >= 50
    for name, offset in zip("xy", found.offset_pixels, strict=True):
        value, error = compare.median_and_error(offset[good])
        check(f"median offset in {name} (pixels)", value, error, limits=(-0.005, 0.005))


def test_the_sky_is_where_the_world_coordinates_say(full_frame: FullFrame) -> None:
    found = pairs(full_frame)
    good = found.signal_to_noise >= 50
    east = (found.found["ra_psf"] - found.truth["ra"]) * np.cos(np.deg2rad(found.truth["dec"])) * 3.6e6
    north = (found.found["dec_psf"] - found.truth["dec"]) * 3.6e6
    for name, offset in (("east", east), ("north", north)):
        value, error = compare.median_and_error(np.asarray(offset, dtype=np.float64)[good])
        check(f"median offset {name} (mas)", value, error, limits=(-0.5, 0.5))


def test_stars_are_found_and_little_else(full_frame: FullFrame) -> None:
    found = pairs(full_frame)
    # Every star here is above 9 σ.
    assert len(found.missed) < 0.002 * len(full_frame.truth)
    surplus = len(full_frame.catalog.table) - len(full_frame.truth)
    print(f"{surplus} detections beyond the {len(full_frame.truth)} stars")
    # Spikes and noise about stars brighter than 19 mag; hot pixels and cosmic rays that slipped through.
    assert surplus < 0.25 * len(full_frame.truth)


def test_stars_are_not_called_extended(full_frame: FullFrame) -> None:
    found = pairs(full_frame)
    good = found.signal_to_noise >= 50
    assert np.mean(found.found["is_extended"][good]) < 0.02


def test_the_mission_s_own_library_opens_the_products_without_a_warning(full_frame: FullFrame) -> None:
    models: dict[str, Any] = {"ramp_url": rdm.ScienceRawModel, "image_url": rdm.ImageModel}
    for name, model in models.items():
        url = getattr(full_frame, name)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with rdm.open(url.removeprefix("file://")) as opened:
                assert isinstance(opened, model)
                assert opened.meta.filename == url.rsplit("/", 1)[1]
                opened.validate()
