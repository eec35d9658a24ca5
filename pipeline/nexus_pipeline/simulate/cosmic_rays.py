"""Cosmic rays: straight tracks that leave electrons in the pixels they cross, at one read each.

Takes the length of an exposure; leaves deposits (row, column, read, electrons). Rates and
distributions as romanisim's: 8 per cm² and s, Moyal energy loss, path lengths ∝ L^-4.33
(Miles et al. 2021).
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import moyal

from nexus_pipeline.instrument.ma_table import MATable

RATE_PER_CM2_S: Final = 8.0
PIXEL_UM: Final = 10.0
DEPTH_UM: Final = 5.0
EV_PER_ELECTRON: Final = 0.5
_LENGTH_UM: Final = (10.0, 2000.0)
_LENGTH_SLOPE: Final = -4.33
_LOSS_EV_PER_UM: Final = (10.0, 10000.0)
_STEP: Final = 0.05


@dataclass(frozen=True)
class Deposits:
    """Electrons left in pixels, sorted by row; ``first`` (n_rows + 1) tells where each row begins."""

    column: NDArray[np.int32]
    read: NDArray[np.int32]
    electrons: NDArray[np.float32]
    first: NDArray[np.int64]


def no_deposits(size: int) -> Deposits:
    """Return the deposits of a detector that nothing hits."""
    none = np.empty(0, np.int32)
    return Deposits(none, none, np.empty(0, np.float32), np.zeros(size + 1, np.int64))


def cosmic_rays(table: MATable, *, size: int, rng: np.random.Generator) -> Deposits:
    """Return what hits a size² detector during an exposure."""
    area_cm2 = (size * PIXEL_UM * 1e-4) ** 2
    n = rng.poisson(RATE_PER_CM2_S * area_cm2 * table.exposure_time_s)
    x, y, angle = rng.uniform(0, size, n), rng.uniform(0, size, n), rng.uniform(0, 2 * np.pi, n)
    read = rng.integers(1, table.n_reads + 1, n)
    length = _lengths(rng.random(n)) / PIXEL_UM
    loss = np.clip(moyal.rvs(120.0, 50.0, size=n, random_state=rng), *_LOSS_EV_PER_UM)
    # The path through the layer: the projected length and the layer's depth.
    electrons = loss * np.hypot(length * PIXEL_UM, DEPTH_UM) / EV_PER_ELECTRON
    track, column, row, share = _walk(x, y, length * np.cos(angle), length * np.sin(angle), size=size)
    amount = rng.poisson(electrons[track] * share)
    return sorted_by_row(row, column, read[track], amount, size=size)


def _lengths(u: NDArray[np.float64]) -> NDArray[np.float64]:
    power = _LENGTH_SLOPE + 1
    low, high = (limit**power for limit in _LENGTH_UM)
    return np.asarray((low + u * (high - low)) ** (1 / power))


def _walk(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    dx: NDArray[np.float64],
    dy: NDArray[np.float64],
    *,
    size: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return (track, column, row, share of the track) of every pixel crossed, by short steps."""
    steps = np.ceil(np.hypot(dx, dy) / _STEP).astype(np.int64) + 1
    track = np.repeat(np.arange(x.size), steps)
    within = np.arange(track.size) - np.repeat(np.cumsum(steps) - steps, steps)
    at = (within + 0.5) / steps[track]
    column = np.floor(x[track] + at * dx[track]).astype(np.int64)
    row = np.floor(y[track] + at * dy[track]).astype(np.int64)
    inside = (column >= 0) & (column < size) & (row >= 0) & (row < size)
    key = (track[inside] * size + row[inside]) * size + column[inside]
    pixels, counts = np.unique(key, return_counts=True)
    hit = pixels // (size * size)
    return hit, pixels % size, pixels // size % size, counts / steps[hit]


def sorted_by_row(
    row: NDArray[np.int64],
    column: NDArray[Any],
    read: NDArray[Any],
    amount: NDArray[Any],
    *,
    size: int,
) -> Deposits:
    """Return the deposits of ``amount`` electrons each, as the detector takes them."""
    order = np.lexsort((read, column, row))
    first = np.searchsorted(row[order], np.arange(size + 1))
    return Deposits(
        column[order].astype(np.int32),
        read[order].astype(np.int32),
        amount[order].astype(np.float32),
        first.astype(np.int64),
    )


def together(one: Deposits, other: Deposits) -> Deposits:
    """Return the deposits of both."""
    row = np.concatenate(
        [np.repeat(np.arange(each.first.size - 1), np.diff(each.first)) for each in (one, other)]
    )
    column, read, electrons = (
        np.concatenate([getattr(one, name), getattr(other, name)]) for name in ("column", "read", "electrons")
    )
    return sorted_by_row(row, column, read, electrons, size=one.first.size - 1)
