"""Run by ``readers`` in an environment of its own: opens, validates and reads each file named on stdin."""

import json
import sys
import traceback
import warnings
from typing import Any

import numpy as np
import pyarrow.parquet
import roman_datamodels
from astropy.table import Table
from roman_datamodels.datamodels import ImageSourceCatalogModel


def found(path: str) -> str:
    """Return the class of the model in ``path`` after all of its arrays were read, or what was wrong."""
    try:
        with catalogue(path) if path.endswith(".parquet") else roman_datamodels.open(path) as model:
            model.validate()
            for array in (value for _, value in model.items() if hasattr(value, "dtype")):
                np.array(array)
            return type(model).__name__
    except Exception:  # whatever is wrong is told to the test
        return traceback.format_exc(limit=-3)


def catalogue(path: str) -> Any:
    """Return the table at ``path`` in the mission's model: its library writes Parquet but reads none."""
    content = pyarrow.parquet.read_table(path)
    table = Table({name: content[name].to_numpy() for name in content.column_names})
    for field in content.schema:
        unit = field.metadata[b"unit"].decode()
        table[field.name].unit = None if unit == "None" else unit
    model = ImageSourceCatalogModel.create_fake_data()
    model.source_catalog = table
    return model


def main() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        told = {path: found(path) for path in json.load(sys.stdin)}
    print(json.dumps({"version": roman_datamodels.__version__, **told}))


if __name__ == "__main__":
    main()
