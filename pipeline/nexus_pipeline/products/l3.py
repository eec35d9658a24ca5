"""L3: mosaics (``_coadd.asdf``, surface brightness in MJy/sr)."""

from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np
from astropy.time import Time
from roman_datamodels import datamodels

from nexus_pipeline.products import asdf_file, store, tree
from nexus_pipeline.products.model import CoaddMeta, Mosaic, MosaicCatalog
from nexus_pipeline.products.names import ExposureId, visit_grouping

_PLANES = ("data", "err", "var_poisson", "var_rnoise", "weight")
_NUMBERS = ("program", "execution_plan", "pass_number", "segment", "observation", "visit")
_RAD = {"pass_number": "pass"}
_BITS = 32
_MAD_TO_SIGMA = 1.482602218505602


def read_mosaic(url: str) -> Mosaic:
    """Return the mosaic at ``url``; refuses others as ``asdf_file.opened`` does."""
    with asdf_file.opened(url, expected="WfiMosaic") as node:
        meta = {key: tree.plain(value) for key, value in node["meta"].items() if key != "wcs"}
        return Mosaic(
            meta=read_meta(meta),
            context=asdf_file.array(node["context"]),
            wcs=node["meta"]["wcs"],
            wcsinfo=meta["wcsinfo"],
            **{name: asdf_file.array(node[name]) for name in _PLANES},
        )


def write_mosaic(mosaic: Mosaic, url: str) -> None:
    """Put ``mosaic`` at ``url`` as an L3 product that roman_datamodels opens without a warning."""
    node = datamodels.MosaicModel.create_fake_data(shape=(8, 8))._instance
    skeleton = {key: tree.plain(value) for key, value in node["meta"].items() if key != "wcs"}
    known = {**_known(mosaic.meta, mosaic.wcsinfo), "statistics": statistics(mosaic)}
    meta = tree.merged(skeleton, {**known, "product_type": "p_visit_coadd"})
    meta["filename"] = store.file_name(url)
    meta["file_date"] = Time(datetime.now(UTC).replace(tzinfo=None))
    node["meta"] = {**meta, "wcs": mosaic.wcs}
    node["context"] = mosaic.context
    for name in _PLANES:
        node[name] = getattr(mosaic, name)
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


def _known(meta: CoaddMeta, wcsinfo: Mapping[str, Any]) -> dict[str, Any]:
    first, last = (Time(each.astimezone(UTC).replace(tzinfo=None)) for each in (meta.first, meta.last))
    numbers = {_RAD.get(name, name): getattr(meta.exposure_id, name) for name in _NUMBERS}
    return {
        "calibration_software_name": tree.SOFTWARE,
        "calibration_software_version": version("nexus-pipeline"),
        "instrument": {"name": "WFI", "optical_element": meta.filter_name},
        "observation": {
            **numbers,
            "exposure": None,
            "exposure_grouping": visit_grouping(meta.exposure_id),
        },
        "coadd_info": {
            "time_first": first,
            "time_last": last,
            "time_mean": first + (last - first) / 2,
            "exposure_time": meta.exposure_time_s,
            "max_exposure_time": meta.exposure_time_s,
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
        resample=meta["resample"],
        own=meta.get(tree.OWN_KEY, {}),
    )
