"""A survey of small exposures: dithers of one detector in three filters over a few small skycells."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from astropy.table import Table
from tests.support import pipeline as build
from tests.support import simulator as scene

from nexus_pipeline.simulate import catalog
from nexus_pipeline.sky.skymap import REGION_COLUMNS, SKYCELL_COLUMNS, Skymap
from nexus_pipeline.sky.skymap_file import write_skymap

RA, DEC = 270.0, 66.0
BANDS = {"F106": 0.65, "F129": 0.7, "F158": 0.8}
"""Filters and the widths (σ, detector pixels) of their Gaussian PSFs."""
DITHERS_ARCSEC = ((0.0, 0.0), (1.3, 0.4), (-0.6, 1.1), (0.7, -1.2))
NXY, BORDER = 300, 20
N_STARS = 36


@dataclass(frozen=True)
class Field:
    """What a survey starts from, and what is in it."""

    ramps: Path
    references: Path
    skymap: Path
    truth: Table


def skymap() -> Skymap:
    """Return one projection region of 2 × 2 skycells about the middle of the field."""
    step, size = NXY - BORDER, 2 * NXY - BORDER
    region = np.zeros(1, REGION_COLUMNS)
    region["ra_tangent"], region["dec_tangent"] = RA, DEC
    region["ra_min"], region["ra_max"], region["dec_min"], region["dec_max"] = 269, 271, 65, 67
    region["x_tangent"] = region["y_tangent"] = (size - 1) / 2
    region["nx"] = region["ny"] = size
    region["skycell_end"] = 4
    cells = np.zeros(4, SKYCELL_COLUMNS)
    for at in range(4):
        column, row = at % 2, at // 2
        cells["name"][at] = f"270p66x{50 + column}y{50 + row}"
        cells["x_tangent"][at] = (size - 1) / 2 - column * step
        cells["y_tangent"][at] = (size - 1) / 2 - row * step
    cells["ra_center"], cells["dec_center"] = RA, DEC
    return Skymap(region, cells, NXY, BORDER)


def stars(seed: int) -> Table:
    """Return stars on a jittered grid that a small detector sees whole, of all colours."""
    rng = np.random.default_rng(seed)
    x, y = scene.grid_of_stars(6, 3.6, jitter=0.7, rng=rng)
    east, north = (x - 10.8) / 3600, (y - 10.8) / 3600
    table = scene.star_table(
        RA + east / np.cos(np.deg2rad(DEC)), DEC + north, rng.uniform(19.5, 21.5, x.size)
    )
    table["mag_F106"] = table["mag_F158"] + rng.uniform(-0.3, 0.8, x.size)
    table["mag_F129"] = (table["mag_F106"] + table["mag_F158"]) / 2
    return table


def written(folder: Path, *, seed: int) -> Field:
    """Write four dithers in three filters, their references and the skymap into ``folder``."""
    store = build.small_store(str(folder / "references"), filter_names=list(BANDS))
    store.add([replace(scene.epsf(sigma=width), filter_name=band) for band, width in BANDS.items()])
    write_skymap(skymap(), str(folder / "skycells.asdf"))
    truth = stars(seed)
    catalog.write_table(truth, str(folder / "stars.parquet"))
    number = 0
    for band in BANDS:
        for east, north in DITHERS_ARCSEC:
            number += 1
            told = build.wfi(
                "simulate", folder / "stars.parquet", "--references", folder / "references",
                "--output", folder / "ramps", "--detector", build.DETECTOR, "--filter", band,
                "--ra", RA + east / 3600 / np.cos(np.deg2rad(DEC)), "--dec", DEC + north / 3600,
                "--exposure", number, "--ma-table", 3, "--seed", seed + number,
            )  # fmt: skip
            assert told.status == 0, told.err
    return Field(folder / "ramps", folder / "references", folder / "skycells.asdf", truth)
