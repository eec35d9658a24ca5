"""refpix: take out the noise that outputs share, as the reference pixels and the 33rd output show it.

Takes and leaves a working ramp (DN). The mission's improved reference correction (IRRC, romancal 1.1): what
a channel shares with the left and right reference columns and the 33rd output is the sum of these three,
each filtered by coefficients over the frequency at which pixels are read. The border and the 33rd output
tell it all: a correction is a line and a signal in time per channel and resultant, never a copy of the
cube. What does not change from resultant to resultant stays: it is part of what the linearity polynomial
was made for.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from nexus_pipeline.bands import share_out
from nexus_pipeline.errors import MismatchedReferenceError, StepSkipped
from nexus_pipeline.instrument.wfi import CHANNEL_WIDTH
from nexus_pipeline.products.model import BorderPixels, WorkingRamp
from nexus_pipeline.references import irrc
from nexus_pipeline.references.kinds import RefpixReference
from nexus_pipeline.steps.checks import require_detector
from nexus_pipeline.steps.refpix_kernels import mix, quantise, subtract_rows

_TOP: Final = np.iinfo(np.int16).max

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Correction:
    """DN to subtract: ``scale`` × ``signal`` (n, n_channels, ny, 128; reading order) and the channel's line.

    16 bits for each signal's own range are finer than a thousandth of any noise, in half the memory.
    """

    signal: NDArray[np.int16]
    scale: Floats
    level: NDArray[np.float64]
    slope: NDArray[np.float64]


def subtract(
    ramp: WorkingRamp,
    coefficients: RefpixReference,
    *,
    remove_offset: bool = True,
    remove_trends: bool = True,
    cosine_interpolate: bool = True,
    fft_interpolate: bool = True,
) -> WorkingRamp:
    """Return ``ramp`` without what its outputs share; see ``measure``."""
    require_detector(coefficients, ramp.meta.detector)
    correction = measure(
        ramp.border,
        ramp.amp33,
        coefficients,
        remove_offset=remove_offset,
        remove_trends=remove_trends,
        cosine_interpolate=cosine_interpolate,
        fft_interpolate=fft_interpolate,
    )
    return take_out(ramp, correction)


def measure(
    border: BorderPixels, amp33: NDArray[np.uint16], coefficients: RefpixReference, **switches: bool
) -> Correction:
    """Return what the border and the 33rd output (n, ny, 128) show; ``switches`` are those of ``subtract``.

    ``remove_offset`` takes each pixel's mean over the resultants off first, ``remove_trends`` each channel's
    line through its reference rows; the other two fill the pauses between rows of the 33rd output. Raises
    StepSkipped for a 33rd output of zeros, MismatchedReferenceError for coefficients of another frame.
    """
    if not amp33.any():
        raise StepSkipped("the 33rd output is all zero: there is nothing to tell the shared noise by")
    n_rows, n_channels = amp33.shape[1], border.top.shape[2] // CHANNEL_WIDTH
    _require_frame(coefficients, n_rows, n_channels)
    prepared = irrc.prepare(irrc.edges(border, amp33), **switches)
    shape = (len(amp33), n_channels, n_rows, CHANNEL_WIDTH)
    correction = Correction(
        np.empty(shape, np.int16), np.empty(shape[:2], np.float32), prepared.level, prepared.slope
    )

    def work(channel: int) -> None:
        # A resultant at a time: spectrum and signal stay in the processor's cache.
        for k, signal in enumerate(_signals(prepared, coefficients, channel)):
            rows = signal.reshape(n_rows, -1)
            correction.scale[k, channel] = quantise(
                rows, rows.view(np.uint32), correction.signal[k, channel], _TOP
            )

    share_out(work, range(n_channels))
    return correction


def take_out(ramp: WorkingRamp, correction: Correction) -> WorkingRamp:
    """Return ``ramp``, a whole one or a band of rows, without ``correction``."""
    data = ramp.data.copy()
    subtract_rows(
        data, correction.signal, correction.scale, correction.level, correction.slope,
        irrc.ROW_SAMPLES, ramp.first_row, correction.signal.shape[2],
    )  # fmt: skip
    return replace(ramp, data=data)


def _signals(
    prepared: irrc.Prepared, coefficients: RefpixReference, channel: int
) -> Iterator[NDArray[np.float32]]:
    """Yield one channel's correction in time (ny × 140) DN, resultant by resultant."""
    filters = (coefficients.gamma[channel], coefficients.zeta[channel], coefficients.alpha[channel])
    mixed = np.zeros_like(prepared.output[0])
    # The mission's coefficients are for a sum of this many terms (romancal 1.1), one frequency too many.
    n_terms = np.float32(2 * mixed.size)
    for told in zip(prepared.left, prepared.right, prepared.output, strict=True):
        mix(told, filters, n_terms, mixed)
        yield fft.irfft(mixed, 2 * (mixed.size - 1))


def _require_frame(coefficients: RefpixReference, n_rows: int, n_channels: int) -> None:
    wanted = (n_channels, n_rows * irrc.ROW_SAMPLES // 2 + 1)
    found = (len(coefficients.alpha), coefficients.n_frequencies)
    if found != wanted:
        raise MismatchedReferenceError(
            f"the refpix reference of {coefficients.detector} holds {found[0]} channels of {found[1]} "
            f"frequencies, the exposure wants {wanted[0]} of {wanted[1]}",
            kind=coefficients.kind,
        )
