"""The world coordinates of one exposure of a detector as a product of their own (``_wcs.asdf``)."""

from typing import Any

import gwcs
from astropy.modeling import models
from roman_datamodels import datamodels

from nexus_pipeline.instrument.wfi import BORDER
from nexus_pipeline.products import asdf_file, store, tree
from nexus_pipeline.products.model import RateImage

FIT_RESULTS = "wcs_fit_results"


def write_wcs(image: RateImage, url: str) -> None:
    """Put the WCS of ``image`` at ``url``: of its own pixels, and of the L1 ramp's, border and all."""
    node = datamodels.WfiWcsModel.create_fake_data()._instance
    skeleton = tree.plain(node["meta"])
    meta = tree.write_meta(skeleton, image.meta, file_name=store.file_name(url))
    if image.s_region is not None:
        meta["wcsinfo"]["s_region"] = image.s_region
    node["meta"] = {key: value for key, value in meta.items() if key in skeleton or key == FIT_RESULTS}
    node["meta"]["product_type"], node["meta"]["model_type"] = "wcs", "WfiWcsModel"
    node["wcs_l2"], node["wcs_l1"] = image.wcs, with_border(image.wcs)
    asdf_file.write(url, {"roman": node})


def with_border(wcs: gwcs.WCS, border: int = BORDER) -> gwcs.WCS:
    """Return ``wcs`` for a frame with ``border`` more pixels on each side, counted from its corner."""
    steps: list[Any] = [(step.frame, step.transform) for step in wcs.pipeline]
    shift = models.Shift(-border) & models.Shift(-border)
    result = gwcs.WCS([(steps[0][0], shift | steps[0][1].copy()), *steps[1:]], name=wcs.name)
    (left, right), (low, high) = wcs.bounding_box
    result.bounding_box = ((left, right + 2 * border), (low, high + 2 * border))
    return result
