"""Prints what PSFs of mosaics, matching kernels and built ePSFs are worth, and what they cost.

Run it as ``python -m tests.bench.psf [quick]``. Stars without noise are drawn with the stored ePSF of a whole
detector into dithered, rolled images, drizzled onto a skycell of 5000² pixels (2000² if quick), and compared
with what is said of them: worst pixel over the star's peak, and fluxes of fits. CPU seconds are user and
system of one thread, of the second run.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import galsim
import galsim.roman
import numpy as np
from numpy.typing import NDArray
from scipy.signal import fftconvolve
from tests.support.romanisim_ramp import DETECTOR, FILTER, romanisim_ramp

from nexus_pipeline.instrument.wfi import NOMINAL_PIXEL_AREA_SR
from nexus_pipeline.measure.circle_kernels import circles
from nexus_pipeline.products.model import Photometry, ScienceImage
from nexus_pipeline.psf import fit
from nexus_pipeline.psf.grid import PsfGrid
from nexus_pipeline.recipes import psf as library
from nexus_pipeline.references import kinds
from nexus_pipeline.references.store import ReferenceStore, open_store
from nexus_pipeline.simulate import exposure
from nexus_pipeline.sky import sky_grid, smooth_map, wcs
from nexus_pipeline.sky.distortion import relative_pixel_area
from nexus_pipeline.sky.pixel_map import cropped, pixel_map
from nexus_pipeline.sky.sky_grid import SkyGrid
from nexus_pipeline.sky.tangent import degrees_of
from nexus_pipeline.steps import flux, resample
from nexus_pipeline.steps.coadd_psf import CoaddPsf
from nexus_pipeline.steps.coadd_psf_mean import Exposure
from nexus_pipeline.steps.resample import Drizzle, Sums

Floats = NDArray[np.float64]
RA, DEC, SEED = 150.1, 2.2, 38
# Offsets in arcsec and roll in degrees: ends of the last lie on the skycell.
DITHERS: Final = ((0, 0, 20.0), (31, -17, 20.0), (-60, 93, 20.4), (190, 60, 200.0))
REACH: Final = 7


@dataclass(frozen=True)
class Field:
    """Stars of unit flux on a mosaic: the light in shares of a star a pixel, their places, the PSF."""

    light: Floats
    x: Floats
    y: Floats
    psf: CoaddPsf


def field(store: ReferenceStore, size: int) -> Field:
    where: dict[str, Any] = {"detector": DETECTOR, "filter_name": FILTER}
    grid = sky_grid.about(RA, DEC, nx=size, ny=size, scale_arcsec=0.055)
    rng = np.random.default_rng(SEED)
    nodes = np.arange(60, size - 60, 125.0)
    x, y = (each.ravel() + rng.uniform(-20, 20, nodes.size**2) for each in np.meshgrid(nodes, nodes))
    sky = degrees_of(grid.directions(np.column_stack([x, y])))
    pieces, exposures = [], []
    for east, north, roll in DITHERS:
        at = exposure.aim(
            store, DETECTOR, FILTER, ra_deg=RA + east / 3600, dec_deg=DEC + north / 3600, roll_deg=roll
        )
        meta = exposure.exposure_meta(DETECTOR, FILTER, pointing=at)
        psf, _ = library.Library(store).grid(DETECTOR, FILTER, meta.start_time)
        transform = store.load(kinds.DistortionReference, **where, date=meta.start_time).transform
        image = starry(meta, wcs.build(transform, at), psf, sky=sky, area=relative_pixel_area(transform))
        place = cropped(pixel_map(image.wcs, image.rate.shape, grid, name="image"), grid)
        assert place is not None
        pieces.append(flux.calibrate(image, place, name="image"))
        exposures.append(Exposure(psf, smooth_map.smooth_map(place), 100.0))
    errors = [each.place.error_pixels for each in exposures]
    print(f"polynomials of {len(errors)} maps: worst node {max(errors):.1e} pixels off")
    return Field(drizzled(pieces, grid), x, y, CoaddPsf(exposures, Drizzle()))


def starry(meta: Any, image_wcs: Any, psf: PsfGrid, *, sky: Any, area: Any) -> ScienceImage:
    """Return an image of stars of unit flux (MJy), without noise."""
    x, y = wcs.to_pixels(image_wcs, *sky)
    light = np.zeros(area.shape, np.float32)
    near = (np.abs(x - 2043.5) < 2100) & (np.abs(y - 2043.5) < 2100)
    radii = np.full(np.count_nonzero(near), psf.radius - 1)
    psf.add_to(light, x[near], y[near], np.ones(radii.size), radii=radii)
    # Of a size that single precision takes as usable.
    noise = np.full(area.shape, 0.01, np.float32)
    photometry = Photometry(1.0, 0.0, NOMINAL_PIXEL_AREA_SR)
    return ScienceImage(
        meta, light / area, noise, noise, np.zeros(area.shape, np.uint32), None, image_wcs, photometry
    )


def drizzled(pieces: list[flux.Piece], grid: SkyGrid) -> Floats:
    sums = Sums(grid, len(pieces))
    for piece in pieces:
        resample.add(sums, piece, Drizzle())
    made = resample.finish(sums)
    nominal = NOMINAL_PIXEL_AREA_SR
    return made.data.astype(np.float64) * (grid.pixel_areas_sr(grid.centre)[0] / nominal)


def cpu(work: Callable[[], Any], n: int) -> tuple[float, Any]:
    """Return the CPU microseconds each of ``n`` took in the second run, and what it gave."""
    work()
    start = time.process_time()
    made = work()
    return 1e6 * (time.process_time() - start) / n, made


def show_coadd(seen: Field) -> None:
    n, half = seen.x.size, REACH
    columns, rows = np.rint(seen.x).astype(int), np.rint(seen.y).astype(int)
    windows = np.array([
        seen.light[r - half : r + half + 1, c - half : c + half + 1]
        for c, r in zip(columns, rows, strict=True)
    ])  # fmt: skip
    peak = np.nanmax(windows, axis=(1, 2))
    ends = np.array([len(seen.psf.seen_from(*at)) < len(DITHERS) for at in zip(seen.x, seen.y, strict=True)])

    def exact() -> Floats:
        return np.array([seen.psf.exact(x, y, radius=half) for x, y in zip(seen.x, seen.y, strict=True)])

    title = f"stars of {len(DITHERS)} exposures, {n} of them"
    print(f"\n{title:<44}{'µs each':>9}{'worst':>9}{'at ends':>9}{'99 %':>9}   (of the peak; must 0.5, 1 %)")
    for name, work in (
        ("exact (must 0.5 %)", exact),
        ("fast (must 1 %, 100 µs)", lambda: seen.psf.fast(seen.x, seen.y, threads=1)[:, :, : 2 * half + 1]),
    ):
        cost, made = cpu(work, n)
        off = np.nanmax(np.abs(made - windows), axis=(1, 2)) / peak
        shares = f"{off[~ends].max():>9.2%}{off[ends].max():>9.2%}{np.quantile(off, 0.99):>9.2%}"
        print(f"{name:<44}{cost:>9.0f}{shares}")
    x, y = np.random.default_rng(SEED).uniform(10, seen.light.shape[0] - 10, (2, 10_000))
    for copies in (1, 2, 4, 8):
        more = CoaddPsf(seen.psf.exposures * copies, Drizzle())
        cost, _ = cpu(lambda: more.fast(x, y, threads=1), x.size)  # noqa: B023
        print(f"{f'  fast, {copies * len(DITHERS)} exposures, {x.size:,} stars':<44}{cost:>9.0f}")


def show_fluxes(seen: Field) -> None:
    usable = np.isfinite(seen.light)
    image = np.where(usable, seen.light, 0).astype(np.float32)
    nothing = np.zeros_like(image)
    noise = fit.NoiseCurve(np.array([-1e6, 1e6]), np.array([1e-4, 1e-4]))

    def fitted(of: NDArray[np.float32], x: Floats, y: Floats) -> fit.PsfFits:
        return fit.fit_sources(
            of, nothing, usable, extra_variance=nothing, psf=seen.psf.mean, noise=noise, x=x, y=y, passes=1
        )

    first = fitted(image, np.rint(seen.x), np.rint(seen.y))
    second = fitted(seen.psf.evened(image, first.x, first.y, first.flux), first.x, first.y)
    print(f"\n{'fluxes of fits, noise-free':<44}{'median':>9}{'±':>9}{'99 %':>9}{'places, 99 %':>14}")
    whole = np.array([
        usable[int(y) - 9 : int(y) + 10, int(x) - 9 : int(x) + 10].all()
        for x, y in zip(seen.x, seen.y, strict=True)
    ])  # fmt: skip
    for name, made in (("with the mean PSF", first), ("evened out (must 0.2 %)", second)):
        off, away = (made.flux - 1)[whole], np.hypot(made.x - seen.x, made.y - seen.y)[whole]
        error = 1.2533 * off.std() / np.sqrt(off.size)
        print(
            f"{name:<44}{np.median(off):>9.3%}{error:>9.3%}{np.quantile(np.abs(off), 0.99):>9.2%}"
            f"{np.quantile(away, 0.99):>14.4f}"
        )


def show_matching() -> None:
    """Print colours of stars in apertures of 0.2 to 1 arcsec before and after matching, all bands to F213."""
    scale, radii = 0.055, np.arange(0.2, 1.01, 0.1) / 0.055
    bands = {"F062": ("R062", 620), "F087": ("Z087", 869), "F106": ("Y106", 1060), "F129": ("J129", 1293),
             "F158": ("H158", 1577), "F184": ("F184", 1842), "F213": ("K213", 2125)}  # fmt: skip

    def drawn(name: str, x: float, y: float) -> Floats:
        band, nm = bands[name]
        optical = galsim.roman.getPSF(7, band, pupil_bin=8, wavelength=float(nm))
        star = galsim.Convolve(optical, galsim.Gaussian(sigma=0.012), galsim.Pixel(0.11))
        image = star.drawImage(nx=161, ny=161, scale=scale, offset=(x, y), method="no_pixel", dtype=float)
        return np.asarray(image.array)

    def light(image: Floats, x: float, y: float) -> Floats:
        out, one = np.empty((3, 1, radii.size)), np.zeros(image.shape, np.float32)
        circles(image.astype(np.float32), one, one > 0, np.array([80 + x]), np.array([80 + y]), radii, *out)
        return out[0, 0]

    rng = np.random.default_rng(SEED)
    places = rng.uniform(-0.5, 0.5, (8, 2))
    title = "colours against F213 in 0.2 to 1 arcsec, mag"
    print(f"\n{title:<44}{'raw':>9}{'matched':>9}{'residual':>10}{'gain':>7}")
    wanted = [light(drawn("F213", *place), *place) for place in places]
    for name in list(bands)[:-1]:
        made = library.matching_kernel(drawn(name, 0, 0), drawn("F213", 0, 0))
        raw = matched = 0.0
        for place, red in zip(places, wanted, strict=True):
            blue = drawn(name, *place)
            after = light(fftconvolve(blue, made.kernel, mode="same"), *place)
            raw = max(raw, np.abs(2.5 * np.log10(light(blue, *place) / red)).max())
            matched = max(matched, np.abs(2.5 * np.log10(after / red)).max())
        print(f"{name:<44}{raw:>9.3f}{matched:>9.4f}{made.residual:>10.1e}{made.gain:>7.3f}")


def main() -> None:
    store = open_store(str(romanisim_ramp().references))
    seen = field(store, 2000 if "quick" in sys.argv[1:] else 5000)
    show_coadd(seen)
    show_fluxes(seen)
    show_matching()


if __name__ == "__main__":
    main()
