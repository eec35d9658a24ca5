"""What romanisim takes for an L1 ramp, run in the peers' environment with our reference files.

``python romanisim_cost.py catalogue STORE EXTRA SOURCES`` writes the sources (ECSV, romanisim's own columns):
COSMOS galaxies as romanisim draws them and its stars, on one detector. ``… simulate STORE EXTRA SOURCES OUT``
prints one line of JSON: CPU seconds by part of a warm run (imports and a first, small exposure do not count)
and the peak memory in bytes.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asdf
import astropy.units as u
import galsim
import numpy as np
import romanisim_l1 as one
from astropy.coordinates import SkyCoord
from astropy.table import Table, vstack
from romancal_cost import peak_bytes
from romanisim import catalog, image
from romanisim.models import wcs

# What lay on the detector when the peers were measured: stars, faint galaxies drawn as points; galaxies.
N_POINTS, N_GALAXIES = 9_379, 995
RADIUS_DEG = 0.1
EDGE_PIXELS = 4088
SEED = 1


def sources() -> Table:
    """Return the brightest galaxies as Sérsic profiles, fainter ones and stars as points."""
    tree = one.metadata()
    sky = wcs.get_wcs(tree, usecrds=True)
    middle = sky.toWorld(galsim.PositionD(EDGE_PIXELS / 2, EDGE_PIXELS / 2))
    rng = galsim.UniformDeviate(SEED)
    galaxies = catalog.make_cosmos_galaxies(middle, radius=RADIUS_DEG, rng=rng, bandpasses=[one.FILTER])
    stars = catalog.make_stars(middle, radius=RADIUS_DEG, rng=rng, n=4_000, bandpasses=[one.FILTER])
    galaxies, stars = (inside(table, sky) for table in (galaxies, stars))
    galaxies = galaxies[galaxies["ba"] >= 0.05]
    # romanisim's own column says pixels, and holds arcsec.
    galaxies["half_light_radius"].unit = u.arcsec
    galaxies.sort(one.FILTER, reverse=True)
    points = galaxies[N_GALAXIES : N_GALAXIES + N_POINTS - len(stars)]
    points["type"] = "PSF"
    return vstack([galaxies[:N_GALAXIES], points, stars], metadata_conflicts="silent")


def inside(table: Table, sky: Any) -> Table:
    where = SkyCoord(table["ra"] * u.deg, table["dec"] * u.deg)
    x, y = sky._xy(where.ra.rad, where.dec.rad)
    return table[(x > 0) & (y > 0) & (x < EDGE_PIXELS) & (y < EDGE_PIXELS) & (table[one.FILTER] > 0)]


def simulate(store: Path, extra: Path, field: Table, out: Path) -> dict[str, float]:
    """Return CPU seconds of the scene, the detector and of writing."""
    seconds: dict[str, float] = {}
    tree = one.metadata()
    originals = image.simulate_counts, image.romanisim.l1.make_l1
    image.simulate_counts = timed("scene", originals[0], seconds)
    image.romanisim.l1.make_l1 = timed("detector", originals[1], seconds)
    start = time.process_time()
    model, _ = image.simulate(
        tree,
        catalog.table_to_catalog(field, [one.FILTER]),
        usecrds=True,
        psftype="epsf",
        level=1,
        rng=galsim.UniformDeviate(one.SEED),
        crparam={},
    )
    seconds["other"] = time.process_time() - start - sum(seconds.values())
    image.simulate_counts, image.romanisim.l1.make_l1 = originals
    start = time.process_time()
    model["meta"]["filename"] = out.name
    asdf.AsdfFile({"roman": model}).write_to(out, all_array_compression="lz4")
    seconds["write"] = time.process_time() - start
    return seconds


def timed(name: str, function: Callable[..., Any], seconds: dict[str, float]) -> Callable[..., Any]:
    def wrapper(*arguments: Any, **options: Any) -> Any:
        start = time.process_time()
        try:
            return function(*arguments, **options)
        finally:
            seconds[name] = time.process_time() - start

    return wrapper


def main() -> None:
    store, extra, field, out = (Path(argument) for argument in (*sys.argv[2:5], sys.argv[-1]))
    one.use_local_references(store, extra)
    one.forget_built_in_values()
    if sys.argv[1] == "catalogue":
        sources().write(field, overwrite=True)
        return
    table = Table.read(field)
    patterns = one.parameters.read_pattern
    whole = patterns[one.MA_TABLE_NUMBER]
    patterns[one.MA_TABLE_NUMBER] = whole[:2]
    simulate(store, extra, table[np.r_[0:3, -3:0]], out)
    patterns[one.MA_TABLE_NUMBER] = whole
    print(json.dumps({"runs": [simulate(store, extra, table, out)], "peak": peak_bytes()}))


if __name__ == "__main__":
    main()
