"""HATS: a catalogue of the sky cut in HEALPix cells of few rows, each a Parquet file (hats 0.11, LSDB).

Takes rows in the order of ``_healpix_29`` and what rows each cell has; leaves a collection: the catalogue,
and beside it a margin catalogue, with the rows just outside each cell. Both lie in folders of names that no
earlier catalogue at the place has, and ``collection.properties``, which names them, is put there last: a
reader sees the old catalogue, or the new one, whole.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from typing import IO, Any, Final, Protocol

import pyarrow
import pyarrow.parquet

from nexus_pipeline.errors import InputError
from nexus_pipeline.products import parquet_table, store

INDEX_COLUMN: Final = "_healpix_29"
COLLECTION: Final = "collection.properties"
_DIRECTORY_CELLS: Final = 10_000
"""Cells whose files share a folder, by the convention."""
_FORMAT: Final = "v1.0"
_FINGERPRINT: Final = "nexus_fingerprint"


class Cell(Protocol):
    """A HEALPix cell (nested), and which rows of a table lie in it or near it."""

    @property
    def order(self) -> int: ...
    @property
    def pixel(self) -> int: ...
    @property
    def rows(self) -> Any: ...


@dataclass(frozen=True)
class Told:
    """What a collection says of itself: its ``name``, what tells it from others, and what it was made of."""

    name: str
    fingerprint: str
    progenitors: tuple[str, ...]
    margin_arcsec: float
    most_rows: int


def write_collection(
    url: str, table: pyarrow.Table, cells: Sequence[Cell], margins: Sequence[Cell], *, told: Told
) -> None:
    """Put the rows of ``cells`` and of ``margins`` at the folder ``url``; what lay there before goes.

    Where no row is near a cell that is not its own there is no margin catalogue: none can be without cells.
    """
    before, key = store.listed(url), told.fingerprint[:12]
    main, margin = f"{told.name}_{key}", f"{told.name}_{key}_{told.margin_arcsec:g}arcs"
    _write_catalog(store.join(url, main), table, cells, _properties(told, main, "object", cells))
    collection = {"obs_collection": told.name, "hats_primary_table_url": main}
    if margins:
        of_margin = _properties(told, margin, "margin", margins, main=main)
        _write_catalog(store.join(url, margin), table, margins, of_margin)
        collection |= {"all_margins": margin, "default_margin": margin}
    collection |= {**_provenance(told), _FINGERPRINT: told.fingerprint}
    _save_properties(collection, store.join(url, COLLECTION))
    for name in before:
        if name.startswith(f"{told.name}_") and name not in (main, margin):
            store.remove_folder(store.join(url, name))


def fingerprint(url: str) -> str | None:
    """Return what ``write_collection`` was told of the collection at ``url``, None where there is none."""
    if not store.exists(store.join(url, COLLECTION)):
        return None
    return properties(store.join(url, COLLECTION)).get(_FINGERPRINT)


def properties(url: str) -> dict[str, str]:
    """Return what the file of properties at ``url`` says."""
    with store.open_for_reading(url) as handle:
        lines = handle.read().decode().splitlines()
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {key.strip(): value.strip() for key, _, value in pairs}


def read_rows(url: str) -> pyarrow.Table:
    """Return all rows of the collection's catalogue at ``url``; InputError where there is none."""
    if fingerprint(url) is None:
        raise InputError(f"{url}: has no HATS collection of ours", url=url)
    main = store.join(url, properties(store.join(url, COLLECTION))["hats_primary_table_url"])
    with store.open_for_reading(store.join(main, "partition_info.csv")) as handle:
        cells = list(csv.DictReader(io.StringIO(handle.read().decode())))
    parts = []
    for cell in cells:
        name = cell_file(int(cell["Norder"]), int(cell["Npix"]))
        with store.open_for_reading(store.join(main, f"dataset/{name}")) as handle:
            parts.append(pyarrow.parquet.read_table(handle))
    return pyarrow.concat_tables(parts)


def cell_file(order: int, pixel: int) -> str:
    """Return where in the dataset a cell's rows lie."""
    return f"Norder={order}/Dir={pixel // _DIRECTORY_CELLS * _DIRECTORY_CELLS}/Npix={pixel}.parquet"


def _write_catalog(url: str, table: pyarrow.Table, cells: Sequence[Cell], told: Mapping[str, Any]) -> None:
    """Write a catalogue or a margin: a file per cell, their joint footer, and the properties."""
    footers: list[pyarrow.parquet.FileMetaData] = []
    dataset = store.join(url, "dataset")
    for cell in cells:
        name = cell_file(cell.order, cell.pixel)
        part = table.take(pyarrow.array(cell.rows))
        store.save(store.join(dataset, name), partial(parquet_table.write, part, footers=footers))
        footers[-1].set_file_path(name)
    store.save(store.join(dataset, "_common_metadata"), partial(_footer, table.schema, None))
    store.save(store.join(dataset, "_metadata"), partial(_footer, table.schema, footers))
    lines = ["Norder,Npix", *(f"{cell.order},{cell.pixel}" for cell in cells)]
    _save_text("\n".join(lines) + "\n", store.join(url, "partition_info.csv"))
    for name in ("hats.properties", "properties"):
        _save_properties(told, store.join(url, name))


def _footer(
    schema: pyarrow.Schema, footers: list[pyarrow.parquet.FileMetaData] | None, handle: IO[bytes]
) -> None:
    pyarrow.parquet.write_metadata(schema, handle, metadata_collector=footers)


def _properties(
    told: Told, name: str, kind: str, cells: Sequence[Cell], *, main: str | None = None
) -> dict[str, Any]:
    of_margin = {"hats_primary_table_url": main, "hats_margin_threshold": told.margin_arcsec} if main else {}
    return {
        "obs_collection": name,
        "dataproduct_type": kind,
        "hats_nrows": sum(len(cell.rows) for cell in cells),
        "hats_col_ra": "ra",
        "hats_col_dec": "dec",
        "hats_col_healpix": INDEX_COLUMN,
        "hats_col_healpix_order": 29,
        "hats_max_rows": told.most_rows,
        "hats_npix_suffix": ".parquet",
        "hats_order": max((cell.order for cell in cells), default=0),
        **of_margin,
        **_provenance(told),
    }


def _provenance(told: Told) -> dict[str, Any]:
    return {
        "hats_builder": f"nexus_pipeline v{version('nexus-pipeline')}",
        "hats_creation_date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%MUTC"),
        "hats_version": _FORMAT,
        "prov_progenitor": " ".join(told.progenitors),
    }


def _save_properties(told: Mapping[str, Any], url: str) -> None:
    lines = ["#HATS", *(f"{key}={value}" for key, value in told.items())]
    _save_text("\n".join(lines) + "\n", url)


def _save_text(text: str, url: str) -> None:
    def write(handle: IO[bytes]) -> None:
        handle.write(text.encode())

    store.save(url, write)
