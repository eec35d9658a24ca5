"""How probably a source is a star, from how much wider than the PSF it is.

Stars have an extent of zero but for noise, galaxies have extents of all sizes. Which share of the sources has
which extent is learnt from the catalogue itself, brightness by brightness, by maximum likelihood on a grid
(expectation and maximisation); a source's probability is then Bayes'.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

Floats = NDArray[np.float64]

_GALAXIES: Final = np.geomspace(0.3, 30, 22)
"""Extents of galaxies, in the variance of the PSF's core; smaller ones are taken for stars."""
_BLENDED, _BLENDED_SIGMA = 0.03, 4.0
"""Which share of the stars has neighbours' light in its window, and how many times its error that makes."""
_STEPS: Final = 200
_SOFTEST: Final = 0.01
"""What no PSF is known better than: its variance, to a hundredth."""
_PER_BIN: Final = 1000
_FEWEST_PER_BIN, _FEW_BINS = 150, 8
"""Of a small catalogue bins hold fewer sources: faint ones are galaxies much more often than bright ones."""
_SUREST: Final = 1e-6
CALIBRATION: Final = (-2.67, 0.73)
"""Shift and scale of log odds: ``tests/bench/star_probability.py``, 21 November 2026, seeds 1 to 3.

Learnt on simulated mosaics in F158 of stars and galaxies in shares from 1:7 to 1:1.
"""
_BLUR: Final = 0.15
"""A galaxy's extent is not read better than this, relative: profiles differ."""


def probabilities(extent: Floats, error: Floats, flux: Floats, *, core: float) -> Floats:
    """Return for each source the probability of being a star, NaN without an extent.

    ``extent`` and its ``error`` are pixels², ``core`` the variance of the PSF's core in pixels². Sources are
    taken together in bins of like ``flux``, 1,000 or more in each if there are many; between their middles
    shares are linear.
    """
    out = np.full(extent.shape, np.nan)
    good = np.flatnonzero(np.isfinite(extent) & np.isfinite(error) & (error > 0) & (flux > 0))
    if good.size == 0:
        return out
    good = good[np.argsort(flux[good])]
    likelihoods = _likelihoods(extent[good] / core, error[good] / core)
    n_bins = max(1, good.size // _PER_BIN, min(good.size // _FEWEST_PER_BIN, _FEW_BINS))
    bins = np.array_split(np.arange(good.size), n_bins)
    shares = np.stack([_shares(likelihoods[part]) for part in bins])
    middles = np.array([part.mean() for part in bins])
    mine = np.stack([np.interp(np.arange(good.size), middles, column) for column in shares.T], axis=1)
    weighed = mine * likelihoods
    out[good] = weighed[:, 0] / np.maximum(weighed.sum(axis=1), 1e-300)
    return out


def calibrated(probability: Floats) -> Floats:
    """Return probabilities that mean what they say where there are blends and very small galaxies.

    A logistic calibration (Platt 1999) of the log odds by ``CALIBRATION``.
    """
    odds = logit(np.clip(probability, _SUREST, 1 - _SUREST))
    return np.asarray(expit(CALIBRATION[0] + CALIBRATION[1] * odds), dtype=np.float64)


def _likelihoods(extent: Floats, error: Floats) -> Floats:
    """Return how probable each extent is for a star and for galaxies of each size, (n, 1 + sizes)."""
    sizes = np.concatenate([[0.0], _GALAXIES])
    width = np.sqrt(error[:, None] ** 2 + np.where(sizes > 0, (_BLUR * sizes) ** 2, _SOFTEST**2))
    pull = np.clip((extent[:, None] - sizes) / width, -30, 30)
    # Beyond the largest size a galaxy is as likely as one of it.
    pull[:, -1] = np.minimum(pull[:, -1], 0)
    found = np.exp(-0.5 * pull**2) / width + 1e-300
    wide = _BLENDED_SIGMA * width[:, 0]
    blended = np.exp(-0.5 * np.clip(extent / wide, -30, 30) ** 2) / wide
    found[:, 0] = (1 - _BLENDED) * found[:, 0] + _BLENDED * blended
    return np.asarray(found, dtype=np.float64)


def _shares(likelihoods: Floats) -> Floats:
    """Return the shares (1 + sizes) that make what was seen most probable."""
    shares = np.full(likelihoods.shape[1], 0.5 / (likelihoods.shape[1] - 1))
    shares[0] = 0.5
    for _ in range(_STEPS):
        weighed = likelihoods * shares
        shares = (weighed / weighed.sum(axis=1, keepdims=True)).mean(axis=0)
    return shares
