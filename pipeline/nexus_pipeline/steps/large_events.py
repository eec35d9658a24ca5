"""Snowballs among the jumps: regions of jumps about a core that just saturated, and what to add to them.

Takes the jumps that a ramp fit found and where pixels begin to be saturated, as lists of (resultant, y, x);
leaves the jumps to add: those of a halo too faint to be seen pixel by pixel. The rule is that of stcal 1.20's
``flag_large_events`` - a region of jumps large enough, a saturated core within it, both axes of its ellipse
longer by the same amount - on connected pixels rather than drawn ellipses. Other than there a core may
begin to saturate in the resultant before too (a mean of reads may hide it), it is no core where the jumps
do not surround it (a star that fills its wells with a cosmic ray at its rim), and cores are not widened.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from nexus_pipeline.errors import InputError
from nexus_pipeline.instrument.dq import DQ

Places = NDArray[np.int16]
"""(m, 3): resultant, y, x."""
_SQUARE: Final = 1 / 12
"""Variance of a pixel's own extent."""


@dataclass(frozen=True)
class LargeEvents:
    """What counts as a snowball, in pixels, and by which factor its region grows."""

    min_jump_area: float = 6.0
    min_sat_area: float = 1.0
    expand_factor: float = 1.9
    sat_required_snowball: bool = True

    def __post_init__(self) -> None:
        """Raise InputError for what no region could fulfil or would shrink it."""
        if not (self.min_jump_area >= 1 and self.min_sat_area >= 0 and 1 <= self.expand_factor <= 100):
            raise InputError(
                "ramp_fitting: min_jump_area must be 1 or more, min_sat_area 0 or more, "
                f"expand_factor 1 to 100, not {self.min_jump_area}, {self.min_sat_area}, {self.expand_factor}"
            )


def first_saturated(flags: NDArray[np.uint8]) -> Places:
    """Return where ``flags`` (n, ny, nx) of resultants first say SATURATED."""
    saturated = flags & np.uint8(DQ.SATURATED) != 0
    y, x = np.nonzero(saturated.any(axis=0))
    return np.stack([saturated[:, y, x].argmax(axis=0), y, x], axis=1).astype(np.int16)


def expanded(jumps: Places, saturated: Places, shape: tuple[int, int], rule: LargeEvents) -> Places:
    """Return the jumps to add to ``jumps`` in a frame of ``shape``: none twice, none of saturated pixels."""
    parts = [np.empty((0, 3), np.int64)]
    for resultant in np.unique(jumps[:, 0]):
        hit = jumps[jumps[:, 0] == resultant, 1:]
        core = saturated[np.abs(saturated[:, 0] - resultant) <= 1, 1:]
        pixels = _grown(_flat(hit, shape), _flat(core, shape), shape, rule)
        parts.append(np.insert(pixels, 0, resultant, axis=1))
    grown = np.concatenate(parts)
    full = np.full(shape, np.iinfo(np.int16).max, np.int16)
    full[saturated[:, 1], saturated[:, 2]] = saturated[:, 0]
    grown = grown[grown[:, 0] < full[grown[:, 1], grown[:, 2]]]
    new = ~np.isin(_keys(grown, shape), _keys(jumps, shape))
    return np.asarray(grown[new], np.int16)


def runs(rows: NDArray[np.integer], longest: int) -> list[range]:
    """Return ranges of at most ``longest`` rows, without gaps, that cover ``rows`` (sorted)."""
    parts = np.split(rows, np.nonzero(np.diff(rows) > 1)[0] + 1)
    stretches = [range(int(part[0]), int(part[-1]) + 1) for part in parts if len(part)]
    return [part[low : low + longest] for part in stretches for low in range(0, len(part), longest)]


def _keys(places: NDArray[Any], shape: tuple[int, int]) -> NDArray[np.int64]:
    return np.asarray(places[:, 0].astype(np.int64) * shape[0] * shape[1] + _flat(places[:, 1:], shape))


