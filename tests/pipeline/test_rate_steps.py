"""The steps after the fit: dark, flat, photometry, coordinates."""

import numpy as np
import pytest
from tests.support import pipeline as build

from nexus_pipeline.errors import MismatchedReferenceError
from nexus_pipeline.instrument.dq import DQ
from nexus_pipeline.references import kinds
from nexus_pipeline.references.make import photom_entry
from nexus_pipeline.steps import assign_wcs, dark_current, flatfield, photom

N = 40
FRAME, INNER = (N + 8, N + 8), (N, N)


def dark(rate: np.ndarray) -> kinds.DarkReference:
    return kinds.DarkReference(
        detector=build.DETECTOR, rate=rate, rate_error=0.05 * rate, dq=build.good(rate.shape)
    )


def flat(plane: np.ndarray, error: float = 0.0) -> kinds.FlatReference:
    return kinds.FlatReference(
        detector=build.DETECTOR,
        filter_name=build.FILTER,
        flat=plane,
        error=build.plane(error, plane.shape),
        dq=build.good(plane.shape),
    )


def test_the_dark_is_trimmed_and_taken_off() -> None:
    rate = np.random.default_rng(3).random(FRAME).astype(np.float32)
    image = dark_current.subtract(build.rate_image(build.plane(2, INNER)), dark(rate))
    np.testing.assert_allclose(image.rate, 2 - rate[4:-4, 4:-4], rtol=1e-6)


def test_an_unknown_dark_is_flagged_not_guessed() -> None:
    rate = build.plane(0.5, FRAME)
    rate[14, 24] = np.nan
    reference = dark(rate)
    reference.dq[10, 10] = DQ.UNRELIABLE_DARK | DQ.DO_NOT_USE
    image = dark_current.subtract(build.rate_image(build.plane(2, INNER)), reference)
    assert image.rate[10, 20] == 2
    assert image.dq[10, 20] == DQ.UNRELIABLE_DARK
    assert image.dq[6, 6] == DQ.UNRELIABLE_DARK | DQ.DO_NOT_USE


def test_a_dark_of_another_size_is_refused() -> None:
    with pytest.raises(MismatchedReferenceError, match="dark"):
        dark_current.subtract(build.rate_image(build.plane(2, INNER)), dark(build.plane(0, INNER)))


def test_an_evenly_lit_sky_becomes_level_and_its_errors_follow() -> None:
    response = np.random.default_rng(4).uniform(0.9, 1.1, INNER).astype(np.float32)
    image = flatfield.divide(build.rate_image(3 * response), flat(response, error=0.01))
    np.testing.assert_allclose(image.rate, 3, rtol=1e-6)
    np.testing.assert_allclose(image.var_poisson, 0.04 / response**2, rtol=1e-5)
    np.testing.assert_allclose(image.var_flat, (3 * 0.01 / response) ** 2, rtol=1e-4)
    total = 0.05 / response**2 + (0.03 / response) ** 2
    np.testing.assert_allclose(image.err, np.sqrt(total), rtol=1e-4)


@pytest.mark.parametrize("nonsense", [0.0, -1.0, np.nan, np.inf])
def test_a_flat_that_is_no_positive_number_divides_nothing(nonsense: float) -> None:
    response = build.plane(0.5, INNER)
    response[7, 8] = nonsense
    image = flatfield.divide(build.rate_image(build.plane(3, INNER)), flat(response))
    assert image.rate[7, 8] == 3
    assert image.dq[7, 8] == DQ.NO_FLAT_FIELD | DQ.DO_NOT_USE
    assert np.count_nonzero(image.dq) == 1
    assert np.isfinite(image.err).all()


def test_photom_tells_the_conversion_and_leaves_the_pixels() -> None:
    entry = photom_entry(build.DETECTOR, build.FILTER, mean_response=0.5)
    reference = kinds.PhotomReference(detector=build.DETECTOR, table={build.FILTER: entry})
    before = build.rate_image(build.plane(3, INNER))
    image = photom.calibrate(before, reference)
    assert image.rate is before.rate
    assert image.photometry is not None
    assert image.photometry.conversion_megajanskys == pytest.approx(0.36335513746 / 0.5, rel=1e-5)
    assert image.photometry.pixel_area_sr == pytest.approx((0.11 / 206264.806) ** 2, rel=1e-6)


def test_a_filter_without_a_row_is_refused() -> None:
    reference = kinds.PhotomReference(detector=build.DETECTOR, table={})
    with pytest.raises(MismatchedReferenceError, match="no row for F158"):
        photom.calibrate(build.rate_image(build.plane(3, INNER)), reference)


def test_the_reference_point_of_the_pointing_is_where_it_says() -> None:
    transform, _ = build.geometry(build.DETECTOR, N)
    reference = kinds.DistortionReference(
        detector=build.DETECTOR, filter_name=build.FILTER, transform=transform
    )
    image = assign_wcs.assign(build.rate_image(build.plane(3, INNER)), reference)
    pointing = image.meta.pointing
    # The pixel, far off this detector, that sees the V2, V3 the pointing aims at.
    x, y = transform.inverse(pointing.v2_ref_arcsec, pointing.v3_ref_arcsec)
    back = transform(x, y)
    ra, dec = image.wcs(x, y, with_bounding_box=False)
    # The polynomial inverse is not made for places off the detector: allow for what it misses.
    missed = np.hypot(back[0] - pointing.v2_ref_arcsec, back[1] - pointing.v3_ref_arcsec) / 3600
    assert np.hypot((ra - 150.1) * np.cos(np.radians(2.2)), dec - 2.2) == pytest.approx(missed, abs=1e-6)
    assert image.s_region is not None
    assert image.s_region.startswith("POLYGON ICRS ")
