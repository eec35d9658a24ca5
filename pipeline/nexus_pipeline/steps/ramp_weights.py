"""Weights of the ramp fit for every stretch of resultants, worked out once per MA table.

Source: Casertano et al. 2022, "Determining the best-fitting slope and its uncertainty for
up-the-ramp sampled images with unevenly distributed resultants" (Roman-STScI-000394), table 2
and equations 30 to 45.
"""

from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.instrument.ma_table import MATable

POWERS: Final = (0.0, 0.4, 1.0, 3.0, 6.0, 10.0)
"""Power of the weights for signal-to-noise ratios below 5, 10, 20, 50, 100 and above."""


@dataclass(frozen=True)
class RampWeights:
    """For resultants ``a`` to ``b`` and power ``p``: slope = Σ ``slope[a, b, p, i]`` × resultant i.

    Its variance is ``read[a, b, p]`` × (read noise)² + ``poisson[a, b, p]`` × slope; times in seconds.
    """

    slope: NDArray[np.float32]
    read: NDArray[np.float32]
    poisson: NDArray[np.float32]


@cache
def ramp_weights(table: MATable) -> RampWeights:
    """Return the weights of every stretch of at least two resultants of ``table``."""
    n = table.n_resultants
    slope = np.zeros((n, n, len(POWERS), n))
    read, poisson = np.zeros((n, n, len(POWERS))), np.zeros((n, n, len(POWERS)))
    for a in range(n):
        for b in range(a + 1, n):
            for p, power in enumerate(POWERS):
                stretch = slice(a, b + 1)
                k = _slope_weights(table, stretch, power)
                slope[a, b, p, stretch] = k
                read[a, b, p] = np.sum(k**2 / table.reads_per_resultant[stretch])
                poisson[a, b, p] = _poisson_factor(k, table, stretch)
    return RampWeights(*(array.astype(np.float32) for array in (slope, read, poisson)))


def _slope_weights(table: MATable, stretch: slice, power: float) -> NDArray[np.float64]:
    times, reads = table.mean_times_s[stretch], table.reads_per_resultant[stretch]
    middle, half = (times[0] + times[-1]) / 2, (times[-1] - times[0]) / 2
    weights = (1 + power) * reads / (1 + power * reads) * np.abs((times - middle) / half) ** power
    f0, f1, f2 = (np.sum(weights * times**k) for k in range(3))
    return np.asarray((f0 * times - f1) * weights / (f2 * f0 - f1**2))


def _poisson_factor(k: NDArray[np.float64], table: MATable, stretch: slice) -> float:
    # Resultant i shares with every later one the photons of its own mean time.
    times, tau = table.mean_times_s[stretch], table.variance_times_s[stretch]
    earlier = np.concatenate(([0.0], np.cumsum(k * times)[:-1]))
    return float(np.sum(k**2 * tau + 2 * k * earlier))
