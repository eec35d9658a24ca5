"""release: the catalogues of skycells to one catalogue of the sky, a HATS collection.

Skycells overlap: a source seen in several belongs to the one in which it lies deepest, so that each is there
once. Rows are in the order of HEALPix, with the skycell that each was measured in.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from astropy.table import Column, Table, vstack
from numpy.typing import NDArray

from nexus_pipeline.errors import InputError, WrongProductError
from nexus_pipeline.products import fingerprint, hats, l4, parquet_table, store
from nexus_pipeline.sky import healpix
from nexus_pipeline.sky.sky_grid import SkyGrid, of_wcsinfo
from nexus_pipeline.sky.tangent import directions_of

Floats = NDArray[np.float64]

RECIPE: Final = ("release", 1)
MARGIN_ARCSEC: Final = 5.0
MOST_ROWS: Final = 1_000_000
_INDEX_TEXT: Final = "HEALPix cell of order 29 (nested) of ra, dec"


@dataclass(frozen=True)
class Piece:
    """A skycell's catalogue: the name and hash of its file, its rows, and where its mosaic lies (rad)."""

    name: str
    sha256: str
    table: Table
    wcsinfo: Mapping[str, Any]


@dataclass(frozen=True)
class Cut:
    """How many rows a partition may have, and how far beyond it the margin reaches."""

    most_rows: int = MOST_ROWS
    margin_arcsec: float = MARGIN_ARCSEC


def read_piece(url: str, sha256: str | None = None) -> Piece:
    """Return the catalogue of a skycell at ``url``; WrongProductError for one that is of none."""
    made_of = l4.made_of(url)
    if made_of == "image":
        raise WrongProductError(f"{url}: a catalogue of an image lies on no skycell", url=url)
    found = l4.read_multiband_catalog(url) if made_of == "mosaics" else l4.read_mosaic_catalog(url)
    return Piece(store.file_name(url), sha256 or fingerprint.sha256(url), found.table, found.wcsinfo)


def fingerprint_of(inputs: Mapping[str, str], cut: Cut) -> str:
    """Return what tells a release from others, from the hashes of its catalogues by name."""
    told = {"inputs": dict(inputs), "most_rows": cut.most_rows, "margin": cut.margin_arcsec}
    return fingerprint.fingerprint(RECIPE, told)


def release(
    pieces: Sequence[Piece], url: str, *, name: str, cut: Cut | None = None, account: str | None = None
) -> int:
    """Put the collection of ``pieces`` at the folder ``url``; return how many sources it has.

    InputError if there is no source in them, or if they have not the same columns.
    """
    cut = cut or Cut()
    whole = together(pieces)
    index = healpix.index_of(np.asarray(whole["ra"]), np.asarray(whole["dec"]))
    order = np.argsort(index, kind="stable")
    whole, index = whole[order], index[order]
    whole.add_column(Column(index, name=hats.INDEX_COLUMN, description=_INDEX_TEXT), index=0)
    cells = healpix.partitions(index, most_rows=cut.most_rows)
    margins = healpix.margins(
        np.asarray(whole["ra"]), np.asarray(whole["dec"]), cells, margin_arcsec=cut.margin_arcsec
    )
    inputs = {piece.name: piece.sha256 for piece in pieces}
    print_ = fingerprint_of(inputs, cut)
    own = fingerprint.provenance(RECIPE, print_, inputs=inputs, account=account)
    rows = parquet_table.described(whole, meta={"nexus": own}, texts={})
    told = hats.Told(name, print_, tuple(inputs), cut.margin_arcsec, cut.most_rows)
    hats.write_collection(url, rows, cells, margins, told=told)
    return len(whole)


def together(pieces: Sequence[Piece]) -> Table:
    """Return the rows of ``pieces``, each source once, with a column that names its skycell."""
    grids = [of_wcsinfo(piece.wcsinfo) for piece in pieces]
    tables = []
    for mine, piece in enumerate(pieces):
        if pieces[0].table.colnames != piece.table.colnames:
            raise InputError(f"{piece.name}: has other columns than {pieces[0].name}; are its bands others?")
        found = _placed(piece.table)
        own = _owner(directions_of(np.asarray(found["ra"]), np.asarray(found["dec"])), grids) == mine
        found = found[own]
        name = np.full(len(found), grids[mine].skycell)
        found.add_column(Column(name, name="skycell", dtype="U16", description="Skycell"), index=0)
        tables.append(found)
    if not sum(len(table) for table in tables):
        raise InputError("there is no source in the catalogues to be released")
    return vstack(tables, join_type="exact", metadata_conflicts="silent")


def _placed(table: Table) -> Table:
    """Return the rows that have a place."""
    return table[np.isfinite(table["ra"]) & np.isfinite(table["dec"])]


def _owner(directions: Floats, grids: Sequence[SkyGrid]) -> NDArray[np.int64]:
    """Return in which of ``grids`` each place lies deepest; the first of equals."""
    depths = [_depth(directions, grid) for grid in grids]
    return np.argmax(depths, axis=0)


def _depth(directions: Floats, grid: SkyGrid) -> Floats:
    """Return how far within the edge of ``grid`` places lie, arcsec; far outside minus infinity."""
    out = np.full(len(directions), -np.inf)
    (middle,) = grid.directions(grid.centre)
    # A plane shows one half of the sky only, and no cell is a degree wide.
    near = directions @ middle > np.cos(np.deg2rad(1.0))
    x, y = grid.pixels(directions[near]).T
    inside = np.min([x + 0.5, grid.nx - 0.5 - x, y + 0.5, grid.ny - 0.5 - y], axis=0)
    out[near] = inside * grid.scale_arcsec
    return out
