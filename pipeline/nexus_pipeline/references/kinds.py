"""The kinds of reference this pipeline knows, one frozen dataclass each.

Full-frame planes are (4096, 4096) with the reference border, flats (4088, 4088) without it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.products.rows_on_disk import RowsOnDisk

DAWN = datetime(2020, 1, 1, tzinfo=UTC)
"""Before any exposure: the date of references that hold for all of them."""


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What all references say of themselves; ``filter_name`` is None where the filter does not matter.

    ``ma_table`` is the number of the one MA table it was made for, None where it serves all.
    """

    kind: ClassVar[str]
    detector: str
    filter_name: str | None = None
    useafter: datetime = DAWN
    description: str = ""
    ma_table: int | None = None
    tables: ClassVar[tuple[str, ...]] = ()
    """Arrays that are no planes of a frame."""

    @property
    def planes(self) -> dict[str, NDArray[Any] | RowsOnDisk]:
        """Its arrays (…, ny, nx) by name, those that were left on disk among them."""
        arrays = {
            each.name: getattr(self, each.name) for each in fields(self) if each.name not in self.tables
        }
        return {name: array for name, array in arrays.items() if isinstance(array, (np.ndarray, RowsOnDisk))}


@dataclass(frozen=True, kw_only=True)
class MaskReference(Reference):
    """Known bad pixels and the border, as DQ flags."""

    kind = "mask"
    dq: NDArray[np.uint32]


@dataclass(frozen=True, kw_only=True)
class SaturationReference(Reference):
    """DN at which a pixel saturates; NaN where nobody knows."""

    kind = "saturation"
    threshold: NDArray[np.float32]
    dq: NDArray[np.uint32]


@dataclass(frozen=True, kw_only=True)
class LinearityReference(Reference):
    """Polynomial from measured to linear DN: Σ ``coefficients[k]`` × DN^k, (n, ny, nx)."""

    kind = "linearity"
    coefficients: NDArray[np.float32]
    dq: NDArray[np.uint32]


@dataclass(frozen=True, kw_only=True)
class InverseLinearityReference(Reference):
    """Polynomial from linear to measured DN, (n, ny, nx)."""

    kind = "inverselinearity"
    coefficients: NDArray[np.float32]
    dq: NDArray[np.uint32]


@dataclass(frozen=True, kw_only=True)
class IntegralNonlinearityReference(Reference):
    """DN to add to what each channel's converter gave, (n_channels, n), at its outputs ``value`` (n,), DN."""

    kind = "integralnonlinearity"
    tables = ("value", "correction")
    value: NDArray[np.uint16]
    correction: NDArray[np.float64]

    @cached_property
    def on_every_dn(self) -> NDArray[np.float32]:
        """Return (n_channels, 65536, 2): at 0, 1, 2 … DN the correction and the step to the next one's.

        A look-up instead of a search.
        """
        everywhere = np.arange(2**16)
        table = np.array([np.interp(everywhere, self.value, row) for row in self.correction])
        return np.stack([table, np.diff(table, append=table[:, -1:])], axis=2, dtype=np.float32)


@dataclass(frozen=True, kw_only=True)
class RefpixReference(Reference):
    """Filters of the left and right reference columns and of the 33rd output, by channel and frequency.

    ``gamma``, ``zeta``, ``alpha`` (n_channels, n) are zero beyond their n lowest of ``n_frequencies``.
    """

    kind = "refpix"
    tables = ("gamma", "zeta", "alpha")
    gamma: NDArray[np.complex64]
    zeta: NDArray[np.complex64]
    alpha: NDArray[np.complex64]
    n_frequencies: int


@dataclass(frozen=True, kw_only=True)
class IpcReference(Reference):
    """Interpixel capacitance: the share of a pixel's signal that it and its neighbours show, (3, 3), of sum
    1.
    """

    kind = "ipc"
    tables = ("kernel",)
    kernel: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class DarkDecayReference(Reference):
    """A signal that decays from the reset on: DN in the middle of the first read, and seconds.

    None where nobody knows them.
    """

    kind = "darkdecaysignal"
    amplitude_dn: float | None
    time_constant_s: float | None


@dataclass(frozen=True, kw_only=True)
class ReadNoiseReference(Reference):
    """Noise of one read, DN."""

    kind = "readnoise"
    read_noise: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class GainReference(Reference):
    """Electrons per DN."""

    kind = "gain"
    gain: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class DarkReference(Reference):
    """Dark current and its error, DN/s."""

    kind = "dark"
    rate: NDArray[np.float32]
    rate_error: NDArray[np.float32]
    dq: NDArray[np.uint32]


@dataclass(frozen=True, kw_only=True)
class FlatReference(Reference):
    """Relative response to an evenly lit sky (see ``instrument``), its error and DQ; no border."""

    kind = "flat"
    flat: NDArray[np.float32]
    error: NDArray[np.float32]
    dq: NDArray[np.uint32]


@dataclass(frozen=True, kw_only=True)
class DistortionReference(Reference):
    """Astropy model from 0-based pixels (x, y) of an L2 image to (V2, V3) in arcsec, with its inverse."""

    kind = "distortion"
    transform: Any


@dataclass(frozen=True)
class PhotomEntry:
    """Surface brightness (MJy/sr) of 1 DN/s in a flat-fielded pixel, and the filter's effective area."""

    conversion_megajanskys: float
    uncertainty: float
    pixel_area_sr: float
    collecting_area_m2: float
    wavelength_um: NDArray[np.float32]
    effective_area_m2: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class PhotomReference(Reference):
    """Conversion to physical units by filter name."""

    kind = "photom"
    table: Mapping[str, PhotomEntry]


@dataclass(frozen=True, kw_only=True)
class EpsfReference(Reference):
    """PSF stamps (defocus, spectral type, grid position, y, x) at 0-based L2 ``pixel_x``, ``pixel_y``.

    ``includes`` names what the stamps hold besides the optics ("pixel", "diffusion", "jitter",
    "ipc") and ``total`` is the sum of a stamp that lost no light: ``oversample²`` in the mission's
    convention, where a stamp's value is the fraction of light in a pixel centred there.
    Jitter is in milliarcseconds.
    """

    kind = "epsf"
    psf: NDArray[np.float32]
    pixel_x: tuple[float, ...]
    pixel_y: tuple[float, ...]
    oversample: int
    includes: tuple[str, ...]
    total: float
    spectral_types: tuple[str, ...] = ("G2V",)
    defocus: tuple[int, ...] = (0,)
    jitter_major_mas: float = 0.0
    jitter_minor_mas: float = 0.0
    jitter_angle_deg: float = 0.0


KINDS: dict[str, type[Reference]] = {
    cls.kind: cls
    for cls in (
        MaskReference, SaturationReference, LinearityReference, InverseLinearityReference,
        IntegralNonlinearityReference, DarkDecayReference, RefpixReference, IpcReference,
        ReadNoiseReference, GainReference, DarkReference, FlatReference, DistortionReference,
        PhotomReference, EpsfReference,
    )
}  # fmt: skip
