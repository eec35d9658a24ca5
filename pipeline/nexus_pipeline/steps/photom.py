"""photom: say what a DN/s is worth; pixels stay DN/s."""

from dataclasses import replace

from nexus_pipeline.errors import MismatchedReferenceError, StepSkipped
from nexus_pipeline.instrument.filters import SPECTRAL_ELEMENTS
from nexus_pipeline.products.model import Photometry, RateImage
from nexus_pipeline.references.kinds import PhotomReference
from nexus_pipeline.steps.checks import require_detector


def calibrate(image: RateImage, photom: PhotomReference) -> RateImage:
    """Return ``image`` with the conversion of its filter; MismatchedReferenceError if there is none.

    The mission's own tables hold no conversion of spectra: those are then left without (StepSkipped).
    """
    require_detector(photom, image.meta.detector)
    entry = photom.table.get(image.meta.filter_name)
    if entry is None and image.meta.filter_name in SPECTRAL_ELEMENTS:
        raise StepSkipped(f"the photom reference has no conversion for {image.meta.filter_name}")
    if entry is None:
        raise MismatchedReferenceError(
            f"the photom reference of {photom.detector} has no row for {image.meta.filter_name}",
            kind=photom.kind,
        )
    photometry = Photometry(entry.conversion_megajanskys, entry.uncertainty, entry.pixel_area_sr)
    return replace(image, photometry=photometry)
