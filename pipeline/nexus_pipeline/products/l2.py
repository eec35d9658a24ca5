"""L2: calibrated rate images (``_cal.asdf``, DN/s)."""

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from roman_datamodels import datamodels

from nexus_pipeline.instrument.dq import DQ
from nexus_pipeline.products import asdf_file, store, tree
from nexus_pipeline.products.half import half
from nexus_pipeline.products.model import (
    BorderPixels,
    Photometry,
    Provenance,
    RateImage,
    ScienceImage,
    StepRecord,
)

# The mission's names of the steps in ``meta.cal_step``, where they are not those of the modules.
CAL_STEP: Final = {"ramp_fitting": "ramp_fit", "dark_current": "dark", "flatfield": "flat_field"}
CAL_STEPS: Final = (
    "dq_init", "saturation", "refpix", "dark_decay", "wfi18_transient", "linearity", "ramp_fit", "dark",
    "assign_wcs", "photom", "flat_field", "source_catalog", "tweakreg", "flux", "skymatch",
    "outlier_detection",
)  # fmt: skip
# rad prescribes half precision for these; the archive's size depends on it.
_HALF: Final = ("err", "var_poisson", "var_rnoise", "var_flat", "chisq", "dumo")
_MAD_TO_SIGMA: Final = 1.482602218505602


def read_rate_image(url: str) -> RateImage:
    """Return the image at ``url``; refuses others as ``asdf_file.opened`` does."""
    with asdf_file.opened(url, expected="WfiImage") as node:
        wcs = node["meta"]["wcs"]
        meta = {key: tree.plain(value) for key, value in node["meta"].items() if key != "wcs"}
        planes = {name: _single(node[name]) for name in _HALF if name in node}
        # Optional in the schema; what the Poisson part leaves of the total is the read noise.
        planes.setdefault("var_rnoise", np.maximum(planes["err"] ** 2 - planes["var_poisson"], 0))
        return RateImage(
            meta=tree.read_meta(meta, url=url),
            rate=asdf_file.array(node["data"]),
            dq=asdf_file.array(node["dq"]),
            amp33=asdf_file.array(node["amp33"]),
            jump_indices=asdf_file.array(node["jump_indices"]) if "jump_indices" in node else None,
            border=_read_border(node),
            wcs=wcs,
            s_region=_s_region(meta),
            photometry=read_photometry(meta),
            provenance=_read_provenance(meta),
            **planes,
        )


def read_science_image(url: str) -> ScienceImage:
    """Return what a mosaic needs of the image at ``url``; refuses others as ``asdf_file.opened`` does."""
    with asdf_file.opened(url, expected="WfiImage", validate=False) as node:
        meta = {key: tree.plain(value) for key, value in node["meta"].items() if key != "wcs"}
        poisson = _single(node["var_poisson"])
        # Optional in the schema; what the Poisson part leaves of the total is the read noise.
        known = "var_rnoise" in node
        rnoise = _single(node["var_rnoise"]) if known else np.maximum(_single(node["err"]) ** 2 - poisson, 0)
        return ScienceImage(
            meta=tree.read_meta(meta, url=url),
            rate=asdf_file.array(node["data"]),
            var_poisson=poisson,
            var_rnoise=rnoise,
            dq=asdf_file.array(node["dq"]),
            var_flat=_single(node["var_flat"]) if "var_flat" in node else None,
            wcs=node["meta"]["wcs"],
            photometry=read_photometry(meta),
        )


