"""Run by ``hats_reader`` in an environment of its own: opens a HATS collection as its users do."""

import json
import sys
import warnings
from typing import Any

import hats
import lsdb
from hats.io.validation import is_valid_collection


def found(path: str, cones: list[list[float]]) -> dict[str, Any]:
    """Return what hats and LSDB find at ``path``: its rows, by partition and margin, and those of cones."""
    collection = hats.read_hats(path)
    catalog = lsdb.open_catalog(path)
    rows = catalog.compute()
    margin = catalog.margin
    return {
        "valid": is_valid_collection(path, strict=True),
        "type": type(collection).__name__,
        "rows": [int(each) for each in rows["id"]],
        "columns": {name: str(kind) for name, kind in rows.dtypes.items()},
        "partitions": _by_cell(catalog),
        "margins": {} if margin is None else _by_cell(margin),
        "threshold": None if margin is None else margin.hc_structure.catalog_info.margin_threshold,
        "cones": [sorted(int(each) for each in catalog.cone_search(*cone).compute()["id"]) for cone in cones],
        "pairs": _pairs(catalog),
    }


def _by_cell(catalog: Any) -> dict[str, list[int]]:
    return {
        f"{cell.order}/{cell.pixel}": sorted(
            int(each) for each in catalog.get_partition(cell.order, cell.pixel).compute()["id"]
        )
        for cell in catalog.get_healpix_pixels()
    }


def _pairs(catalog: Any) -> list[list[int]]:
    """Return the pairs (id, id) of a catalogue and itself closer than 4.9 arcsec, the margin in use."""
    both = catalog.crossmatch(
        catalog, n_neighbors=400, radius_arcsec=4.9, suffixes=("_a", "_b"), suffix_method="all_columns"
    ).compute()
    return sorted([int(a), int(b)] for a, b in zip(both["id_a"], both["id_b"], strict=True) if a != b)


def main() -> None:
    asked = json.load(sys.stdin)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        told = {path: found(path, cones) for path, cones in asked.items()}
    print(json.dumps(told))


if __name__ == "__main__":
    main()
