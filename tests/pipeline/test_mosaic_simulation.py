"""Idealised L3: its geometry, its fluxes in the mission's units, and as much noise as its exposures leave."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table
from tests.support import pipeline as build
from tests.support import simulator as scene

from nexus_pipeline.errors import InputError
from nexus_pipeline.instrument.ma_table import SHORT_IMAGING
from nexus_pipeline.instrument.wfi import MOSAIC_PIXEL_AREA_SR
from nexus_pipeline.products import l3
from nexus_pipeline.products.model import Mosaic
from nexus_pipeline.references.store import ReferenceStore
from nexus_pipeline.simulate import catalog, exposure, mosaic
from nexus_pipeline.simulate.plane import RatePlane
from nexus_pipeline.simulate.switches import with_settings
from nexus_pipeline.sky import mosaic_wcs
from nexus_pipeline.sky.mosaic_wcs import MosaicGrid
from nexus_pipeline.sky.tangent import directions_of, plane_about

RA, DEC, SIZE = 150.0, 2.0, 400
DARK_SKY = with_settings(exposure.Effects(), {}, ["background"])


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory) -> ReferenceStore:
    return scene.store(str(tmp_path_factory.mktemp("references")))


def meta(references: ReferenceStore) -> exposure.ExposureMeta:
    aim = exposure.aim(references, build.DETECTOR, build.FILTER, ra_deg=RA, dec_deg=DEC)
    return exposure.exposure_meta(build.DETECTOR, build.FILTER, pointing=aim, ma_table=SHORT_IMAGING)


def made(
    references: ReferenceStore, table: Table, *, exposures: int = 4, **effects: object
) -> tuple[Mosaic, Table]:
    sources = catalog.sources_from_table(table, build.FILTER)
    stack = mosaic.Stack(MosaicGrid(RA, DEC, SIZE), exposures)
    wanted = replace(DARK_SKY, **effects)  # type: ignore[arg-type]
    return mosaic.simulate_mosaic(sources, meta(references), references, stack, seed=3, effects=wanted)


def few(magnitude: float) -> Table:
    """Return three stars and a galaxy, at most 7 arcsec from the middle, far from each other."""
    east, north = np.array([-6.0, 6.1, 5.9, -6.03]) / 3600, np.array([-6.0, -6.2, 6.0, 5.97]) / 3600
    table = Table({"ra": RA + east / np.cos(np.deg2rad(DEC)), "dec": DEC + north})
    table["type"] = ["PSF", "PSF", "PSF", "SER"]
    table["n"], table["half_light_radius"], table["ba"], table["pa"] = 1.0, 0.2, 0.6, 30.0
    table[f"mag_{build.FILTER}"] = magnitude
    return table


def test_surface_brightness_times_pixel_area_is_the_flux_of_the_truth(references: ReferenceStore) -> None:
    image, truth = made(references, few(17.0), exposures=1000)
    y, x = np.indices(image.data.shape)
    for star in truth:
        near = np.hypot(x - star["x"], y - star["y"]) < 80
        flux_njy = image.data[near].sum(dtype=np.float64) * MOSAIC_PIXEL_AREA_SR * 1e15
        error = np.sqrt((image.err[near].astype(np.float64) ** 2).sum()) * MOSAIC_PIXEL_AREA_SR * 1e15
        print(f"{star['type']}: {flux_njy / star['flux_njy'] - 1:+.5f} ± {error / star['flux_njy']:.5f}")
        # Outside the stamp and between the ePSF's nodes.
        assert flux_njy == pytest.approx(star["flux_njy"], rel=2e-3 + star["outside_stamp"], abs=4 * error)
        assert star["flux_mjysr"] * MOSAIC_PIXEL_AREA_SR * 1e15 == pytest.approx(star["flux_njy"])


def test_light_lies_where_the_plane_about_the_centre_has_it(references: ReferenceStore) -> None:
    image, truth = made(references, few(17.0), exposures=1000)
    assert image.wcs((SIZE - 1) / 2, (SIZE - 1) / 2) == pytest.approx((RA, DEC), abs=1e-9)
    plane = plane_about(directions_of(np.array([RA]), np.array([DEC])))
    east, north = plane.project(directions_of(np.asarray(truth["ra"]), np.asarray(truth["dec"]))).T
    np.testing.assert_allclose(truth["x"], (SIZE - 1) / 2 - east / 0.055, atol=1e-6)
    np.testing.assert_allclose(truth["y"], (SIZE - 1) / 2 + north / 0.055, atol=1e-6)
    y, x = np.indices(image.data.shape)
    for star in truth:
        near = image.data * (np.hypot(x - star["x"], y - star["y"]) < 30)
        found = (near * x).sum() / near.sum(), (near * y).sum() / near.sum()
        # A star of 17 mag in a thousand exposures: a hundredth of a pixel.
        assert found == pytest.approx((star["x"], star["y"]), abs=0.02)


def test_the_noise_is_what_it_says_and_as_much_as_the_exposures_leave(references: ReferenceStore) -> None:
    nothing = few(40.0)
    image, _ = made(references, nothing, exposures=9, background=True)
    pulls = (image.data - np.median(image.data)) / image.err
    # 160 000 pixels.
    assert pulls.std() == pytest.approx(1, abs=4 * 0.0018)
    sources = catalog.sources_from_table(nothing, build.FILTER)
    wanted = replace(DARK_SKY, background=True)
    one, _ = exposure.simulate_ideal(sources, meta(references), references, seed=4, effects=wanted)
    assert one.photometry is not None
    scale = one.photometry.conversion_megajanskys
    # Four pixels of a mosaic of nine share what nine exposures saw in one of a detector.
    shared = np.median(one.err) * scale * np.sqrt(4 / 9)
    assert np.median(image.err) == pytest.approx(shared, rel=0.02)
    error = float(np.median(one.err)) * scale / 100
    assert np.median(image.data) == pytest.approx(np.median(one.rate) * scale, abs=3 * error)
    np.testing.assert_allclose(image.err**2, image.var_poisson + image.var_rnoise, rtol=1e-5)


def test_one_seed_repeats_bit_for_bit_and_a_star_off_the_grid_leaves_its_wings(
    references: ReferenceStore,
) -> None:
    table = few(17.0)[:1]
    table["ra"] = RA + (SIZE / 2 + 4) * 0.055 / 3600
    table["dec"] = DEC
    one, truth = made(references, table)
    again, _ = made(references, table)
    np.testing.assert_array_equal(one.data, again.data)
    assert truth["x"][0] < 0
    assert one.data[:, 0].max() > 10 * np.median(one.err)


def test_what_no_mosaic_can_be_is_refused(references: ReferenceStore) -> None:
    stack = mosaic.Stack(MosaicGrid(RA, DEC, SIZE))
    plane = RatePlane(np.ones((4, 4), np.float32), "DN/s")
    with pytest.raises(InputError, match="a mosaic needs a catalogue"):
        mosaic.simulate_mosaic(plane, meta(references), references, stack, seed=1)
    for size, exposures in ((0, 1), (10**6, 1), (10, 0)):
        with pytest.raises(InputError, match="1 to 20000 pixels"):
            mosaic.Stack(MosaicGrid(RA, DEC, size), exposures)


def test_the_context_has_a_bit_for_each_exposure() -> None:
    context = l3.context_of_all(40, 2)
    assert context.shape == (2, 2, 2)
    assert [int(plane[0, 0]).bit_count() for plane in context] == [32, 8]


def test_the_command_line_writes_a_mosaic_that_reads_back(references: ReferenceStore, tmp_path: Path) -> None:
    catalog.write_table(few(20.0), str(tmp_path / "s.parquet"))
    command = (
        "simulate", tmp_path / "s.parquet", "--references", references.url, "--output", tmp_path,
        "--detector", build.DETECTOR, "--filter", build.FILTER, "--level", 3, "--ra", RA, "--dec", DEC,
        "--size", 300, "--exposures", 40,
    )  # fmt: skip
    told = build.wfi(*command)
    assert told.status == 0, told.err
    url, truth = told.out.split()[:2]
    assert url.endswith("r00001_p_v01001001001001_f158_coadd.asdf")
    assert truth.endswith("_f158_truth.ecsv")
    image = l3.read_mosaic(url)
    assert image.data.shape == (300, 300)
    assert image.meta.resample["pointings"] == 40
    assert image.meta.exposure_time_s == pytest.approx(40 * 139.15, rel=0.001)
    grid = MosaicGrid(RA, DEC, 300)
    np.testing.assert_allclose(image.wcs([0, 299], [0, 299]), mosaic_wcs.build(grid)([0, 299], [0, 299]))
    assert "L3 mosaic" in build.wfi("info", url).out
    many = build.wfi(*command, "--detectors", "all")
    assert many.status == 2
    assert "a mosaic is not a detector's" in many.err
