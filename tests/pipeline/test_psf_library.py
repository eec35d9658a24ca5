"""The PSF library: a PSF anywhere, at any sampling, and nothing where it does not hold."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asdf
import numpy as np
import pytest
from astropy.io import fits
from tests.support import pipeline as build
from tests.support import simulator as scene

from nexus_pipeline.errors import InputError, MismatchedReferenceError, MissingReferenceError
from nexus_pipeline.instrument.wfi import N_ACTIVE
from nexus_pipeline.recipes import psf
from nexus_pipeline.references import kinds
from nexus_pipeline.references.store import open_or_new

KERNEL = np.outer([0.1, 0.8, 0.1], [0.1, 0.8, 0.1]).astype(np.float32)
LATER = datetime(2028, 1, 1, tzinfo=UTC)
LAST = N_ACTIVE - 1.0
WHERE: dict[str, Any] = {"filter_name": build.FILTER, "date": build.START, "ipc": False}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> psf.Library:
    """Return Gaussians that grow by a half along x, twice as wide in red stars, and wider from 2028 on."""
    url = str(tmp_path_factory.mktemp("psfs"))
    white = scene.epsf(growth=0.5, active=N_ACTIVE)
    red = scene.epsf(growth=0.5, active=N_ACTIVE, sigma=2 * scene.SIGMA)
    both = replace(
        white,
        psf=np.concatenate([white.psf, red.psf], axis=1),
        spectral_types=("G2V", "M5V"),
        useafter=datetime(2027, 1, 1, tzinfo=UTC),
    )
    late = replace(scene.epsf(sigma=1.1 * scene.SIGMA, active=N_ACTIVE), useafter=LATER)
    ipc = kinds.IpcReference(detector=build.DETECTOR, kernel=KERNEL)
    open_or_new(url).add([both, late, ipc])
    return psf.open_library(url)


def width(stamp: psf.Stamp) -> float:
    """Return the standard deviation along x, pixels, without that of the detector's pixel."""
    axis = (np.arange(stamp.values.shape[1]) - stamp.values.shape[1] // 2) / stamp.sampling
    profile = stamp.values.sum(axis=0) / stamp.values.sum()
    return float(np.sqrt((profile * axis**2).sum() - (profile * axis).sum() ** 2 - 1 / 12))


@pytest.mark.parametrize("sampling", [1.0, 2.5, 4.0, 7.0])
def test_each_sample_is_what_a_whole_pixel_there_collects(library: psf.Library, sampling: float) -> None:
    made = psf.at(library, build.DETECTOR, 0, 100, sampling=sampling, radius=12, offset=(0.2, -0.3), **WHERE)
    steps = np.arange(-12, 13) / sampling
    exact = scene.gaussian_fraction(*np.meshgrid(steps - 0.2, steps + 0.3))
    # Cubic splines between quarter pixels.
    np.testing.assert_allclose(made.values, exact, atol=3e-4 * exact.max())
    assert made.includes == ("pixel",)
    assert made.files["epsf"].startswith("nexus_wfi07_f158_epsf")


def test_between_places_colours_and_dates_it_is_what_the_store_has(library: psf.Library) -> None:
    left, middle, right = (
        psf.at(library, build.DETECTOR, x, 1000, sampling=4, **WHERE) for x in (0, LAST / 4, LAST / 2)
    )
    np.testing.assert_allclose(middle.values, (left.values + right.values) / 2, atol=1e-6)
    assert width(left) == pytest.approx(scene.SIGMA, rel=1e-3)
    assert width(right) == pytest.approx(1.25 * scene.SIGMA, rel=1e-3)
    red = psf.at(library, build.DETECTOR, 0, 1000, sampling=4, spectral_type="M5V", **WHERE)
    assert width(red) == pytest.approx(2 * scene.SIGMA, rel=2e-3)
    late = psf.at(library, build.DETECTOR, 0, 1000, sampling=4, **{**WHERE, "date": LATER})
    assert width(late) == pytest.approx(1.1 * scene.SIGMA, rel=1e-3)
    assert [rule.useafter.year for rule in library.entries(detector=build.DETECTOR)] == [2027, 2028]
    assert not list(library.entries(filter_name="F062"))


def test_pixels_that_couple_show_their_neighbours_light(library: psf.Library) -> None:
    coupled = psf.at(library, build.DETECTOR, 0, 0, sampling=4, **{**WHERE, "ipc": True})
    assert "ipc" in coupled.includes
    # 0.1, 0.8, 0.1 have a variance of 0.2 pixels².
    assert width(coupled) ** 2 == pytest.approx(scene.SIGMA**2 + 0.2, rel=2e-3)


def test_what_was_read_is_kept(library: psf.Library) -> None:
    first, _ = library.grid(build.DETECTOR, build.FILTER, datetime(2027, 5, 1, tzinfo=UTC), ipc=False)
    again, _ = library.grid(build.DETECTOR, build.FILTER, datetime(2027, 6, 1, tzinfo=UTC), ipc=False)
    assert first is again


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"x": -0.6}, InputError, "lies off the detector: its pixels go from 0 to 4087"),
        ({"y": float("nan")}, InputError, "lies off the detector"),
        ({"detector": "WFI19"}, InputError, "no detector with a PSF is called 'WFI19'"),
        ({"detector": "WFI01"}, MissingReferenceError, "no epsf reference for WFI01 F158"),
        ({"filter_name": "F062"}, MissingReferenceError, "no epsf reference for WFI07 F062"),
        ({"filter_name": "GRISM"}, InputError, "no filter with a PSF is called 'GRISM'"),
        ({"date": datetime(2026, 5, 1, tzinfo=UTC)}, MissingReferenceError, "the first begins on 2027-01-01"),
        ({"date": datetime(2027, 5, 1)}, InputError, "has no time zone"),  # noqa: DTZ001
        ({"spectral_type": "K0V"}, MismatchedReferenceError, "no spectral type K0V"),
        ({"sampling": 0.0}, InputError, "cannot have 0.0 samples a pixel"),
        ({"radius": 90}, InputError, "has 15 samples about it, not 90"),
    ],
)
def test_where_it_does_not_hold_it_says_so(
    library: psf.Library, changes: dict[str, Any], error: type[Exception], said: str
) -> None:
    asked = {"detector": build.DETECTOR, "x": 0.0, "y": 0.0, **WHERE, **changes}
    with pytest.raises(error, match=said):
        psf.at(library, asked.pop("detector"), asked.pop("x"), asked.pop("y"), **asked)


