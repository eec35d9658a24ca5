"""dark_decay: take out the signal that decays from the reset on.

Takes and leaves a working ramp (DN). The signal falls exponentially, one amplitude and time constant
for a detector; a pixel has less of it the later in a read it is read (romancal 1.1).
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.errors import StepSkipped
from nexus_pipeline.instrument.readout import read_times_s
from nexus_pipeline.products.model import ExposureMeta, WorkingRamp
from nexus_pipeline.references.kinds import DarkDecayReference
from nexus_pipeline.steps.checks import require_detector

READS_BEFORE_AMPLITUDE: Final = 1.5
"""The amplitude is that of one and a half reads after the reset: the middle of the first read."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Decay:
    """DN of each resultant (n,), and the share of it that each row (ny,) times each column (nx,) has."""

    resultants: Floats
    rows: Floats
    columns: Floats


def subtract(ramp: WorkingRamp, reference: DarkDecayReference) -> WorkingRamp:
    """Return ``ramp`` without the decaying signal; see ``measure``."""
    return take_out(ramp, measure(ramp.meta, reference, ramp.data.shape[2]))


def measure(meta: ExposureMeta, reference: DarkDecayReference, n_pixels: int) -> Decay:
    """Return the signal in a frame of ``n_pixels``² with its border.

    Raises MismatchedReferenceError, and StepSkipped if the reference does not know this detector.
    """
    require_detector(reference, meta.detector)
    amplitude, constant = reference.amplitude_dn, reference.time_constant_s
    if amplitude is None or constant is None or not (np.isfinite(amplitude) and constant > 0):
        raise StepSkipped(f"the reference knows no decay of {meta.detector}")
    table = meta.ma_table
    rows, columns = read_times_s(meta.detector, table.read_time_s, n_pixels=n_pixels)
    resultants = [
        np.mean(np.exp(-(np.array(reads) - READS_BEFORE_AMPLITUDE) * table.read_time_s / constant))
        for reads in table.read_pattern
    ]
    return Decay(amplitude * np.array(resultants), np.exp(-rows / constant), np.exp(-columns / constant))


def take_out(ramp: WorkingRamp, decay: Decay) -> WorkingRamp:
    """Return ``ramp``, a whole frame or a band of its rows, less ``decay`` (of the whole frame)."""
    rows = decay.rows[ramp.first_row : ramp.first_row + ramp.data.shape[1]]
    share = np.outer(rows, decay.columns).astype(np.float32)
    return replace(ramp, data=ramp.data - decay.resultants.astype(np.float32)[:, None, None] * share)
