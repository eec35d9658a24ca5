"""Catalogues of several filters: idealised mosaics of known colours through ``wfi catalog --bands``."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table
from numpy.typing import NDArray
from roman_datamodels import datamodels
from scipy.spatial import cKDTree
from tests.support import pipeline as build
from tests.support import simulator as scene
from tests.support.pipeline import Told, wfi

from nexus_pipeline.errors import InputError
from nexus_pipeline.measure import band_columns, columns
from nexus_pipeline.measure.compare import median_and_error, robust_width
from nexus_pipeline.measure.correlation import independent
from nexus_pipeline.measure.matched_image import matched
from nexus_pipeline.measure.sources import Field
from nexus_pipeline.products import l3, l4
from nexus_pipeline.products.model import Mosaic, MultibandCatalog
from nexus_pipeline.recipes.multiband import multiband_catalog
from nexus_pipeline.references.store import ReferenceStore
from nexus_pipeline.simulate import catalog, exposure, mosaic
from nexus_pipeline.simulate.switches import with_settings
from nexus_pipeline.sky.mosaic_wcs import MosaicGrid

RA, DEC, SIZE = 150.0, 2.0, 640
BANDS = {"F106": 0.62, "F158": 0.8}
"""Filters and the widths (σ, detector pixels) of their Gaussian PSFs."""
QUIET = 2000
"""Exposures that leave next to no noise: a star of 22 mag has S/N 1,500."""
DARK_SKY = with_settings(exposure.Effects(), {}, ["background"])

Floats = NDArray[np.float64]


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory) -> ReferenceStore:
    made = build.small_store(str(tmp_path_factory.mktemp("references")), filter_names=list(BANDS))
    return made.add([replace(scene.epsf(sigma=width), filter_name=band) for band, width in BANDS.items()])


def simulated(
    references: ReferenceStore,
    table: Table,
    *,
    exposures: int = 4,
    size: int = SIZE,
    effects: exposure.Effects = DARK_SKY,
) -> list[Mosaic]:
    """Return what ``exposures`` in each filter show of ``table``, which has magnitudes in all."""
    aim = exposure.aim(references, build.DETECTOR, build.FILTER, ra_deg=RA, dec_deg=DEC)
    stack, made = mosaic.Stack(MosaicGrid(RA, DEC, size), exposures), []
    for seed, band in enumerate(BANDS):
        meta = exposure.exposure_meta(build.DETECTOR, band, pointing=aim)
        sources = catalog.sources_from_table(table, band)
        image, _ = mosaic.simulate_mosaic(sources, meta, references, stack, seed=seed, effects=effects)
        made.append(image)
    return made


def scattered(
    n: int, *, seed: int, galaxies: bool, magnitudes: tuple[float, float], colours: tuple[float, float]
) -> Table:
    """Return n² sources on a jittered grid, half of them discs if there are ``galaxies``."""
    rng = np.random.default_rng(seed)
    x, y = scene.grid_of_stars(n, SIZE / n, jitter=4.0, rng=rng)
    east, north = (x - SIZE / 2) * 0.055 / 3600, (y - SIZE / 2) * 0.055 / 3600
    table = scene.star_table(
        RA - east / np.cos(np.deg2rad(DEC)), DEC + north, rng.uniform(*magnitudes, x.size)
    )
    table["mag_F106"] = table["mag_F158"] + rng.uniform(*colours, x.size)
    if galaxies:
        table["type"] = np.where(np.arange(x.size) % 2, "SER", "PSF")
        table["n"], table["half_light_radius"] = 1.0, rng.uniform(0.15, 0.35, x.size)
        table["ba"], table["pa"] = rng.uniform(0.4, 1, x.size), rng.uniform(0, 180, x.size)
    return table


def made_of(mosaics: Sequence[Mosaic], references: ReferenceStore) -> MultibandCatalog:
    return multiband_catalog([partial(_given, each) for each in mosaics], references)


def _given(each: Mosaic) -> Mosaic:
    return each


def matching(made: Table, wanted: Table) -> tuple[Table, Table]:
    """Return the rows of both that lie within 0.1 arcsec of each other."""
    scale = np.cos(np.deg2rad(DEC))
    here, there = (np.column_stack([(t["ra"] - RA) * scale, t["dec"] - DEC]) * 3600 for t in (made, wanted))
    distance, which = cKDTree(here).query(there)
    return made[which[distance < 0.1]], wanted[distance < 0.1]


def colour(made: Table, name: str) -> tuple[Floats, Floats]:
    """Return F106 - F158 in an aperture on images of one PSF, and its error, mag."""
    blue, red = (np.asarray(made[f"{name}_{band}_flux"], dtype=float) for band in ("f106mf158", "f158"))
    errors = [
        np.asarray(made[f"{name}_{band}_flux_err"], dtype=float) / flux
        for band, flux in (("f106mf158", blue), ("f158", red))
    ]
    return -2.5 * np.log10(blue / red), 2.5 / np.log(10) * np.hypot(*errors)


@pytest.fixture(scope="module")
def quiet(references: ReferenceStore) -> tuple[MultibandCatalog, Table]:
    table = scattered(9, seed=51, galaxies=True, magnitudes=(20.0, 22.0), colours=(-1.0, 2.0))
    return made_of(simulated(references, table, exposures=QUIET), references), table


def test_without_noise_colours_in_matched_apertures_are_the_true_ones(
    quiet: tuple[MultibandCatalog, Table],
) -> None:
    found, wanted = matching(quiet[0].table, quiet[1])
    assert len(found) > 70
    true = np.asarray(wanted["mag_F106"] - wanted["mag_F158"])
    galaxy = np.asarray(wanted["type"] == "SER")
    for name in ("aper02", "aper04", "aper08", "kron"):
        off = colour(found, name)[0] - true
        print(f"{name}: stars {np.abs(off[~galaxy]).max():.4f}, discs {np.abs(off[galaxy]).max():.4f} mag")
        assert np.abs(off).max() < 0.01
    # Were the images not brought to one PSF, stars would be off by this much.
    blue, red = (np.asarray(found[f"aper02_{band}_flux"]) for band in ("f106", "f158"))
    assert np.median((-2.5 * np.log10(blue / red) - true)[~galaxy]) < -0.05


def test_without_noise_stars_have_their_flux_in_each_filter(quiet: tuple[MultibandCatalog, Table]) -> None:
    found, wanted = matching(quiet[0].table, quiet[1])
    star = np.asarray(wanted["type"] == "PSF")
    for band in BANDS:
        true = 3.631e12 * 10 ** (-0.4 * np.asarray(wanted[f"mag_{band}"][star]))
        ratio = np.asarray(found[f"psf_{band.lower()}_flux"][star]) / true
        assert np.abs(np.median(ratio) - 1) < 3e-3
        assert robust_width(ratio) < 5e-3
    assert not found["is_extended_f158"][star].any()
    assert found["is_extended_f158"][~star].mean() > 0.9


@pytest.fixture(scope="module")
def noisy(references: ReferenceStore) -> tuple[MultibandCatalog, Table]:
    table = scattered(17, seed=52, galaxies=False, magnitudes=(22.2, 23.4), colours=(-0.3, 0.6))
    return made_of(simulated(references, table), references), table


def test_colours_are_unbiased_and_their_errors_honest_where_pixels_share_noise(
    noisy: tuple[MultibandCatalog, Table],
) -> None:
    found, wanted = matching(noisy[0].table, noisy[1])
    true = np.asarray(wanted["mag_F106"] - wanted["mag_F158"])
    bright = np.asarray(found["psf_f106_flux"] / found["psf_f106_flux_err"]) >= 30
    assert bright.sum() > 200
    for name in ("aper02", "aper04"):
        value, error = colour(found, name)
        off = (value - true)[bright]
        median, uncertain = median_and_error(off)
        width = robust_width(off / error[bright])
        print(f"{name}: {bright.sum()} stars, {median:+.4f} ± {uncertain:.4f} mag, pulls {width:.2f}")
        assert abs(median) < 0.01 + 3 * uncertain
        # Of 250 stars the robust width is known to 6 %.
        assert width == pytest.approx(1, abs=0.2)


def test_what_no_filter_shows_alone_is_found_in_all_together(references: ReferenceStore) -> None:
    """Stars of S/N 4.1 in each of two filters: 5.8 in their mean, of which Φ(0.8) = 0.79 are beyond 5."""
    sky, bands = exposure.Effects(), ("f106", "f158")
    table = scattered(14, seed=53, galaxies=False, magnitudes=(26.0, 26.0), colours=(0.0, 0.0))
    first = made_of(simulated(references, table, effects=sky), references).table
    signal = [np.median(first[f"psf_{band}_flux"] / first[f"psf_{band}_flux_err"]) for band in bands]
    table["mag_F106"], table["mag_F158"] = 26.0 + 2.5 * np.log10(np.array(signal) / 4.1)
    made = made_of(simulated(references, table, effects=sky), references).table
    found, _ = matching(made, table)
    share = len(found) / len(table)
    alone = [np.median(found[f"psf_{band}_flux"] / found[f"psf_{band}_flux_err"]) for band in bands]
    print(f"found {share:.2f}; S/N alone {alone[0]:.2f}, {alone[1]:.2f}")
    # 196 stars: the share is known to 3 %. Those found are the brighter ones.
    assert share > 0.7
    assert max(alone) < 5


def test_a_source_that_one_filter_does_not_show_has_a_flux_of_about_nothing_there(
    references: ReferenceStore,
) -> None:
    table = scattered(10, seed=54, galaxies=False, magnitudes=(21.0, 21.5), colours=(12.0, 12.0))
    made = made_of(simulated(references, table), references).table
    found, _ = matching(made, table)
    assert len(found) > 90
    for name in ("psf_f106_flux", "aper04_f106_flux", "aper04_f106mf158_flux"):
        pull = np.asarray(found[name] / found[f"{name}_err"], dtype=float)
        assert np.isfinite(pull).all()
        # A hundred of unit width: the mean is known to 0.1.
        assert abs(pull.mean()) < 0.35
        assert robust_width(pull) == pytest.approx(1, abs=0.35)


def test_the_noise_of_a_matched_image_is_what_its_kernel_makes_of_it() -> None:
    rng = np.random.default_rng(55)
    kernel = np.outer([0.1, 0.2, 0.4, 0.2, 0.1], [0.05, 0.25, 0.4, 0.25, 0.05])
    noise = rng.normal(0, 2, (600, 600)).astype(np.float32)
    nothing = np.zeros(noise.shape, np.bool_)
    nothing[100, 100] = True
    field = Field(noise, np.full_like(noise, 4), nothing, np.zeros(noise.shape, np.int32), independent())
    made = matched(field, kernel)
    inside = np.s_[5:-5, 5:-5]
    # 3.5e5 pixels that share noise with a dozen neighbours: the variance is known to a per cent.
    assert made.image[inside].var() == pytest.approx(float(made.variance[0, 0]), rel=0.03)
    sums = made.image[:600, :600].reshape(50, 12, 50, 12).sum(axis=(1, 3))[1:-1, 1:-1]
    square = np.ones((12, 12))
    told = float(made.variance[0, 0]) * 144 * made.correlation.over_weights(square)
    # 2,304 squares: to 3 %.
    assert sums.var() == pytest.approx(told, rel=0.1)
    assert 1 < made.unusable.sum() <= 25


def test_columns_bear_the_missions_names(quiet: tuple[MultibandCatalog, Table]) -> None:
    model = datamodels.MultibandSourceCatalogModel.create_fake_data()
    patterns = [name for name in model.source_catalog.colnames if not str(name).startswith("aper00")]
    wanted = {str(name).replace("f184", band) for name in patterns for band in ("f106", "f158")}
    made = quiet[0].table
    assert wanted <= set(made.colnames)
    assert {"aper02_f106mf158_flux_err", "kron_f106mf158_flux", "segment_f106mf158_flux"} <= set(
        made.colnames
    )
    ours = {band_columns.in_band(name, band) for name in columns.OUR_COLUMNS for band in ("f106", "f158")}
    for name in set(made.colnames) - ours - set(columns.OUR_COLUMNS):
        assert model.get_column_definition(name) is not None, name
    assert band_columns.in_band("kron_total_flux_err", "f158") == "kron_total_f158_flux_err"
    assert band_columns.in_band("x_psf_err", "f158") == "x_psf_f158_err"


def run(folder: Path, references: ReferenceStore, *mosaics: Path, bands: str = "F106,F158") -> Told:
    return wfi(
        "catalog", *mosaics, "--bands", bands, "--references", references.url, "--output", folder / "out"
    )


@pytest.fixture(scope="module")
def files(references: ReferenceStore, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("mosaics")
    table = scattered(4, seed=56, galaxies=False, magnitudes=(21.0, 21.5), colours=(0.0, 0.5))
    paths = []
    for each in simulated(references, table, size=200):
        paths.append(folder / f"r00001_p_full_270p65x50y50_{each.meta.filter_name.lower()}_coadd.asdf")
        l3.write_mosaic(each, str(paths[-1]))
    return paths


def test_wfi_catalog_makes_one_of_several_filters_which_says_how(
    files: list[Path], references: ReferenceStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEXUS_ACCOUNT", "team-7")
    told = run(tmp_path, references, *files)
    assert told.status == 0, told.err
    url = tmp_path / "out" / "r00001_p_full_270p65x50y50_cat.parquet"
    back = l4.read_multiband_catalog(str(url))
    assert list(back.metas) == ["F106", "F158"]
    assert back.reference == "F158"
    assert back.own["account"] == "team-7"
    assert [len(each["sha256"]) for each in back.own["inputs"]] == [64, 64]
    assert str(back.table["psf_f106_flux"].unit) == "nJy"
    assert "several filters" in wfi("info", url).out
    segments = tmp_path / "out" / "r00001_p_full_270p65x50y50_segm.asdf"
    assert "several filters" in wfi("info", segments).out
    with datamodels.open(segments) as model:
        assert model.data.max() == len(back.table)


def test_filters_that_lack_and_mosaics_that_do_not_go_together_are_refused(
    files: list[Path], references: ReferenceStore, tmp_path: Path
) -> None:
    blue, red = files
    assert "no mosaic of F129" in run(tmp_path, references, *files, bands="F106,F129,F158").err
    assert "both of F158" in run(tmp_path, references, blue, red, red).err
    assert "--bands takes two" in run(tmp_path, references, *files, bands="F158").err
    assert "--bands takes two" in run(tmp_path, references, *files, bands="F106,H").err
    assert not (tmp_path / "out").exists()


def test_other_grids_and_filters_without_light_are_refused(
    files: list[Path], references: ReferenceStore
) -> None:
    blue, red = (l3.read_mosaic(str(path)) for path in files)
    moved = replace(red, wcsinfo={**red.wcsinfo, "x_ref": 5000.0})
    with pytest.raises(InputError, match=r"F158 lies on other pixels .*x_ref 5000"):
        made_of([blue, moved], references)
    with pytest.raises(InputError, match="two mosaics of F106"):
        made_of([blue, blue], references)
    with pytest.raises(InputError, match="two of them at least"):
        made_of([blue], references)
    empty = replace(red, weight=np.zeros_like(red.weight))
    with pytest.raises(InputError, match="F158 has no pixel with light"):
        made_of([blue, empty], references)


def test_a_cell_without_sources_gives_a_catalogue_of_no_rows(
    references: ReferenceStore, tmp_path: Path
) -> None:
    far = scene.star_table(np.array([RA + 1]), np.array([DEC]), np.array([20.0]))
    far["mag_F106"] = 20.0
    made = made_of(simulated(references, far, size=200), references)
    assert len(made.table) == 0
    l4.write_multiband_catalog(made, str(tmp_path / "none_cat.parquet"))
    assert len(l4.read_multiband_catalog(str(tmp_path / "none_cat.parquet")).table) == 0
    assert not (made.segments is not None and made.segments.any())
