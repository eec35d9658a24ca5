"""Tables as Parquet that says what its columns mean, to each kind of reader in its own way.

Takes an astropy table with units and descriptions; leaves an Arrow table whose types are Parquet's own, and
which tells of units and descriptions three times: beside each column (as roman_datamodels does), in YAML in
the footer with typed metadata (as astropy does: ``Table.read``), and in a VOTable without data there (IVOA's
VOParquet 1.0: TOPCAT, STILTS).
"""

import io
from collections.abc import Mapping, Sequence
from typing import IO, Any, Final

import astropy.units as u
import numpy as np
import pyarrow
import pyarrow.parquet
from astropy.io.votable.tree import VOTableFile
from astropy.table import Column, Table
from astropy.table.meta import get_yaml_from_table
from astropy.time import Time

NO_UNIT: Final = "none"
"""The mission's word for no unit."""
YAML_KEY: Final = "table_meta_yaml"
VOTABLE_KEY: Final = "IVOA.VOTable-Parquet.content"
_VOTABLE_VERSION: Final = {"IVOA.VOTable-Parquet.version": "1.0"}
_UCDS: Final = {
    "ra": "pos.eq.ra;meta.main",
    "dec": "pos.eq.dec;meta.main",
    "label": "meta.id",
}
_SILENT: Final = ("", NO_UNIT, "None")
ROW_GROUP: Final = 65_536
"""Rows that a reader takes at once: enough to pack well, few enough for one of a small place on the sky."""


def described(table: Table, *, meta: Mapping[str, Any], texts: Mapping[str, str]) -> pyarrow.Table:
    """Return ``table`` as Arrow: ``meta`` (plain values, times) typed in its YAML, ``texts`` as keys."""
    told = Table([_plain(column) for column in table.columns.values()], meta=_typed(meta))
    keys = {
        **texts,
        YAML_KEY: "\n".join(get_yaml_from_table(told)),
        **_VOTABLE_VERSION,
        VOTABLE_KEY: _votable(told),
    }
    fields = [
        pyarrow.field(
            name,
            pyarrow.from_numpy_dtype(column.dtype),
            metadata={"unit": _unit_text(column.unit), "description": column.description or ""},
        )
        for name, column in told.columns.items()
    ]
    arrays = [pyarrow.array(np.asarray(column)) for column in told.columns.values()]
    return pyarrow.Table.from_arrays(arrays, schema=pyarrow.schema(fields, metadata=keys))


def write(table: pyarrow.Table, handle: IO[bytes], *, footers: list[Any] | None = None) -> None:
    """Write ``table`` to ``handle``, packed, in groups of rows that can be read alone.

    What the file says of itself is put into ``footers`` too, if there are such.
    """
    pyarrow.parquet.write_table(
        table, handle, compression="zstd", row_group_size=ROW_GROUP, metadata_collector=footers
    )


def columns_of(content: pyarrow.Table, names: Sequence[str] | None = None) -> Table:
    """Return the columns (or those of ``names``) as an astropy table with their units and descriptions."""
    table = Table()
    for name in content.column_names if names is None else names:
        about = {key.decode(): value.decode() for key, value in (content.field(name).metadata or {}).items()}
        unit = about.get("unit", "")
        table[name] = Column(
            content[name].to_numpy(),
            unit=None if unit in _SILENT else unit,
            description=about.get("description") or None,
        )
    return table


def _plain(column: Column) -> Column:
    unit = None if column.unit is None or str(column.unit) in _SILENT else column.unit
    return Column(np.asarray(column), name=column.name, unit=unit, description=column.description)


def _unit_text(unit: Any) -> str:
    return NO_UNIT if unit is None else str(unit)


def _typed(node: Any) -> Any:
    """Return ``node`` in the types that astropy's YAML knows, and no subclass of theirs."""
    if isinstance(node, Mapping):
        return {str(key): _typed(value) for key, value in node.items()}
    if isinstance(node, Time):
        return Time(node, format="isot")
    if isinstance(node, str):
        return str(node)
    if isinstance(node, np.generic):
        return node.item()
    return [_typed(each) for each in node] if isinstance(node, Sequence) else node


def _votable(table: Table) -> str:
    """Return a VOTable of the columns of ``table`` without its rows, as XML."""
    bare = Table([_in_votable(column[:0]) for column in table.columns.values()])
    file = VOTableFile.from_table(bare)
    for field in file.get_first_table().fields:
        field.ucd = _UCDS.get(field.name)
    text = io.BytesIO()
    file.to_xml(text)
    return text.getvalue().decode()


def _in_votable(column: Column) -> Column:
    """Return ``column`` with a unit that VOTables have: magnitudes there do not say of what."""
    magnitude = isinstance(column.unit, u.MagUnit)
    return Column(
        column.data,
        name=column.name,
        unit=u.mag if magnitude else column.unit,
        description=column.description,
    )
