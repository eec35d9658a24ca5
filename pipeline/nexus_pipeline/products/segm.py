"""L4: segmentation maps (``_segm.asdf``): to which source of a catalogue each pixel of its image belongs."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from roman_datamodels import datamodels

from nexus_pipeline.products import asdf_file, l3, store, tree
from nexus_pipeline.products.l2 import write_photometry
from nexus_pipeline.products.model import Catalog, ExposureMeta, MosaicCatalog, MultibandCatalog

_CLASS = "SegmentationMap"


def write_segments(catalog: Catalog, segments: NDArray[np.uint32], url: str) -> None:
    """Put ``segments``, labels of ``catalog`` (0: none), at ``url`` as the mission's product."""
    node = datamodels.SegmentationMapModel.create_fake_data(shape=(8, 8))._instance
    skeleton: dict[str, Any] = tree.plain(node["meta"])
    meta = tree.write_meta(
        skeleton, catalog.meta, file_name=store.file_name(url), provenance=catalog.provenance
    )
    meta["product_type"], meta["photometry"] = "segm", write_photometry(catalog.photometry)
    node["meta"], node["data"] = meta, segments
    asdf_file.write(url, {"roman": node})


def write_mosaic_segments(catalog: MosaicCatalog, segments: NDArray[np.uint32], url: str) -> None:
    """Put ``segments``, labels of a mosaic's ``catalog``, at ``url`` as the mission's product."""
    node = datamodels.MosaicSegmentationMapModel.create_fake_data(shape=(8, 8))._instance
    node["meta"] = l3.catalog_meta(
        tree.plain(node["meta"]), catalog, file_name=store.file_name(url), product_type="p_visit_segm"
    )
    node["data"] = segments
    asdf_file.write(url, {"roman": node})


def write_multiband_segments(catalog: MultibandCatalog, segments: NDArray[np.uint32], url: str) -> None:
    """Put ``segments``, labels of a ``catalog`` of several filters, at ``url`` as the mission's product."""
    node = datamodels.MultibandSegmentationMapModel.create_fake_data(shape=(8, 8))._instance
    node["meta"] = l3.multiband_meta(
        tree.plain(node["meta"]), catalog, file_name=store.file_name(url), product_type="p_full_segm"
    )
    node["data"] = segments
    asdf_file.write(url, {"roman": node})


def read_segments(url: str) -> tuple[ExposureMeta, NDArray[np.uint32]]:
    """Return the labels at ``url`` and the exposure they are of; refuses as ``asdf_file.opened`` does."""
    with asdf_file.opened(url, expected=_CLASS) as node:
        return tree.read_meta(tree.plain(node["meta"]), url=url), asdf_file.array(node["data"])
