"""Sources put into images: what is planned, and the light and the noise that come with them."""

from dataclasses import replace

import numpy as np
import pytest
from astropy.table import Table
from tests.support import injection
from tests.support import pipeline as build
from tests.support import simulator as scene

from nexus_pipeline.errors import InputError
from nexus_pipeline.instrument.wfi import NOMINAL_PIXEL_AREA_SR
from nexus_pipeline.products import l3
from nexus_pipeline.products.model import Mosaic
from nexus_pipeline.recipes import inject, injections
from nexus_pipeline.recipes.catalog import mosaic_picture, picture
from nexus_pipeline.recipes.epsf import mosaic_psf_of
from nexus_pipeline.recipes.injections import Injections, Ranges
from nexus_pipeline.references import kinds
from nexus_pipeline.references.store import ReferenceStore
from nexus_pipeline.simulate import catalog, stamps
from nexus_pipeline.simulate.ideal import slope_variances

SIZE = 500


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory) -> ReferenceStore:
    return scene.store(str(tmp_path_factory.mktemp("references")))


@pytest.fixture(scope="module")
def blank(references: ReferenceStore) -> Mosaic:
    return injection.field_mosaic(references, size=SIZE, n_stars=1, n_galaxies=0, seed=5)[0]


def table_of(changes: dict[str, list[object]]) -> Table:
    """Return a catalogue of two sources 8 arcsec apart, one of them a galaxy, with ``changes``."""
    plain = {
        "ra": [injection.RA, injection.RA],
        "dec": [injection.DEC, injection.DEC + 8 / 3600],
        "type": ["PSF", "SER"],
        f"mag_{build.FILTER}": [21.0, 22.0],
        "n": [0.0, 1.0],
        "half_light_radius": [0.0, 0.3],
        "ba": [1.0, 0.5],
        "pa": [0.0, 20.0],
    }
    return Table(plain | changes)


def of_table(table: Table, blank: Mosaic) -> Injections:
    return injections.of_catalog(catalog.sources_from_table(table, build.FILTER), mosaic_picture(blank))


def test_a_plan_is_the_same_for_the_same_seed_and_keeps_its_sources_apart(blank: Mosaic) -> None:
    seen, ranges = mosaic_picture(blank), Ranges(half_light_radius_arcsec=(0.1, 0.2))
    one, again, other = (injections.on_grid(seen, 9, seed=seed, ranges=ranges) for seed in (1, 1, 2))
    assert len(one) == 9
    assert np.array_equal(one.x, again.x)
    assert not np.allclose(one.x, other.x)
    injections.check(one, seen)
    assert ((one.magnitude >= 20) & (one.magnitude <= 27)).all()
    assert 0 < one.is_star.sum() < 9


def test_less_than_one_per_cent_is_put_in_if_nobody_says_how_many() -> None:
    assert [injections.default_number(n) for n in (0, 50, 100, 1000, 3100)] == [1, 1, 1, 9, 30]


