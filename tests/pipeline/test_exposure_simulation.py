"""One pointing, one catalogue, many detectors: each gets its own ramp of its own part of the sky."""

import pickle
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from tests.support import pipeline as build
from tests.support import simulator as scene

from nexus_pipeline.errors import InputError
from nexus_pipeline.instrument.ma_table import SHORT_IMAGING
from nexus_pipeline.instrument.wfi import DETECTORS, V2_CENTRE_ARCSEC, V3_CENTRE_ARCSEC
from nexus_pipeline.products import l1, l2
from nexus_pipeline.products.model import Pointing
from nexus_pipeline.products.names import ExposureId
from nexus_pipeline.references.make import make_references
from nexus_pipeline.references.store import open_store
from nexus_pipeline.scale import simulation
from nexus_pipeline.scale.simulation import seed_of
from nexus_pipeline.simulate import catalog, exposure
from nexus_pipeline.simulate.attitude import PointingError, true_pointing
from nexus_pipeline.simulate.detector import darks
from nexus_pipeline.simulate.field import make_field
from nexus_pipeline.simulate.gaia import reference_stars
from nexus_pipeline.sky import distortion
from nexus_pipeline.sky.layout import placement
from nexus_pipeline.sky.star_table import at_epoch, read_star_table
from nexus_pipeline.sky.tangent import directions_of, plane_about

POINTING = Pointing(ra_deg=150.0, dec_deg=2.0, roll_deg=25.0)
NAME = "r0000101001001001001_0001_{}_f158_uncal.asdf"
# A 256² detector is 27 arcsec wide: 30 stars fall on each if the field is dense.
RADIUS_DEG, PER_ARCMIN2 = 0.005, 150.0


