"""persistence: flag pixels that an earlier exposure of the same detector filled, while they may glow.

Takes and leaves a rate image; only flags change. romancal has no such step: the bit is the mission's.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

import numpy as np

from nexus_pipeline.errors import InputError, MismatchedReferenceError, StepSkipped
from nexus_pipeline.instrument.dq import DQ
from nexus_pipeline.products.charge import Charge, end_time
from nexus_pipeline.products.model import ExposureMeta, RateImage

THRESHOLD_DN: Final = 25_000.0
"""About half the full well, below which persistence falls with the charge (romanisim 0.14, after Sanchez
et al. 2023).
"""
DECAY_TIME_S: Final = 2000.0
"""By then a pixel filled a hundred times over gives 0.01 e/s, an electron in an exposure (the same law)."""


def in_question(now: ExposureMeta, before: ExposureMeta, *, decay_time_s: float = DECAY_TIME_S) -> bool:
    """Say whether ``before`` is of the same detector and ended at most ``decay_time_s`` before ``now``."""
    since_s = (now.start_time - end_time(before)).total_seconds()
    return before.detector == now.detector and 0 <= since_s <= decay_time_s


def flag(
    image: RateImage,
    earlier: Iterable[Charge],
    *,
    threshold_dn: float = THRESHOLD_DN,
    decay_time_s: float = DECAY_TIME_S,
) -> RateImage:
    """Return ``image`` with PERSISTENCE where one of ``earlier`` reached ``threshold_dn`` not long ago.

    Those of another detector or another time are passed over; StepSkipped if that leaves none. Raises
    MismatchedReferenceError for a frame of another size, InputError for a threshold or a time below 0.
    """
    if not (threshold_dn >= 0 and decay_time_s >= 0):
        raise InputError(
            "persistence: threshold_dn and decay_time_s must be 0 or more, "
            f"not {threshold_dn} and {decay_time_s}"
        )
    dq, found = image.dq, False
    for charge in earlier:
        if not in_question(image.meta, charge.meta, decay_time_s=decay_time_s):
            continue
        if charge.dn.shape != dq.shape:
            raise MismatchedReferenceError(
                f"{charge.meta.file_name} has frames of {charge.dn.shape}, the image {dq.shape}"
            )
        found = True
        dq = dq | np.where(charge.dn >= threshold_dn, np.uint32(DQ.PERSISTENCE), np.uint32(0))
    if not found:
        raise StepSkipped(
            f"no earlier exposure of {image.meta.detector} ended in the {decay_time_s:g} s before"
        )
    return replace(image, dq=dq)