def test_nothing_is_put_where_there_is_no_light(blank: Mosaic) -> None:
    half = blank.weight.copy()
    half[:, : SIZE // 2] = 0
    seen = mosaic_picture(replace(blank, weight=half))
    planned = injections.on_grid(seen, 6, seed=3, ranges=Ranges(star_share=1.0))
    assert len(planned) >= 4
    assert (planned.x > SIZE // 2 - 1).all()


def test_in_a_corner_of_light_as_many_are_put_as_find_a_place(blank: Mosaic) -> None:
    def lit(edge: int) -> Mosaic:
        weight = np.zeros_like(blank.weight)
        weight[:edge, :edge] = blank.weight[:edge, :edge]
        return replace(blank, weight=weight)

    planned = injections.on_grid(mosaic_picture(lit(SIZE // 4)), 9, seed=3)
    assert 1 <= len(planned) < 9
    injections.check(planned, mosaic_picture(lit(SIZE // 4)))
    with pytest.raises(injections.NoPlaceError, match="none of 9 sources finds a place"):
        injections.on_grid(mosaic_picture(lit(0)), 9, seed=3)


def test_more_sources_than_can_be_kept_apart_are_refused(blank: Mosaic) -> None:
    with pytest.raises(InputError, match="cannot be kept apart"):
        injections.on_grid(mosaic_picture(blank), 400, seed=1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ra": [injection.RA, injection.RA + 1]}, "outside the image.* row 1"),
        ({f"mag_{build.FILTER}": [21.0, np.inf]}, "flux that is not positive"),
        ({"half_light_radius": [0.0, 60.0]}, "half-light radius outside"),
        ({"dec": [injection.DEC, injection.DEC + 1 / 3600]}, "1 pairs blend .* rows 0 and 1"),
    ],
)
def test_a_catalogue_that_cannot_be_put_in_says_why(
    blank: Mosaic, changes: dict[str, list[object]], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        of_table(table_of(changes), blank)


def test_a_negative_flux_is_refused_before_anything_is_planned(blank: Mosaic) -> None:
    table = table_of({build.FILTER: [1e-9, -1e-9]})
    with pytest.raises(InputError, match="negative flux"):
        of_table(table, blank)


@pytest.mark.parametrize("low_high", [(0.0, 0.2), (0.3, 0.2), (0.1, 100.0)])
def test_ranges_that_make_no_galaxies_are_refused(low_high: tuple[float, float]) -> None:
    with pytest.raises(InputError, match="half_light_radius_arcsec"):
        Ranges(half_light_radius_arcsec=low_high)


def test_a_plan_is_a_catalogue_that_can_be_put_in_again(blank: Mosaic) -> None:
    planned = of_table(table_of({}), blank)
    table = injections.table(planned, build.FILTER, {"seed": 1})
    again = of_table(table, blank)
    assert np.allclose(planned.flux_jy, again.flux_jy)
    assert np.allclose(planned.x, again.x)
    assert np.array_equal(planned.is_star, again.is_star)


@pytest.mark.parametrize("radius", [0.0, 0.3])
def test_all_light_of_a_source_arrives_without_noise_to_a_thousandth(
    references: ReferenceStore, blank: Mosaic, radius: float
) -> None:
    seen = mosaic_picture(blank)
    psf, _ = mosaic_psf_of(blank.meta, references, scale_arcsec=seen.scale_arcsec)
    x = np.array([150.3, 349.6])
    put = injection.injections(blank.wcs, x, np.full(2, 250.2), np.array([18.0, 17.0]), radius=radius)
    added = inject.lights(seen, put, psf, stamps.render, seed=1, noisy=False)
    for each, flux, at in zip(added, put.flux_jy * 1e9, x, strict=True):
        total = float(each.added.sum(dtype=float)) * float(seen.to_njy[0, 0])
        assert total == pytest.approx(flux, rel=1e-3)
        columns = np.arange(each.columns.start, each.columns.stop)
        assert (each.added.sum(axis=0) @ columns) / each.added.sum() == pytest.approx(at, abs=2e-3)


def test_photons_are_as_noisy_as_gain_and_exposure_time_make_them(
    references: ReferenceStore, blank: Mosaic
) -> None:
    """The variance per light of four exposures, from their references, beside what injection draws."""
    meta, seen = build.meta(), mosaic_picture(blank)
    where = {"detector": build.DETECTOR, "filter_name": build.FILTER, "date": blank.meta.first}
    gain = float(np.nanmedian(references.load(kinds.GainReference, **where).gain))
    noise = float(np.nanmedian(references.load(kinds.ReadNoiseReference, **where).read_noise))
    photom = references.load(kinds.PhotomReference, **where).table[build.FILTER]
    sky = float(np.median(blank.data)) / photom.conversion_megajanskys
    per_flux = slope_variances(meta.ma_table, np.array([sky / gain / noise**2]))[0][0]
    # A mosaic's pixel is a quarter of a detector's: four times its variance, over four exposures.
    expected = photom.conversion_megajanskys * per_flux / gain * 4 / injection.EXPOSURES
    psf, _ = mosaic_psf_of(blank.meta, references, scale_arcsec=seen.scale_arcsec)
    x, y = scene.grid_of_stars(4, SIZE / 4, jitter=3.0, rng=np.random.default_rng(4))
    put = injection.injections(blank.wcs, x, y, np.full(16, 18.0))
    added = inject.lights(seen, put, psf, stamps.render, seed=2)
    quiet = inject.lights(seen, put, psf, stamps.render, seed=2, noisy=False)
    told = np.mean([each.variance.sum() / q.added.sum() for each, q in zip(added, quiet, strict=True)])
    # The dark current makes 2 % of the noise and no light.
    assert told == pytest.approx(expected, rel=0.05)
    pulls = []
    for each, q in zip(added, quiet, strict=True):
        bright = (q.added > 0) & (q.added**2 > 20 * each.variance)  # more than twenty electrons
        pulls.append(((each.added - q.added)[bright]) / np.sqrt(each.variance[bright]))
    together = np.concatenate(pulls)
    assert together.size > 1000
    assert together.std() == pytest.approx(1, abs=4 / np.sqrt(2 * together.size) + 0.01)
    assert abs(together.mean()) < 4 / np.sqrt(together.size)


def test_shared_noise_keeps_what_an_aperture_collects_of_it() -> None:
    rng = np.random.default_rng(6)
    drops = inject.Drops(2.0)
    white = rng.standard_normal((400, 400))
    shared = drops.spread(white)
    sums = [noise.reshape(10, 40, 10, 40).sum(axis=(1, 3)).std() for noise in (white, shared)]
    # 100 sums know their width to 7 %, but these are of the same numbers save at their edges.
    assert sums[1] == pytest.approx(sums[0], rel=0.05)
    assert shared.std() < 0.6
    # Fruchter and Hook's figure for drops twice the mosaic's pixels.
    assert drops.noise_ratio == pytest.approx(2.4)
    assert inject.Drops(0.0).noise_ratio == 1


def test_a_mosaic_with_injections_is_a_product_that_says_so(
    references: ReferenceStore, blank: Mosaic, tmp_path_factory: pytest.TempPathFactory
) -> None:
    seen = mosaic_picture(blank)
    psf, _ = mosaic_psf_of(blank.meta, references, scale_arcsec=seen.scale_arcsec)
    put = injection.injections(blank.wcs, np.array([250.0]), np.array([250.0]), np.array([19.0]))
    made = inject.into_mosaic(blank, inject.lights(seen, put, psf, stamps.render, seed=1), told={"seed": 1})
    url = str(tmp_path_factory.mktemp("made") / "r00001_p_v01001001001001_f158_injected_coadd.asdf")
    l3.write_mosaic(made, url)
    back = l3.read_mosaic(url)
    assert back.meta.own["injected"]["sources"] == 1
    assert back.meta.own["detector"] == blank.meta.own["detector"]
    changed = back.data != blank.data
    assert changed[250, 250]
    assert not changed[:100].any()
    assert np.allclose(back.err**2, back.var_poisson + back.var_rnoise, rtol=1e-5)
    assert (back.var_poisson >= blank.var_poisson).all()


def test_an_image_without_its_sky_cannot_tell_how_many_electrons_a_source_is(
    references: ReferenceStore, blank: Mosaic
) -> None:
    seen = mosaic_picture(replace(blank, data=blank.data - 2 * np.median(blank.data)))
    psf, _ = mosaic_psf_of(blank.meta, references, scale_arcsec=seen.scale_arcsec)
    put = injection.injections(blank.wcs, np.array([250.0]), np.array([250.0]), np.array([19.0]))
    with pytest.raises(InputError, match="no light left"):
        inject.lights(seen, put, psf, stamps.render, seed=1)


def test_an_l2_image_takes_injections_as_surface_brightness(references: ReferenceStore) -> None:
    rng = np.random.default_rng(8)
    image = scene.calibrated(0.5 + 0.05 * rng.standard_normal((scene.ACTIVE, scene.ACTIVE)))
    seen = picture(image)
    x = np.array([124.3])
    put = injection.injections(image.wcs, x, x, np.array([20.0]))
    added = inject.lights(seen, put, scene.grid(), stamps.render, seed=1, noisy=False)
    made = inject.into_image(image, added, told={"seed": 1})
    light = (made.rate - image.rate).sum(dtype=float)
    area = float(seen.to_njy[124, 124]) / (0.5 * 1e15)
    assert light * 0.5e15 * area == pytest.approx(put.flux_jy[0] * 1e9, rel=2e-3)
    assert area == pytest.approx(NOMINAL_PIXEL_AREA_SR, rel=0.02)
    assert made.provenance.steps[-1].name == "inject"
    assert made.provenance.steps[-1].parameters["sources"] == 1
