"""Drizzling: what it conserves, what it weighs by, and that it is what the ``drizzle`` package does."""

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.support import mosaic as build
from tests.support.romanisim_ramp import cache_folder, locked, peer_python

from nexus_pipeline.errors import InputError
from nexus_pipeline.instrument.dq import DQ
from nexus_pipeline.sky import sky_grid
from nexus_pipeline.sky.pixel_map import MOST_ERROR_PIXELS, cropped, pixel_map
from nexus_pipeline.sky.skymap import Skymap
from nexus_pipeline.sky.tangent import degrees_of, directions_of
from nexus_pipeline.sky.tessellation import regions_near, skymap
from nexus_pipeline.steps import resample
from nexus_pipeline.steps.flux import Piece
from nexus_pipeline.steps.resample import Coadd, Drizzle, Kernel, Sums, Weighting

SEED = 20270301
ORACLE = Path(build.__file__).with_name("oracle_drizzle.py")


def coadd(pieces: list[Piece], grid: sky_grid.SkyGrid, drizzle: Drizzle | None = None) -> Coadd:
    sums = Sums(grid, len(pieces))
    for piece in pieces:
        resample.add(sums, piece, drizzle or Drizzle())
    return resample.finish(sums)


def stars_near(rng: np.random.Generator, n: int, ra: float, dec: float) -> tuple[np.ndarray, np.ndarray]:
    """Return places at most 4 arcsec from (ra, dec) in both directions: on every dither and roll."""
    one = sky_grid.about(ra, dec, nx=1, ny=1, scale_arcsec=1.0)
    return degrees_of(one.directions(rng.uniform(-4, 4, (n, 2))))


@pytest.mark.parametrize(
    ("place", "scale"), [((270.0, 66.0), 0.11), ((0.0, 0.3), 0.055), ((10.0, 89.9995), 0.055)]
)
def test_a_stars_surface_brightness_times_pixel_area_is_its_flux(
    place: tuple[float, float], scale: float
) -> None:
    rng = np.random.default_rng(SEED)
    ra, dec = stars_near(rng, 1, *place)
    flux_mjy = np.array([3e-12])
    grid = build.grid(nx=round(26 / scale), scale_arcsec=scale, ra=place[0], dec=place[1])
    pieces = []
    for pointing in build.pointings(4, seed=SEED, ra=place[0], dec=place[1]):
        light = build.starlight(pointing, ra, dec, flux_mjy)
        pieces.append(build.piece(build.image(pointing, light), grid))
    made = coadd(pieces, grid)
    y, x = np.indices(made.data.shape)
    (at,) = grid.pixels(directions_of(ra, dec))
    # 2.2 arcsec are 25 of the star's sigmas; that far all four images reach.
    near = np.hypot(x - at[0], y - at[1]) < 2.2 / scale
    assert (made.context[0][near] == 0b1111).all()
    areas = grid.pixel_areas_sr(np.column_stack([x[near], y[near]]))
    found = (made.data[near].astype(np.float64) * areas).sum()
    print(f"flux / truth - 1: {found / flux_mjy[0] - 1:+.1e}")
    assert found == pytest.approx(flux_mjy[0], rel=1e-4)


