"""Catalogues of mosaics: an idealised L3 through ``wfi catalog``, beside the truth."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table
from scipy.spatial import cKDTree
from tests.support import injection
from tests.support import pipeline as build
from tests.support import simulator as scene

from nexus_pipeline.errors import InputError, WrongProductError
from nexus_pipeline.measure import columns
from nexus_pipeline.measure.compare import median_and_error, robust_width
from nexus_pipeline.products import l3, l4
from nexus_pipeline.products.model import Mosaic
from nexus_pipeline.psf.mosaic import mosaic_psf
from nexus_pipeline.recipes.catalog import mosaic_catalog
from nexus_pipeline.references.store import ReferenceStore
from nexus_pipeline.simulate import catalog, exposure, mosaic
from nexus_pipeline.sky.mosaic_wcs import MosaicGrid

RA, DEC, SIZE = 150.0, 2.0, 800


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory) -> ReferenceStore:
    return scene.store(str(tmp_path_factory.mktemp("references")))


@pytest.fixture(scope="module")
def field(references: ReferenceStore) -> tuple[Mosaic, Table]:
    """Return 400 stars of 20 to 23 mag on a jittered grid, four exposures deep."""
    rng = np.random.default_rng(41)
    x, y = scene.grid_of_stars(20, SIZE / 20, jitter=10.0, rng=rng)
    east, north = (x - SIZE / 2) * 0.055 / 3600, (y - SIZE / 2) * 0.055 / 3600
    table = scene.star_table(
        RA + east / np.cos(np.deg2rad(DEC)), DEC + north, rng.uniform(20.0, 23.0, x.size)
    )
    return simulated(references, table)


def simulated(references: ReferenceStore, table: Table) -> tuple[Mosaic, Table]:
    """Return what four exposures show of ``table``, and the truth."""
    aim = exposure.aim(references, build.DETECTOR, build.FILTER, ra_deg=RA, dec_deg=DEC)
    meta = exposure.exposure_meta(build.DETECTOR, build.FILTER, pointing=aim)
    stack = mosaic.Stack(MosaicGrid(RA, DEC, SIZE), 4)
    sources = catalog.sources_from_table(table, build.FILTER)
    return mosaic.simulate_mosaic(sources, meta, references, stack, seed=3)


def test_stars_of_a_mosaic_come_back_with_their_flux_and_their_place(
    field: tuple[Mosaic, Table], references: ReferenceStore
) -> None:
    image, truth = field
    made = mosaic_catalog(image, references).table
    inside = (np.abs(np.column_stack([truth["x"], truth["y"]]) - SIZE / 2) < SIZE / 2 - 20).all(axis=1)
    wanted = truth[inside]
    distance, which = cKDTree(np.column_stack([made["x_psf"], made["y_psf"]])).query(
        np.column_stack([wanted["x"], wanted["y"]])
    )
    assert (distance < 0.5).mean() > 0.99
    found, wanted = made[which[distance < 0.5]], wanted[distance < 0.5]
    ratio = np.asarray(found["psf_flux"] / wanted["flux_njy"], dtype=float)
    pull = (found["psf_flux"] - wanted["flux_njy"]) / found["psf_flux_err"]
    median, error = median_and_error(ratio)
    width = robust_width(np.asarray(pull, dtype=float))
    print(f"{len(ratio)} stars: flux {median:.4f} ± {error:.4f}, pulls {width:.2f}")
    assert median == pytest.approx(1, abs=0.003 + 3 * error)
    # 370 stars give a robust width to 6 %.
    assert width == pytest.approx(1, abs=0.18)
    ra, dec = np.asarray(found["ra_psf"] - wanted["ra"]), np.asarray(found["dec_psf"] - wanted["dec"])
    assert np.abs([np.median(ra), np.median(dec)]).max() * 3.6e6 < 2
    assert not found["is_extended"].any()


@pytest.mark.parametrize(("index", "within"), [(1.0, 0.03), (4.0, 0.08)])
def test_the_light_beyond_kron_s_ellipse_is_told_for_discs_and_for_bulges(
    references: ReferenceStore, index: float, within: float
) -> None:
    rng = np.random.default_rng(42)
    x, y = scene.grid_of_stars(9, SIZE / 9, jitter=5.0, rng=rng)
    east, north = (x - SIZE / 2) * 0.055 / 3600, (y - SIZE / 2) * 0.055 / 3600
    table = Table({"ra": RA + east / np.cos(np.deg2rad(DEC)), "dec": DEC + north, "type": ["SER"] * x.size})
    table["n"], table["half_light_radius"] = index, rng.uniform(0.15, 0.4, x.size)
    table["ba"], table["pa"] = rng.uniform(0.4, 1, x.size), rng.uniform(0, 180, x.size)
    table[f"mag_{build.FILTER}"] = rng.uniform(20.5, 22, x.size)
    image, truth = simulated(references, table)
    made = mosaic_catalog(image, references).table
    at = np.column_stack([truth["x"], truth["y"]])
    distance, which = cKDTree(np.column_stack([made["x_centroid"], made["y_centroid"]])).query(at)
    found, wanted = made[which[distance < 3]], truth[distance < 3]
    assert len(found) >= 75
    signal = np.asarray(found["kron_flux"] / found["kron_flux_err"], dtype=float)
    kron, whole = (
        median_and_error(np.asarray(found[name] / wanted["flux_njy"], dtype=float)[signal > 30])
        for name in ("kron_flux", "kron_total_flux")
    )
    print(f"n = {index}: Kron {kron[0]:.3f}, whole {whole[0]:.3f} ± {whole[1]:.3f}")
    assert kron[0] < whole[0] - 0.01
    assert whole[0] == pytest.approx(1, abs=within + 3 * whole[1])


def test_a_drizzled_mosaic_of_blank_sky_and_one_star_shows_one_source(references: ReferenceStore) -> None:
    """Drops make the matched filter's noise twice what independent pixels of that variance would show."""
    made = mosaic_catalog(injection.drizzled_mosaic(n_stars=1, seed=39), references).table
    print(f"{len(made)} sources")
    # 436² pixels hold less than a hundredth of a peak of noise beyond 5 σ; the star's wings may hold one.
    assert 1 <= len(made) <= 2