def _grown(
    hit: NDArray[np.int64], core: NDArray[np.int64], shape: tuple[int, int], rule: LargeEvents
) -> NDArray[np.int64]:
    """Return the pixels (y, x), each once, of the regions of one resultant, grown; of flat indices."""
    flat = np.unique(np.concatenate([hit, core]))
    pixels: NDArray[np.int64] = np.stack([flat // shape[1], flat % shape[1]], axis=1)
    is_jump, is_core = np.isin(flat, hit), np.isin(flat, core)
    region = _regions(pixels, shape)
    n_jumps, n_core = (np.bincount(region, weights=each) for each in (is_jump, is_core))
    large = n_jumps >= rule.min_jump_area
    if rule.sat_required_snowball:
        large &= n_core >= rule.min_sat_area
    parts = [np.empty((0, 2), np.int64)]
    for number in np.nonzero(large)[0]:
        own = region == number
        about = not rule.sat_required_snowball or _at_edge(pixels[own], shape)
        if about or _surrounded(pixels[own & is_jump], pixels[own & is_core]):
            parts.append(_ellipse(pixels[own], rule.expand_factor, shape))
    return np.unique(np.concatenate(parts), axis=0)


def _flat(pixels: NDArray[Any], shape: tuple[int, int]) -> NDArray[np.int64]:
    return np.asarray(pixels[:, 0].astype(np.int64) * shape[1] + pixels[:, 1])


def _regions(pixels: NDArray[np.int64], shape: tuple[int, int]) -> NDArray[np.int32]:
    """Return a number for each of ``pixels`` (sorted), the same for those that touch, at corners too."""
    flat, n = _flat(pixels, shape), len(pixels)
    pairs = []
    for down, right in ((0, 1), (1, -1), (1, 0), (1, 1)):
        there = pixels + np.array([down, right])
        inside = (there[:, 1] >= 0) & (there[:, 1] < shape[1])
        at = np.minimum(np.searchsorted(flat, _flat(there, shape)), max(n - 1, 0))
        one = np.nonzero(inside)[0]
        one = one[flat[at[one]] == _flat(there[one], shape)]
        pairs.append(np.stack([one, at[one]]))
    one, other = np.concatenate(pairs, axis=1)
    graph = coo_array((np.ones(one.size, np.int8), (one, other)), shape=(n, n))
    return np.asarray(connected_components(graph, directed=False)[1], np.int32)


def _surrounded(jumps: NDArray[np.int64], core: NDArray[np.int64]) -> bool:
    """Say whether the middle of ``core`` lies in the ellipse of ``jumps``."""
    if not len(core):
        return False
    middle, axes, turn = _moments(jumps)
    return bool(np.sum(((core.mean(axis=0) - middle) @ turn / axes) ** 2) <= 1)


def _at_edge(pixels: NDArray[np.int64], shape: tuple[int, int]) -> bool:
    """Say whether ``pixels`` reach an edge of the frame: beyond it jumps cannot be seen."""
    return bool((pixels == 0).any() or (pixels == np.array(shape) - 1).any())


def _moments(
    pixels: NDArray[np.int64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return middle, semi-axes (smaller first) and their directions (columns) of a filled ellipse alike."""
    middle = pixels.mean(axis=0)
    off = pixels - middle
    variance, turn = np.linalg.eigh(off.T @ off / len(pixels) + _SQUARE * np.eye(2))
    return middle, 2 * np.sqrt(variance), turn


def _ellipse(pixels: NDArray[np.int64], factor: float, shape: tuple[int, int]) -> NDArray[np.int64]:
    """Return the pixels within the ellipse of ``pixels``, both axes longer by the smaller × (factor - 1)."""
    middle, axes, turn = _moments(pixels)
    axes = axes + (factor - 1) * axes[0]
    low = np.maximum(np.ceil(middle - axes[1]), 0).astype(int)
    high = np.minimum(np.floor(middle + axes[1]), np.array(shape) - 1).astype(int)
    rows, columns = np.arange(low[0], high[0] + 1), np.arange(low[1], high[1] + 1)
    near = np.stack([np.repeat(rows, len(columns)), np.tile(columns, len(rows))], axis=1)
    inside = np.sum(((near - middle) @ turn / axes) ** 2, axis=1) <= 1
    return np.asarray(near[inside])
