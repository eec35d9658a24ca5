"""The one full detector that closure tests share: simulated, calibrated, catalogued through the store."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table
from tests.support import simulator as scene

from nexus_pipeline.instrument.wfi import N_ACTIVE
from nexus_pipeline.products import l1, l2, l4, names
from nexus_pipeline.products.model import Catalog
from nexus_pipeline.recipes.catalog import catalog
from nexus_pipeline.recipes.exposure import calibrate
from nexus_pipeline.references.make import make_references
from nexus_pipeline.references.store import ReferenceStore
from nexus_pipeline.simulate import exposure
from nexus_pipeline.simulate.catalog import sources_from_table
from nexus_pipeline.simulate.detector import darks
from nexus_pipeline.simulate.optics import epsf_reference
from nexus_pipeline.sky import distortion, wcs

DETECTOR, FILTER, SEED = "WFI07", "F158", 20261120
STARS_ACROSS = 64
PITCH_PIXELS = N_ACTIVE / STARS_ACROSS
# From just below saturation in 139 s to a signal-to-noise ratio of about 10.
MAGNITUDES = (18.0, 24.0)


@dataclass(frozen=True)
class FullFrame:
    """Where the products of the shared detector lie, what was put in, and what came out."""

    ramp_url: str
    image_url: str
    catalog_url: str
    truth: Table
    catalog: Catalog


@pytest.fixture(scope="session")
def full_references(tmp_path_factory: pytest.TempPathFactory) -> ReferenceStore:
    url = tmp_path_factory.mktemp("full-references").as_uri()
    made = make_references(
        url, distortion.geometry, darks, detectors=[DETECTOR], filter_names=[FILTER], seed=1
    )
    return made.add([epsf_reference(DETECTOR, FILTER)])


@pytest.fixture(scope="session")
def full_frame(full_references: ReferenceStore, tmp_path_factory: pytest.TempPathFactory) -> FullFrame:
    """Return 64² isolated stars on a jittered grid, gone through L1, L2 and L4 by URL."""
    folder = tmp_path_factory.mktemp("full-frame")
    begin = time.perf_counter()
    meta, truth, ramp_url = _simulated(full_references, folder)
    simulated = time.perf_counter()
    image_url = (folder / names.derived_name(meta, level="L2")).as_uri()
    l2.write_rate_image(calibrate(ramp_url, full_references), image_url)
    calibrated = time.perf_counter()
    catalog_url = (folder / names.derived_name(meta, level="L4")).as_uri()
    l4.write_catalog(catalog(l2.read_rate_image(image_url), full_references), catalog_url)
    found = l4.read_catalog(catalog_url)
    print(
        f"\nfull frame: simulate {simulated - begin:.0f} s, calibrate {calibrated - simulated:.0f} s, "
        f"catalogue {time.perf_counter() - calibrated:.0f} s, {len(found.table)} sources"
    )
    return FullFrame(ramp_url, image_url, catalog_url, truth, found)


def _simulated(references: ReferenceStore, folder: Path) -> tuple[str, Table, str]:
    aim = exposure.aim(references, DETECTOR, FILTER, ra_deg=270.0, dec_deg=66.0, roll_deg=30.0)
    meta = exposure.exposure_meta(DETECTOR, FILTER, pointing=aim)
    made = exposure.simulate(
        sources_from_table(_stars(wcs.build(distortion.synthetic_distortion(DETECTOR), aim)), FILTER),
        meta,
        references,
        seed=SEED,
    )
    url = (folder / str(meta.file_name)).as_uri()
    l1.write_ramp(made.ramp, url)
    exposure.write_truth(made.truth, exposure.truth_url(url))
    return str(meta.file_name), exposure.read_truth(exposure.truth_url(url)), url


def _stars(image_wcs: object) -> Table:
    rng = np.random.default_rng(SEED)
    x, y = scene.grid_of_stars(STARS_ACROSS, PITCH_PIXELS, jitter=10.0, rng=rng)
    ra, dec = image_wcs(x, y)  # type: ignore[operator]
    return scene.star_table(ra, dec, rng.uniform(*MAGNITUDES, x.size))
