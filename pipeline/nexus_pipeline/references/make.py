"""A synthetic, self-consistent set of references for any detector.

Takes the geometry of each detector; leaves references in rad's schemas. The same
seed gives the same set, whatever else is made beside it. Values resemble those of the flight
detectors (gain 1.8 e/DN, read noise 5 DN, saturation near 55 000 DN, dark current 0.006 DN/s,
5 % non-linearity at 50 000 DN) but describe no real one.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.instrument import filters
from nexus_pipeline.instrument.dq import DQ
from nexus_pipeline.instrument.wfi import (
    BORDER,
    CHANNEL_WIDTH,
    N_CHANNELS,
    N_PIXELS,
    NOMINAL_PIXEL_AREA_SR,
    active,
)
from nexus_pipeline.products.model import border_of
from nexus_pipeline.references import irrc, kinds
from nexus_pipeline.references.kinds import Reference
from nexus_pipeline.references.store import ReferenceStore, open_or_new

Plane = NDArray[np.float32]
Geometry = Callable[[str, int], tuple[Any, Plane]]
"""Gives, for a detector and the edge of its L2 image, the distortion (an astropy model from 0-based
pixels to V2, V3 in arcsec, with inverse) and each pixel's area over the nominal one."""

Darks = Callable[[Plane, int], tuple[NDArray[np.uint16], NDArray[np.uint16]]]
"""Gives, for a plane of read noise (DN) and a seed, a dark exposure: resultants (n, ny, nx) and the 33rd
output (n, ny, 128)."""

RECIPE_VERSION: Final = 4
"""Raised whenever the values below change, so that caches keyed by it are made anew."""
GAIN_E_PER_DN: Final = 1.8
SATURATION_DN: Final = 55_000.0
READ_NOISE_DN: Final = 5.0
DARK_DN_S: Final = 0.006
HOT_FRACTION: Final = 1e-3
CURVATURE_BLOCK: Final = 8
INL_DN: Final = 3.0
INL_RIPPLES: Final = 8
INL_STEP_DN: Final = 64
DECAY_DN: Final = 12.0
DECAY_S: Final = 25.0
BIAS_DN: Final = 100.0
"""What a pixel shows that has collected nothing: the simulator's electronics give it to the border too."""
IPC_SIDE: Final = 0.005
IPC_CORNER: Final = 0.0005
COLLECTING_AREA_M2: Final = 3.757


def make_references(
    url: str,
    geometry: Geometry,
    darks: Darks,
    *,
    detectors: Sequence[str],
    filter_names: Sequence[str],
    seed: int = 1,
    n_pixels: int = N_PIXELS,
) -> ReferenceStore:
    """Write the set for ``detectors`` and ``filter_names`` at ``url``, beside what is there already.

    ``n_pixels`` is the edge of the frames with border (small ones serve tests). The PSFs are not
    among them: the simulator draws those.
    """
    made = open_or_new(url)
    for detector in detectors:
        made = made.add(_set(geometry, darks, detector, filter_names, seed=seed, n_pixels=n_pixels))
    return made


def _set(
    geometry: Geometry,
    darks: Darks,
    detector: str,
    filter_names: Sequence[str],
    *,
    seed: int,
    n_pixels: int,
) -> Iterator[Reference]:
    """Yield the references of one detector one by one, so that only one lies in memory."""
    maker = Maker(detector, seed, n_pixels)
    gain, qe = maker.gain(), maker.quantum_efficiency()
    plain: list[Callable[[], Reference]] = [
        maker.mask, maker.saturation, maker.linearity, maker.inverse_linearity, maker.read_noise, maker.dark,
        maker.integral_nonlinearity, maker.dark_decay, lambda: maker.refpix(darks),
    ]  # fmt: skip
    for make in plain:
        yield maker.described(make())
    yield maker.described(gain)
    transform, area = geometry(detector, n_pixels - 2 * BORDER)
    table = {}
    inner = active((n_pixels, n_pixels))
    for name in filter_names:
        if name in filters.IMAGING_FILTERS:
            response = area * qe / gain.gain[inner]
            mean = float(response.mean(dtype=np.float64))
            table[name] = photom_entry(detector, name, mean_response=mean)
            yield maker.described(maker.flat(name, response / np.float32(mean)))
        distortion = kinds.DistortionReference(detector=detector, filter_name=name, transform=transform)
        yield maker.described(distortion)
        yield maker.described(maker.ipc(name))
    yield maker.described(kinds.PhotomReference(detector=detector, table=table))


