"""Persistence: charge that earlier exposures left in traps comes out while the next one is taken.

Takes what earlier exposures left (DN at their end); leaves deposits of electrons, read by read. The law is
romanisim 0.14's (after Sanchez et al. 2023): A (x/x₀)^α (t/1000 s)^-γ / (1 + exp(-(x - x₀)/δ)) electrons per
second, t after the exposure that collected x electrons; below half the full well it falls in proportion
to x. That it fills the traps anew, and takes charge to do so, is left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.errors import InputError
from nexus_pipeline.instrument.wfi import active
from nexus_pipeline.products.charge import Charge
from nexus_pipeline.products.model import ExposureMeta
from nexus_pipeline.simulate.cosmic_rays import Deposits, no_deposits, sorted_by_row

IGNORED_E_S: Final = 0.01
"""Pixels that begin with less are left alone, as in romanisim: it is one electron in an exposure."""
_REFERENCE_S: Final = 1000.0
_PIXELS_AT_ONCE: Final = 50_000

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Persistence:
    """The parameters of the law; without earlier exposures there is none."""

    amplitude_e_s: float = 0.017
    pivot_e: float = 6.0e4
    width_e: float = 5.0e4
    charge_power: float = 0.045
    decay_power: float = 1.0
    half_well_e: float = 5.0e4

    def off(self) -> "Persistence":
        return replace(self, amplitude_e_s=0.0)

    def rate_e_s(self, charge_e: Floats, since_s: Floats | float) -> Floats:
        """Return electrons per second, ``since_s`` after pixels held ``charge_e``."""
        full = np.maximum(charge_e, self.half_well_e)
        level = (full / self.pivot_e) ** self.charge_power / (
            1 + np.exp(-(full - self.pivot_e) / self.width_e)
        )
        share = np.clip(charge_e / self.half_well_e, 0, 1)
        fall = (np.asarray(since_s) / _REFERENCE_S) ** -self.decay_power
        return np.asarray(self.amplitude_e_s * level * share * fall)


def charge_e(charge: Charge, gain: NDArray[np.float32], saturation: NDArray[np.float32]) -> Floats:
    """Return the electrons (ny, nx) that ``charge`` is of; no pixel holds more than the well that is left.

    ``gain`` (e/DN) and ``saturation`` (DN) have the border.
    """
    inner = active((gain.shape[0], gain.shape[1]))
    if charge.dn.shape != gain[inner].shape:
        raise InputError(f"{charge.meta.file_name} has frames of {charge.dn.shape}, not {gain[inner].shape}")
    return np.asarray(np.clip(charge.dn, 0, saturation[inner]) * gain[inner], np.float64)


def deposits(
    law: Persistence,
    earlier: Sequence[Charge],
    meta: ExposureMeta,
    *,
    gain: NDArray[np.float32],
    saturation: NDArray[np.float32],
    rng: np.random.Generator,
) -> Deposits:
    """Return the electrons that ``earlier`` add to the exposure ``meta``, each read's at its middle.

    Raises InputError for one of another detector or frame, or that was not over by then.
    """
    size, table, parts = gain.shape[0], meta.ma_table, []
    for charge in earlier:
        since_s = _since_s(charge, meta)
        held = charge_e(charge, gain, saturation)
        middles = np.asarray(since_s + table.read_time_s * (np.arange(table.n_reads) + 0.5), np.float64)
        y, x = np.nonzero(law.rate_e_s(held, middles[0]) > IGNORED_E_S)
        border = (gain.shape[0] - held.shape[0]) // 2
        for low in range(0, y.size, _PIXELS_AT_ONCE):
            at = np.s_[low : low + _PIXELS_AT_ONCE]
            rates = law.rate_e_s(held[y[at], x[at], None], middles)
            electrons = rng.poisson(rates * table.read_time_s)
            pixel, read = np.nonzero(electrons)
            parts.append((y[at][pixel] + border, x[at][pixel] + border, read + 1, electrons[pixel, read]))
    if not parts:
        return no_deposits(size)
    row, column, read, electrons = (np.concatenate(each) for each in zip(*parts, strict=True))
    return sorted_by_row(row, column, read, electrons, size=size)


def _since_s(charge: Charge, meta: ExposureMeta) -> float:
    """Return how long before ``meta`` begins the exposure of ``charge`` was over."""
    since_s = (meta.start_time - charge.end_time).total_seconds()
    if charge.meta.detector != meta.detector or since_s < 0:
        raise InputError(
            f"{charge.meta.file_name} ({charge.meta.detector}, over at {charge.end_time:%Y-%m-%d %H:%M:%S}) "
            f"leaves nothing in {meta.detector} from {meta.start_time:%Y-%m-%d %H:%M:%S} on"
        )
    return since_s
