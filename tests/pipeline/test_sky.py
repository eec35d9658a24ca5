import numpy as np
import pytest
from astropy import units
from astropy.coordinates import SkyCoord

from nexus_pipeline.instrument.wfi import DETECTORS, N_ACTIVE, PIXEL_SCALE_ARCSEC
from nexus_pipeline.products.model import Pointing
from nexus_pipeline.sky import distortion, layout, wcs

MIDDLE = (N_ACTIVE - 1) / 2


@pytest.mark.parametrize("detector", DETECTORS)
def test_the_distortion_inverts_to_a_hundred_thousandth_of_a_pixel(detector: str) -> None:
    transform = distortion.synthetic_distortion(detector)
    x, y = np.random.default_rng(1).uniform(-20, N_ACTIVE + 20, (2, 500))
    back = transform.inverse(*transform(x, y))
    np.testing.assert_allclose(back, (x, y), atol=1e-5)


def test_pixels_differ_in_area_by_more_than_a_percent_and_are_nominal_in_the_middle() -> None:
    _, area = distortion.geometry("WFI07")
    assert area.shape == (N_ACTIVE, N_ACTIVE)
    assert area.dtype == np.float32
    assert area.max() / area.min() > 1.01
    assert area[N_ACTIVE // 2, N_ACTIVE // 2] == pytest.approx(1, abs=1e-5)


def test_the_relative_area_is_the_solid_angle_on_the_sky() -> None:
    transform, area = distortion.geometry("WFI05")
    image = wcs.build(transform, wcs.aim(transform, 80.0, -69.0, roll_deg=17.0))
    for x, y in ((10, 4000), (3990, 100), (2000, 2500)):
        ra, dec = image([x - 5, x + 5, x + 5, x - 5], [y - 5, y - 5, y + 5, y + 5])
        east = (ra - ra[0]) * np.cos(np.deg2rad(dec.mean())) * 3600
        north = (dec - dec[0]) * 3600
        shoelace = 0.5 * abs(np.dot(east, np.roll(north, 1)) - np.dot(north, np.roll(east, 1)))
        # A square of ten pixels on a sphere against a plane: 1e-5.
        assert shoelace / (10 * PIXEL_SCALE_ARCSEC) ** 2 == pytest.approx(float(area[y, x]), rel=5e-5)


def test_aiming_puts_the_target_on_the_middle_with_v3_at_the_roll_angle() -> None:
    transform = distortion.synthetic_distortion("WFI12")
    pointing = wcs.aim(transform, 270.0, 66.0, roll_deg=35.0)
    image = wcs.build(transform, pointing)
    middle = SkyCoord(*image(MIDDLE, MIDDLE), unit="deg")
    assert middle.separation(SkyCoord(270.0, 66.0, unit="deg")).to_value(units.arcsec) < 1e-6
    along_v3 = transform.inverse(pointing.v2_ref_arcsec, pointing.v3_ref_arcsec + 10)
    there = SkyCoord(*image(*along_v3), unit="deg")
    assert middle.position_angle(there).to_value(units.deg) == pytest.approx(35.0, abs=0.01)
    assert middle.separation(there).to_value(units.arcsec) == pytest.approx(10, abs=1e-4)


def test_world_positions_come_back_to_their_pixels_on_and_off_the_detector() -> None:
    transform = distortion.synthetic_distortion("WFI01")
    image = wcs.build(transform, Pointing(ra_deg=0.01, dec_deg=-30.0, roll_deg=200.0))
    x, y = np.random.default_rng(2).uniform(-50, N_ACTIVE + 50, (2, 300))
    ra, dec = image(x, y, with_bounding_box=False)
    np.testing.assert_allclose(wcs.to_pixels(image, ra, dec), (x, y), atol=1e-5)


def test_the_footprint_names_the_corners_of_the_corner_pixels() -> None:
    transform = distortion.synthetic_distortion("WFI01")
    image = wcs.build(transform, Pointing(ra_deg=150.0, dec_deg=2.0, roll_deg=0.0))
    words = wcs.s_region(image).split()
    assert words[:2] == ["POLYGON", "ICRS"]
    corners = np.array(words[2:], dtype=float).reshape(4, 2)
    edge = N_ACTIVE - 0.5
    expected = np.transpose(
        image([-0.5, edge, edge, -0.5], [-0.5, -0.5, edge, edge], with_bounding_box=False)
    )
    np.testing.assert_allclose(corners, expected, atol=1e-8)


def test_velocity_aberration_stretches_the_field_about_the_reference_point() -> None:
    transform = distortion.synthetic_distortion("WFI07")
    still = Pointing(ra_deg=10.0, dec_deg=0.0, roll_deg=0.0)
    moving = Pointing(ra_deg=10.0, dec_deg=0.0, roll_deg=0.0, aberration_scale=1.0001)
    centre = SkyCoord(10.0, 0.0, unit="deg")
    distances = [
        centre.separation(SkyCoord(*wcs.build(transform, pointing)(MIDDLE, MIDDLE), unit="deg")).arcsec
        for pointing in (still, moving)
    ]
    assert distances[1] / distances[0] == pytest.approx(1.0001, abs=1e-8)


def test_the_detectors_lie_side_by_side_without_overlap() -> None:
    places = [layout.placement(name) for name in DETECTORS]
    centres = np.array([(place.v2_arcsec, place.v3_arcsec) for place in places])
    for k in range(len(centres)):
        turned = (centres - centres[k]) @ places[k].rotation
        others = np.delete(np.abs(turned).max(axis=1), k)
        assert others.min() > N_ACTIVE * PIXEL_SCALE_ARCSEC


def test_velocity_aberration_has_a_frame_of_its_own_after_v2v3_as_the_mission_has_it() -> None:
    transform = distortion.synthetic_distortion("WFI07")
    image = wcs.build(transform, Pointing(ra_deg=10.0, dec_deg=0.0, roll_deg=0.0, aberration_scale=1.0001))
    assert image.available_frames == ["detector", "v2v3", "v2v3vacorr", "world"]
    v2, v3 = transform(MIDDLE, MIDDLE)
    stretched = image.get_transform("v2v3", "v2v3vacorr")(v2, v3)
    reference = Pointing(0, 0, 0)
    assert stretched[0] - v2 == pytest.approx(1e-4 * (v2 - reference.v2_ref_arcsec), rel=1e-6)
    assert stretched[1] - v3 == pytest.approx(1e-4 * (v3 - reference.v3_ref_arcsec), rel=1e-6)
