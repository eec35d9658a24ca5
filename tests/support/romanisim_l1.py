"""Simulate one L1 ramp of isolated stars with the mission's romanisim and our reference files.

Runs in an environment of its own (romanisim pins what the pipeline does not), as a script:
``python romanisim_l1.py STORE EXTRA OUT_FOLDER``, with CRDS pointed nowhere. STORE is one of our
reference stores, EXTRA holds what only romanisim asks for; leaves ``l1_uncal.asdf`` and
``truth.ecsv`` in OUT_FOLDER.
"""

import copy
import json
import sys
from pathlib import Path
from typing import Any

import asdf
import astropy.units as u
import crds
import galsim
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.table import Table
from romanisim import catalog, image
from romanisim.models import parameters, wcs

DETECTOR, FILTER = "WFI07", "F158"
MA_TABLE_NUMBER = 4
CENTRE_RA_DEG, CENTRE_DEC_DEG = 150.1, 2.2
# 39² stars 104 pixels apart: none lies within another's PSF.
STARS_ACROSS = 39
# From below saturation (F158, 139 s) to a signal-to-noise ratio near 25.
BRIGHTEST_AB, FAINTEST_AB = 18.2, 23.0
SEED = 20261120


def use_local_references(store: Path, extra: Path) -> None:
    """Let romanisim's calls to CRDS be answered from ``store`` and ``extra``."""
    files = {
        rule["kind"]: store / rule["file"] for rule in json.loads((store / "rules.json").read_text())["rules"]
    }
    files |= {path.stem: path for path in extra.glob("*.asdf")}

    def getreferences(_parameters: Any, reftypes: list[str], **_options: Any) -> dict[str, str]:
        return {kind: str(files.get(kind, "NOT FOUND n/a")) for kind in reftypes}

    crds.getreferences = getreferences
    crds.get_context_name = lambda observatory: "local_0001.pmap"


def forget_built_in_values() -> None:
    """Make romanisim take every value from a file, and know the MA table without asking CRDS."""
    for key in parameters.reference_data:
        parameters.reference_data[key] = None
    # romanisim 0.14 reads the kernel and then drops what it makes of it.
    parameters.reference_data["ipc"] = "none"
    tables = {}
    for number, pattern in parameters.read_pattern.items():
        seconds = [parameters.read_time * reads[-1] for reads in pattern]
        tables[f"SCI{number:04d}"] = {
            "frame_time": parameters.read_time,
            "science_read_pattern": pattern,
            "accumulated_exposure_time": seconds,
            "effective_exposure_time": seconds,
        }
    parameters.ma_table_reference = {"roman": {"science_tables": tables}}


def metadata() -> dict[str, Any]:
    tree = copy.deepcopy(parameters.default_parameters_dictionary)
    wcs.fill_in_parameters(
        tree, SkyCoord(CENTRE_RA_DEG * u.deg, CENTRE_DEC_DEG * u.deg), boresight=False, pa_aper=0
    )
    tree["instrument"]["detector"] = DETECTOR
    tree["instrument"]["optical_element"] = FILTER
    pattern = parameters.read_pattern[MA_TABLE_NUMBER]
    tree["exposure"] |= {
        "ma_table_number": MA_TABLE_NUMBER,
        "read_pattern": pattern,
        "nresultants": len(pattern),
    }
    return tree


def stars(tree: dict[str, Any]) -> Table:
    """Return a table of stars on a jittered grid over the detector, with their true pixels."""
    rng = np.random.default_rng(SEED)
    nodes = (np.arange(STARS_ACROSS) + 0.5) * 4088 / STARS_ACROSS
    x, y = (grid.ravel() + rng.uniform(-10, 10, grid.size) for grid in np.meshgrid(nodes, nodes))
    image_wcs = wcs.get_wcs(tree, usecrds=True)
    sky = [image_wcs.toWorld(galsim.PositionD(*position)) for position in zip(x, y, strict=True)]
    magnitude = rng.uniform(BRIGHTEST_AB, FAINTEST_AB, x.size)
    table = Table({"x": x, "y": y, "ab_magnitude": magnitude})
    table["ra"] = [position.ra.deg for position in sky]
    table["dec"] = [position.dec.deg for position in sky]
    table["type"] = "PSF"
    table["n"], table["half_light_radius"], table["pa"], table["ba"] = -1.0, 0.0, 0.0, 1.0
    table[FILTER] = 10 ** (-0.4 * magnitude)
    return table


def main() -> None:
    store, extra, out = (Path(argument) for argument in sys.argv[1:4])
    use_local_references(store, extra)
    forget_built_in_values()
    tree = metadata()
    truth = stars(tree)
    model, _ = image.simulate(
        tree,
        catalog.table_to_catalog(truth, [FILTER]),
        usecrds=True,
        psftype="epsf",
        level=1,
        rng=galsim.UniformDeviate(SEED),
        crparam={},
    )
    model["meta"]["filename"] = "l1_uncal.asdf"
    asdf.AsdfFile({"roman": model}).write_to(out / "l1_uncal.asdf", all_array_compression="lz4")
    truth.write(out / "truth.ecsv", overwrite=True)


if __name__ == "__main__":
    main()