def test_wfi_psf_lists_what_there_is_and_writes_stamps(library: psf.Library, tmp_path: Path) -> None:
    url = library.store.url
    told = build.wfi("psf", "list", "--references", url)
    assert [line.split()[:3] for line in told.out.splitlines()] == [
        ["WFI07", "F158", "2027-01-01"],
        ["WFI07", "F158", "2028-01-01"],
    ]
    where = ("WFI07", 100, 200, "--references", url, "--date", "2027-03-01", "--sampling", 2, "--no-ipc")
    wanted = psf.at(library, build.DETECTOR, 100, 200, sampling=2, **WHERE)
    for name in ("star.fits", "star.asdf"):
        told = build.wfi("psf", "at", *where, "--output", tmp_path / name)
        assert told.status == 0, told.err
        assert "² samples, 2 a pixel, 100.00% of the light" in told.out
    with fits.open(tmp_path / "star.fits") as hdus:
        np.testing.assert_array_equal(hdus[0].data, wanted.values)
        assert (hdus[0].header["DETECTOR"], hdus[0].header["SAMPLING"]) == ("WFI07", 2.0)
    with asdf.open(tmp_path / "star.asdf") as file:
        np.testing.assert_array_equal(file["psf"]["values"], wanted.values)
        assert (file["psf"]["kind"], file["psf"]["includes"]) == ("effective", "pixel")
    refused = build.wfi("psf", "at", *where, "--output", tmp_path / "star.png")
    assert (refused.status, refused.err) == (
        2,
        f"wfi: {tmp_path}/star.png: a stamp is written as .fits or .asdf\n",
    )
