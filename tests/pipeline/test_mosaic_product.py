"""L3 products: the mission's names and blocks, noise told by aperture, provenance, and nothing half made."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.support import mosaic as build
from tests.support import pipeline
from tests.support.pipeline import Told, wfi

from nexus_pipeline.instrument.wfi import PIXEL_SCALE_ARCSEC
from nexus_pipeline.products import asdf_file, l2, l3
from nexus_pipeline.recipes import mosaic
from nexus_pipeline.steps import aperture_noise, resample
from nexus_pipeline.steps.resample import Drizzle, Kernel, Sums

SEED = 20270303


def make(association: Path, *options: object) -> Told:
    return wfi("mosaic", association, "--output", association.parent / "out", *options)


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Path:
    association = build.written(tmp_path_factory.mktemp("mosaic"))
    told = make(association)
    assert told.status == 0, told.err
    return association.parent / "out" / f"{build.PRODUCT}_coadd.asdf"


def test_a_mosaic_bears_the_missions_names_and_says_how_it_was_made(product: Path) -> None:
    made = l3.read_mosaic(str(product))
    assert made.data.shape == (400, 400)
    assert made.context.shape == (1, 400, 400)
    assert made.meta.filter_name == "F158"
    assert (made.meta.grouping, made.meta.release) == ("v01001001001001", "p")
    assert made.meta.resample["members"] == [
        f"r0000101001001001001_{i:04d}_wfi07_f158_cal.asdf" for i in (1, 2, 3)
    ]
    assert made.meta.resample["pointings"] == 3
    assert made.wcsinfo["skycell_name"] == "270p65x50y50"
    assert made.wcs(199.5, 199.5) == pytest.approx((build.RA, build.DEC), abs=1e-4)
    table = pipeline.meta().ma_table
    assert made.meta.max_exposure_time_s == pytest.approx(3 * table.exposure_time_s, rel=0.01)
    assert (made.meta.last - made.meta.first).total_seconds() == pytest.approx(
        table.exposure_time_s, abs=0.01
    )
    with asdf_file.opened(str(product), expected="WfiMosaic") as node:
        assert set(node["meta"]["cal_step"].values()) == {"COMPLETE"}
        assert node["meta"]["product_type"] == "p_visit_coadd"
        assert node["meta"]["association"]["name"] == f"{build.PRODUCT}_asn.json"
        tables = node["meta"]["individual_image_meta"]
        assert list(tables["exposure"]["exposure_time"]) == [pytest.approx(table.exposure_time_s)] * 3
        assert set(tables["basic"]["telescope"]) == {"ROMAN"}
    own = made.meta.own
    assert [step["name"] for step in own["steps"]] == [step.name for step in mosaic.STEPS]
    assert own["steps"][2]["parameters"]["sigma"] == 5.0
    assert [len(each["sha256"]) for each in own["inputs"]] == [64] * 3
    assert own["pixel_map_error"] < 1e-3
    np.testing.assert_allclose(np.array(own["sky_levels"])[:, 0], [0, 0.05, 0.1], atol=3e-3)
    assert made.outliers is not None
    assert made.outliers.shape[1] == 3
    assert set(made.outliers[:, 0]) == {0, 1, 2}
    assert "L3 mosaic" in wfi("info", product).out


def test_what_is_there_of_the_same_images_and_parameters_is_not_made_again(tmp_path: Path) -> None:
    association = build.written(tmp_path, 2)
    assert "pixels rejected" in make(association).out
    product = tmp_path / "out" / f"{build.PRODUCT}_coadd.asdf"
    first = product.stat().st_mtime_ns
    assert "there already" in make(association).out
    assert product.stat().st_mtime_ns == first
    changed = tmp_path / "other.toml"
    changed.write_text("[resample]\npixfrac = 0.8\n")
    told = make(association, "--parameters", changed)
    assert "pixels rejected" in told.out, told.err
    assert l3.read_mosaic(str(product)).meta.resample["pixfrac"] == 0.8
    image = next(tmp_path.glob("*_cal.asdf"))
    l2.write_rate_image(l2.read_rate_image(str(image)), str(image))
    assert "pixels rejected" in make(association, "--parameters", changed).out
    assert "pixels rejected" in make(association, "--parameters", changed, "--again").out
    # A file that a crash of something else left half is no product: it gives way.
    product.write_bytes(product.read_bytes()[:2000])
    assert "pixels rejected" in make(association, "--parameters", changed).out
    assert l3.read_mosaic(str(product)).data.shape == (400, 400)


def test_refusals_name_what_is_wrong_and_leave_nothing(tmp_path: Path) -> None:
    association = build.written(tmp_path, 2)
    images = sorted(tmp_path.glob("*_cal.asdf"))
    content = json.loads(association.read_text())
    members = content["products"][0]["members"]

    def refused(changed: dict[str, object], *options: object) -> str:
        association.write_text(json.dumps(changed))
        told = make(association, *options)
        assert told.status == 2
        assert not (tmp_path / "out").exists()
        return told.err

    def with_members(names_: list[object]) -> dict[str, object]:
        return {**content, "products": [{"name": build.PRODUCT, "members": names_}]}

    absent = {"expname": "r0000101001001001001_0009_wfi07_f158_cal.asdf", "exptype": "science"}
    assert f"has no {absent['expname']}" in refused(with_members([*members, absent]))
    assert "members twice" in refused(with_members([*members, members[0]]))
    assert "skycell makes no sense" in refused({**content, "skycell_wcs_info": {"name": "x"}})
    assert "--scale must be" in refused(content, "--scale", 0)
    far = {**build.skycell(), "ra_projection_center": 10.0}
    assert "far from the mosaic's" in refused({**content, "skycell_wcs_info": far})
    beside = {**build.skycell(), "x0_projection": 5000.0}
    assert "touches no pixel of skycell 270p65x50y50" in refused({**content, "skycell_wcs_info": beside})
    images[1].write_bytes(images[1].read_bytes()[:3000])
    assert images[1].name in refused(content)
    assert not list(tmp_path.glob("**/*.part"))


def test_without_a_skycell_the_mosaic_holds_all_images(tmp_path: Path) -> None:
    association = build.written(tmp_path, 2, skycell={})
    told = make(association, "--scale", 0.11)
    assert told.status == 0, told.err
    made = l3.read_mosaic(str(tmp_path / "out" / f"{build.PRODUCT}_coadd.asdf"))
    assert made.wcsinfo["skycell_name"] == "None"
    # 200 pixels across, dithers and any roll.
    assert 200 <= min(made.data.shape) <= max(made.data.shape) <= 320
    area = (made.weight > 0).sum() * made.wcsinfo["pixel_scale_ref"] ** 2 * 3600**2
    assert area > (build.SIZE * PIXEL_SCALE_ARCSEC) ** 2
    assert not (made.weight[0] > 0).all()


def window_about(centre: np.ndarray, plane: np.ndarray) -> np.ndarray:
    x, y = (round(at) for at in centre)
    return plane[y - 20 : y + 21, x - 20 : x + 21]


def apertures(centre: np.ndarray, scale_arcsec: float) -> np.ndarray:
    """Return the shares (radii, 41, 41) of the pixels about ``centre`` that lie in the apertures there."""
    fine = (np.arange(41 * 9) - 184) / 9
    x, y = centre - np.round(centre)
    square = (fine[None, :] - x) ** 2 + (fine[:, None] - y) ** 2
    shares = [square < (radius / scale_arcsec) ** 2 for radius in aperture_noise.RADII_ARCSEC]
    return np.array([each.reshape(41, 9, 41, 9).mean(axis=(1, 3)) for each in shares])


@pytest.mark.parametrize("drizzle", [Drizzle(), Drizzle(Kernel.TURBO, 0.7)])
def test_noise_in_blank_apertures_is_what_is_predicted_at_every_radius(drizzle: Drizzle) -> None:
    grid, trials = build.grid(nx=290), 40
    rng = np.random.default_rng(SEED)
    pieces = [build.piece(build.image(pointing), grid) for pointing in build.pointings(4, seed=SEED)]
    step = 2.2 / grid.scale_arcsec
    centres = np.array([(x, y) for y in np.arange(25, 270, step) for x in np.arange(25, 270, step)])
    centres += rng.uniform(-0.5, 0.5, centres.shape)
    inside = [(centre, apertures(centre, grid.scale_arcsec)) for centre in centres]
    found, predicted = [], None
    for _ in range(trials):
        sums, typical = Sums(grid, len(pieces)), []
        for piece in pieces:
            sigma = np.sqrt(piece.var_rnoise + piece.var_poisson)
            noisy = replace(piece, data=rng.normal(0, sigma).astype(np.float32))
            resample.add(sums, noisy, drizzle)
            typical.append(aperture_noise.typical(noisy, drizzle))
        coadd = resample.finish(sums)
        if predicted is None:
            places = [piece.place for piece in pieces]
            predicted = aperture_noise.predicted(grid, coadd, places, typical, drizzle)
        found.append(
            [(masks * window_about(centre, coadd.data)).sum(axis=(1, 2)) for centre, masks in inside]
        )
    assert predicted is not None
    seen = np.isfinite(found).all(axis=(0, 2))
    sums_njy = np.array(found)[:, seen].transpose(2, 0, 1) * grid.pixel_areas_sr(grid.centre)[0] * 1e15
    n = sums_njy[0].size
    assert n > 1500
    for radius, told, correlation, each in zip(
        predicted.radius_arcsec, predicted.noise_njy, predicted.correlation, sums_njy, strict=True
    ):
        ratio = each.std() / told
        print(f"{radius}: {told:.4f} nJy, {correlation:.3f} × uncorrelated; found {ratio:.3f} of it")
        # Three standard errors of n independent sums; those of 1 arcsec share a tenth of their pixels.
        assert ratio == pytest.approx(1, abs=max(0.05, 3.3 / np.sqrt(2 * n)))
    # Neighbours share drops, so they rise and fall together: the more, the larger the aperture.
    assert predicted.correlation[0] > 1.1
    assert predicted.correlation[-1] > predicted.correlation[0]
