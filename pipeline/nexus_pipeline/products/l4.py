"""L4: source catalogues (``_cat.parquet``, the mission's columns with their units)."""

import ast
from collections.abc import Mapping
from functools import partial
from typing import Any, Literal

import pyarrow
import pyarrow.parquet
from asdf.exceptions import ValidationError
from roman_datamodels import datamodels

from nexus_pipeline.errors import InvalidProductError, UnreadableProductError, WrongProductError
from nexus_pipeline.products import l3, parquet_table, store, tree
from nexus_pipeline.products.l2 import read_photometry, write_photometry
from nexus_pipeline.products.model import Catalog, MosaicCatalog, MultibandCatalog

_PREFIX = "roman.meta."


def write_catalog(catalog: Catalog, url: str) -> None:
    """Put ``catalog`` at ``url``; InvalidProductError if a column breaks the mission's schema."""
    model = datamodels.ImageSourceCatalogModel.create_fake_data()
    name = store.file_name(url)
    skeleton = tree.plain(model._instance["meta"])
    meta = tree.write_meta(skeleton, catalog.meta, file_name=name, provenance=catalog.provenance)
    meta["product_type"], meta["photometry"] = "cat", write_photometry(catalog.photometry)
    if catalog.extra:
        meta[tree.OWN_KEY] = tree.merged(meta.get(tree.OWN_KEY, {}), catalog.extra)
    model._instance["meta"], model._instance["source_catalog"] = meta, catalog.table
    _save(model, url)


def _save(model: Any, url: str) -> None:
    """Put the catalogue of ``model`` at ``url`` once its schema was met; its metadata also as texts.

    Those are what roman_datamodels writes: dotted keys, each value as ``str`` has it.
    """
    try:
        model.validate()
    except ValidationError as error:
        raise InvalidProductError(f"{url}: would break its schema: {error.message}", url=url) from error
    meta = tree.plain(model._instance["meta"])
    texts = {key: str(value) for key, value in model.to_flat_dict().items() if key.startswith(_PREFIX)}
    content = parquet_table.described(
        model._instance["source_catalog"], meta={"roman": {"meta": meta}}, texts=texts
    )
    store.save(url, partial(parquet_table.write, content))


def write_mosaic_catalog(catalog: MosaicCatalog, url: str) -> None:
    """Put ``catalog`` at ``url``; InvalidProductError if a column breaks the mission's schema."""
    model = datamodels.MosaicSourceCatalogModel.create_fake_data()
    skeleton = tree.plain(model._instance["meta"])
    meta = l3.catalog_meta(skeleton, catalog, file_name=store.file_name(url), product_type="p_visit_cat")
    model._instance["meta"], model._instance["source_catalog"] = meta, catalog.table
    _save(model, url)


def write_multiband_catalog(catalog: MultibandCatalog, url: str) -> None:
    """Put ``catalog`` at ``url``; InvalidProductError if a column breaks the mission's schema."""
    model = datamodels.MultibandSourceCatalogModel.create_fake_data()
    skeleton = tree.plain(model._instance["meta"])
    meta = l3.multiband_meta(skeleton, catalog, file_name=store.file_name(url), product_type="p_full_cat")
    model._instance["meta"], model._instance["source_catalog"] = meta, catalog.table
    _save(model, url)


def read_catalog(url: str) -> Catalog:
    """Return the catalogue at ``url``; UnreadableProductError or WrongProductError for another file."""
    content, meta = _read(url)
    return Catalog(
        meta=tree.read_meta(meta, url=url),
        table=parquet_table.columns_of(content),
        photometry=read_photometry(meta),
        extra=meta.get(tree.OWN_KEY, {}),
    )


def read_mosaic_catalog(url: str) -> MosaicCatalog:
    """Return the catalogue of a mosaic at ``url``; refuses other files as ``read_catalog`` does."""
    content, meta = _read(url)
    if "coadd_info" not in meta:
        raise WrongProductError(f"{url}: a catalogue, but not one of a mosaic", url=url)
    return MosaicCatalog(l3.read_meta(meta), parquet_table.columns_of(content), meta["wcsinfo"])


def read_multiband_catalog(url: str) -> MultibandCatalog:
    """Return the catalogue of several filters at ``url``; refuses other files as ``read_catalog`` does."""
    content, meta = _read(url)
    if "image_metas" not in meta:
        raise WrongProductError(f"{url}: a catalogue, but not one of several filters", url=url)
    of_images = [l3.read_meta({**meta, **each}) for each in meta["image_metas"]]
    return MultibandCatalog(
        {each.filter_name: each for each in of_images},
        meta["psf_match_reference_filter"],
        parquet_table.columns_of(content),
        meta["wcsinfo"],
        own=meta.get(tree.OWN_KEY, {}),
    )


def made_of(url: str) -> Literal["image", "mosaic", "mosaics"]:
    """Say what the catalogue at ``url`` was made of: mosaics, if of several filters."""
    meta = _read(url)[1]
    if "image_metas" in meta:
        return "mosaics"
    return "mosaic" if "coadd_info" in meta else "image"


def read_own(url: str) -> dict[str, Any]:
    """Return what the catalogue at ``url`` says under our own key of how it was made."""
    own: dict[str, Any] = _read(url)[1].get(tree.OWN_KEY, {})
    return own


def _read(url: str) -> tuple[pyarrow.Table, dict[str, Any]]:
    """Return the table and its metadata."""
    with store.open_for_reading(url) as handle:
        try:
            content = pyarrow.parquet.read_table(handle)
        except pyarrow.ArrowException as error:
            raise UnreadableProductError(
                f"{url}: not a Parquet file, or a truncated one ({error})", url=url
            ) from error
    meta = _unflattened(
        {key.decode(): value.decode() for key, value in (content.schema.metadata or {}).items()}
    )
    if not meta:
        raise WrongProductError(f"{url}: a Parquet table, but not a catalogue of the Roman mission", url=url)
    return content, meta


def _unflattened(flat: Mapping[str, str]) -> dict[str, Any]:
    """Undo what roman_datamodels does to the tree: dotted keys, every value as a string."""
    tree_: dict[str, Any] = {}
    for key, value in flat.items():
        if key.startswith(_PREFIX):
            *branches, leaf = key.removeprefix(_PREFIX).split(".")
            node = tree_
            for branch in branches:
                node = node.setdefault(branch, {})
            node[leaf] = _value(value)
    whole: dict[str, Any] = _with_lists(tree_)
    return whole


def _with_lists(node: Any) -> Any:
    """Return ``node`` with mappings of 0, 1, 2 … as the lists they were."""
    if not isinstance(node, dict):
        return node
    values = {key: _with_lists(value) for key, value in node.items()}
    return list(values.values()) if values and all(key.isdigit() for key in values) else values


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
