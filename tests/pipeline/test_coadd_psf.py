"""Co-add PSFs: stars drizzled without noise, and what is said of them without drizzling an image."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from scipy.spatial import cKDTree
from tests.support import mosaic as build
from tests.support import simulator as scene
from tests.support.pipeline import DETECTOR, wfi

from nexus_pipeline.errors import InputError
from nexus_pipeline.measure.compare import median_and_error
from nexus_pipeline.products import l3
from nexus_pipeline.products.associations import Association
from nexus_pipeline.products.model import Mosaic
from nexus_pipeline.products.names import ExposureId
from nexus_pipeline.products.tree import OWN_KEY
from nexus_pipeline.psf import fit
from nexus_pipeline.recipes import mosaic, mosaic_product, psf
from nexus_pipeline.recipes.catalog import mosaic_catalog
from nexus_pipeline.recipes.mosaic_inputs import Member
from nexus_pipeline.references.store import ReferenceStore
from nexus_pipeline.sky import smooth_map
from nexus_pipeline.sky.sky_grid import SkyGrid
from nexus_pipeline.sky.tangent import degrees_of
from nexus_pipeline.steps import resample
from nexus_pipeline.steps.coadd_psf import CoaddPsf, Exposure, in_steps
from nexus_pipeline.steps.flux import Piece
from nexus_pipeline.steps.resample import Drizzle, Kernel, Sums

SEED = 38
RADIUS = 9


@dataclass(frozen=True)
class Drizzled:
    """Stars of unit flux, drizzled: the mosaic in shares of it per pixel, where they are, and its PSF."""

    grid: SkyGrid
    light: np.ndarray
    x: np.ndarray
    y: np.ndarray
    psf: CoaddPsf

    def seen(self, k: int) -> np.ndarray:
        """Return the window about a star."""
        column, row = round(self.x[k]), round(self.y[k])
        return self.light[row - RADIUS : row + RADIUS + 1, column - RADIUS : column + RADIUS + 1]


def drizzled(n: int, how: Drizzle, *, scale: float = 0.055, uneven: bool = False) -> Drizzled:
    """Return 49 stars some 3 arcsec apart, over the ends of ``n`` rolled exposures with weights of their own.

    ``uneven``: each pixel has its own, too, and one in fifty none.
    """
    rng = np.random.default_rng(SEED)
    grid = build.grid(nx=round(24 / scale), scale_arcsec=scale)
    x, y = scene.grid_of_stars(7, grid.nx / 7, jitter=3.0, rng=rng)
    ra, dec = degrees_of(grid.directions(np.column_stack([x, y])))
    pieces, exposures = [], []
    psf = scene.grid(active=build.SIZE)
    for pointing in build.pointings(n, seed=SEED, dither_arcsec=2.0):
        piece = build.piece(build.image(pointing, build.starlight(pointing, ra, dec, np.ones(x.size))), grid)
        noise = piece.var_rnoise * np.float32(rng.uniform(0.5, 2))
        if uneven:
            noise = noise * rng.uniform(0.5, 1.5, noise.shape).astype(np.float32)
            piece = replace(piece, good=piece.good & (rng.random(noise.shape) > 0.02))
        piece = replace(piece, var_rnoise=noise)
        weights = resample.weights(piece, how.weighting)
        exposures.append(exposure(piece, weights if uneven else None, psf=psf))
        pieces.append(piece)
    sums = Sums(grid, n)
    for piece in pieces:
        resample.add(sums, piece, how)
    columns, rows = np.meshgrid(np.arange(grid.nx), np.arange(grid.ny))
    areas = grid.pixel_areas_sr(np.column_stack([columns.ravel(), rows.ravel()])).reshape(rows.shape)
    return Drizzled(grid, resample.finish(sums).data * areas, x, y, CoaddPsf(exposures, how))


def exposure(piece: Piece, weights: np.ndarray | None, *, psf: object) -> Exposure:
    place = smooth_map.smooth_map(piece.place)
    typical = float(np.median(1 / piece.var_rnoise))
    steps = None if weights is None else in_steps(weights, typical)
    return Exposure(psf, place, typical, steps)  # type: ignore[arg-type]


def worst(made: Drizzled, stamps: list[np.ndarray]) -> float:
    """Return the largest difference of a pixel from the mosaic's over the star's peak, of all stars."""
    shares = []
    for k, stamp in enumerate(stamps):
        seen, reach = made.seen(k), stamp.shape[0] // 2
        seen = seen[RADIUS - reach : RADIUS + reach + 1, RADIUS - reach : RADIUS + reach + 1]
        both = np.isfinite(seen) & np.isfinite(stamp)
        assert (np.isfinite(seen) <= np.isfinite(stamp)).all()
        if both.sum() > 20:
            shares.append(np.abs(seen - stamp)[both].max() / seen[both].max())
    assert len(shares) > 30
    return max(shares)


def partly(made: Drizzled) -> int:
    """Return how many stars an exposure's end goes through."""
    return sum(
        0 < len(made.psf.seen_from(x, y)) < len(made.psf.exposures)
        for x, y in zip(made.x, made.y, strict=True)
    )


