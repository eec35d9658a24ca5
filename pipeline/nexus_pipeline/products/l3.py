"""L3: mosaics (``_coadd.asdf``, surface brightness in MJy/sr)."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np
from astropy.time import Time
from roman_datamodels import datamodels

from nexus_pipeline.products import asdf_file, store, tree
from nexus_pipeline.products.image_tables import tables
from nexus_pipeline.products.model import CoaddMeta, Mosaic, MosaicCatalog, MultibandCatalog, StepRecord
from nexus_pipeline.products.names import ExposureId, visit_grouping

_PLANES = ("data", "err", "var_poisson", "var_rnoise", "weight")
# The others are names of ours, which rad's schema knows nothing of, nor forbids.
_OPTIONAL = {
    "var_flat": "var_flat",
    "outliers": "outlier_indices",
    "weights_of_images": "weights_of_images",
}
_UNREAD = ("wcs", "individual_image_meta")
# What the mission calls what is made of the exposures of a visit, of a pass, or of all.
_PRODUCTS = {"v": "visit", "p": "pass", "f": "full"}
_NUMBERS = ("program", "execution_plan", "pass_number", "segment", "observation", "visit")
_RAD = {"pass_number": "pass"}
_OF_CATALOGUE = ("image", "image_metas", "psf_match_reference_filter")
_BITS = 32
CAL_STEPS = ("flux", "skymatch", "outlier_detection", "resample")
NO_ASSOCIATION = "?"
_MAD_TO_SIGMA = 1.482602218505602


def read_mosaic(url: str) -> Mosaic:
    """Return the mosaic at ``url``; refuses others as ``asdf_file.opened`` does."""
    with asdf_file.opened(url, expected="WfiMosaic") as node:
        meta = {key: tree.plain(value) for key, value in node["meta"].items() if key not in _UNREAD}
        return Mosaic(
            meta=read_meta(meta),
            context=asdf_file.array(node["context"]),
            wcs=node["meta"]["wcs"],
            wcsinfo=meta["wcsinfo"],
            **{name: asdf_file.array(node[name]) for name in _PLANES},
            **{field: asdf_file.array(node[name]) for field, name in _OPTIONAL.items() if name in node},
        )


def write_mosaic(mosaic: Mosaic, url: str) -> None:
    """Put ``mosaic`` at ``url`` as an L3 product that roman_datamodels opens without a warning."""
    node = datamodels.MosaicModel.create_fake_data(shape=(8, 8))._instance
    skeleton = {key: tree.plain(value) for key, value in node["meta"].items() if key != "wcs"}
    known = {**_known(mosaic.meta, mosaic.wcsinfo), **_of_mosaic(mosaic)}
    meta = tree.merged(skeleton, known)
    meta["filename"] = store.file_name(url)
    meta["file_date"] = Time(datetime.now(UTC).replace(tzinfo=None))
    node["meta"] = {**meta, "wcs": mosaic.wcs}
    node["context"] = mosaic.context
    for name in _PLANES:
        node[name] = getattr(mosaic, name)
    for field, name in _OPTIONAL.items():
        if getattr(mosaic, field) is not None:
            node[name] = getattr(mosaic, field)
    asdf_file.write(url, {"roman": node})


def context_of_all(n_images: int, size: int) -> np.ndarray[Any, np.dtype[np.uint32]]:
    """Return the context (n, size, size) of pixels to each of which all of ``n_images`` contributed."""
    left = [min(n_images - first, _BITS) for first in range(0, n_images, _BITS)]
    planes = [np.full((size, size), 2**bits - 1, dtype=np.uint32) for bits in left]
    return np.stack(planes)


def statistics(mosaic: Mosaic) -> dict[str, float]:
    """Return rad's ``meta.statistics``: as for L2, MJy/sr."""
    good = np.isfinite(mosaic.data) & (mosaic.weight > 0)
    seen = mosaic.data[good]
    median = float(np.median(seen)) if seen.size else float("nan")
    scatter = float(np.median(np.abs(seen - np.float32(median)))) if seen.size else float("nan")
    return {
        "image_median": median,
        "image_rms": _MAD_TO_SIGMA * scatter,
        "good_pixel_fraction": float(good.mean()),
    }


def cal_step(steps: Sequence[StepRecord]) -> dict[str, str]:
    """Return rad's ``meta.cal_step``."""
    done = {step.name: step.status for step in steps}
    return {name: done.get(name, "INCOMPLETE") for name in CAL_STEPS}


