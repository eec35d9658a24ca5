"""Optical PSFs of a detector, computed from pupil and aberrations, as the stamps of an ePSF reference.

Takes a detector and filter; leaves oversampled stamps on a 3×3 grid of positions for a hot, a solar
and a cool star. Source: GalSim's ``galsim.roman`` (Cycle 9 pupils and Zernike coefficients).
"""

from typing import Any, Final

import galsim
import galsim.roman
import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.errors import InputError
from nexus_pipeline.instrument.wfi import N_ACTIVE, PIXEL_SCALE_ARCSEC
from nexus_pipeline.references.kinds import EpsfReference

GALSIM_BANDS: Final = {
    "F062": "R062",
    "F087": "Z087",
    "F106": "Y106",
    "F129": "J129",
    "F146": "W146",
    "F158": "H158",
    "F184": "F184",
    "F213": "K213",
}
SPECTRAL_TYPES: Final = {"A0V": 9700.0, "G2V": 5800.0, "M5V": 3000.0}
"""Black-body temperatures (K) that stand in for the stars' spectra when wavelengths are weighed."""

GRID: Final = (0.0, 0.5, 1.0)
"""Positions of the stamps along an edge, as shares of it."""
_N_WAVELENGTHS: Final = 5
_PUPIL_BIN: Final = 8


def epsf_reference(
    detector: str, filter_name: str, *, oversample: int = 4, size: int = 361, active: int = N_ACTIVE
) -> EpsfReference:
    """Return effective PSFs: optics, jitter, charge diffusion and the pixel's response (no IPC).

    Each stamp sums to oversample²: a star's flux is by definition what falls into its 90×90 pixels
    (98.5 % of all light in F158). ``active`` is the edge of the L2 image.
    """
    pixel = galsim.Pixel(PIXEL_SCALE_ARCSEC)
    stamps = _stamps(detector, filter_name, pixel, oversample=oversample, size=size)
    return _labelled(
        detector,
        filter_name,
        stamps * oversample**2,
        oversample=oversample,
        active=active,
        includes=("jitter", "diffusion", "pixel"),
    )


def optical_reference(
    detector: str, filter_name: str, *, oversample: int = 4, size: int = 361, active: int = N_ACTIVE
) -> EpsfReference:
    """Return the same without the pixel, of unit sum, as romanisim 0.14 wants it.

    It adds the pixel itself, but not the charge diffusion it has a parameter for.
    """
    stamps = _stamps(detector, filter_name, None, oversample=oversample, size=size)
    return _labelled(
        detector, filter_name, stamps, oversample=oversample, active=active, includes=("jitter", "diffusion")
    )


def galsim_band(filter_name: str) -> str:
    """Return GalSim's name of a filter; InputError for an element that takes no images."""
    try:
        return GALSIM_BANDS[filter_name]
    except KeyError:
        known = ", ".join(GALSIM_BANDS)
        raise InputError(f"no PSF for the element {filter_name!r}: choose one of {known}") from None


def optics_at(detector: str, filter_name: str, x: float, y: float, *, kelvin: float) -> Any:
    """Return the PSF (GalSim profile, arcsec, detector axes) of optics, jitter and charge diffusion."""
    band = galsim_band(filter_name)
    wavelengths, weights = _spectrum(band, kelvin)
    position = galsim.PositionD(x + 0.5, y + 0.5)
    parts = [
        _monochromatic(detector, band, position, w) * share
        for w, share in zip(wavelengths, weights, strict=True)
    ]
    return galsim.Convolve(galsim.Sum(parts), _jitter(), _diffusion())


def _labelled(
    detector: str,
    filter_name: str,
    stamps: NDArray[np.float64],
    *,
    oversample: int,
    active: int,
    includes: tuple[str, ...],
) -> EpsfReference:
    grid = [share * (active - 1) for share in GRID]
    jitter = galsim.roman.jitter_rms * 1e3
    return EpsfReference(
        detector=detector,
        filter_name=filter_name,
        psf=stamps[None].astype(np.float32),
        pixel_x=tuple(x for _ in grid for x in grid),
        pixel_y=tuple(y for y in grid for _ in grid),
        oversample=oversample,
        includes=includes,
        total=float(oversample**2 if "pixel" in includes else 1),
        spectral_types=tuple(SPECTRAL_TYPES),
        jitter_major_mas=jitter,
        jitter_minor_mas=jitter,
        description="optics of galsim.roman (Cycle 9), black-body spectra",
    )


def _stamps(
    detector: str, filter_name: str, pixel: Any, *, oversample: int, size: int
) -> NDArray[np.float64]:
    """Return (n_types, n_positions, size, size), each of unit sum."""
    band = galsim_band(filter_name)
    spectra = [_spectrum(band, kelvin) for kelvin in SPECTRAL_TYPES.values()]
    extra = [_jitter(), _diffusion(), *([] if pixel is None else [pixel])]
    out = np.zeros((len(spectra), len(GRID) ** 2, size, size))
    full = N_ACTIVE - 1
    for k, (y, x) in enumerate((y, x) for y in GRID for x in GRID):
        position = galsim.PositionD(x * full + 0.5, y * full + 0.5)
        for w, wavelength in enumerate(spectra[0][0]):
            profile = galsim.Convolve(_monochromatic(detector, band, position, wavelength), *extra)
            image = profile.drawImage(
                nx=size, ny=size, scale=PIXEL_SCALE_ARCSEC / oversample, method="no_pixel", dtype=float
            ).array
            for s, (_, weights) in enumerate(spectra):
                out[s, k] += weights[w] * image
    return np.asarray(out / out.sum(axis=(2, 3), keepdims=True))


def _monochromatic(detector: str, band: str, position: Any, wavelength_nm: float) -> Any:
    return galsim.roman.getPSF(
        int(detector[3:]), band, SCA_pos=position, pupil_bin=_PUPIL_BIN, wavelength=float(wavelength_nm)
    )


def _jitter() -> Any:
    return galsim.Gaussian(sigma=galsim.roman.jitter_rms)


def _diffusion() -> Any:
    return galsim.Gaussian(sigma=galsim.roman.charge_diffusion * PIXEL_SCALE_ARCSEC)


def _spectrum(band: str, kelvin: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return wavelengths (nm) and their share of the detected photons of a black body."""
    throughput = galsim.roman.getBandpasses()[band]
    edges = np.linspace(throughput.blue_limit, throughput.red_limit, _N_WAVELENGTHS + 1)
    fine = np.linspace(throughput.blue_limit, throughput.red_limit, 40 * _N_WAVELENGTHS)
    photons = throughput(fine) / fine**4 / np.expm1(1.43877e7 / (fine * kelvin))
    part = np.clip(np.searchsorted(edges, fine, side="right") - 1, 0, _N_WAVELENGTHS - 1)
    totals = np.bincount(part, photons, _N_WAVELENGTHS)
    means = np.bincount(part, photons * fine, _N_WAVELENGTHS) / np.maximum(totals, 1e-300)
    return means, totals / totals.sum()