def photom_entry(detector: str, filter_name: str, *, mean_response: float) -> kinds.PhotomEntry:
    """Return the conversion that belongs to a flat normalised by ``mean_response`` = ⟨A_rel × QE / gain⟩."""
    conversion = filters.megajanskys_per_sr(detector, filter_name) / mean_response
    edges = np.linspace(*filters.BAND_UM[filter_name], 100, dtype=np.float32)
    area = np.full(edges.shape, filters.mean_effective_area_m2(detector, filter_name), dtype=np.float32)
    return kinds.PhotomEntry(
        conversion, 0.01 * conversion, NOMINAL_PIXEL_AREA_SR, COLLECTING_AREA_M2, edges, area
    )


def _channels(data: NDArray[np.uint16]) -> Iterator[NDArray[np.float32]]:
    """Yield each channel of a cube (n, ny, nx) in reading order, (n, ny, 128), less its mean over
    resultants.
    """
    for first in range(0, data.shape[2], CHANNEL_WIDTH):
        channel = data[:, :, first : first + CHANNEL_WIDTH].astype(np.float32)
        channel -= channel.mean(axis=0)
        yield channel[:, :, ::-1] if first // CHANNEL_WIDTH % 2 else channel


class Maker:
    """Draws the planes of one detector; each kind has its own stream, so none disturbs another."""

    def __init__(self, detector: str, seed: int, n_pixels: int) -> None:
        self.detector = detector
        self.seed = seed
        self.shape = (n_pixels, n_pixels)

    def described(self, reference: Reference) -> Reference:
        text = f"synthetic {reference.kind}, recipe {RECIPE_VERSION}, seed {self.seed}"
        return replace(reference, description=text)

    def mask(self) -> kinds.MaskReference:
        dq = np.full(self.shape, DQ.REFERENCE_PIXEL, dtype=np.uint32)
        dq[active(self.shape)] = DQ.GOOD
        hot = self._hot()
        dq[hot] |= np.uint32(DQ.HOT | DQ.DO_NOT_USE)
        return kinds.MaskReference(detector=self.detector, dq=dq)

    def saturation(self) -> kinds.SaturationReference:
        threshold = self._normal("saturation", SATURATION_DN, 1000)
        return kinds.SaturationReference(detector=self.detector, threshold=threshold, dq=self._good())

    def inverse_linearity(self) -> kinds.InverseLinearityReference:
        """y = ``BIAS_DN`` + x - a x² + b x³: 5 % below the straight line at 50 000 DN."""
        a, b = self._curvature()
        coefficients = np.zeros((4, *self.shape), dtype=np.float32)
        coefficients[0] = BIAS_DN
        coefficients[1], coefficients[2], coefficients[3] = 1, -a, b
        return kinds.InverseLinearityReference(
            detector=self.detector, coefficients=coefficients, dq=self._good()
        )

    def linearity(self) -> kinds.LinearityReference:
        """The series inverse of the above to fifth order, right to 1 DN below saturation."""
        a, b = self._curvature()
        about_bias = (
            0.0, 1.0, a, 2 * a**2 - b, 5 * a**3 - 5 * a * b, 14 * a**4 - 21 * a**2 * b + 3 * b**2,
        )  # fmt: skip
        coefficients = np.zeros((len(about_bias), *self.shape), dtype=np.float32)
        for k in range(len(about_bias)):
            # What stands before y^k when (y - bias)^n is multiplied out.
            coefficients[k] = sum(
                math.comb(n, k) * (-BIAS_DN) ** (n - k) * about_bias[n] for n in range(k, len(about_bias))
            )
        return kinds.LinearityReference(detector=self.detector, coefficients=coefficients, dq=self._good())

    def integral_nonlinearity(self) -> kinds.IntegralNonlinearityReference:
        """Ripples of 3 DN about zero, each channel's its own; none at either end of the converter's range."""
        value = np.arange(0, 2**16, INL_STEP_DN, dtype=np.uint16)
        phase = np.pi * value / (2**16 - 1)
        size = self._stream("inl").normal(0, INL_DN / np.sqrt(INL_RIPPLES / 2), (N_CHANNELS, INL_RIPPLES))
        ripples = np.sin(np.arange(1, INL_RIPPLES + 1)[:, None] * phase)
        return kinds.IntegralNonlinearityReference(
            detector=self.detector, value=value, correction=size @ ripples
        )

    def refpix(self, darks: Darks) -> kinds.RefpixReference:
        """Coefficients as darks tell them; the frequencies beyond those that matter are left out."""
        data, amp33 = darks(self.read_noise().read_noise, self.seed)
        flags = np.zeros(self.shape, np.uint32)
        prepared = irrc.prepare(irrc.edges(border_of(data.astype(np.float32), flags), amp33))
        gamma, zeta, alpha = irrc.estimate(prepared, _channels(data))
        return kinds.RefpixReference(
            detector=self.detector,
            gamma=gamma.astype(np.complex64),
            zeta=zeta.astype(np.complex64),
            alpha=alpha.astype(np.complex64),
            n_frequencies=prepared.output.shape[1],
        )

    def ipc(self, filter_name: str) -> kinds.IpcReference:
        """0.5 % to each side and 0.05 % across the corners, 2 % more or less from detector to detector."""
        side, corner = self._stream("ipc").normal(
            (IPC_SIDE, IPC_CORNER), (0.02 * IPC_SIDE, 0.02 * IPC_CORNER)
        )
        kernel = np.array([[corner, side, corner], [side, 0, side], [corner, side, corner]])
        kernel[1, 1] = 1 - kernel.sum()
        return kinds.IpcReference(
            detector=self.detector, filter_name=filter_name, kernel=kernel.astype(np.float32)
        )

    def dark_decay(self) -> kinds.DarkDecayReference:
        amplitude, constant = self._stream("decay").normal((DECAY_DN, DECAY_S), (2.0, 3.0))
        return kinds.DarkDecayReference(
            detector=self.detector, amplitude_dn=float(amplitude), time_constant_s=float(constant)
        )

    def read_noise(self) -> kinds.ReadNoiseReference:
        plane = np.clip(self._normal("readnoise", READ_NOISE_DN, 0.3), 3, None)
        return kinds.ReadNoiseReference(detector=self.detector, read_noise=plane)

    def gain(self) -> kinds.GainReference:
        return kinds.GainReference(detector=self.detector, gain=self._normal("gain", GAIN_E_PER_DN, 0.01))

    def dark(self) -> kinds.DarkReference:
        rate = np.float32(DARK_DN_S) * np.exp(self._normal("dark", 0, 0.5))
        hot = self._hot()
        rate[hot] = self._stream("hot rate").uniform(0.1, 5, int(hot.sum()))
        rate[self._border()] = 0
        return kinds.DarkReference(
            detector=self.detector, rate=rate, rate_error=np.float32(0.05) * rate, dq=self._good()
        )

    def flat(self, filter_name: str, plane: Plane) -> kinds.FlatReference:
        return kinds.FlatReference(
            detector=self.detector,
            filter_name=filter_name,
            flat=plane.astype(np.float32),
            error=np.full(plane.shape, 1e-3, dtype=np.float32),
            dq=np.zeros(plane.shape, dtype=np.uint32),
        )

    def quantum_efficiency(self) -> Plane:
        """Relative to the median, (4088, 4088): pixels differ by 1 %, the corners by 2 % from the centre."""
        inner = active(self.shape)
        n = self.shape[0] - 2 * BORDER
        across = np.linspace(-1, 1, n, dtype=np.float32)
        bowl = 1 - np.float32(0.01) * (across[:, None] ** 2 + across[None, :] ** 2)
        qe = self._normal("qe", 1, 0.01)[inner] * bowl
        # A zero point is that of the median pixel: romanisim takes a flat apart in this way.
        return np.asarray(qe / np.median(qe), dtype=np.float32)

    def _stream(self, name: str) -> np.random.Generator:
        return np.random.default_rng([self.seed, int(self.detector[3:]), *name.encode()])

    def _normal(self, name: str, mean: float, sigma: float) -> Plane:
        plane = self._stream(name).standard_normal(self.shape, dtype=np.float32)
        plane *= np.float32(sigma)
        plane += np.float32(mean)
        return plane

    def _curvature(self) -> tuple[NDArray[np.float64], float]:
        """One value for 8 × 8 pixels: each enters six planes, which would be half of the set's size."""
        edge = -(-self.shape[0] // CURVATURE_BLOCK)
        blocks = self._stream("curvature").normal(1.0e-6, 5e-8, (edge, edge))
        whole = blocks.repeat(CURVATURE_BLOCK, axis=0).repeat(CURVATURE_BLOCK, axis=1)
        return whole[: self.shape[0], : self.shape[1]], 1.0e-12

    def _hot(self) -> NDArray[np.bool_]:
        hot = self._stream("hot").random(self.shape, dtype=np.float32) < HOT_FRACTION
        return hot & ~self._border()

    def _border(self) -> NDArray[np.bool_]:
        border = np.ones(self.shape, dtype=bool)
        border[active(self.shape)] = False
        return border

    def _good(self) -> NDArray[np.uint32]:
        return np.zeros(self.shape, dtype=np.uint32)