@pytest.mark.parametrize(
    ("n", "how", "scale"),
    [
        (4, Drizzle(), 0.055),
        (1, Drizzle(), 0.055),
        (3, Drizzle(pixfrac=0.7), 0.055),
        (3, Drizzle(kernel=Kernel.TURBO, pixfrac=0.8), 0.055),
        (3, Drizzle(), 0.11),
    ],
)
def test_a_star_is_told_as_it_was_drizzled_at_ends_of_exposures_too(
    n: int, how: Drizzle, scale: float
) -> None:
    made = drizzled(n, how, scale=scale)
    exact = worst(made, [made.psf.exact(x, y, radius=RADIUS) for x, y in zip(made.x, made.y, strict=True)])
    fast = worst(made, windows(made.psf, made))
    print(f"{n} exposures, {how}: exact {exact:.2%} of the peak, fast {fast:.2%}; {partly(made)} at ends")
    assert exact < 0.005
    assert fast < 0.01
    if n > 1:
        assert partly(made) >= 5


def test_each_pixel_s_weight_is_reckoned_with_and_pixels_of_none_are_left_out() -> None:
    made = drizzled(2, Drizzle(), uneven=True)
    plain = CoaddPsf([replace(each, steps=None) for each in made.psf.exposures], Drizzle())
    exact = worst(made, [made.psf.exact(x, y, radius=RADIUS) for x, y in zip(made.x, made.y, strict=True)])
    fast, typical = (worst(made, windows(psf, made)) for psf in (made.psf, plain))
    print(f"exact {exact:.2%} of the peak, fast {fast:.2%}, with typical weights {typical:.2%}")
    # Weights are told to a 64th of the typical one.
    assert exact < 0.005
    assert fast < 0.01
    assert typical > 0.1


def windows(psf: CoaddPsf, made: Drizzled) -> list[np.ndarray]:
    """Return what is told fast of each star, NaN where nothing is."""
    told = psf.fast(made.x, made.y)
    size = told.shape[1]
    return [np.where(each[:, :size] == 0, np.nan, each[:, :size]) for each in told]


def test_fits_with_the_mean_psf_are_right_once_stars_are_evened_out() -> None:
    made = drizzled(4, Drizzle(), scale=0.055)
    usable = np.isfinite(made.light)
    image = np.where(usable, made.light, 0).astype(np.float32)

    def fitted(seen: np.ndarray, x: np.ndarray, y: np.ndarray, *, free: bool = True) -> fit.PsfFits:
        noise = fit.NoiseCurve(np.array([-1e6, 1e6]), np.array([1e-4, 1e-4]))
        return fit.fit_sources(
            seen, nothing, usable, extra_variance=nothing, psf=made.psf.mean, noise=noise, x=x, y=y, passes=1,
            free=free,
        )  # fmt: skip

    nothing = np.zeros_like(image)
    first = fitted(image, np.rint(made.x), np.rint(made.y))
    second = fitted(made.psf.evened(image, first.x, first.y, first.flux), first.x, first.y)
    whole = np.array([np.isfinite(made.seen(k)).all() for k in range(made.x.size)])
    before, after = (np.abs(each.flux - 1) for each in (first, second))
    moved = np.hypot(second.x - made.x, second.y - made.y)
    print(f"flux: {before[whole].max():.2%} before, {after[whole].max():.2%} after")
    print(f"places: {moved[whole].max():.4f} pixels; {partly(made)} at ends of exposures")
    assert whole.sum() > 30
    assert before[whole].max() > 0.01
    # Asked for are 0.2 %.
    assert after[whole].max() < 0.001
    assert moved[whole].max() < 0.003
    # At known places flux alone is unknown; a star that is drawn has nothing to be reckoned with.
    forced = fitted(image, made.x, made.y, free=False)
    evened = made.psf.evened(image, made.x, made.y, forced.flux, fitted=1)
    again = fitted(evened, made.x, made.y, free=False)
    assert np.abs(again.flux - 1)[whole].max() < 0.001 < np.abs(forced.flux - 1)[whole].max()
    drawn = made.psf.evened(nothing, made.x, made.y, -np.ones(made.x.size), fitted=0)
    made.psf.mean.add_to(drawn, made.x, made.y, np.ones(made.x.size), radii=np.full(made.x.size, 7))
    inner = np.flatnonzero(whole)[0]
    at = np.s_[
        round(made.y[inner]) - 5 : round(made.y[inner]) + 6,
        round(made.x[inner]) - 5 : round(made.x[inner]) + 6,
    ]
    np.testing.assert_allclose(drawn[at], image[at], atol=3e-3 * image[at].max())


