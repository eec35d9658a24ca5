"""What a catalogue's file says of its columns, to each kind of reader in the way that it looks for."""

import io
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from astropy.io import votable
from astropy.table import Table
from roman_datamodels.datamodels import ImageSourceCatalogModel
from tests.support import pipeline as build

from nexus_pipeline.measure.columns import OUR_COLUMNS
from nexus_pipeline.products import l4, parquet_table
from nexus_pipeline.products.model import Catalog, Photometry, Provenance, StepRecord

N_ROWS = 5


@pytest.fixture(scope="module")
def given() -> Catalog:
    model = ImageSourceCatalogModel.create_fake_data()
    table = Table()
    for position, column in enumerate(model.source_catalog.columns.values()):
        table[column.name] = (np.arange(N_ROWS) + position).astype(column.dtype)
        table[column.name].unit, table[column.name].description = column.unit, column.description
    step = StepRecord("detection", "COMPLETE", 1.25, 10**9, parameters={"peak": 5.0, "bands": ["a", "b"]})
    return Catalog(
        build.meta(), table, Provenance((step,), {"epsf": "e.asdf"}, "c_1"), Photometry(0.65, 0.0065, 2.8e-13)
    )


@pytest.fixture(scope="module")
def file(given: Catalog, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("parquet") / "a_cat.parquet"
    l4.write_catalog(given, str(path))
    return path


def test_astropy_gives_back_units_descriptions_and_typed_metadata(given: Catalog, file: Path) -> None:
    back = Table.read(file)
    assert back.colnames == given.table.colnames
    for name, column in given.table.columns.items():
        wanted = None if str(column.unit) == "none" else column.unit
        assert back[name].unit == wanted, name
        assert back[name].description == column.description
        assert back[name].dtype == column.dtype
        np.testing.assert_array_equal(back[name], column)
    meta = back.meta["roman"]["meta"]
    assert meta["exposure"]["exposure_time"] == given.meta.ma_table.exposure_time_s
    assert meta["exposure"]["start_time"].isot == given.meta.start_time.strftime("%Y-%m-%dT%H:%M:%S.000")
    assert meta["exposure"]["read_pattern"] == [list(reads) for reads in given.meta.ma_table.read_pattern]
    (step,) = meta["nexus"]["steps"]
    assert step["parameters"] == {"peak": 5.0, "bands": ["a", "b"]}
    assert meta["photometry"]["conversion_megajanskys"] == 0.65


def test_arrow_sees_types_and_the_mission_s_units(given: Catalog, file: Path) -> None:
    schema = pyarrow.parquet.read_schema(file)
    for name, column in given.table.columns.items():
        field = schema.field(name)
        assert field.type == pyarrow.from_numpy_dtype(column.dtype)
        assert field.metadata[b"unit"].decode() == str(column.unit)
        assert field.metadata[b"description"].decode() == column.description
    assert schema.metadata[b"roman.meta.instrument.detector"].decode() == given.meta.detector


def test_the_footer_holds_a_votable_of_the_columns_without_data(given: Catalog, file: Path) -> None:
    metadata = pyarrow.parquet.read_schema(file).metadata
    assert metadata[b"IVOA.VOTable-Parquet.version"] == b"1.0"
    content = metadata[parquet_table.VOTABLE_KEY.encode()]
    assert b"<DATA>" not in content
    parsed = votable.parse(io.BytesIO(content), verify="exception").get_first_table()
    assert [field.name for field in parsed.fields] == given.table.colnames
    about = {field.name: field for field in parsed.fields}
    assert about["ra"].ucd == "pos.eq.ra;meta.main"
    assert about["ra"].datatype == "double"
    assert str(about["segment_flux"].unit) == "nJy"
    assert about["segment_flux"].description == given.table["segment_flux"].description
    # VOTables know magnitudes, not of what system.
    assert str(about["kron_abmag"].unit) == "mag"
    assert about["label"].unit is None


def test_columns_of_ours_have_units_and_descriptions_too(given: Catalog, tmp_path: Path) -> None:
    table = given.table.copy()
    for name, (unit, kind, what) in OUR_COLUMNS.items():
        table[name] = np.zeros(N_ROWS, kind)
        table[name].unit, table[name].description = None if unit == "none" else unit, what
    l4.write_catalog(Catalog(given.meta, table, photometry=given.photometry), str(tmp_path / "b_cat.parquet"))
    back = l4.read_catalog(str(tmp_path / "b_cat.parquet")).table
    for name, (unit, kind, what) in OUR_COLUMNS.items():
        assert str(back[name].unit or "none") == unit
        assert back[name].description == what
        assert back[name].dtype == kind
