"""dark_current: take the detector's own current from the rates (DN/s)."""

from dataclasses import replace

import numpy as np

from nexus_pipeline.instrument.dq import DQ
from nexus_pipeline.instrument.wfi import active
from nexus_pipeline.products.model import RateImage
from nexus_pipeline.references.kinds import DarkReference
from nexus_pipeline.steps.checks import require_detector, require_shape


def subtract(image: RateImage, dark: DarkReference) -> RateImage:
    """Return ``image`` (border trimmed) less the dark (with border); unknown dark is flagged, not guessed.

    Raises MismatchedReferenceError.
    """
    require_detector(dark, image.meta.detector)
    inner = active((dark.rate.shape[0], dark.rate.shape[1]))
    rate = dark.rate[inner]
    require_shape(rate, image.rate.shape, dark)
    known = np.isfinite(rate)
    unknown = np.where(known, np.uint32(DQ.GOOD), np.uint32(DQ.UNRELIABLE_DARK))
    return replace(
        image, rate=image.rate - np.where(known, rate, np.float32(0)), dq=image.dq | dark.dq[inner] | unknown
    )
