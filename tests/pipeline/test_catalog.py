from datetime import UTC, datetime
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from astropy.table import Table
from tests.support import pipeline as build
from tests.support import simulator as scene

from nexus_pipeline.errors import InputError
from nexus_pipeline.instrument.filters import AB_ZERO_JY
from nexus_pipeline.simulate import catalog, changing, exposure, seds
from nexus_pipeline.simulate.catalog import Beside, sources_from_table

START = datetime(2027, 6, 1, 12, tzinfo=UTC)
NOON_MJD = 61557.5


def star(**columns: object) -> Table:
    table = Table({"ra": [150.0], "dec": [60.0], "type": ["PSF"]})
    for name, value in {"mag_F158": 20.0, **columns}.items():
        table[name] = [value]
    return table


def spectrum(um: list[float], jansky: list[float], name: str = "mine") -> Table:
    return Table({"sed": [name] * len(um), "wavelength": um, "flux": jansky})


def at_noon(**changes: object) -> Beside:
    return Beside(moment=changing.Moment(NOON_MJD, 139.0), **changes)  # type: ignore[arg-type]


def test_the_middle_of_an_exposure_is_half_its_length_after_its_start() -> None:
    assert changing.moment(START, 86.4).mjd == pytest.approx(NOON_MJD + 0.0005, abs=1e-9)


def test_a_level_spectrum_has_one_magnitude_in_every_filter() -> None:
    level = seds.seds_from_table(spectrum([0.3, 3.0], [1.0, 1.0]))
    for name in ("F062", "F146", "F213"):
        assert seds.flux_jy("mine", name, level) == pytest.approx(1.0, rel=1e-4)


def test_a_steep_spectrum_is_weighed_by_photons() -> None:
    """A spectrum ∝ ν^-2, against the sum over the filter's own table of throughputs."""
    um = np.linspace(1.0, 2.4, 400)
    steep = seds.seds_from_table(spectrum(um.tolist(), (um**2).tolist()))
    band = seds._throughput("F158")
    wavelength = np.linspace(1.3, 1.85, 20_000)
    weight = band(wavelength * u.um).value / wavelength
    expected = (wavelength**2 * weight).sum() / weight.sum()
    assert seds.flux_jy("mine", "F158", steep) == pytest.approx(expected, rel=1e-3)


def test_a_spectrum_carries_a_magnitude_from_one_filter_to_the_others() -> None:
    hot, cool = (
        sources_from_table(star(sed=name), "F062").flux_jy[0]
        for name in ("blackbody-10000", "blackbody-3500")
    )
    here = AB_ZERO_JY * 10 ** (-0.4 * 20.0)
    assert cool < 0.5 * here < here < hot
    assert sources_from_table(star(sed="blackbody-3500"), "F158").flux_jy[0] == pytest.approx(here)
    # Planck's law at 10 000 K, F_ν ∝ ν³ / (exp(hν/kT) - 1), in the middle of the bands.
    planck = [um**-3 / np.expm1(14_387.8 / (um * 10_000)) for um in (0.62, 1.577)]
    assert hot / here == pytest.approx(planck[0] / planck[1], rel=0.05)


def test_a_spectrum_in_janskys_needs_no_magnitude() -> None:
    table = star(sed="mine")
    table.remove_column("mag_F158")
    mine = seds.seds_from_table(spectrum([0.3, 3.0], [2e-6, 2e-6]))
    assert sources_from_table(table, "F158", Beside(seds=mine)).flux_jy[0] == pytest.approx(2e-6, rel=1e-4)
    table["sed"] = ["blackbody-5000"]
    with pytest.raises(InputError, match="'blackbody-5000' tells no flux"):
        sources_from_table(table, "F158")


def test_a_spectrum_in_other_units_is_brought_to_janskys() -> None:
    table = spectrum([10_000.0, 20_000.0], [1.0, 1.0])
    table["wavelength"].unit, table["flux"].unit = u.AA, u.mJy
    sed = seds.seds_from_table(table)["mine"]
    np.testing.assert_allclose(sed.wavelength_um, [1.0, 2.0])
    np.testing.assert_allclose(sed.flux_jy, 1e-3)


