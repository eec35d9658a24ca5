"""L1: ramps as the archive keeps them (``_uncal.asdf``, DN)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from roman_datamodels import datamodels

from nexus_pipeline.errors import WrongProductError
from nexus_pipeline.products import asdf_file, store, tree
from nexus_pipeline.products.model import ExposureMeta, Ramp


def read_ramp(url: str) -> Ramp:
    """Return the ramp at ``url``; refuses others as ``asdf_file.opened`` does."""
    with asdf_file.opened(url, expected="WfiScienceRaw") as node:
        meta = tree.read_meta(tree.plain(node["meta"]), url=url)
        ramp = Ramp(
            meta=meta,
            data=asdf_file.array(node["data"]),
            amp33=asdf_file.array(node["amp33"]),
            resultant_dq=_optional(node, "resultantdq"),
            reference_read=_optional(node, "reference_read"),
            reference_amp33=_optional(node, "reference_amp33"),
        )
    _check(ramp, url)
    return ramp


def read_meta(url: str) -> ExposureMeta:
    """Return the metadata of the ramp at ``url`` without reading its pixels."""
    with asdf_file.opened(url, expected="WfiScienceRaw") as node:
        return tree.read_meta(tree.plain(node["meta"]), url=url)


def write_ramp(ramp: Ramp, url: str) -> None:
    """Put ``ramp`` at ``url`` as an L1 product that roman_datamodels opens without a warning."""
    shape = (1, 8, 8)
    node = datamodels.ScienceRawModel.create_fake_data(shape=shape)._instance
    skeleton = tree.plain(node["meta"])
    node["meta"] = tree.write_meta(skeleton, ramp.meta, file_name=store.file_name(url))
    node["meta"]["product_type"] = "uncal"
    node["data"], node["amp33"] = ramp.data, ramp.amp33
    if ramp.resultant_dq is not None:
        node["resultantdq"] = ramp.resultant_dq
    if ramp.reference_read is not None:
        node["reference_read"] = ramp.reference_read
    if ramp.reference_amp33 is not None:
        node["reference_amp33"] = ramp.reference_amp33
    asdf_file.write(url, {"roman": node})


def _optional(node: Any, name: str) -> NDArray[Any] | None:
    return asdf_file.array(node[name]) if name in node else None


def _check(ramp: Ramp, url: str) -> None:
    expected = ramp.meta.ma_table.n_resultants
    if ramp.data.ndim != 3 or ramp.data.shape[0] != expected:
        raise WrongProductError(
            f"{url}: a ramp of shape {ramp.data.shape}, but its read pattern has {expected} resultants",
            url=url,
        )
    if ramp.data.dtype != np.uint16:
        raise WrongProductError(f"{url}: its ramp is {ramp.data.dtype}, not uint16", url=url)