@dataclass(frozen=True)
class Field:
    """A mosaic that was written and read again, its references, and its stars' places and fluxes (nJy)."""

    url: str
    mosaic: Mosaic
    store: ReferenceStore
    places: np.ndarray
    flux: np.ndarray


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Field:
    """Return 49 stars of S/N 60 to 1,000 on three rolled images, whose ends lie on the mosaic."""
    folder, rng, grid = tmp_path_factory.mktemp("coadd"), np.random.default_rng(SEED), build.grid(nx=436)
    x, y = scene.grid_of_stars(7, grid.nx / 7, jitter=3.0, rng=rng)
    ra, dec = degrees_of(grid.directions(np.column_stack([x, y])))
    flux_mjy = 10 ** rng.uniform(-11.7, -10, x.size)
    members = []
    for number, pointing in enumerate(build.pointings(3, seed=SEED), start=1):
        rate = build.starlight(pointing, ra, dec, flux_mjy) + 1.0
        poisson, reads = (rate / 250).astype(np.float32), np.full(rate.shape, 0.002, np.float32)
        image = build.image(pointing, rate + rng.normal(0, np.sqrt(poisson + reads)))
        meta = replace(image.meta, exposure_id=ExposureId(exposure=number), carried={OWN_KEY: {"ipc": False}})
        image = replace(image, meta=meta, var_poisson=poisson, var_rnoise=reads)
        members.append(Member(f"{number}.asdf", partial(replace, image)))
    association = Association(build.PRODUCT, tuple(each.name for each in members), 1)
    product = mosaic_product.product(mosaic.coadd(members, grid), association, own={})
    url = str(folder / "r00001_p_v01001001001001_f158_coadd.asdf")
    l3.write_mosaic(product, url)
    back = l3.read_mosaic(url)
    return Field(url, back, scene.store(str(folder / "references")), np.column_stack([x, y]), flux_mjy * 1e15)


def matched(field: Field, detector: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Return flux over truth, and the reduced χ², of the stars that a catalogue has."""
    table = mosaic_catalog(field.mosaic, field.store, detector=detector).table
    away, which = cKDTree(field.places).query(np.column_stack([table["x_psf"], table["y_psf"]]))
    good = away < 0.3
    ratio = np.asarray(table["psf_flux"][good]) / field.flux[which[good]]
    return ratio, np.asarray(table["psf_gof"][good])


def test_a_catalogue_fits_each_star_as_it_was_drizzled(field: Field) -> None:
    (ours, chi2), (_, plain) = (matched(field, name) for name in (None, DETECTOR))
    median, error = median_and_error(ours)
    print(f"{len(ours)} stars: median {median:.4f} ± {error:.4f}")
    print(f"reduced chi2: {np.median(chi2):.2f}, with one PSF for all {np.median(plain):.2f}")
    assert len(ours) >= 40
    assert median == pytest.approx(1, abs=0.003 + 3 * error)
    # Less than 1, because pixels share their noise.
    assert 0.5 < np.median(chi2) < 1.1
    assert np.median(plain) > 5


def test_a_mosaic_s_psf_is_asked_for_by_place_on_the_sky(field: Field, tmp_path: Path) -> None:
    made, files = psf.of_mosaic(psf.Library(field.store), field.mosaic)
    assert set(files) == {"epsf_wfi07"}
    ra, dec = field.mosaic.wcs(218.3, 217.9)
    star = psf.coadd(made, field.mosaic, ra, dec, radius=12)
    assert star.sum() == pytest.approx(1, abs=2e-3)
    np.testing.assert_allclose(star, made.exact(218.3, 217.9, radius=12), atol=1e-6)
    told = wfi(
        "psf", "coadd", field.url, ra, dec, "--references", field.store.url, "--radius", 12,
        "--output", tmp_path / "star.fits",
    )  # fmt: skip
    assert told.status == 0, told.err
    np.testing.assert_allclose(fits.getdata(tmp_path / "star.fits"), star, atol=1e-7)
    with pytest.raises(InputError, match="lies beside the mosaic"):
        psf.coadd(made, field.mosaic, ra, dec + 1, radius=12)
    before = replace(field.mosaic, meta=replace(field.mosaic.meta, own={}))
    with pytest.raises(InputError, match="does not say where its exposures lie"):
        psf.of_mosaic(psf.Library(field.store), before)
