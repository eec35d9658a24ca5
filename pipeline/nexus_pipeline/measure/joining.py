"""What was measured of sources in parts of an image, brought together.

Works on the dataclasses of measurements: each array has one entry per source along its first axis, and what
is no array is the image's own.
"""

from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

import numpy as np

from nexus_pipeline.measure.columns import Measured

T = TypeVar("T")


def chosen(of: T, which: Any) -> T:
    """Return the sources that ``which`` picks."""
    return _each(lambda array: array[which], [of])


def joined(parts: Sequence[T]) -> T:
    """Return the sources of all ``parts``, those of the first one first."""
    return _each(lambda *arrays: np.concatenate(arrays), parts)


def moved(of: Measured, x: int, y: int) -> Measured:
    """Return sources measured in a cut-out whose first pixel is (x, y) at their places in the image."""
    box = of.segments.box + np.array([x, x, y, y], np.int32)
    return replace(
        of,
        segments=replace(of.segments, box=box, x=of.segments.x + x, y=of.segments.y + y),
        extents=replace(of.extents, x=of.extents.x + x, y=of.extents.y + y),
        stars=replace(of.stars, x=of.stars.x + x, y=of.stars.y + y),
    )


def _each(work: Any, parts: Sequence[T]) -> T:
    first: Any = parts[0]
    made = {}
    for each in fields(first):
        values = [getattr(part, each.name) for part in parts]
        if isinstance(values[0], np.ndarray):
            made[each.name] = work(*values)
        elif is_dataclass(values[0]):
            made[each.name] = _each(work, values)
    result: T = replace(first, **made)
    return result
