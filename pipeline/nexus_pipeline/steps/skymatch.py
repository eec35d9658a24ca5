"""skymatch: levels that make the sky of overlapping images equal.

Takes medians of blocks of sky, the same blocks in every image; leaves a level per image, and its slopes along
the mosaic's x and y where asked for: the least squares over all blocks that two images or more have seen. As
in romancal the lowest image of those that hang together keeps its sky; nothing is known of what all share.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

Floats = NDArray[np.float64]

_ROUNDS: Final = 4
_CLIP_SIGMA: Final = 4.0
_MAD_TO_SIGMA: Final = 1.4826


def match(blocks: Floats, places: Floats, *, gradients: bool = False) -> Floats:
    """Return the levels (n, 3): value where the mosaic's pixel coordinates are 0, slopes along x and y.

    ``blocks`` (n, b) are the medians, NaN where an image has none; ``places`` (b, 2) the blocks' middles in
    pixels of the mosaic. An image that overlaps no other has level 0. Blocks whose medians disagree (a ray's
    trail, a variable) are left out.
    """
    n = len(blocks)
    middle, reach = places.mean(axis=0), max(float(np.ptp(places)), 1.0)
    basis = np.column_stack([np.ones(len(places)), (places - middle) / reach])[:, : 3 if gradients else 1]
    known = np.isfinite(blocks)
    fitted = np.zeros((n, basis.shape[1]))
    for _ in range(_ROUNDS):
        known = known & (known.sum(axis=0) >= 2)
        fitted = _solve(np.where(known, blocks, 0.0), known, basis)
        apart = np.abs(_residuals(blocks - fitted @ basis.T, known))
        if not known.any():
            break
        typical = _MAD_TO_SIGMA * float(np.median(apart[known]))
        known = known & (apart <= max(_CLIP_SIGMA * typical, 1e-12 * float(np.abs(blocks[known]).max())))
    fitted[:, 0] = _from_the_lowest(fitted[:, 0], known)
    return _levels(fitted, middle, reach)


def _solve(blocks: Floats, known: NDArray[np.bool_], basis: Floats) -> Floats:
    """Return the coefficients (n, p) of least squares; each block's own sky is eliminated from them."""
    n, p = len(blocks), basis.shape[1]
    count = np.maximum(known.sum(axis=0), 1)
    terms = (known[:, None, :] * basis.T[None]).reshape(n * p, -1)
    matrix = -(terms / count) @ terms.T
    for image in range(n):
        own = np.s_[image * p : (image + 1) * p]
        matrix[own, own] += terms[own] @ (known[image][:, None] * basis)
    right = (terms.reshape(n, p, -1) * _residuals(blocks, known)[:, None, :]).sum(axis=2).ravel()
    return np.asarray(np.linalg.lstsq(matrix, right, rcond=1e-10)[0].reshape(n, p), dtype=np.float64)


def _residuals(blocks: Floats, known: NDArray[np.bool_]) -> Floats:
    """Return what images differ by from their mean in each block, 0 where not known."""
    own = np.where(known, blocks, 0.0)
    return np.where(known, own - own.sum(axis=0) / np.maximum(known.sum(axis=0), 1), 0.0)


def _from_the_lowest(levels: Floats, known: NDArray[np.bool_]) -> Floats:
    together = (known.astype(np.float64) @ known.T) > 0
    _, groups = connected_components(together, directed=False)
    lowest = np.array([levels[groups == group].min() for group in range(groups.max() + 1)])
    return np.asarray(levels - lowest[groups], dtype=np.float64)


def _levels(fitted: Floats, middle: Floats, reach: float) -> Floats:
    levels = np.zeros((len(fitted), 3))
    levels[:, : fitted.shape[1]] = fitted
    levels[:, 1:] /= reach
    levels[:, 0] -= levels[:, 1:] @ middle
    return levels