def catalog_meta(
    skeleton: Mapping[str, Any], made: MosaicCatalog, *, file_name: str, product_type: str
) -> dict[str, Any]:
    """Return the ``meta`` tree of a product made of a mosaic: what the mosaic says, and how it was made."""
    known = _known(made.meta, made.wcsinfo)
    known["coadd_info"].pop("max_exposure_time", None)
    history = {tree.OWN_KEY: tree.history(made.provenance)}
    meta = tree.merged(tree.merged(skeleton, known), history)
    return {
        **meta,
        "filename": file_name,
        "file_date": Time(datetime.now(UTC).replace(tzinfo=None)),
        "product_type": product_type,
    }


def multiband_meta(
    skeleton: Mapping[str, Any], made: MultibandCatalog, *, file_name: str, product_type: str
) -> dict[str, Any]:
    """Return the ``meta`` tree of a product made of mosaics in several filters, the reference's first."""
    reference = MosaicCatalog(made.metas[made.reference], made.table, made.wcsinfo, made.provenance)
    meta = catalog_meta(skeleton, reference, file_name=file_name, product_type=product_type)
    common = {key: value for key, value in skeleton.items() if key not in _OF_CATALOGUE}
    images = []
    for each in made.metas.values():
        known = _known(each, made.wcsinfo)
        known["coadd_info"].pop("max_exposure_time", None)
        images.append(tree.merged(common, known))
    own = tree.merged(meta[tree.OWN_KEY], made.own)
    return {**meta, "image_metas": images, "psf_match_reference_filter": made.reference, tree.OWN_KEY: own}


def _of_mosaic(mosaic: Mosaic) -> dict[str, Any]:
    """Return what only the mosaic itself says of how it was made."""
    meta = mosaic.meta
    grouping = meta.grouping or visit_grouping(meta.exposure_id)
    return {
        "product_type": f"{meta.release}_{_PRODUCTS.get(grouping[0], 'full')}_coadd",
        "data_release_id": meta.release,
        "association": {"name": meta.association or NO_ASSOCIATION},
        "cal_step": cal_step(meta.steps),
        "individual_image_meta": tables(meta.images),
        "statistics": statistics(mosaic),
    }


def _known(meta: CoaddMeta, wcsinfo: Mapping[str, Any]) -> dict[str, Any]:
    first, last = (Time(each.astimezone(UTC).replace(tzinfo=None)) for each in (meta.first, meta.last))
    numbers = {_RAD.get(name, name): getattr(meta.exposure_id, name) or None for name in _NUMBERS}
    grouping = meta.grouping or visit_grouping(meta.exposure_id)
    middle = Time(meta.mean.astimezone(UTC).replace(tzinfo=None)) if meta.mean else first + (last - first) / 2
    return {
        "calibration_software_name": tree.SOFTWARE,
        "calibration_software_version": version("nexus-pipeline"),
        "instrument": {"name": "WFI", "optical_element": meta.filter_name},
        "observation": {
            **numbers,
            "exposure": None,
            "exposure_grouping": grouping,
        },
        "coadd_info": {
            "time_first": first,
            "time_last": last,
            "time_mean": middle,
            "exposure_time": meta.exposure_time_s,
            "max_exposure_time": meta.max_exposure_time_s or meta.exposure_time_s,
        },
        "resample": dict(meta.resample),
        "wcsinfo": dict(wcsinfo),
        tree.OWN_KEY: dict(meta.own),
    }


def read_meta(meta: Mapping[str, Any]) -> CoaddMeta:
    """Return what the ``meta`` tree of a mosaic, or of a product made of one, says of its exposures."""
    observation, coadd = meta["observation"], meta["coadd_info"]
    first, last = (Time(coadd[name]).to_datetime(timezone=UTC) for name in ("time_first", "time_last"))
    numbers = {name: int(observation[_RAD.get(name, name)] or 0) for name in _NUMBERS}
    return CoaddMeta(
        filter_name=str(meta["instrument"]["optical_element"]),
        first=first,
        last=last,
        exposure_time_s=float(coadd["exposure_time"]),
        exposure_id=ExposureId(**numbers, exposure=0),
        resample=meta.get("resample", {}),
        max_exposure_time_s=coadd.get("max_exposure_time"),
        mean=Time(coadd["time_mean"]).to_datetime(timezone=UTC),
        grouping=observation["exposure_grouping"],
        release=str(meta.get("data_release_id", "p")),
        # What is made of several mosaics names no association of its own.
        association=meta.get("association", {}).get("name"),
        own=meta.get(tree.OWN_KEY, {}),
    )
