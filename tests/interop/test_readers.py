"""Everything the pipeline writes opens without a warning: in our lock's roman_datamodels and in the next."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from tests.support import pipeline as build
from tests.support import readers
from tests.support import simulator as scene

from nexus_pipeline.instrument.ma_table import MATable
from nexus_pipeline.products import associations, l1, l2, l4, names
from nexus_pipeline.products.associations import Association
from nexus_pipeline.products.model import Ramp
from nexus_pipeline.products.names import ExposureId
from nexus_pipeline.recipes.exposure import calibrate
from nexus_pipeline.references.files import CODECS
from nexus_pipeline.references.kinds import KINDS
from nexus_pipeline.references.store import ReferenceStore
from nexus_pipeline.simulate import exposure
from nexus_pipeline.simulate.catalog import write_table
from nexus_pipeline.sky import wcs
from nexus_pipeline.sky.distortion import synthetic_distortion

SEED = 4711
RA, DEC = 270.0, 66.0
SIMULATED, IDEAL, EMPTY = 6, 7, 8
VERSIONS = {"1.1": lambda: Path(sys.executable), "1.2": readers.next_python}
MODELS = {
    "uncal": "ScienceRawModel",
    "cal": "ImageModel",
    "coadd": "MosaicModel",
    "wcs": "WfiWcsModel",
    "cat": "ImageSourceCatalogModel",
    "segm": "SegmentationMapModel",
}


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory) -> ReferenceStore:
    url = str(tmp_path_factory.mktemp("references"))
    return build.small_store(url, filter_names=[build.FILTER, "GRISM"]).add([scene.epsf()])


@pytest.fixture(scope="module")
def products(references: ReferenceStore, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return every product."""
    folder = tmp_path_factory.mktemp("products")
    for number, ramp in enumerate(ramps(references), start=1):
        sent = str(folder / name_of(ramp, number))
        l1.write_ramp(ramp, sent)
        l2.write_rate_image(calibrate(sent, references), names.derived_name(sent, level="L2"))
    simulated(references, folder)
    return sorted(path for path in folder.iterdir() if path.stem.split("_")[-1] in MODELS)


def ramps(references: ReferenceStore) -> Iterator[Ramp]:
    """Yield an image, one with all that is optional, a spectrum, one saturated all over, one resultant."""
    plain = build.small_ramp(references, seed=SEED)[0]
    yield plain
    flags = np.zeros(plain.data.shape, np.uint8)
    flags[2, 40, 50] = 1
    read, edge = (np.full(each.shape[1:], 20, np.uint16) for each in (plain.data, plain.amp33))
    yield replace(plain, reference_read=read, reference_amp33=edge, resultant_dq=flags)
    yield replace(plain, meta=replace(plain.meta, filter_name="GRISM", exposure_type="WFI_SPECTRAL"))
    yield replace(plain, data=np.full_like(plain.data, 65_535))
    one = MATable("ONE", 999, ((1,),), plain.meta.ma_table.read_time_s)
    yield replace(
        plain,
        data=plain.data[:1].copy(),
        amp33=plain.amp33[:1].copy(),
        meta=replace(plain.meta, ma_table=one),
    )


def name_of(ramp: Ramp, number: int) -> str:
    return names.file_name(ExposureId(exposure=number), build.DETECTOR, ramp.meta.filter_name, level="L1")


def simulated(references: ReferenceStore, folder: Path) -> None:
    """Write an L1, an ideal L2 and L3, the L2 registered, its WCS, two catalogues, and a mosaic."""
    middle = exposure.aim(references, build.DETECTOR, build.FILTER, ra_deg=RA, dec_deg=DEC)
    x, y = scene.grid_of_stars(6, scene.ACTIVE / 6, jitter=3.0, rng=np.random.default_rng(SEED))
    ra, dec = wcs.build(synthetic_distortion(build.DETECTOR), middle, size=scene.ACTIVE)(x, y)
    write_table(scene.star_table(ra, dec, np.full(x.size, 18.5)), str(folder / "stars.parquet"))
    write_table(scene.star_table(ra[:1], dec[:1], np.full(1, 35.0)), str(folder / "none.parquet"))
    still = dict.fromkeys(("pmra", "pmdec", "parallax"), np.zeros(x.size))
    gaia = pyarrow.table({"ra": ra, "dec": dec, **still, "ref_epoch": np.full(x.size, 2016.0)})
    pyarrow.parquet.write_table(gaia, folder / "gaia.parquet")
    where = ("-r", references.url, "-o", folder)
    which = ("--detector", build.DETECTOR, "--filter", build.FILTER, "--ra", RA, "--dec", DEC)
    for stars, level, number in (("stars", 1, SIMULATED), ("stars", 2, IDEAL), ("none", 2, EMPTY)):
        run(
            "simulate", folder / f"{stars}.parquet", *where, *which, "--level", level, "--exposure", number,
            "--skip", "cosmic_rays",
        )  # fmt: skip
    run("simulate", folder / "stars.parquet", *where, *which, "--level", 3, "--size", 300, "--exposures", 40)
    ideal, empty = (next(folder.glob(f"*_{number:04d}_*_cal.asdf")) for number in (IDEAL, EMPTY))
    run("register", ideal, "--gaia", folder / "gaia.parquet", *where)
    run("catalog", ideal, empty, *where)
    both = Association("r00001_p_full_270p65x50y50_f158", (ideal.name, empty.name), program=1)
    associations.write_association(both, str(folder / associations.file_name(both)))
    run("mosaic", folder / associations.file_name(both), "-o", folder, "--scale", 0.11)


def run(*arguments: object) -> None:
    done = build.wfi(*arguments)
    assert done.status == 0, done.err


@pytest.mark.parametrize("version", VERSIONS)
def test_every_product_and_reference_opens_without_a_warning(
    version: str, products: list[Path], references: ReferenceStore
) -> None:
    of_kind = {Path(references.url, rule.file): rule.kind for rule in references.rules}
    assert set(of_kind.values()) == set(KINDS)
    found = readers.opened(VERSIONS[version](), [*products, *of_kind])
    assert found.pop("version").startswith(version)
    expected = {path: MODELS[path.stem.split("_")[-1]] for path in products}
    expected |= {path: CODECS[kind].model.__name__ for path, kind in of_kind.items()}
    assert found == {str(path): model for path, model in expected.items()}


def test_there_is_a_product_of_every_sort(products: list[Path]) -> None:
    """Five ramps and the simulated one, images but of it, two ideal ones, mosaics, a WCS, catalogues."""
    suffixes = [path.stem.split("_")[-1] for path in products]
    found = {suffix: suffixes.count(suffix) for suffix in MODELS}
    assert found == {"uncal": 6, "cal": 7, "coadd": 2, "wcs": 1, "cat": 2, "segm": 2}
    rows = sorted(len(l4.read_catalog(str(path)).table) for path in products if path.suffix == ".parquet")
    assert rows[0] == 0 < rows[1]
