"""assign_wcs: where the pixels look, from the distortion and the pointing."""

from dataclasses import replace

from nexus_pipeline.products.model import RateImage
from nexus_pipeline.references.kinds import DistortionReference
from nexus_pipeline.sky import wcs
from nexus_pipeline.steps.checks import require_detector


def assign(image: RateImage, distortion: DistortionReference) -> RateImage:
    """Return ``image`` with a gwcs object (0-based pixels to ICRS) and its footprint on the sky."""
    require_detector(distortion, image.meta.detector)
    size = image.rate.shape[0]
    built = wcs.build(distortion.transform, image.meta.pointing, size=size)
    return replace(image, wcs=built, s_region=wcs.s_region(built, size=size))