def centre(detector: str) -> tuple[float, float]:
    """Return where the middle of ``detector`` looks, by the small angles of the focal plane alone."""
    place, roll = placement(detector), np.deg2rad(POINTING.roll_deg)
    v2, v3 = place.v2_arcsec - V2_CENTRE_ARCSEC, place.v3_arcsec - V3_CENTRE_ARCSEC
    east, north = v2 * np.cos(roll) + v3 * np.sin(roll), -v2 * np.sin(roll) + v3 * np.cos(roll)
    dec = POINTING.dec_deg + north / 3600
    return POINTING.ra_deg + east / 3600 / np.cos(np.deg2rad(dec)), dec


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with references of two small detectors and stars about the middle of each."""
    path = tmp_path_factory.mktemp("exposure")
    detectors = ["WFI07", "WFI12"]
    store = make_references(
        str(path / "references"),
        distortion.geometry,
        darks,
        detectors=detectors,
        filter_names=[build.FILTER],
        n_pixels=build.SMALL,
    )
    store.add([replace(scene.epsf(), detector=name) for name in detectors])
    rng = np.random.default_rng(3)
    n = round(np.pi * (60 * RADIUS_DEG) ** 2 * PER_ARCMIN2)
    fields = [
        make_field(*centre(name), n_stars=n, n_galaxies=3, rng=rng, radius_deg=RADIUS_DEG)
        for name in detectors
    ]
    merged = {name: np.concatenate([field[name] for field in fields]) for name in fields[0].colnames}
    catalog.write_table(catalog.Table(merged), str(path / "sources.parquet"))
    return path


def simulate(folder: Path, output: str, *more: object, detectors: str = "WFI07,WFI12") -> build.Told:
    places = ("--references", folder / "references", "--output", folder / output)
    aim = ("--ra", POINTING.ra_deg, "--dec", POINTING.dec_deg, "--roll", POINTING.roll_deg)
    which = ("--detectors", detectors, "--ma-table", 3, "--seed", 5)
    return build.wfi("simulate", folder / "sources.parquet", *places, *which, *aim, *more)


@pytest.fixture(scope="module")
def made(folder: Path) -> Path:
    told = simulate(folder, "out", "--jobs", 1)
    assert told.status == 0, told.err
    return folder / "out"


def test_each_detector_sees_its_own_part_of_one_sky_and_calibrate_takes_them_as_one_exposure(
    folder: Path, made: Path
) -> None:
    names = sorted(path.name for path in made.glob("*_uncal.asdf"))
    assert names == [NAME.format(name) for name in ("wfi07", "wfi12")]
    told = build.wfi(
        "calibrate", made / NAME[:25], "-r", folder / "references", "-o", folder / "l2", "--jobs", 1
    )
    assert told.status == 0, told.err
    rows = []
    for detector in ("WFI07", "WFI12"):
        image = l2.read_rate_image(str(folder / "l2" / NAME.format(detector.lower()).replace("uncal", "cal")))
        truth = exposure.read_truth(
            str(made / NAME.format(detector.lower()).replace("uncal.asdf", "truth.ecsv"))
        )
        rows.append(set(truth["catalog_row"].tolist()))
        assert image.meta.pointing == POINTING
        x, y = image.wcs.backward_transform(np.asarray(truth["ra"]), np.asarray(truth["dec"]))
        assert np.allclose([x, y], [truth["x"], truth["y"]], rtol=0, atol=1e-3)
        # A pixel below each bright star is brighter than the sky: the light is where the image says.
        bright = truth[
            (truth["flux_dn_s"] > 30) & (np.abs(truth["x"] - 124) < 118) & (np.abs(truth["y"] - 124) < 118)
        ]
        assert len(bright) >= 3
        light = image.rate[np.rint(bright["y"]).astype(int), np.rint(bright["x"]).astype(int)]
        assert np.all(light > 4 * np.nanmedian(image.rate))
        east, north = plane_about(directions_of(*(np.array([at]) for at in centre(detector)))).project(
            directions_of(*(np.array([float(at)]) for at in image.wcs(123.5, 123.5)))
        )[0]
        # Small angles over half a degree leave 2 arcsec.
        assert abs(east) + abs(north) < 3
    assert not rows[0] & rows[1]


def test_a_ramp_is_the_same_alone_and_beside_others(folder: Path, made: Path) -> None:
    assert simulate(folder, "alone", detectors="WFI12").status == 0
    first, alone = (l1.read_ramp(str(at / NAME.format("wfi12"))).data for at in (made, folder / "alone"))
    np.testing.assert_array_equal(first, alone)
    assert len({seed_of(5, name) for name in DETECTORS}) == 18


def test_what_a_worker_is_given_reaches_another_process(folder: Path, tmp_path: Path) -> None:
    # Processes that simulate take seconds to start; ``workers`` has its own tests.
    plan = simulation.Plan(
        sources=catalog.read_sources(str(folder / "sources.parquet"), build.FILTER),
        references=open_store(str(folder / "references")),
        filter_name=build.FILTER,
        pointing=POINTING,
        start_time=build.START,
        ma_table=SHORT_IMAGING,
        exposure_id=ExposureId(),
        effects=exposure.Effects(),
    )
    (task,) = simulation.tasks(["WFI03"], plan, str(tmp_path), seed=1)
    sent = pickle.loads(pickle.dumps(partial(simulation.attempt, plan=plan, threads=1)))  # noqa: S301 - our own
    outcome = pickle.loads(pickle.dumps(sent(task)))  # noqa: S301 - our own
    assert outcome.task == task
    assert "WFI03" in str(outcome.error)


def test_a_detector_that_cannot_be_made_stops_no_other(folder: Path) -> None:
    told = simulate(folder, "some", "--jobs", 1, detectors="WFI03,WFI07")
    assert told.status == 2
    assert "wfi: WFI03: " in told.err
    assert "no distortion reference for WFI03" in told.err
    assert told.err.endswith("wfi: 1 of 2 detectors failed\n")
    assert [path.name for path in (folder / "some").glob("*.asdf")] == [NAME.format("wfi07")]


def test_a_detector_that_sees_no_source_has_a_ramp_of_sky(folder: Path) -> None:
    told = simulate(
        folder, "sky", "--jobs", 1, "--level", 2, "--exposure", 2, "--ra", 20.0, detectors="WFI07"
    )
    assert told.status == 0, told.err
    assert "  0 sources in" in told.out


@pytest.mark.parametrize("detectors", ["WFI19", "", "WFI07,WFI07", "every"])
def test_strange_lists_of_detectors_are_refused(folder: Path, detectors: str) -> None:
    told = simulate(folder, "nothing", detectors=detectors)
    assert told.status == 2
    assert "--detectors takes all or a list like WFI01,WFI02" in told.err


def test_the_sky_can_be_drawn_elsewhere_than_the_metadata_say(folder: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "astray.toml"
    wrong.write_text("[pointing_error]\neast_arcsec = 0.6\nnorth_arcsec = -0.8\n")
    assert simulate(folder, "astray", "--parameters", wrong, detectors="WFI12").status == 0
    ramp = str(folder / "astray" / NAME.format("wfi12"))
    assert l1.read_meta(ramp).pointing == POINTING
    moved, still = (
        exposure.read_truth(exposure.truth_url(str(folder / at / NAME.format("wfi12"))))
        for at in ("astray", "out")
    )
    both = np.intersect1d(moved["catalog_row"], still["catalog_row"])
    assert len(both) > 20
    x, y = (
        moved[name][np.isin(moved["catalog_row"], both)] - still[name][np.isin(still["catalog_row"], both)]
        for name in "xy"
    )
    assert np.hypot(x, y) * 0.11 == pytest.approx(1.0, abs=0.03)


def test_an_attitude_error_is_what_it_says_and_each_detector_s_own_its_seed_s() -> None:
    assert true_pointing(POINTING, PointingError(), seed=1) is POINTING
    error = PointingError(east_arcsec=0.6, north_arcsec=0.8, roll_arcsec=20.0)
    true = true_pointing(POINTING, error, seed=1)
    assert true.roll_deg - POINTING.roll_deg == pytest.approx(20 / 3600)
    assert (true.dec_deg - POINTING.dec_deg) * 3600 == pytest.approx(0.8, abs=1e-6)
    assert (true.ra_deg - POINTING.ra_deg) * 3600 * np.cos(np.deg2rad(2)) == pytest.approx(0.6, abs=1e-4)
    jitter = [
        true_pointing(POINTING, PointingError(jitter_mas=20.0), seed=seed).dec_deg for seed in range(200)
    ]
    # 200 numbers tell an rms to 5 %.
    assert np.std(jitter) * 3.6e6 == pytest.approx(20, rel=0.15)


def test_reference_stars_are_seen_where_the_catalogue_has_them_when_the_exposure_is(tmp_path: Path) -> None:
    rng, when = np.random.default_rng(8), datetime(2027, 6, 1, tzinfo=UTC)
    table = make_field(80.0, -70.0, n_stars=3000, n_galaxies=50, rng=rng, radius_deg=0.4)
    made = reference_stars(table, "F158", when, rng=rng)
    bright = table[(table["type"] == "PSF") & (table["mag_F158"] <= 20.5)]
    assert len(made) == len(bright) > 300
    catalog.write_table(made, str(tmp_path / "gaia.parquet"))
    seen = at_epoch(read_star_table(str(tmp_path / "gaia.parquet")), when)
    wanted = directions_of(np.asarray(bright["ra"]), np.asarray(bright["dec"]))
    plane = plane_about(wanted)
    off = plane.project(seen.directions) - plane.project(wanted)
    pulls = off / seen.error_arcsec[:, None]
    # 600 numbers and more: a width to 3 %; the parallax's own error counts a little beside them.
    assert np.std(pulls) == pytest.approx(1, abs=0.1)
    then = plane.project(directions_of(np.asarray(made["ra"]), np.asarray(made["dec"]))) - plane.project(
        wanted
    )
    # 5 mas a year for 11.4 years.
    assert np.std(then) == pytest.approx(0.057, rel=0.1)


def test_a_field_of_a_density_is_made_on_the_command_line(tmp_path: Path) -> None:
    sources, gaia = tmp_path / "field.parquet", tmp_path / "gaia.parquet"
    command = (
        "make-field",
        sources,
        "--ra",
        359.99,
        "--dec",
        88.0,
        "--radius",
        0.1,
        "--stars",
        4,
        "--galaxies",
        8,
    )
    told = build.wfi(*command, "--gaia", gaia)
    assert told.status == 0, told.err
    table = catalog.read_table(str(sources))
    # 113.1 square arcmin.
    assert [int((table["type"] == kind).sum()) for kind in ("PSF", "SER")] == [452, 905]
    plane = plane_about(directions_of(np.array([359.99]), np.array([88.0])))
    at = plane.project(directions_of(np.asarray(table["ra"]), np.asarray(table["dec"]))) / 3600
    inner = np.hypot(*at.T) < 0.05
    assert np.hypot(*at.T).max() < 0.1001
    # A quarter of the area, ± 1.2 % of 1357.
    assert inner.mean() == pytest.approx(0.25, abs=0.04)
    assert 30 < len(read_star_table(str(gaia))) < 150
    before = sources.read_bytes()
    build.wfi(*command)
    assert sources.read_bytes() == before


def test_reference_stars_need_magnitudes() -> None:
    table = make_field(80.0, -70.0, n_stars=3, n_galaxies=0, rng=np.random.default_rng(1))
    with pytest.raises(InputError, match="no column mag_F062"):
        reference_stars(table, "F062", datetime(2027, 6, 1, tzinfo=UTC), rng=np.random.default_rng(1))
