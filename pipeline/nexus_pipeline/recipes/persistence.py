"""persistence: the step with the files of the earlier exposures."""

from collections.abc import Sequence

from nexus_pipeline.errors import StepSkipped
from nexus_pipeline.products.charge import read_charge, read_exposure
from nexus_pipeline.products.model import RateImage
from nexus_pipeline.steps import persistence


def flag(
    image: RateImage,
    *,
    earlier: Sequence[str] = (),
    threshold_dn: float = persistence.THRESHOLD_DN,
    decay_time_s: float = persistence.DECAY_TIME_S,
) -> RateImage:
    """Return ``image`` flagged for those of ``earlier`` (URLs of L1 or L2) that matter to it.

    Pixels are read of these only, and one file at a time. StepSkipped where there is none.
    """
    if not earlier:
        raise StepSkipped("no earlier exposures were given")
    due = (
        url
        for url in earlier
        if persistence.in_question(image.meta, read_exposure(url), decay_time_s=decay_time_s)
    )
    return persistence.flag(
        image, map(read_charge, due), threshold_dn=threshold_dn, decay_time_s=decay_time_s
    )
