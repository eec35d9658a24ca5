"""An L1 ramp of our own simulator with every effect in it, for those that compare with the mission's
pipeline.
"""

from pathlib import Path

import numpy as np
from tests.support.romanisim_ramp import DETECTOR, FILTER

from nexus_pipeline.products import l1
from nexus_pipeline.references.store import open_store
from nexus_pipeline.simulate import exposure
from nexus_pipeline.simulate.catalog import sources_from_table
from nexus_pipeline.simulate.field import make_field


def own_ramp(references: Path, folder: Path) -> Path:
    """Return an L1 ramp of our own simulator: a field of stars and galaxies with every effect."""
    store = open_store(references.as_uri())
    table = make_field(
        150.1, 2.2, n_stars=1500, n_galaxies=1500, rng=np.random.default_rng(7), filter_name=FILTER
    )
    aim = exposure.aim(store, DETECTOR, FILTER, ra_deg=150.1, dec_deg=2.2, roll_deg=20.0)
    meta = exposure.exposure_meta(DETECTOR, FILTER, pointing=aim)
    made = exposure.simulate(sources_from_table(table, FILTER), meta, store, seed=7)
    target = folder / str(meta.file_name)
    l1.write_ramp(made.ramp, target.as_uri())
    return target
