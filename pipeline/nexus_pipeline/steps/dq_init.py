"""dq_init: begin the flags with what is known against pixels.

Takes an L1 ramp (DN, uint16) and the mask; leaves a working ramp (DN, float32).
"""

from dataclasses import replace
from typing import Any

import numpy as np

from nexus_pipeline.instrument.dq import DQ
from nexus_pipeline.instrument.wfi import BORDER
from nexus_pipeline.products.model import BorderPixels, Ramp, WorkingRamp, border_of
from nexus_pipeline.references.kinds import MaskReference
from nexus_pipeline.steps.checks import require_detector, require_shape


def begin(ramp: Ramp, mask: MaskReference) -> WorkingRamp:
    """Return ``ramp`` as float32 with the mask's flags, and its reference border kept aside.

    Resultants flagged on board (``resultant_dq``) keep their flags; a reference read, where one
    was sent down, is added back to every resultant it had been subtracted from.
    Raises MismatchedReferenceError.
    """
    require_detector(mask, ramp.meta.detector)
    require_shape(mask.dq, ramp.data.shape, mask)
    data = ramp.data.astype(np.float32)
    if ramp.reference_read is not None:
        data += ramp.reference_read
    flags = np.zeros(data.shape, dtype=np.uint8) if ramp.resultant_dq is None else ramp.resultant_dq.copy()
    dq = mask.dq.copy()
    for plane in () if ramp.resultant_dq is None else flags:
        # A resultant that may not be used says nothing against the pixel's other resultants.
        dq |= plane & np.uint32(~DQ.DO_NOT_USE & 0xFF)
    return WorkingRamp(
        meta=ramp.meta, data=data, dq=dq, resultant_dq=flags, amp33=ramp.amp33, border=border_of(data, dq)
    )


def border(ramp: Ramp, mask: MaskReference) -> BorderPixels:
    """Return the reference border of ``ramp`` as ``begin`` gives it, without making the rest."""
    edge = np.r_[0:BORDER, -BORDER:0]
    sides = begin(part_of(ramp, np.s_[..., edge]), replace(mask, dq=mask.dq[:, edge])).border
    ends = begin(part_of(ramp, np.s_[..., edge, :]), replace(mask, dq=mask.dq[edge])).border
    return replace(sides, top=ends.top, bottom=ends.bottom, dq_top=ends.dq_top, dq_bottom=ends.dq_bottom)


def part_of(ramp: Ramp, index: Any) -> Ramp:
    """Return the pixels of ``ramp`` that ``index`` picks (of the last two axes); amp33 stays whole."""
    return replace(
        ramp,
        data=ramp.data[index],
        resultant_dq=None if ramp.resultant_dq is None else ramp.resultant_dq[index],
        reference_read=None if ramp.reference_read is None else ramp.reference_read[index],
    )
