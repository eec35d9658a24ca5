# ruff: noqa: PLR0917 - compiled code takes its arrays one by one
"""Tables that make the detector's many random numbers cheap: Poisson by alias, normal by ziggurat.

Poisson numbers of the means 0, 1/32 … 16 come from Walker's alias tables (1977), two from 64 bits, each
probability good to 2^-32; the little a mean has above its table's is drawn for all reads together and dealt
out. Larger means are drawn by rejection. Normal numbers come from Marsaglia and Tsang's ziggurat (2000) in
Doornik's form (2005), exact but for rounding.
"""

from functools import lru_cache
from math import exp, log, sqrt
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from nexus_pipeline.bands import compiled
from nexus_pipeline.simulate.random import State, bits, poisson, uniform

Floats = NDArray[np.float64]

TABLES_PER_ELECTRON: Final = 32
LARGEST_MEAN: Final = 16.0
_CELLS: Final = 64
"""Numbers a table can give: of mean 16, one in 10^17 is larger."""
_LAYERS: Final = 128
_TAIL: Final = 3.442619855899
_LAYER_AREA: Final = 9.91256303526217e-3


class Samplers(NamedTuple):
    """Alias tables (n_means, 64), 26-bit thresholds and second choices; the ziggurat's edges and ratios."""

    threshold: NDArray[np.uint32]
    second: NDArray[np.uint8]
    edge: Floats
    ratio: Floats


@lru_cache(maxsize=1)
def samplers() -> Samplers:
    """Return the tables; made once, in some 20 ms."""
    means = np.arange(int(LARGEST_MEAN * TABLES_PER_ELECTRON) + 1) / TABLES_PER_ELECTRON
    chance = np.asarray(stats.poisson.pmf(np.arange(_CELLS)[None, :], means[:, None]))
    chance /= chance.sum(axis=1, keepdims=True)
    threshold = np.empty(chance.shape, np.uint32)
    second = np.empty(chance.shape, np.uint8)
    for k in range(means.size):
        _fill_alias(chance[k] * _CELLS, threshold[k], second[k])
    return Samplers(threshold, second, *_ziggurat())


@compiled
def _fill_alias(share: Floats, threshold: NDArray[np.uint32], second: NDArray[np.uint8]) -> None:
    """Write Walker's table of ``share`` (mean 1, used up) into ``threshold`` and ``second``."""
    poor, rich = np.empty(share.size, np.int64), np.empty(share.size, np.int64)
    n_poor, n_rich = 0, 0
    for i in range(share.size):
        if share[i] < 1.0:
            poor[n_poor] = i
            n_poor += 1
        else:
            rich[n_rich] = i
            n_rich += 1
        threshold[i], second[i] = 1 << 26, i
    while n_poor > 0 and n_rich > 0:
        n_poor -= 1
        giver, taker = rich[n_rich - 1], poor[n_poor]
        threshold[taker], second[taker] = np.uint32(share[taker] * (1 << 26) + 0.5), giver
        share[giver] -= 1.0 - share[taker]
        if share[giver] < 1.0:
            n_rich -= 1
            poor[n_poor] = giver
            n_poor += 1


def _ziggurat() -> tuple[Floats, Floats]:
    """Return the right edges of the layers, widest first (129), and each one's over the one before (128)."""
    edge = np.zeros(_LAYERS + 1)
    height = exp(-0.5 * _TAIL * _TAIL)
    edge[0], edge[1] = _LAYER_AREA / height, _TAIL
    for i in range(2, _LAYERS):
        edge[i] = sqrt(-2.0 * log(_LAYER_AREA / edge[i - 1] + height))
        height = exp(-0.5 * edge[i] * edge[i])
    return edge, edge[1:] / edge[:-1]


@compiled
def fill_normals(state: State, edge: Floats, ratio: Floats, out: Floats) -> None:
    """Write standard normal numbers into ``out`` (1-D)."""
    for k in range(out.size):
        word = bits(state)
        layer = int(word & np.uint64(127))
        u = float(word >> np.uint64(11)) * 2.220446049250313e-16 - 1.0
        out[k] = u * edge[layer] if abs(u) < ratio[layer] else _beside_the_layers(state, edge, layer, u)


@compiled
def _beside_the_layers(state: State, edge: Floats, layer: int, u: float) -> float:
    """Return what one draw in fifty takes: the curved ends of the layers, and the tail."""
    while True:
        if layer == 0:
            far = _from_the_tail(state)
            return far if u > 0.0 else -far
        x = u * edge[layer]
        below = exp(-0.5 * (edge[layer] * edge[layer] - x * x))
        above = exp(-0.5 * (edge[layer + 1] * edge[layer + 1] - x * x))
        if above + uniform(state) * (below - above) < 1.0:
            return float(x)
        word = bits(state)
        layer = int(word & np.uint64(127))
        u = float(word >> np.uint64(11)) * 2.220446049250313e-16 - 1.0
        if abs(u) * edge[layer] < edge[layer + 1]:
            return float(u * edge[layer])


@compiled
def _from_the_tail(state: State) -> float:
    while True:
        x, y = log(uniform(state)) / _TAIL, log(uniform(state))
        if -2.0 * y >= x * x:
            return _TAIL - x


@compiled
def fill_poisson(
    state: State,
    threshold: NDArray[np.uint32],
    second: NDArray[np.uint8],
    means: NDArray[np.float32],
    factor: float,
    out: NDArray[np.float32],
) -> None:
    """Write Poisson numbers of ``means × factor`` (n) into ``out`` (n, reads)."""
    reads, half = out.shape[1], np.uint64(0x3FFFFFF)
    for pixel in range(means.size):
        mean = means[pixel] * factor
        if not 0.0 < mean < LARGEST_MEAN:
            _fill_directly(state, mean, out[pixel])
            continue
        table = int(mean * TABLES_PER_ELECTRON)
        for read in range(0, reads, 2):
            word = bits(state)
            cell = int(word & np.uint64(63))
            keep = (word >> np.uint64(6)) & half < threshold[table, cell]
            out[pixel, read] = cell if keep else second[table, cell]
            if read + 1 < reads:
                cell = int((word >> np.uint64(32)) & np.uint64(63))
                keep = (word >> np.uint64(38)) & half < threshold[table, cell]
                out[pixel, read + 1] = cell if keep else second[table, cell]
        # What the mean has above its table's: so few that each is dealt to a read of its own.
        rest = (mean - table / TABLES_PER_ELECTRON) * reads
        u, p, k = uniform(state), exp(-rest), 0
        while u > p and k < _CELLS:
            u -= p
            k += 1
            p *= rest / k
            out[pixel, int(uniform(state) * reads)] += 1.0


@compiled
def _fill_directly(state: State, mean: float, out: NDArray[np.float32]) -> None:
    for read in range(out.size):
        out[read] = poisson(state, mean, 0.0) if mean > 0.0 else 0.0
