"""A whole detector, 4096 × 4096 pixels and 9 resultants, through ``wfi calibrate`` in bounded memory."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.support import pipeline as build

from nexus_pipeline.instrument.dq import DQ
from nexus_pipeline.instrument.ma_table import IMAGING
from nexus_pipeline.instrument.wfi import N_PIXELS, active
from nexus_pipeline.products import l1, l2
from nexus_pipeline.references import kinds
from nexus_pipeline.references.store import ReferenceStore

WFI = Path(sys.executable).with_name("wfi")
SKY_DN_S = 5.0
# Measured 1.7 GB; the whole ramp as float32 would add 0.6, the references held whole 0.7.
MEMORY_BYTES = 2.0e9


def write_level_ramp(store: ReferenceStore, path: Path) -> None:
    """Write the noise-free ramp of an evenly lit sky, resultant by resultant."""
    who = {"detector": build.DETECTOR, "filter_name": build.FILTER, "date": build.START}
    flat = store.load(kinds.FlatReference, **who).flat
    rate = store.load(kinds.DarkReference, **who).rate
    inner = active((N_PIXELS, N_PIXELS))
    rate[inner] += np.float32(SKY_DN_S) * flat
    level, _, curve, cubic = store.load(kinds.InverseLinearityReference, **who).coefficients
    inl = store.load(kinds.IntegralNonlinearityReference, **who)
    decay = build.decay_of(store.load(kinds.DarkDecayReference, **who), N_PIXELS)
    data = np.zeros((IMAGING.n_resultants, N_PIXELS, N_PIXELS), np.uint16)
    for i, time_s in enumerate(IMAGING.mean_times_s):
        charge = np.float32(5_000) + rate * np.float32(time_s)
        frame = level + charge + curve * charge**2 + cubic * charge**3
        for channel, row in enumerate(inl.correction):
            columns = np.s_[:, 128 * channel : 128 * (channel + 1)]
            frame[columns] -= np.interp(frame[columns], inl.value, row)
        frame += decay[i].astype(np.float32)
        # Only the light-sensitive pixels have charge: offsets are zero, and so is the border.
        data[i][inner] = np.rint(frame[inner]).astype(np.uint16)
    l1.write_ramp(build.ramp(data), str(path))


@pytest.mark.slow
def test_a_whole_detector_is_calibrated_in_bounded_memory(tmp_path: Path) -> None:
    store = build.small_store(str(tmp_path / "references"), n_pixels=N_PIXELS)
    path = tmp_path / "level_uncal.asdf"
    write_level_ramp(store, path)
    command = [WFI, "calibrate", path, "--references", store.url, "--output", tmp_path]
    subprocess.run(command, check=True, timeout=300, stdout=subprocess.DEVNULL)
    image = l2.read_rate_image(str(tmp_path / "level_cal.asdf"))
    assert max(step.peak_memory_bytes for step in image.provenance.steps) < MEMORY_BYTES
    usable = image.dq & DQ.DO_NOT_USE == 0
    # Rounding to DN gives a rate to 0.3 DN / 46 s (rms of times) / √9.
    assert np.std(image.rate[usable] - SKY_DN_S) < 0.004
    # 0.002 DN/s in one resultant would be 0.1 DN of a pattern.
    rows, columns = image.rate.mean(axis=1), image.rate.mean(axis=0)
    assert np.abs(np.median(rows) - SKY_DN_S) < 0.002
    assert np.abs(np.median(columns) - SKY_DN_S) < 0.002
