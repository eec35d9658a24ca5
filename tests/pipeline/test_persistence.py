"""Persistence: what earlier exposures leave in simulated ramps, and how images are flagged for it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.table import Table
from scipy.ndimage import binary_dilation
from tests.support import pipeline as build
from tests.support import simulator as scene

from nexus_pipeline.errors import InputError, MismatchedReferenceError, StepSkipped, WrongProductError
from nexus_pipeline.instrument.dq import DQ
from nexus_pipeline.instrument.ma_table import IMAGING
from nexus_pipeline.products import l1, l2
from nexus_pipeline.products.charge import Charge, read_charge
from nexus_pipeline.products.model import RateImage
from nexus_pipeline.recipes import exposure as exposure_recipe
from nexus_pipeline.recipes import persistence as recipe
from nexus_pipeline.references.store import ReferenceStore
from nexus_pipeline.runner import Settings
from nexus_pipeline.simulate import exposure, persistence
from nexus_pipeline.simulate.catalog import sources_from_table, write_table
from nexus_pipeline.simulate.cosmic_rays import Deposits
from nexus_pipeline.simulate.persistence import Persistence
from nexus_pipeline.simulate.snowballs import Snowballs
from nexus_pipeline.steps import persistence as step

GAP_S = 60.0
RA, DEC = 270.0, 66.0
SHAPE = (108, 108)


def stars() -> Table:
    """Return stars that fill their wells well before the end, or soon before, or not at all."""
    north, east = np.array([-8, -8, 8, 8]) / 3600, np.array([-8, 8, -8, 8]) / 3600
    return scene.star_table(RA + east / np.cos(np.deg2rad(DEC)), DEC + north, np.array([12, 14, 16, 19]))


@dataclass(frozen=True)
class Night:
    """A bright exposure, one of empty sky ``GAP_S`` after it with and without what the first left."""

    references: ReferenceStore
    folder: Path
    before: str
    left: Charge
    image: RateImage
    """Of ``after``; ``clean_image`` of ``clean``."""
    clean_image: RateImage
    before_image: str


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Night:
    folder = tmp_path_factory.mktemp("night")
    references = scene.store(str(folder / "references"))
    aim = exposure.aim(references, build.DETECTOR, build.FILTER, ra_deg=RA, dec_deg=DEC)
    first = exposure.exposure_meta(build.DETECTOR, build.FILTER, pointing=aim)
    begin = first.start_time + timedelta(seconds=IMAGING.exposure_time_s + GAP_S)
    second = exposure.exposure_meta(build.DETECTOR, build.FILTER, pointing=aim, start_time=begin)
    effects = exposure.Effects(cosmic_rays=False, snowballs=Snowballs().off())

    def made(name: str, table: Table, meta: exposure.ExposureMeta, *earlier: Charge) -> str:
        sources = sources_from_table(table, build.FILTER)
        done = exposure.simulate(sources, meta, references, seed=3, effects=effects, earlier=earlier)
        url = str(folder / f"{name}_uncal.asdf")
        l1.write_ramp(done.ramp, url)
        return url

    faint = scene.star_table(np.array([RA]), np.array([DEC]), np.array([25.0]))
    before = made("before", stars(), first)
    left = read_charge(before)
    after, clean = made("after", faint, second, left), made("clean", faint, second)
    images = [exposure_recipe.calibrate(url, references) for url in (before, after, clean)]
    l2.write_rate_image(images[0], str(folder / "before_cal.asdf"))
    return Night(references, folder, before, left, images[1], images[2], str(folder / "before_cal.asdf"))


def test_the_law_is_romanisims() -> None:
    law = Persistence()
    # At the pivot both factors of the charge are known: 1 and 1/2.
    assert law.rate_e_s(np.array(6.0e4), 1000.0) == pytest.approx(0.0085)
    assert law.rate_e_s(np.array(6.0e4), 4000.0) == pytest.approx(0.0085 / 4)
    half = law.rate_e_s(np.array(5.0e4), 1000.0)
    assert law.rate_e_s(np.array([0.0, 2.5e4]), 1000.0) == pytest.approx([0, half / 2])


def held(dn: float, **changes: Any) -> Charge:
    """Return a frame filled to ``dn`` that was over ``GAP_S`` before ``build.meta``."""
    start = build.START - timedelta(seconds=IMAGING.exposure_time_s + GAP_S)
    changed = {"start_time": start, "file_name": "earlier.asdf", **changes}
    return Charge(build.meta(**changed), build.plane(dn, (SHAPE[0] - 8, SHAPE[1] - 8)))


def deposited(*earlier: Charge, law: Persistence | None = None) -> Deposits:
    return persistence.deposits(
        law or Persistence(), earlier, build.meta(), gain=build.gain(SHAPE).gain,
        saturation=build.plane(60_000, SHAPE), rng=np.random.default_rng(1),
    )  # fmt: skip


@pytest.mark.parametrize("dn", [40_000.0, np.inf])
def test_the_electrons_of_an_exposure_are_the_laws_and_fall_from_read_to_read(dn: float) -> None:
    hits, law = deposited(held(dn)), Persistence()
    charge = min(dn, 60_000) * build.GAIN
    level = law.rate_e_s(np.array(charge), 1000.0) * 1000 * 100 * 100
    end, middle = GAP_S + IMAGING.exposure_time_s, GAP_S + 22 * IMAGING.read_time_s
    # The integral of 1/t; the reads' middles stand for it to 1e-4. Counts are Poisson's: four errors.
    for first, last, chosen in (
        (GAP_S, end, hits.read > 0),
        (GAP_S, middle, hits.read <= 22),
        (middle, end, hits.read > 22),
    ):
        expected = level * np.log(last / first)
        doubt = 4 * np.sqrt(expected) + 2e-4 * expected
        assert hits.electrons[chosen].sum(dtype=float) == pytest.approx(expected, abs=doubt)
    assert np.diff(hits.first)[4:-4].min() > 0
    assert not np.diff(hits.first)[:4].any()
    assert hits.column.min() == 4


def test_two_earlier_exposures_add_up_and_faint_ones_leave_nothing() -> None:
    left = [deposited(held(40_000)), deposited(held(40_000), held(40_000))]
    one, two = (float(each.electrons.sum()) for each in left)
    assert two == pytest.approx(2 * one, abs=4 * np.sqrt(6 * one))
    assert not deposited(held(100.0)).electrons.size
    assert not deposited(held(40_000), law=Persistence().off()).electrons.size


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"detector": "WFI01"}, "leaves nothing in WFI07"),
        ({"start_time": build.START}, "leaves nothing in WFI07"),
    ],
)
def test_an_exposure_that_cannot_persist_is_refused_by_the_simulator(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        deposited(held(40_000, **changes))


def test_ramp_and_image_agree_on_what_was_left(night: Night) -> None:
    from_image = read_charge(night.before_image)
    assert from_image.end_time == night.left.end_time
    full = night.left.dn > 45_000
    assert full.sum() > 20
    assert from_image.dn[full].min() > 45_000
    # An image says SATURATED of the neighbours too: saturation grows by a pixel.
    assert binary_dilation(full, np.ones((3, 3)))[from_image.dn > 60_000].all()
    # Below saturation both are the charge of the exposure: the ramp's bends, and lacks half a read.
    middling = (from_image.dn > 5_000) & (from_image.dn < 30_000)
    assert middling.sum() > 20
    np.testing.assert_allclose(night.left.dn[middling], from_image.dn[middling], rtol=0.15)


@pytest.mark.parametrize("level", ["L1", "L2"])
def test_whatever_persists_is_flagged_and_nothing_else_is(night: Night, level: str) -> None:
    earlier = night.before if level == "L1" else night.before_image
    image, clean = recipe.flag(night.image, earlier=[earlier]), night.clean_image
    flagged = image.dq & np.uint32(DQ.PERSISTENCE) != 0
    law, since = Persistence(), GAP_S + IMAGING.read_time_s * (np.arange(IMAGING.n_reads) + 0.5)
    charge = np.clip(night.left.dn, 0, 60_000)[..., None] * build.GAIN
    expected_dn_s = law.rate_e_s(charge, since).mean(axis=2) / build.GAIN
    excess = image.rate - clean.rate
    error = float(np.sqrt(np.mean(clean.err[flagged] ** 2) / flagged.sum()))
    print(f"{level}: {flagged.sum()} px flagged, {excess[flagged].mean():.4f} ± {error:.4f} DN/s there")
    # Both saw a pixel reach 25 000 DN to within 15 %; the law then gives 0.03 DN/s, 0.04 at 30 000.
    assert flagged[expected_dn_s > 0.04].all()
    assert flagged.sum() > 30
    due = expected_dn_s > 0.025
    assert (due if level == "L1" else binary_dilation(due, np.ones((3, 3))))[flagged].all()
    assert float(excess[flagged].mean()) == pytest.approx(float(expected_dn_s[flagged].mean()), abs=4 * error)
    others = np.uint32(~DQ.PERSISTENCE & 0xFFFFFFFF)
    np.testing.assert_array_equal(image.dq & others, night.image.dq)
    np.testing.assert_array_equal(image.rate, night.image.rate)


def test_without_earlier_exposures_the_step_is_skipped_and_says_so(night: Night) -> None:
    image = night.clean_image
    (record,) = [each for each in image.provenance.steps if each.name == "persistence"]
    assert (record.status, record.reason) == ("SKIPPED", "no earlier exposures were given")
    assert not (image.dq & np.uint32(DQ.PERSISTENCE)).any()


def flagged(*earlier: Charge, **options: float) -> RateImage:
    return step.flag(build.rate_image(np.ones((100, 100))), earlier, **options)


@pytest.mark.parametrize(
    "change",
    [
        lambda meta: replace(meta, detector="WFI01"),
        lambda meta: replace(meta, start_time=build.START),
        lambda meta: replace(meta, start_time=build.START + timedelta(hours=1)),
        lambda meta: replace(meta, start_time=build.START - timedelta(hours=1)),
    ],
    ids=["another detector", "itself", "later", "long ago"],
)
def test_exposures_that_cannot_persist_are_passed_over(change: Callable[[Any], Any]) -> None:
    other = held(60_000)
    other = replace(other, meta=change(other.meta))
    with pytest.raises(StepSkipped, match="no earlier exposure of WFI07 ended in the 2000 s before"):
        flagged(other)
    assert (flagged(other, held(60_000)).dq == DQ.PERSISTENCE).all()


def test_threshold_and_decay_time_are_for_people_to_set() -> None:
    assert not flagged(held(20_000)).dq.any()
    assert flagged(held(20_000), threshold_dn=20_000.0).dq.all()
    with pytest.raises(StepSkipped):
        flagged(held(60_000), decay_time_s=GAP_S - 1)
    with pytest.raises(InputError, match="must be 0 or more"):
        flagged(held(60_000), decay_time_s=-1.0)
    with pytest.raises(MismatchedReferenceError, match=r"earlier\.asdf has frames of"):
        flagged(Charge(held(1).meta, build.plane(1, (50, 50))))


@pytest.mark.parametrize("wrong", ["a.asdf", [1], True])
def test_earlier_takes_a_list_of_texts(wrong: object) -> None:
    with pytest.raises(InputError, match=r"persistence\.earlier must be a list of texts"):
        exposure_recipe.check(Settings({"persistence": {"earlier": wrong}}))


def test_what_is_no_exposure_is_refused_by_name(night: Night) -> None:
    reference = next((night.folder / "references").glob("*gain*.asdf"))
    with pytest.raises(WrongProductError, match="gain"):
        recipe.flag(night.image, earlier=[str(reference)])


def test_the_command_line_takes_earlier_exposures_in_both_directions(night: Night, tmp_path: Path) -> None:
    write_table(stars(), str(tmp_path / "stars.parquet"))
    options = ("-r", night.references.url, "--detector", build.DETECTOR, "--filter", build.FILTER)
    command = (
        "simulate",
        tmp_path / "stars.parquet",
        *options,
        "-o",
        tmp_path,
        "--start",
        "2027-06-01T00:05:00",
    )
    simulated = build.wfi(*command, "--exposure", 2, "--earlier", night.before)
    assert simulated.status == 0, simulated.err
    ramp = simulated.out.split()[0]
    # A folder: the ramp itself and those after it are passed over.
    done = build.wfi("calibrate", ramp, "-r", night.references.url, "-o", tmp_path, "--earlier", night.folder)
    assert done.status == 0, done.err
    image = l2.read_rate_image(ramp.replace("uncal", "cal"))
    assert np.count_nonzero(image.dq & DQ.PERSISTENCE) > 30
    (record,) = [each for each in image.provenance.steps if each.name == "persistence"]
    assert record.status == "COMPLETE"
    assert night.before in record.parameters["earlier"]
    refused = build.wfi(*command, "--exposure", 3, "--earlier", ramp)
    assert refused.status == 2
    assert "leaves nothing in WFI07" in refused.err
