"""A synthetic, self-consistent set of references for any detector.

Takes the geometry of each detector; leaves references in rad's schemas. The same
seed gives the same set, whatever else is made beside it. Values resemble those of the flight
detectors (gain 1.8 e/DN, read noise 5 DN, saturation near 55 000 DN, dark current 0.006 DN/s,
5 % non-linearity at 50 000 DN) but describe no real one.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.instrument import filters
from nexus_pipeline.instrument.dq import DQ
from nexus_pipeline.instrument.wfi import BORDER, N_PIXELS, NOMINAL_PIXEL_AREA_SR, active
from nexus_pipeline.references import kinds
from nexus_pipeline.references.kinds import Reference
from nexus_pipeline.references.store import ReferenceStore, open_or_new

Plane = NDArray[np.float32]
Geometry = Callable[[str, int], tuple[Any, Plane]]
"""Gives, for a detector and the edge of its L2 image, the distortion (an astropy model from 0-based
pixels to V2, V3 in arcsec, with inverse) and each pixel's area over the nominal one."""

RECIPE_VERSION: Final = 3
"""Raised whenever the values below change, so that caches keyed by it are made anew."""
GAIN_E_PER_DN: Final = 1.8
SATURATION_DN: Final = 55_000.0
READ_NOISE_DN: Final = 5.0
DARK_DN_S: Final = 0.006
HOT_FRACTION: Final = 1e-3
IPC_SHARES: Final = np.array([[0.21, 1.66, 0.21], [1.88, 0.0, 1.88], [0.21, 1.66, 0.21]]) / 100
"""What neighbours see of a pixel's charge: the size measured on flight detectors (Mosby et al. 2020)."""
COLLECTING_AREA_M2: Final = 3.757


def make_references(
    url: str,
    geometry: Geometry,
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
        made = made.add(_set(geometry, detector, filter_names, seed=seed, n_pixels=n_pixels))
    return made


def _set(
    geometry: Geometry, detector: str, filter_names: Sequence[str], *, seed: int, n_pixels: int
) -> Iterator[Reference]:
    """Yield the references of one detector one by one, so that only one lies in memory."""
    maker = Maker(detector, seed, n_pixels)
    gain, qe = maker.gain(), maker.quantum_efficiency()
    plain: list[Callable[[], Reference]] = [
        maker.mask, maker.saturation, maker.linearity, maker.inverse_linearity, maker.read_noise, maker.dark,
        maker.ipc,
    ]  # fmt: skip
    for make in plain:
        yield maker.described(make())
    yield maker.described(gain)
    transform, area = geometry(detector, n_pixels - 2 * BORDER)
    table = {}
    inner = active((n_pixels, n_pixels))
    for name in filter_names:
        response = area * qe / gain.gain[inner]
        mean = float(response.mean(dtype=np.float64))
        table[name] = photom_entry(detector, name, mean_response=mean)
        yield maker.described(maker.flat(name, response / np.float32(mean)))
        distortion = kinds.DistortionReference(detector=detector, filter_name=name, transform=transform)
        yield maker.described(distortion)
    yield maker.described(kinds.PhotomReference(detector=detector, table=table))


def photom_entry(detector: str, filter_name: str, *, mean_response: float) -> kinds.PhotomEntry:
    """Return the conversion that belongs to a flat normalised by ``mean_response`` = ⟨A_rel × QE / gain⟩."""
    conversion = filters.megajanskys_per_sr(detector, filter_name) / mean_response
    edges = np.linspace(*filters.BAND_UM[filter_name], 100, dtype=np.float32)
    area = np.full(edges.shape, filters.mean_effective_area_m2(detector, filter_name), dtype=np.float32)
    return kinds.PhotomEntry(
        conversion, 0.01 * conversion, NOMINAL_PIXEL_AREA_SR, COLLECTING_AREA_M2, edges, area
    )


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
        """y = x - a x² + b x³: 5 % below the straight line at 50 000 DN."""
        a, b = self._curvature()
        coefficients = np.zeros((4, *self.shape), dtype=np.float32)
        coefficients[1], coefficients[2], coefficients[3] = 1, -a, b
        return kinds.InverseLinearityReference(
            detector=self.detector, coefficients=coefficients, dq=self._good()
        )

    def linearity(self) -> kinds.LinearityReference:
        """The series inverse of the above to fifth order, right to 1 DN below saturation."""
        a, b = self._curvature()
        coefficients = np.zeros((6, *self.shape), dtype=np.float32)
        coefficients[1] = 1
        coefficients[2] = a
        coefficients[3] = 2 * a**2 - b
        coefficients[4] = 5 * a**3 - 5 * a * b
        coefficients[5] = 14 * a**4 - 21 * a**2 * b + 3 * b**2
        return kinds.LinearityReference(detector=self.detector, coefficients=coefficients, dq=self._good())

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

    def ipc(self) -> kinds.IpcReference:
        """Shares that differ by 5 % from detector to detector and side to side."""
        kernel = IPC_SHARES * self._stream("ipc").normal(1, 0.05, (3, 3))
        kernel[1, 1] = 1 - kernel.sum()
        return kinds.IpcReference(detector=self.detector, kernel=kernel.astype(np.float32))

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
        return self._normal("curvature", 1.0e-6, 5e-8).astype(np.float64), 1.0e-12

    def _hot(self) -> NDArray[np.bool_]:
        hot = self._stream("hot").random(self.shape, dtype=np.float32) < HOT_FRACTION
        return hot & ~self._border()

    def _border(self) -> NDArray[np.bool_]:
        border = np.ones(self.shape, dtype=bool)
        border[active(self.shape)] = False
        return border

    def _good(self) -> NDArray[np.uint32]:
        return np.zeros(self.shape, dtype=np.uint32)