def write_rate_image(image: RateImage, url: str) -> None:
    """Put ``image`` at ``url`` as an L2 product that roman_datamodels opens without a warning."""
    node = datamodels.ImageModel.create_fake_data(shape=(8, 8))._instance
    skeleton = {key: tree.plain(value) for key, value in node["meta"].items() if key != "wcs"}
    meta = tree.write_meta(skeleton, image.meta, file_name=store.file_name(url), provenance=image.provenance)
    meta["product_type"] = "cal"
    meta["wcs"] = image.wcs
    meta["photometry"] = write_photometry(image.photometry)
    meta["cal_step"] = _cal_step(image.provenance)
    meta["statistics"] = statistics(image)
    meta["cal_logs"] = list(image.provenance.logs)
    if image.s_region is not None:
        meta["wcsinfo"]["s_region"] = image.s_region
    node["meta"] = meta
    node["data"], node["dq"], node["amp33"] = image.rate, image.dq, image.amp33
    for name in _HALF:
        plane = getattr(image, name)
        if plane is not None:
            node[name] = half(plane)
    if image.jump_indices is not None:
        # romancal 1.1's own name, which rad's schema knows nothing of, nor forbids.
        node["jump_indices"] = image.jump_indices
    for edge in ("left", "right", "top", "bottom"):
        node[f"border_ref_pix_{edge}"] = getattr(image.border, edge)
        node[f"dq_border_ref_pix_{edge}"] = getattr(image.border, f"dq_{edge}")
    asdf_file.write(url, {"roman": node})


def statistics(image: RateImage) -> dict[str, float]:
    """Return rad's ``meta.statistics`` as romancal fills it.

    Median and 1.4826 × the median absolute deviation (DN/s) of the usable pixels and their share;
    the zodiacal light is not modelled there either (-1).
    """
    good = np.isfinite(image.rate) & (image.dq & np.uint32(DQ.DO_NOT_USE) == 0) & (image.err > 0)
    told = {"zodiacal_light": -1.0, "image_median": math.nan, "image_rms": math.nan}
    if good.any():
        rate = image.rate[good]
        told["image_median"] = float(np.median(rate))
        told["image_rms"] = _MAD_TO_SIGMA * float(np.median(np.abs(rate - np.float32(told["image_median"]))))
    return {**told, "good_pixel_fraction": float(good.mean())}


def write_photometry(photometry: Photometry | None) -> dict[str, float | None]:
    """Return rad's photometry block; all null before ``photom``."""
    names = ("conversion_megajanskys", "conversion_megajanskys_uncertainty")
    block = {name: getattr(photometry, name, None) for name in names}
    return {**block, "pixel_area": photometry.pixel_area_sr if photometry else None}


def read_photometry(meta: Mapping[str, Any]) -> Photometry | None:
    """Return the photometry of a ``meta`` tree, None where it has not been set."""
    block = meta["photometry"]
    values = [
        block[name] for name in ("conversion_megajanskys", "conversion_megajanskys_uncertainty", "pixel_area")
    ]
    if any(value is None or value <= 0 for value in values):
        return None
    return Photometry(*(float(value) for value in values))


def _single(array: Any) -> NDArray[np.float32]:
    return asdf_file.array(array).astype(np.float32)


def _cal_step(provenance: Provenance) -> dict[str, str]:
    status = dict.fromkeys(CAL_STEPS, "INCOMPLETE")
    done = {CAL_STEP.get(step.name, step.name): step.status for step in provenance.steps}
    return status | {name: value for name, value in done.items() if name in status}


def _read_border(node: Any) -> BorderPixels:
    edges = ("left", "right", "top", "bottom")
    values = {edge: asdf_file.array(node[f"border_ref_pix_{edge}"]) for edge in edges}
    flags = {f"dq_{edge}": asdf_file.array(node[f"dq_border_ref_pix_{edge}"]) for edge in edges}
    return BorderPixels(**values, **flags)


def _s_region(meta: Mapping[str, Any]) -> str | None:
    region = meta["wcsinfo"].get("s_region")
    return region if region and region != "?" else None


def _read_provenance(meta: Mapping[str, Any]) -> Provenance:
    own = meta.get(tree.OWN_KEY, {})
    return Provenance(
        steps=tuple(StepRecord(**step) for step in own.get("steps", ())),
        references=own.get("references", {}),
        context=own.get("context"),
        logs=tuple(meta.get("cal_logs", ())),
    )
