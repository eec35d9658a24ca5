"""How probably a source is a star, from how much wider than the PSF it is.

Stars have an extent of zero but for noise, galaxies have extents of all sizes. Which share of the sources has
which extent is learnt from the catalogue itself, brightness by brightness, by maximum likelihood on a grid
(expectation and maximisation); a source's probability is then Bayes'.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from nexus_pipeline.bands import compiled

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

_GALAXIES: Final = np.geomspace(0.15, 30, 24)
"""Extents of galaxies, in the variance of the PSF's core; smaller ones are taken for stars."""
_STARS_PULL, _STARS_WIDTH = -0.15, 1.12
"""Fitted extents of isolated stars in their errors, middle and width.

Positions settle where noise makes a star look narrow, and errors are those of a linear fit. Of 6,400 stars of
S/N 5 to 60 in idealised mosaics (``tests/bench/star_probability.py``'s): 0.0 to -0.25 and 1.03 to 1.13.
"""
_BLENDED, _BLENDED_SIGMA = 0.1, 4.0
"""Which share of the stars has neighbours' light in its window, and how many times its error that makes."""
_STEPS: Final = 120
_SOFTEST: Final = 0.008
"""What no PSF is known better than: its variance, to less than a hundredth."""
_PER_NODE, _MOST_NODES = 90, 40
"""Sources between places at which shares are learnt: faint ones are galaxies much more often."""
_AS_ELSEWHERE: Final = 8.0
"""How many sources at each place the sizes of galaxies at all brightnesses count for."""
_SUREST: Final = 1e-6
CALIBRATION: Final = (-0.50, 1.08)
"""Shift and scale of log odds: ``tests/bench/star_probability.py``, November 2026.

Shares of stars that fall within a few places' width are smoothed to fainter sources, which have none.
"""
_BLUR: Final = 0.12
"""A galaxy's extent is not read better than this, relative: profiles differ."""


def of_fits(extent: Floats, error: Floats, flux: Floats, *, core: float) -> Floats:
    """Return the probabilities of sources with the extents, errors and fluxes of PSF fits.

    As ``probabilities``, with what fits do to extents taken off, and a logistic calibration (Platt 1999) by
    what told probabilities turned out to mean in simulated mosaics.
    """
    chance = probabilities(extent - _STARS_PULL * error, _STARS_WIDTH * error, flux, core=core)
    odds = logit(np.clip(chance, _SUREST, 1 - _SUREST))
    return np.asarray(expit(CALIBRATION[0] + CALIBRATION[1] * odds), dtype=np.float64)


def probabilities(extent: Floats, error: Floats, flux: Floats, *, core: float) -> Floats:
    """Return for each source the probability of being a star, NaN without an extent.

    ``extent`` and its ``error`` are pixels², ``core`` the variance of the PSF's core in pixels². Shares are
    learnt at places in the order of ``flux``, 90 sources or more from one to the next, and linear between.
    Extents of stars are taken to scatter about zero by their errors.
    """
    out = np.full(extent.shape, np.nan)
    good = np.flatnonzero(np.isfinite(extent) & np.isfinite(error) & (error > 0) & (flux > 0))
    if good.size == 0:
        return out
    good = good[np.argsort(flux[good])]
    likelihoods = _likelihoods(extent[good] / core, error[good] / core)
    weighed = likelihoods * _shares(likelihoods)
    out[good] = weighed[:, 0] / weighed.sum(axis=1)
    return out


def _likelihoods(extent: Floats, error: Floats) -> Floats:
    """Return how probable each extent is for a star and for galaxies of each size, (n, 1 + sizes)."""
    star = np.hypot(error, _SOFTEST)
    alone, blended = _normal(extent, star), _normal(extent, _BLENDED_SIGMA * star)
    width = np.hypot(error[:, None], _BLUR * _GALAXIES)
    beyond = extent[:, None] - _GALAXIES
    # Beyond the largest size a galaxy is as likely as one of it.
    beyond[:, -1] = np.minimum(beyond[:, -1], 0)
    stars = (1 - _BLENDED) * alone + _BLENDED * blended
    return np.column_stack([stars, _normal(beyond, width)]) + 1e-300


def _normal(away: Floats, width: Floats) -> Floats:
    return np.asarray(np.exp(-0.5 * np.clip(away / width, -30, 30) ** 2) / width, dtype=np.float64)


def _shares(likelihoods: Floats) -> Floats:
    """Return the shares (n, 1 + sizes) that make what was seen most probable, of sources in order."""
    n, kinds = likelihoods.shape
    everywhere = np.full(kinds, 0.5 / (kinds - 1))
    everywhere[0] = 0.5
    there, nowhere = np.empty((2, kinds)), np.zeros(n)
    for _ in range(_STEPS):
        _count(likelihoods, np.tile(everywhere, (2, 1)), np.ones(n, np.int64), nowhere, there)
        everywhere = there[0] / n
    galaxies = everywhere[1:] / max(everywhere[1:].sum(), 1e-9)
    places = np.linspace(0, n - 1, int(np.clip(n // _PER_NODE, 1, _MOST_NODES)) + 1)
    upper = np.clip(np.searchsorted(places, np.arange(n)), 1, places.size - 1)
    after = (np.arange(n) - places[upper - 1]) / max(places[1] - places[0], 1.0)
    nodes, there = np.tile(everywhere, (places.size, 1)), np.empty((places.size, kinds))
    for _ in range(_STEPS):
        _count(likelihoods, nodes, upper, after, there)
        # Half a star and half a galaxy, so that no share is none for good.
        star = (there[:, 0] + 0.5) / (there.sum(axis=1) + 1)
        sizes = there[:, 1:] + _AS_ELSEWHERE * galaxies
        sizes *= ((1 - star) / np.maximum(sizes.sum(axis=1), 1e-9))[:, None]
        nodes = np.column_stack([star, sizes])
    shares: Floats = (1 - after)[:, None] * nodes[upper - 1] + after[:, None] * nodes[upper]
    return shares


@compiled
def _count(  # noqa: PLR0917 - compiled code takes its arrays one by one
    likelihoods: Floats, nodes: Floats, upper: Indices, after: Floats, there: Floats
) -> None:
    """Write how many sources of each kind there are at places, (places, kinds), if shares are ``nodes``.

    Each source counts for the places on either side: ``upper`` is the later, and ``after`` says how far
    beyond the one before it the source is.
    """
    kinds = likelihoods.shape[1]
    chance = np.empty(kinds)
    there[:] = 0.0
    for n in range(likelihoods.shape[0]):
        own, a, u = likelihoods[n], after[n], upper[n]
        before, behind, total = nodes[u - 1], nodes[u], 0.0
        for k in range(kinds):
            chance[k] = own[k] * ((1.0 - a) * before[k] + a * behind[k])
            total += chance[k]
        earlier, later = there[u - 1], there[u]
        for k in range(kinds):
            earlier[k] += (1.0 - a) / total * chance[k]
            later[k] += a / total * chance[k]
