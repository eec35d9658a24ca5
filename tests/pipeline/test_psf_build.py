"""ePSFs from dithered stars: the optics come back, and what an exposure shook; bad input is refused."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import galsim
import galsim.roman
import numpy as np
import pytest
from scipy.optimize import least_squares
from tests.support import mosaic as build
from tests.support import pipeline
from tests.support import simulator as scene

from nexus_pipeline.errors import InputError
from nexus_pipeline.instrument.dq import DQ
from nexus_pipeline.products import l2
from nexus_pipeline.products.model import RateImage
from nexus_pipeline.products.names import ExposureId
from nexus_pipeline.products.tree import OWN_KEY
from nexus_pipeline.psf.grid import PsfGrid, from_reference, from_stamps
from nexus_pipeline.recipes import psf
from nexus_pipeline.recipes.psf_build import build_reference
from nexus_pipeline.references.store import open_or_new
from nexus_pipeline.sky import wcs
from nexus_pipeline.sky.sky_grid import about
from nexus_pipeline.sky.tangent import degrees_of

SEED = 2000
JITTER_ARCSEC = (0.012, 0.012, 0.012, 0.025, 0.012, 0.012)


@cache
def stamp(jitter_arcsec: float) -> np.ndarray:
    """Return a star of one wavelength, shaken, as pixels see it, 15 pixels far."""
    optical = galsim.roman.getPSF(7, "H158", pupil_bin=8, wavelength=1577.0)
    star = galsim.Convolve(optical, galsim.Gaussian(sigma=jitter_arcsec), galsim.Pixel(0.11))
    drawn = star.drawImage(nx=121, ny=121, scale=0.0275, method="no_pixel", dtype=float).array
    return np.asarray(drawn / drawn.sum() * 16, dtype=np.float32)


@cache
def truth(jitter_arcsec: float) -> PsfGrid:
    return from_stamps(stamp(jitter_arcsec)[None], [0.0], [0.0], oversample=4)


def night(
    jitters: tuple[float, ...] = JITTER_ARCSEC, *, pitch: float = 1.9, seed: int = SEED
) -> list[RateImage]:
    """Return dithered, rolled images of stars of S/N 150 to 1,500 some 17 pixels apart, a tenth no stars."""
    rng = np.random.default_rng(seed)
    steps = np.arange(-9, 9.1, pitch)
    places = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
    places += rng.uniform(-0.15, 0.15, places.shape)
    one = about(build.RA, build.DEC, nx=1, ny=1, scale_arcsec=1.0)
    ra, dec = degrees_of(one.directions(places))
    flux, fuzzy = 10 ** rng.uniform(1.5, 3, ra.size), rng.random(ra.size) < 0.1
    images = []
    for pointing, jitter in zip(build.pointings(len(jitters), seed=seed), jitters, strict=True):
        x, y = wcs.to_pixels(wcs.build(build.distortion(), pointing, size=build.SIZE), ra, dec)
        light = np.zeros((build.SIZE, build.SIZE), np.float32)
        for kind, psf_of_kind in ((fuzzy, truth(0.15)), (~fuzzy, truth(jitter))):
            radii = np.full(np.count_nonzero(kind), 14)
            psf_of_kind.add_to(light, x[kind], y[kind], flux[kind], radii=radii)
        rate = light + 0.5
        poisson, reads = rate / np.float32(250), np.full_like(rate, 0.002)
        noisy = rate + rng.normal(0, np.sqrt(poisson + reads)).astype(np.float32)
        images.append(replace(build.image(pointing, noisy), var_poisson=poisson, var_rnoise=reads))
    return images


@cache
def six_images() -> tuple[RateImage, ...]:
    return tuple(night())


def apart(ours: PsfGrid, wanted: PsfGrid, *, free_flux: bool) -> float:
    """Return the largest difference over the peak at nine phases, wherever either has its middle."""
    steps = np.arange(-8.0, 8.01)
    phases = [(dx, dy) for dx in (-0.3, 0.0, 0.3) for dy in (-0.3, 0.0, 0.3)]

    def left(move: np.ndarray) -> np.ndarray:
        rest = []
        for phase in phases:
            x, y = np.meshgrid(steps + phase[0], steps + phase[1])
            flux = move[2] if free_flux else 1.0
            theirs = wanted.values(100, 100, dx=x - move[0], dy=y - move[1])
            rest.append(ours.values(100, 100, dx=x, dy=y) - flux * theirs)
        return np.array(rest).ravel()

    moved = least_squares(left, [0.0, 0.0, 1.0]).x
    # What is the middle of a PSF that is not symmetric is a convention.
    assert np.hypot(moved[0], moved[1]) < 0.03
    return float(np.abs(left(moved)).max() / wanted.values(0, 0, dx=np.zeros(1), dy=np.zeros(1))[0])


def test_the_optics_come_back_and_so_does_an_exposure_s_jitter() -> None:
    made, report = build_reference(six_images())
    mean = truth(float(np.sqrt(np.mean(np.square(JITTER_ARCSEC)))))
    worst = apart(from_reference(made), mean, free_flux=True)
    print(f"{report.n_stars} stars, {report.n_sightings} times: worst {worst:.2%} of the peak")
    print(f"noise moves the peak by {report.built.peak_error:.2%}; jitter {report.built.jitter[3]}")
    # Three standard errors of the peak, of which the worst of all samples has more than its share.
    assert worst < 3 * report.built.peak_error
    assert worst < 0.01
    wider = report.built.jitter - report.built.jitter[:3].mean(axis=0)
    expected = (JITTER_ARCSEC[3] ** 2 - JITTER_ARCSEC[0] ** 2) / 0.11**2
    np.testing.assert_allclose(wider[3], [expected, expected, 0], atol=0.0015)
    np.testing.assert_allclose(wider[[0, 1, 2, 4, 5]], 0, atol=0.0015)
    # Without the jitter term that exposure would not fit.
    assert np.abs(wider[3, :2]).min() > 20 * 0.0015


def test_known_wings_go_on_where_stars_end_and_the_store_takes_it(tmp_path: Path) -> None:
    urls = []
    for k, image in enumerate(night(JITTER_ARCSEC[:4], pitch=2.55)):
        urls.append(tmp_path / f"r0000101001001001001_{k:04d}_wfi07_f158_cal.asdf")
        meta = replace(image.meta, exposure_id=ExposureId(exposure=k + 1), carried={OWN_KEY: {"ipc": False}})
        l2.write_rate_image(replace(image, meta=meta), str(urls[-1]))
    optics = replace(scene.epsf(), psf=np.tile(stamp(0.02), (1, 1, 9, 1, 1)))
    open_or_new(str(tmp_path / "optics")).add([optics])
    store = str(tmp_path / "built")
    told = pipeline.wfi("psf", "build", *urls, "--output", store, "--wings", tmp_path / "optics")
    assert told.status == 0, told.err
    assert len(told.out.splitlines()) == 6
    made, _ = psf.open_library(store).grid("WFI07", "F158", pipeline.START, ipc=False)
    mean = truth(float(np.sqrt(np.mean(np.square(JITTER_ARCSEC[:4])))))
    worst = apart(made, mean, free_flux=False)
    print(f"worst {worst:.2%} of the peak, light and all; {told.out}")
    assert made.radius == 15
    # Shaken by 0.012 to 0.025 arcsec, the optics as given would be off by more.
    assert worst < 0.01 < apart(from_reference(optics), mean, free_flux=False)


SATURATED = np.full((build.SIZE, build.SIZE), DQ.SATURATED | DQ.DO_NOT_USE, np.uint32)


def refused(images: list[RateImage], said: str, **options: int) -> None:
    with pytest.raises(InputError, match=said):
        build_reference(images, **options)  # type: ignore[arg-type]


def test_images_that_tell_too_little_are_refused_with_the_reason() -> None:
    images = list(six_images())
    first = images[0]
    refused(images[:1], "from two dithered images or more")
    refused([first] * 3, "the images are not dithered")
    refused(images, r"too few stars for an ePSF: \d+ of the 225 that this grid needs", n_places=3)
    other = replace(first, meta=replace(first.meta, filter_name="F129"))
    refused([first, other], "these images are of WFI07 F129, WFI07 F158")
    refused([first, replace(first, wcs=None)], "have no world coordinates")
    refused([replace(each, dq=SATURATED) for each in images], "in one image up to 1 saturate and 0 have")
    cores = [replace(each, dq=np.where(each.rate > 20, SATURATED, 0).astype(np.uint32)) for each in images]
    refused(cores, r"up to [5-9]\d saturate")
    refused(night((0.012, 0.012), pitch=0.7), r"too few stars for an ePSF: 0.* and [3-9]\d\d have neighbours")