def test_wfi_catalog_takes_a_mosaic_and_writes_the_mission_s_products(
    field: tuple[Mosaic, Table], references: ReferenceStore, tmp_path: Path
) -> None:
    source = tmp_path / "r00001_p_v01001001001001_f158_coadd.asdf"
    l3.write_mosaic(field[0], str(source))
    told = build.wfi("catalog", source, "--references", references.url, "--output", tmp_path)
    assert told.status == 0, told.err
    (url,) = tmp_path.glob("*_cat.parquet")
    assert list(tmp_path.glob("*_segm.asdf"))
    back = l4.read_mosaic_catalog(str(url))
    assert set(columns.required_columns()) <= set(back.table.colnames)
    assert back.meta.filter_name == build.FILTER
    assert back.meta.first == field[0].meta.first
    assert len(back.table) >= 380
    assert "catalogue of a mosaic" in build.wfi("info", url).out
    (segments,) = tmp_path.glob("*_segm.asdf")
    assert "segmentation map of a mosaic" in build.wfi("info", segments).out


def test_a_mosaic_without_light_or_without_a_psf_is_refused(
    field: tuple[Mosaic, Table], references: ReferenceStore
) -> None:
    empty = replace(field[0], weight=np.zeros_like(field[0].weight))
    with pytest.raises(InputError, match="no pixel with light"):
        mosaic_catalog(empty, references)
    nameless = replace(field[0], meta=replace(field[0].meta, own={}))
    with pytest.raises(InputError, match="name a detector"):
        mosaic_catalog(nameless, references)


def test_a_catalogue_of_an_image_is_none_of_a_mosaic(tmp_path: Path) -> None:
    table = tmp_path / "plain.parquet"
    Table({"a": [1]}).write(table)
    with pytest.raises(WrongProductError):
        l4.read_mosaic_catalog(str(table))


def test_drop_and_pixel_widen_the_psf_by_their_own_variance() -> None:
    plain, wide = (
        mosaic_psf(scene.grid(), finer=2, spread_pixels=spread).stamp(0, 0, radius=12)
        for spread in ((), (2.0, 1.0))
    )
    axis = np.arange(-12, 13)
    variances = [(stamp.sum(axis=0) * axis**2).sum() / stamp.sum() for stamp in (plain, wide)]
    assert wide.sum() == pytest.approx(plain.sum(), rel=1e-4)
    # Boxes of two and of one pixel: w²/12 each.
    assert variances[1] - variances[0] == pytest.approx(5 / 12, rel=1e-3)
