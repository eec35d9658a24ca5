"""What romancal's source_catalog takes on one L2 or L3 of ours, run in the peers' environment.

``python romancal_catalog.py STORE IMAGE REPEATS`` prints one line of JSON: CPU seconds of each run after
the first, the peak memory in bytes, and how many sources there are.
"""

import json
import logging
import sys
import time
from pathlib import Path
from typing import Any

from romancal_cost import answer_crds, local_references, peak_bytes


def main() -> None:
    store, source = (Path(argument) for argument in sys.argv[1:3])
    answer_crds(local_references(store))
    logging.disable(logging.INFO)
    import roman_datamodels.datamodels as rdm  # noqa: PLC0415
    from romancal.skycell import skymap  # noqa: PLC0415
    from romancal.source_catalog import SourceCatalogStep, source_catalog_step  # noqa: PLC0415

    source_catalog_step.get_ee_spline = encircled_energy
    skymap.SkyCells.from_names = no_skycell
    seconds, sources = [], 0
    for _ in range(int(sys.argv[3]) + 1):
        model = rdm.open(source)
        if "resample" in model.meta and not model.meta.resample.pixfrac:
            # An idealised mosaic has points for drops, which its PSF cannot be spread by.
            model.meta.resample.pixfrac = 1.0
        start = time.process_time()
        made = SourceCatalogStep().run(model)
        seconds.append(time.process_time() - start)
        catalogue = made[0] if isinstance(made, tuple | list) else made
        sources = len(catalogue.source_catalog)
    print(json.dumps({"seconds": seconds[1:], "peak": peak_bytes(), "sources": sources}))


def no_skycell(names: list[str]) -> Any:
    """Say that our store has no table of skycells: sources then get no spatial index."""
    raise KeyError(names)


def encircled_energy(_model: Any, _reference: str) -> Any:
    """Return the light of a Gaussian within a radius: our store has no aperture corrections."""
    import numpy as np  # noqa: PLC0415
    from astropy.modeling.fitting import SplineSplrepFitter  # noqa: PLC0415
    from astropy.modeling.models import Spline1D  # noqa: PLC0415

    radii = np.linspace(0, 20, 50)
    return SplineSplrepFitter()(Spline1D(), radii, 1 - np.exp(-(radii**2) / 2))


if __name__ == "__main__":
    main()
