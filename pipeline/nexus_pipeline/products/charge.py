"""What an exposure left in its pixels when it ended: read from its L1 ramp or its L2 image."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.errors import WrongProductError
from nexus_pipeline.instrument.dq import DQ
from nexus_pipeline.instrument.wfi import active
from nexus_pipeline.products import asdf_file, l1, tree
from nexus_pipeline.products.model import ExposureMeta


@dataclass(frozen=True)
class Charge:
    """DN by the end of an exposure, (ny, nx) without the border.

    Of a ramp: its last resultant above the typical first one, as read. Of an image: rate × time, infinite
    where the pixel, or in the eyes of ``saturation`` a neighbour, was full too soon for a rate.
    """

    meta: ExposureMeta
    dn: NDArray[np.float32]

    @property
    def end_time(self) -> datetime:
        return end_time(self.meta)


def end_time(meta: ExposureMeta) -> datetime:
    """Return when the last read of an exposure ended."""
    return meta.start_time + timedelta(seconds=meta.ma_table.exposure_time_s)


def read_exposure(url: str) -> ExposureMeta:
    """Return the metadata of the L1 ramp or L2 image at ``url``; WrongProductError for any other."""
    if _is_image(url):
        with asdf_file.opened(url, expected="WfiImage") as node:
            return _image_meta(node, url)
    return l1.read_meta(url)


def read_charge(url: str) -> Charge:
    """Return what the L1 ramp or L2 image at ``url`` left; refuses what ``read_exposure`` does."""
    if not _is_image(url):
        ramp = l1.read_ramp(url)
        y, x = active((ramp.data.shape[1], ramp.data.shape[2]))
        first, last = (ramp.data[k, y, x].astype(np.float32) for k in (0, -1))
        return Charge(ramp.meta, last - np.median(first))
    with asdf_file.opened(url, expected="WfiImage") as node:
        meta, rate = _image_meta(node, url), asdf_file.array(node["data"])
        saturated = asdf_file.array(node["dq"]) & np.uint32(DQ.SATURATED) != 0
    dn = rate * np.float32(meta.ma_table.exposure_time_s)
    return Charge(meta, np.where(saturated, np.float32(np.inf), dn).astype(np.float32))


def _is_image(url: str) -> bool:
    found = asdf_file.kind(url)
    if found not in ("WfiImage", "WfiScienceRaw"):
        what = asdf_file.KINDS.get(found, f"{found!r}")
        raise WrongProductError(f"{url}: holds {what}, not an L1 ramp or an L2 image", url=url)
    return found == "WfiImage"


def _image_meta(node: Any, url: str) -> ExposureMeta:
    meta = {key: tree.plain(value) for key, value in node["meta"].items() if key != "wcs"}
    return tree.read_meta(meta, url=url)
