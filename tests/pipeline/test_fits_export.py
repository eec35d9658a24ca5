"""FITS of L2 and L3: planes and coordinates for astropy, the whole tree for a reader of ASDF in FITS."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from tests.support import mosaic as build
from tests.support import readers
from tests.support.pipeline import wfi

from nexus_pipeline.products import l2, l3


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return an image and a mosaic as FITS; the products lie beside them."""
    association = build.written(tmp_path_factory.mktemp("fits"), 2)
    assert wfi("mosaic", association, "--output", association.parent).status == 0
    image = sorted(association.parent.glob("*_cal.asdf"))[0]
    mosaic = association.parent / f"{build.PRODUCT}_coadd.asdf"
    told = wfi("export", "--fits", image, mosaic)
    assert told.status == 0, told.err
    made = {"image": image.with_suffix(".fits"), "mosaic": mosaic.with_suffix(".fits")}
    assert told.out.split() == [str(path) for path in made.values()]
    return made


def test_astropy_opens_a_mosaic_with_its_planes_and_its_exact_wcs(exported: dict[str, Path]) -> None:
    product = l3.read_mosaic(str(exported["mosaic"].with_suffix(".asdf")))
    with fits.open(exported["mosaic"]) as file:
        file.verify("exception")
        np.testing.assert_array_equal(file["DATA"].data, product.data)
        np.testing.assert_array_equal(file["CONTEXT"].data, product.context)
        np.testing.assert_array_equal(file["VAR_RNOISE"].data, product.var_rnoise)
        assert file["CONTEXT"].data.dtype == np.uint32
        assert file["DATA"].header["BUNIT"] == "MJy/sr"
        assert file["VAR_RNOISE"].header["BUNIT"] == "(MJy/sr)2"
        assert file[0].header["FILTER"] == "F158"
        x, y = np.array([0.0, 399.0, 17.3]), np.array([0.0, 250.0, 399.0])
        there = WCS(file["DATA"].header).pixel_to_world_values(x, y)
        np.testing.assert_allclose(there, product.wcs(x, y), rtol=0, atol=1e-10)


def test_astropy_opens_an_image_whose_sip_is_right_to_a_hundredth_of_a_pixel(
    exported: dict[str, Path],
) -> None:
    product = l2.read_rate_image(str(exported["image"].with_suffix(".asdf")))
    with fits.open(exported["image"]) as file:
        file.verify("exception")
        np.testing.assert_array_equal(file["DATA"].data, product.rate)
        np.testing.assert_array_equal(file["DQ"].data, product.dq)
        assert file["ERR"].data.dtype == np.dtype(">f4")
        assert file[0].header["DETECTOR"] == "WFI07"
        x, y = np.random.default_rng(1).uniform(0, build.SIZE - 1, (2, 100))
        ra, dec = WCS(file["DATA"].header).all_pix2world(x, y, 0)
        back = product.wcs.backward_transform(ra, dec)
        assert np.hypot(back[0] - x, back[1] - y).max() < 0.01


def test_a_reader_of_asdf_in_fits_finds_the_whole_tree(exported: dict[str, Path]) -> None:
    told = readers.trees_in_fits(exported.values())
    mosaic, image = told[str(exported["mosaic"])], told[str(exported["image"])]
    product = l3.read_mosaic(str(exported["mosaic"].with_suffix(".asdf")))
    assert mosaic["sums"]["data"] == pytest.approx(np.nansum(product.data, dtype=np.float64))
    assert mosaic["sums"]["context"] == product.context.sum(dtype=np.float64)
    assert mosaic["shapes"]["outlier_indices"] == list(product.outliers.shape)  # type: ignore[union-attr]
    assert mosaic["place"] == pytest.approx(product.wcs(10.0, 20.0), abs=1e-10)
    assert mosaic["own"]["fingerprint"] == product.meta.own["fingerprint"]
    rate = l2.read_rate_image(str(exported["image"].with_suffix(".asdf")))
    assert image["sums"]["data"] == pytest.approx(rate.rate.sum(dtype=np.float64))
    assert image["sums"]["err"] == pytest.approx(rate.err.sum(dtype=np.float64))
    assert image["place"] == pytest.approx(rate.wcs(10.0, 20.0), abs=1e-9)
    assert image["filter"] == "F158"


def test_what_fits_is_not_for_is_refused(exported: dict[str, Path], tmp_path: Path) -> None:
    none = wfi("export", exported["mosaic"].with_suffix(".asdf"))
    assert none.status == 2
    assert "say --fits" in none.err
    skymap = tmp_path / "skymap.asdf"
    assert wfi("skymap", skymap, "--around", 270, 66, 0.1).status == 0
    told = wfi("export", "--fits", skymap)
    assert told.status == 2
    assert "L2 images and L3 mosaics go into FITS" in told.err
    absent = wfi("export", "--fits", tmp_path / "none.asdf")
    assert "no such file" in absent.err
    assert not list(tmp_path.glob("*.fits"))