@pytest.mark.parametrize(
    ("um", "jansky", "message"),
    [
        ([1.4, 1.5], [1.0, 1.0], "overlap"),
        ([1.0, 1.0], [1.0, 1.0], "different"),
        ([1, 2], [1, np.nan], "NaN"),
    ],
)
def test_spectra_that_will_not_do_are_refused(um: list[float], jansky: list[float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        seds.flux_jy("mine", "F158", seds.seds_from_table(spectrum(um, jansky)))


def test_an_unknown_spectrum_is_refused_with_those_there_are() -> None:
    with pytest.raises(InputError, match="no spectrum 'vega': there are mine, blackbody-<kelvin>"):
        seds.flux_jy("vega", "F158", seds.seds_from_table(spectrum([1, 2], [1, 1])))


def test_a_light_curve_dims_its_source_at_the_time_of_the_exposure() -> None:
    curves = Table({"variable": ["a", "a", "b"], "mjd": [NOON_MJD + 1, NOON_MJD - 1, NOON_MJD]})
    curves["delta_mag"] = [3.0, 1.0, 9.0]
    steady = sources_from_table(star(), "F158").flux_jy[0]
    dimmed = sources_from_table(star(variable="a"), "F158", at_noon(light_curves=curves)).flux_jy[0]
    assert dimmed / steady == pytest.approx(10 ** (-0.4 * 2.0))
    with pytest.raises(InputError, match="'c'"):
        sources_from_table(star(variable="c"), "F158", at_noon(light_curves=curves))
    late = Beside(light_curves=curves, moment=changing.Moment(NOON_MJD + 1.5, 139.0))
    with pytest.raises(InputError, match=r"'a' goes from MJD 61556.50000 to 61558.50000; the exposure is at"):
        sources_from_table(star(variable="a"), "F158", late)
    with pytest.raises(InputError, match="needs a table of light curves"):
        sources_from_table(star(variable="a"), "F158")


def test_a_moving_source_is_where_its_rates_bring_it() -> None:
    moving = star(ra_rate=36.0, dec_rate=-18.0, epoch=NOON_MJD - 1 / 12)
    found = sources_from_table(moving, "F158", at_noon())
    # Two hours: 72″ east, which is 144″ of right ascension at dec 60°, and 36″ south.
    assert found.ra_deg[0] == pytest.approx(150 + 144 / 3600)
    assert found.dec_deg[0] == pytest.approx(60 - 36 / 3600)
    with pytest.raises(InputError, match="time of the exposure"):
        sources_from_table(moving, "F158")
    moving.remove_column("epoch")
    with pytest.raises(InputError, match="epoch is not finite"):
        sources_from_table(moving, "F158", at_noon())


def test_a_fast_source_leaves_a_trail_of_all_its_light(tmp_path: Path) -> None:
    references = scene.store(str(tmp_path))
    aim = exposure.aim(references, build.DETECTOR, build.FILTER, ra_deg=150.0, dec_deg=60.0)
    optics = exposure._optics(exposure.exposure_meta(build.DETECTOR, build.FILTER, pointing=aim), references)
    images, middles = [], []
    # 20 pixels of 0.11″ in 139 s.
    for rate in (0.0, 20 * 0.11 * 3600 / 139.0):
        table = star(ra_rate=rate, dec_rate=0.0, epoch=NOON_MJD, mag_F158=17.0)
        sources = sources_from_table(table, "F158", at_noon())
        placed = exposure.scene.place(
            sources,
            optics.wcs,
            conversion_megajanskys=optics.photom.conversion_megajanskys,
            size=scene.ACTIVE,
        )
        drawn = exposure.scene.draw(
            sources, placed, optics.wcs, optics.psf, size=scene.ACTIVE, exposure_time_s=139.0
        )
        assert drawn.outside.shape == (1,)
        images.append(drawn.image.astype(float))
        y, x = np.mgrid[: scene.ACTIVE, : scene.ACTIVE]
        total = drawn.image.sum()
        middles.append([(x * drawn.image).sum() / total, (y * drawn.image).sum() / total])
    assert images[1].sum() == pytest.approx(images[0].sum(), rel=1e-4)
    np.testing.assert_allclose(*middles, atol=0.02)
    length = np.sqrt(12 * sum(spread(images[1]) - spread(images[0])))
    assert length == pytest.approx(20, rel=0.02)


def spread(image: np.ndarray) -> np.ndarray:
    """Return the variance of the light along x and y."""
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    share = image / image.sum()
    return np.array([(share * axis**2).sum() - (share * axis).sum() ** 2 for axis in (x, y)])


@pytest.mark.parametrize("url", ["sources.parquet", "sources.ecsv"])
def test_columns_in_other_units_are_brought_to_ours_or_refused(tmp_path: Path, url: str) -> None:
    table = star()
    table["ra"] = [10.0] * u.hourangle
    table["F158"] = [3.0] * u.uJy
    if url.endswith("ecsv"):
        table.write(tmp_path / url)
        found = catalog.read_sources(str(tmp_path / url), "F158")
        assert (found.ra_deg[0], found.flux_jy[0]) == (pytest.approx(150.0), pytest.approx(3e-6))
    table["ra"] = [10.0] * u.m
    with pytest.raises(InputError, match="the column ra is in m, not in deg"):
        sources_from_table(table, "F158")


def test_a_column_of_text_where_numbers_belong_is_named() -> None:
    table = star()
    table["dec"] = ["north"]
    with pytest.raises(InputError, match="the column dec does not hold numbers"):
        sources_from_table(table, "F158")
