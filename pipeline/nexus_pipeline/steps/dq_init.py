"""dq_init: begin the flags with what is known against pixels, and undo what was done on board.

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


def begin(ramp: Ramp, mask: MaskReference, *, expand_gw_flagging: int = 0) -> WorkingRamp:
    """Return ``ramp`` as float32 with the mask's flags, and its reference border kept aside.

    Resultants flagged on board (``resultant_dq``) keep their flags; a reference read, where one
    was sent down, is added back to every resultant it had been subtracted from, and the offset
    that kept noise from being cut off at 0 DN is taken off. What the guide window spoilt is
    flagged, the window itself with ``expand_gw_flagging`` pixels around it.
    Raises MismatchedReferenceError.
    """
    return begin_rows(*settled(ramp, mask, expand_gw_flagging=expand_gw_flagging))


def settled(ramp: Ramp, mask: MaskReference, *, expand_gw_flagging: int = 0) -> tuple[Ramp, MaskReference]:
    """Return what ``begin_rows`` wants of the whole frame: 33rd output restored, guide window in the mask."""
    offset = _encoding_offset(ramp)
    if ramp.reference_amp33 is not None or offset:
        read = 0 if ramp.reference_amp33 is None else ramp.reference_amp33.astype(np.int32)
        restored = ramp.amp33.astype(np.int32) + read - offset
        ramp = replace(ramp, amp33=np.clip(restored, 0, 2**16 - 1).astype(np.uint16), reference_amp33=None)
    return ramp, _with_guide_window(mask, ramp, expand_gw_flagging)


def begin_rows(ramp: Ramp, mask: MaskReference) -> WorkingRamp:
    """Return any part of a ``settled`` ramp as ``begin`` returns the whole."""
    require_detector(mask, ramp.meta.detector)
    require_shape(mask.dq, ramp.data.shape, mask)
    data = ramp.data.astype(np.float32)
    if ramp.reference_read is not None:
        data += ramp.reference_read
    if offset := _encoding_offset(ramp):
        data -= offset
    flags = np.zeros(data.shape, dtype=np.uint8) if ramp.resultant_dq is None else ramp.resultant_dq.copy()
    dq = mask.dq.copy()
    for plane in () if ramp.resultant_dq is None else flags:
        # A resultant that may not be used says nothing against the pixel's other resultants.
        dq |= plane & np.uint32(~DQ.DO_NOT_USE & 0xFF)
    return WorkingRamp(
        meta=ramp.meta, data=data, dq=dq, resultant_dq=flags, amp33=ramp.amp33, border=border_of(data, dq)
    )


def _encoding_offset(ramp: Ramp) -> int:
    """Return the DN that were added on board; 0 where L1 says nothing or rad's sentinel (below 0)."""
    told = ramp.meta.carried.get("instrument", {}).get("data_encoding_offset")
    return max(int(told or 0), 0)


def _with_guide_window(mask: MaskReference, ramp: Ramp, expand: int) -> MaskReference:
    """Return ``mask`` with the columns that the guide window was read from, and the window unusable.

    As romancal 1.1: ``window_xstop`` and ``window_ystop`` are the first pixels beyond it, whole columns
    are affected, only the window grows by ``expand``; a window that begins off the frame is none.
    """
    star, size = ramp.meta.carried.get("guide_star", {}), mask.dq.shape[0]
    low_x, low_y = (int(star.get(f"window_{axis}start", -1)) for axis in "xy")
    if not (0 <= low_x < size and 0 <= low_y < size):
        return mask
    high_x, high_y = (int(star[f"window_{axis}stop"]) for axis in "xy")
    dq = mask.dq.copy()
    dq[:, low_x : max(high_x, 0)] |= np.uint32(DQ.GW_AFFECTED_DATA)
    rows = slice(max(low_y - expand, 0), max(high_y + expand, 0))
    columns = slice(max(low_x - expand, 0), max(high_x + expand, 0))
    dq[rows, columns] |= np.uint32(DQ.GW_AFFECTED_DATA | DQ.DO_NOT_USE)
    return replace(mask, dq=dq)


def border(ramp: Ramp, mask: MaskReference) -> BorderPixels:
    """Return the reference border of a ``settled`` ramp as ``begin`` gives it, without making the rest."""
    edge = np.r_[0:BORDER, -BORDER:0]
    sides = begin_rows(part_of(ramp, np.s_[..., edge]), replace(mask, dq=mask.dq[:, edge])).border
    ends = begin_rows(part_of(ramp, np.s_[..., edge, :]), replace(mask, dq=mask.dq[edge])).border
    return replace(sides, top=ends.top, bottom=ends.bottom, dq_top=ends.dq_top, dq_bottom=ends.dq_bottom)


def part_of(ramp: Ramp, index: Any) -> Ramp:
    """Return the pixels of ``ramp`` that ``index`` picks (of the last two axes); amp33 stays whole."""
    return replace(
        ramp,
        data=ramp.data[index],
        resultant_dq=None if ramp.resultant_dq is None else ramp.resultant_dq[index],
        reference_read=None if ramp.reference_read is None else ramp.reference_read[index],
    )