def test_an_even_sky_stays_even_and_its_time_and_context_say_who_saw_it() -> None:
    grid = build.grid()
    pieces = [build.piece(build.image(pointing), grid) for pointing in build.pointings(40, seed=SEED)]
    made = coadd(pieces, grid)
    seen = made.weight > 0
    np.testing.assert_allclose(made.data[seen], build.CONVERSION, rtol=1e-5)
    assert np.isnan(made.data[~seen]).all()
    assert made.context.shape == (2, *made.data.shape)
    middle = tuple(n // 2 for n in made.data.shape)
    assert [int(plane[middle]).bit_count() for plane in made.context] == [32, 8]
    assert not made.context[:, 0, 0].any()
    # A pixel's share of others' drops differs by the third-order distortion over a small detector.
    assert made.time_s[middle] == pytest.approx(40 * pieces[0].exposure_time_s, rel=1e-3)


def test_variances_are_those_of_a_weighted_mean() -> None:
    """Noise alone, many times: the scatter of a pixel is what its variance says."""
    grid = build.grid(nx=60)
    rng = np.random.default_rng(SEED)
    base = [build.piece(build.image(pointing), grid) for pointing in build.pointings(3, seed=SEED)]
    base = [
        replace(each, var_rnoise=rng.uniform(0.01, 0.04, each.data.shape).astype(np.float32)) for each in base
    ]
    trials = []
    for _ in range(60):
        noisy = [
            replace(each, data=rng.normal(0, np.sqrt(each.var_rnoise + each.var_poisson)).astype(np.float32))
            for each in base
        ]
        trials.append(coadd(noisy, grid).data)
    told = coadd(base, grid)
    ratio = np.var(trials, axis=0, ddof=0, dtype=np.float64) / told.err.astype(np.float64) ** 2 * 60 / 59
    # 4000 pixels of which some six share their noise, 60 trials: 0.18 / sqrt(4000 / 6) = 0.007.
    assert np.nanmean(ratio) == pytest.approx(1, abs=0.025)
    np.testing.assert_allclose(told.err**2, told.var_rnoise + told.var_poisson + told.var_flat, rtol=1e-4)


def test_weights_know_reads_and_sky_but_not_the_sources_photons() -> None:
    grid = build.grid(nx=100)
    (pointing,) = build.pointings(1, seed=SEED)
    dark = build.piece(build.image(pointing), grid)
    bright = replace(dark, var_poisson=dark.var_poisson.copy())
    bright.var_poisson[40:44, 40:44] *= 1000
    for weighting in (Weighting.IVM, Weighting.IVM_SKY):
        np.testing.assert_array_equal(resample.weights(dark, weighting), resample.weights(bright, weighting))
    reads, sky = (resample.weights(dark, each).max() for each in (Weighting.IVM, Weighting.IVM_SKY))
    assert reads == pytest.approx(1 / (0.01 * build.CONVERSION**2))
    assert sky == pytest.approx(1 / (0.05 * build.CONVERSION**2))
    assert resample.weights(dark, Weighting.EXPTIME).max() == pytest.approx(dark.exposure_time_s)


def test_bright_pixels_whose_reads_tell_less_do_not_make_stars_faint() -> None:
    """A ramp fit leaves three to ten times the reads' noise in a bright pixel that it leaves in the sky."""
    rng = np.random.default_rng(SEED)
    ra, dec = stars_near(rng, 20, build.RA, build.DEC)
    grid = build.grid()
    pieces = []
    for pointing in build.pointings(4, seed=SEED):
        light = build.starlight(pointing, ra, dec, np.full(20, 3e-11))
        piece = build.piece(build.image(pointing, light + 1), grid)
        sky = build.CONVERSION
        growth = 1 + 5 * (piece.data - sky) / (piece.data.max() - sky)
        pieces.append(replace(piece, var_rnoise=piece.var_rnoise * growth.astype(np.float32)))
    y, x = np.indices((grid.ny, grid.nx))
    near = np.hypot(x - (grid.nx - 1) / 2, y - (grid.ny - 1) / 2) < 7 / 0.055
    made = coadd(pieces, grid)
    area = grid.pixel_areas_sr(np.column_stack([x[near], y[near]]))
    found = float(((made.data[near] - build.CONVERSION) * area).sum() / 6e-10)
    print(f"flux {found:.4f} of the stars'")
    assert found == pytest.approx(1, abs=5e-3)
    one = pieces[0]
    peak = np.unravel_index(np.argmax(one.data), one.data.shape)
    weight = resample.weights(one, Weighting.IVM)
    typical = float(np.median(weight[one.good]))
    assert weight[peak] == pytest.approx(typical, rel=0.1)
    assert 1 / one.var_rnoise[peak] < 0.2 * typical
    # A pixel of the sky that lost reads to a cosmic ray stays worth less.
    hit = replace(one, var_rnoise=one.var_rnoise.copy())
    dark = np.unravel_index(np.argmin(np.where(one.good, one.data, np.inf)), one.data.shape)
    hit.var_rnoise[dark] *= 5
    assert resample.weights(hit, Weighting.IVM)[dark] == pytest.approx(typical / 5, rel=0.01)


def test_pixels_not_to_be_used_leave_no_trace() -> None:
    grid = build.grid()
    first, second = build.pointings(2, seed=SEED, dither_arcsec=0.0)
    spoilt = build.image(first, np.full((build.SIZE, build.SIZE), 1e6))
    dq = np.full(spoilt.dq.shape, DQ.DO_NOT_USE, np.uint32)
    dq[100, 100] = 0
    spoilt.rate[100, 100] = np.nan
    made = coadd([build.piece(replace(spoilt, dq=dq), grid), build.piece(build.image(second), grid)], grid)
    assert (made.context[0] & 1 == 0).all()
    assert np.nanmax(made.data) == pytest.approx(build.CONVERSION, rel=1e-5)


@pytest.mark.parametrize("kernel", [Kernel.SQUARE, Kernel.TURBO])
@pytest.mark.parametrize("pixfrac", [1.0, 0.6])
def test_the_drizzle_package_makes_the_same(kernel: Kernel, pixfrac: float, tmp_path: Path) -> None:
    grid = build.grid(nx=220)
    rng = np.random.default_rng(SEED)
    pieces = []
    for pointing in build.pointings(3, seed=SEED):
        image = build.image(pointing, rng.uniform(1, 3, (build.SIZE, build.SIZE)))
        piece = build.piece(image, grid)
        varied = rng.uniform(0.01, 0.04, piece.data.shape).astype(np.float32)
        pieces.append(replace(piece, var_rnoise=varied, good=rng.random(piece.data.shape) > 0.02))
    ours = coadd(pieces, grid, Drizzle(kernel, pixfrac))
    height, width = (max(piece.data.shape[axis] for piece in pieces) for axis in (0, 1))

    def padded(planes: list[np.ndarray]) -> np.ndarray:
        made = np.zeros((len(planes), height, width), np.float32)
        for plane, given in zip(made, planes, strict=True):
            plane[: given.shape[0], : given.shape[1]] = given
        return made

    y, x = np.indices((height, width), dtype=np.float64)
    maps = [np.stack(each.place.at(x.ravel(), y.ravel()), axis=-1) for each in pieces]
    np.savez(
        tmp_path / "in.npz", data=padded([each.data for each in pieces]),
        weight=padded([resample.weights(each, Weighting.IVM) for each in pieces]),
        variance=padded([each.var_rnoise for each in pieces]),
        pixmap=np.reshape(maps, (len(pieces), height, width, 2)),
        shape=ours.data.shape, kernel=kernel.value, pixfrac=pixfrac, pixel_scale_ratio=0.5,
    )  # fmt: skip
    theirs = drizzled(tmp_path)
    both = (ours.weight > 1) & (theirs["weight"] > 1)
    # At its output's very edge drizzle leaves out drops that lie half outside.
    both[:3], both[-3:], both[:, :3], both[:, -3:] = False, False, False, False
    assert both.mean() > 0.9
    # In the package turbo's drops are all of one size.
    tolerance = {Kernel.SQUARE: 3e-4, Kernel.TURBO: 1e-2}[kernel]
    for name, plane in (("data", ours.data), ("weight", ours.weight), ("variance", ours.var_rnoise)):
        ratio = plane[both].astype(np.float64) / theirs[name][both]
        print(f"{kernel} {pixfrac} {name}: {np.percentile(np.abs(ratio - 1), [50, 99, 100])}")
        assert np.abs(ratio - 1).max() < tolerance, name
    same = ours.context[0][both] == theirs["context"].reshape(-1, *both.shape)[0][both]
    assert same.mean() > 0.999


def drizzled(folder: Path) -> dict[str, np.ndarray]:
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    with locked(cache / "romanisim-l1.lock"):
        python = peer_python(cache)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [python, ORACLE, folder / "in.npz", folder / "out.npz"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-4000:]
    return dict(np.load(folder / "out.npz"))


def test_points_fall_whole_into_the_pixel_they_lie_in() -> None:
    grid = build.grid(nx=200)
    (pointing,) = build.pointings(1, seed=SEED)
    piece = build.piece(build.image(pointing), grid)
    made = coadd([piece], grid, Drizzle(Kernel.POINT))
    y, x = np.indices(piece.data.shape, dtype=np.float64)
    at = np.rint(np.stack(piece.place.at(x.ravel(), y.ravel()), axis=-1)).astype(int)
    inside = ((at >= 0) & (at < [grid.nx, grid.ny])).all(axis=1)
    count = np.zeros(made.data.shape)
    np.add.at(count, (at[inside, 1], at[inside, 0]), 1)
    # Of 10 000 drops a thousandth of a pixel wide, two thousandths lie across a border on either axis.
    assert inside.sum() > 8_000
    assert ((count > 0) != (made.weight > 0)).sum() < 100


def test_a_skycells_grid_is_the_skymaps_and_gwcs_says_the_same() -> None:
    sky: Skymap = skymap(regions_near(270.0, 66.0, 0.1)[:1])
    for cell in (0, len(sky.skycells) // 2):
        info = sky.wcs_info(cell)
        grid = sky_grid.on_skycell(info)
        (centre,) = grid.directions(grid.centre)
        ra, dec = degrees_of(centre[None])
        assert (ra[0], dec[0]) == pytest.approx((info["ra_center"], info["dec_center"]), abs=1e-9)
        x, y = np.array([0.0, 4999.0, 17.3]), np.array([0.0, 0.0, 2500.7])
        np.testing.assert_allclose(
            np.column_stack(sky_grid.wcs_of(grid)(x, y)),
            np.column_stack(degrees_of(grid.directions(np.column_stack([x, y])))),
            atol=1e-10,
        )
        halved = grid.at_scale(0.11)
        assert (halved.nx, halved.ny) == (2500, 2500)
        np.testing.assert_allclose(
            halved.directions(np.array([[-0.5, -0.5], [2499.5, 2499.5]])),
            grid.directions(np.array([[-0.5, -0.5], [4999.5, 4999.5]])), atol=1e-12,
        )  # fmt: skip
        assert sky_grid.wcsinfo_of(grid)["orientation"] == pytest.approx(info["orientat"] % 360, abs=1e-3)


def test_the_map_tells_how_far_its_interpolation_strays() -> None:
    grid = build.grid()
    (pointing,) = build.pointings(1, seed=SEED)
    image = build.image(pointing)
    place = pixel_map(image.wcs, image.rate.shape, grid, name="image")
    assert place.error_pixels < MOST_ERROR_PIXELS
    rng = np.random.default_rng(SEED + 1)
    x, y = rng.uniform(-0.5, build.SIZE - 0.5, (2, 2000))
    true = grid.pixels(directions_of(*image.wcs(x, y, with_bounding_box=False)))
    strayed = np.hypot(*(np.stack(place.at(x, y), axis=-1) - true).T)
    print(f"strayed by {strayed.max():.1e} pixels at most, {place.error_pixels:.1e} told")
    assert strayed.max() < 2 * place.error_pixels + 1e-6


def test_maps_that_cannot_be_are_refused() -> None:
    grid = build.grid()
    (pointing,) = build.pointings(1, seed=SEED)
    image = build.image(pointing)
    elsewhere = build.image(replace(pointing, ra_deg=90.0))
    with pytest.raises(InputError, match=r"b\.asdf: its WCS puts it at RA (89|90)"):
        pixel_map(elsewhere.wcs, image.rate.shape, grid, name="b.asdf")

    def wild(x: np.ndarray, y: np.ndarray, *, with_bounding_box: bool) -> tuple[np.ndarray, np.ndarray]:
        del with_bounding_box
        return image.wcs(3 * x, 3 * y, with_bounding_box=False)

    with pytest.raises(InputError, match=r"pixels of about 0\.33 arcsec"):
        pixel_map(wild, image.rate.shape, grid, name="wild")

    def nowhere(x: np.ndarray, y: np.ndarray, *, with_bounding_box: bool) -> tuple[np.ndarray, np.ndarray]:
        del with_bounding_box
        return np.full_like(x, np.nan), y

    with pytest.raises(InputError, match="no place on the sky"):
        pixel_map(nowhere, image.rate.shape, grid, name="nowhere")

    def torn(x: np.ndarray, y: np.ndarray, *, with_bounding_box: bool) -> tuple[np.ndarray, np.ndarray]:
        del with_bounding_box
        return image.wcs(x + 5 * (x > 77), y, with_bounding_box=False)

    with pytest.raises(InputError, match="not smooth"):
        pixel_map(torn, image.rate.shape, grid, name="torn")
    beyond = sky_grid.about(build.RA, build.DEC + 0.1, nx=50, ny=50, scale_arcsec=0.055)
    assert cropped(pixel_map(image.wcs, image.rate.shape, beyond, name="image"), beyond) is None
    for pixfrac in (-0.1, 1.1):
        with pytest.raises(InputError, match="pixfrac"):
            resample.drizzle(pixfrac=pixfrac)
    with pytest.raises(InputError, match="square, turbo, point"):
        resample.drizzle(kernel="lanczos3")
