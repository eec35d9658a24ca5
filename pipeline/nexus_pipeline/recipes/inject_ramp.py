"""inject_ramp: sources put into an L1 ramp: their photons, read by read, as the detector had counted them.

Takes the ramp, the light that each source adds to its L2 image, and the ramp's references; leaves the ramp
with the photons and which pixels they touched, for ``exposure.recalibrate``. Photons of a pixel are drawn for
each time between reads and stay; a resultant is the mean of its reads; what is added to a count goes through
the inverse polynomial at the place on the curve where the pixel is. The ramp's own noise stays as it is.
Not there: the converter's integral non-linearity, and that pixels which couple share photons' noise.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.instrument.ma_table import MATable
from nexus_pipeline.instrument.wfi import BORDER, SATURATION_DN
from nexus_pipeline.products.model import ExposureMeta, Ramp
from nexus_pipeline.recipes.inject import Light
from nexus_pipeline.recipes.ramp_pass import rows_of
from nexus_pipeline.references import kinds
from nexus_pipeline.references.store import ReferenceStore

Floats = NDArray[np.float64]

_UNTOUCHED_ELECTRONS: Final = 1e-3
"""Where fewer than this are to be expected of a source in the whole exposure, nothing is added."""


def into_ramp(
    ramp: Ramp, added: Sequence[Light], store: ReferenceStore, *, seed: int
) -> tuple[Ramp, NDArray[np.bool_]]:
    """Return ``ramp`` with the photons of ``added`` and the pixels of its L2 image (4088²) that changed."""
    references = _references(ramp.meta, store)
    data = ramp.data.copy()
    touched = np.zeros(tuple(size - 2 * BORDER for size in data.shape[1:]), np.bool_)
    for k, each in enumerate(added):
        before = data[:, each.rows.start + BORDER : each.rows.stop + BORDER]
        box = np.s_[:, :, each.columns.start + BORDER : each.columns.stop + BORDER]
        rng = np.random.default_rng([seed, 2, k])
        after = _with_photons(before[box], each, references, table=ramp.meta.ma_table, rng=rng)
        touched[each.rows, each.columns] |= (after != before[box]).any(axis=0)
        before[box] = after
    return replace(ramp, data=data), touched


def _references(meta: ExposureMeta, store: ReferenceStore) -> dict[str, Any]:
    where: dict[str, Any] = {
        "detector": meta.detector,
        "filter_name": meta.filter_name,
        "date": meta.start_time,
        "ma_table": meta.ma_table.number,
    }
    needed: dict[str, Any] = {
        "linearity": kinds.LinearityReference,
        "inverse": kinds.InverseLinearityReference,
        "gain": kinds.GainReference,
        "flat": kinds.FlatReference,
    }
    return {
        name: store.read(cls, store.find(cls.kind, **where), by_rows=name != "flat")
        for name, cls in needed.items()
    }


def _with_photons(
    counts: NDArray[np.uint16],
    light: Light,
    references: dict[str, Any],
    *,
    table: MATable,
    rng: np.random.Generator,
) -> NDArray[np.uint16]:
    """Return ``counts`` (n, ny, nx) of the pixels of ``light`` with its photons."""
    first, last = light.rows.start + BORDER, light.rows.stop + BORDER
    columns = slice(light.columns.start + BORDER, light.columns.stop + BORDER)
    cut = {name: rows_of(references[name], first, last) for name in ("linearity", "inverse", "gain")}
    gain = cut["gain"].gain[:, columns].astype(np.float64)
    flat = references["flat"].flat[light.rows, light.columns]
    rate = np.nan_to_num(np.maximum(light.light * flat * gain, 0))
    rate[rate * table.exposure_time_s < _UNTOUCHED_ELECTRONS] = 0
    signal = _resultants(rate, table, rng) / np.where(gain > 0, gain, np.inf)
    forward, inverse = (cut[name].coefficients[:, :, columns] for name in ("linearity", "inverse"))
    linear = _polynomial(forward, counts.astype(np.float64))
    more = _polynomial(inverse, linear + signal) - _polynomial(inverse, linear)
    changed = np.isfinite(more) & (signal != 0)
    summed = np.rint(counts + np.where(changed, more, 0))
    return np.clip(summed, 0, SATURATION_DN).astype(np.uint16)


def _resultants(rate: Floats, table: MATable, rng: np.random.Generator) -> Floats:
    """Return the electrons (n, ny, nx) that resultants hold of photons arriving at ``rate`` (e/s)."""
    out, charge = np.zeros((table.n_resultants, *rate.shape)), np.zeros(rate.shape)
    owner = {read: k for k, reads in enumerate(table.read_pattern) for read in reads}
    for read in range(1, table.n_reads + 1):
        charge += rng.poisson(rate * table.read_time_s)
        if read in owner:
            out[owner[read]] += charge
    return out / table.reads_per_resultant[:, None, None]


def _polynomial(coefficients: NDArray[np.float32], x: Floats) -> Floats:
    result = np.zeros_like(x)
    for term in coefficients[::-1].astype(np.float64):
        result = result * x + term
    return result
