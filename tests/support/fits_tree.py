"""Run by ``readers`` in an environment of its own: what JWST's reader finds of trees in FITS files."""

import json
import sys
from typing import Any

import numpy as np
from stdatamodels import asdf_in_fits


def told(path: str) -> dict[str, Any]:
    """Return the sums of the arrays in the tree of ``path``, where its WCS has a pixel, and some words."""
    with asdf_in_fits.open(path) as file:
        roman = file.tree["roman"]
        arrays = {name: value for name, value in roman.items() if hasattr(value, "dtype")}
        ra, dec = roman["meta"]["wcs"](10.0, 20.0)
        return {
            "shapes": {name: list(each.shape) for name, each in arrays.items()},
            "sums": {name: float(np.nansum(each, dtype=np.float64)) for name, each in arrays.items()},
            "place": [float(ra), float(dec)],
            "filter": roman["meta"]["instrument"]["optical_element"],
            "own": roman["meta"]["nexus"],
        }


if __name__ == "__main__":
    print(json.dumps({path: told(path) for path in json.load(sys.stdin)}, default=str))
