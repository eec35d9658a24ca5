"""What the images of a mosaic said of themselves: rad's tables, a block of ``meta`` each, a row per image."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from astropy.table import Table

BLOCKS: Final = (
    "background", "cal_step", "coordinates", "ephemeris", "exposure", "guide_star", "instrument",
    "observation", "photometry", "pointing", "program", "rcs", "ref_file", "velocity_aberration", "visit",
    "wcsinfo",
)  # fmt: skip
_NONE: Final = "None"
"""What romancal writes where an image says nothing."""


def tables(images: Sequence[Mapping[str, Any]]) -> dict[str, Table]:
    """Return the tables by block; ``basic`` has what stands in no block."""
    plain = [{key: each for key, each in image.items() if _is_value(each)} for image in images]
    found = {"basic": plain} | {name: [image.get(name) or {} for image in images] for name in BLOCKS}
    return {name: _table(rows) for name, rows in found.items() if any(rows)}


def _table(rows: Sequence[Mapping[str, Any]]) -> Table:
    names = dict.fromkeys(key for row in rows for key in row)
    return Table({name: _column([row.get(name) for row in rows]) for name in names})


def _column(values: Sequence[Any]) -> Any:
    """Return ``values`` as numbers if all are, texts otherwise."""
    if all(isinstance(value, bool) for value in values):
        return np.array(values)
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return np.array(values)
    return np.array([_NONE if value is None else str(value) for value in values])


def _is_value(value: Any) -> bool:
    return isinstance(value, str | int | float) or type(value).__name__ == "Time"
