"""Selection functions: which share of sources a catalogue holds, by magnitude, size and S/N (``.asdf``).

>>> from nexus_pipeline.products import selection
>>> completeness = selection.load("selection.asdf")
>>> completeness(24.5, 0.2)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import asdf
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import RegularGridInterpolator
from scipy.stats import beta

from nexus_pipeline.errors import InputError, WrongProductError
from nexus_pipeline.products import asdf_file, store

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

KEY: Final = "selection_function"
_EDGES: Final = ("magnitude_edges", "radius_edges", "snr_edges")


@dataclass(frozen=True)
class Selection:
    """How many of what was put into images was found in them, on a grid (magnitude, radius, S/N).

    Magnitudes are AB in ``filter_name``, radii half-light radii in arcsec (0: stars, in a bin of their own,
    the first one), S/N is that of the matched filter. ``told`` says where it comes from.
    """

    filter_name: str
    magnitude_edges: Floats
    radius_edges: Floats
    snr_edges: Floats
    injected: Ints
    found: Ints
    told: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, magnitude: ArrayLike, radius: ArrayLike = 0.0) -> Floats:
        """Return the completeness, between the middles of bins linearly, beyond them as in the last one.

        NaN if nothing was put in.
        """
        known, share = self._known(*self._by_radius)
        return self._between(known, share, magnitude, radius)

    def interval(self, magnitude: ArrayLike, radius: ArrayLike = 0.0) -> tuple[Floats, Floats]:
        """Return the ends of the binomial interval of one σ (Jeffreys') of the completeness."""
        found, injected = self._by_radius
        ends = (beta.ppf(q, found + 0.5, injected - found + 0.5) for q in (0.158655, 0.841345))
        low, high = (
            self._between(*self._known(each * injected, injected), magnitude, radius) for each in ends
        )
        return low, high

    def at_snr(self, snr: ArrayLike) -> Floats:
        """Return the completeness at S/N, whatever the size."""
        found, injected = (each.sum(axis=(0, 1)) for each in (self.found, self.injected))
        there = injected > 0
        if not there.any():
            return np.full(np.shape(snr), np.nan)
        middles = _middles(self.snr_edges)
        return np.interp(
            np.asarray(snr, dtype=np.float64), middles[there], (found / np.maximum(injected, 1))[there]
        )

    @property
    def _by_radius(self) -> tuple[Ints, Ints]:
        return self.found.sum(axis=2), self.injected.sum(axis=2)

    def _known(self, found: Any, injected: Ints) -> tuple[NDArray[np.bool_], Floats]:
        """Return the radii that anything is known of, and shares (magnitude, radius) without gaps there."""
        middles, known = _middles(self.magnitude_edges), injected.any(axis=0)
        share = np.full((len(middles), int(known.sum())), np.nan)
        for k, column in enumerate(np.flatnonzero(known)):
            there = injected[:, column] > 0
            share[:, k] = np.interp(middles, middles[there], (found / np.maximum(injected, 1))[there, column])
        return known, share

    def _between(
        self, known: NDArray[np.bool_], share: Floats, magnitude: ArrayLike, radius: ArrayLike
    ) -> Floats:
        at, size = np.broadcast_arrays(
            np.asarray(magnitude, dtype=np.float64), np.asarray(radius, dtype=np.float64)
        )
        if not known.any():
            return np.full(at.shape, np.nan)
        rows, columns = _middles(self.magnitude_edges), _middles(self.radius_edges)
        # Stars have no size: their bin's node is at its end.
        columns[0] = self.radius_edges[0]
        columns = columns[known]
        if columns.size == 1:
            columns, share = np.array([columns[0], columns[0] + 1]), np.repeat(share, 2, axis=1)
        if rows.size == 1:
            rows, share = np.array([rows[0], rows[0] + 1]), np.repeat(share, 2, axis=0)
        where = np.stack([np.clip(at, rows[0], rows[-1]), np.clip(size, columns[0], columns[-1])], axis=-1)
        values: Floats = np.asarray(RegularGridInterpolator((rows, columns), share)(where)).reshape(at.shape)[
            ()
        ]
        return values


def together(parts: Sequence[Selection]) -> Selection:
    """Return the selection function of many images; InputError if their grids or filters differ."""
    first = parts[0]
    for other in parts[1:]:
        same = all(np.array_equal(getattr(first, name), getattr(other, name)) for name in _EDGES)
        if not same or other.filter_name != first.filter_name:
            raise InputError("selection functions on different grids or of different filters cannot be added")
    return replace(
        first,
        injected=np.sum([each.injected for each in parts], axis=0),
        found=np.sum([each.found for each in parts], axis=0),
    )


def write(selection: Selection, url: str) -> None:
    """Put ``selection`` at ``url``."""
    arrays = {name: getattr(selection, name) for name in (*_EDGES, "injected", "found")}
    asdf_file.write(url, {KEY: {"filter": selection.filter_name, **arrays, "told": dict(selection.told)}})


def load(url: str) -> Selection:
    """Return the selection function at ``url``: call it with magnitudes and half-light radii.

    Raises UnreadableProductError, and WrongProductError for a file of something else.
    """
    with (
        store.open_for_reading(url) as handle,
        asdf_file.reading(url),
        asdf.open(handle, lazy_load=False, memmap=False) as file,
    ):
        if KEY not in file.tree:
            raise WrongProductError(f"{url}: no selection function", url=url)
        node = file.tree[KEY]
        arrays = {name: asdf_file.array(node[name]) for name in (*_EDGES, "injected", "found")}
        return Selection(node["filter"], told=dict(node["told"]), **arrays)


def _middles(edges: Floats) -> Floats:
    return (edges[1:] + edges[:-1]) / 2
