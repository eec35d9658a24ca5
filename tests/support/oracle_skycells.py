"""Which skycells romancal says footprints touch: ``python oracle_skycells.py SKYMAP FOOTPRINTS OUT``."""

import sys
from pathlib import Path

import numpy as np
from romancal.skycell import match, skymap

if __name__ == "__main__":
    skymap.SKYMAP.path = Path(sys.argv[1])
    found = [match.find_skycell_matches(footprint) for footprint in np.load(sys.argv[2])]
    which = np.repeat(np.arange(len(found)), [len(each) for each in found])
    np.save(sys.argv[3], np.column_stack([which, np.concatenate(found).astype(int)]))
