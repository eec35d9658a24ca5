"""Snowballs in the ramp fit: found, grown, and only their pixels fitted again."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.support import pipeline as build
from tests.support import simulator as scene
from tests.support.ramp_steps import one_by_one, ready

from nexus_pipeline.errors import InputError
from nexus_pipeline.instrument.dq import DQ
from nexus_pipeline.products.model import RateImage, WorkingRamp
from nexus_pipeline.recipes.ramp_pass import over_bands
from nexus_pipeline.runner import Ready
from nexus_pipeline.simulate import exposure, snowballs
from nexus_pipeline.simulate.catalog import sources_from_table
from nexus_pipeline.simulate.snowballs import Snowballs
from nexus_pipeline.steps import ramp_fitting
from nexus_pipeline.steps.large_events import LargeEvents, expanded, first_saturated, runs

PLANES = ("rate", "err", "var_poisson", "var_rnoise", "chisq", "dumo", "dq", "jump_indices")
SHAPE = (100, 120)
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Struck:
    """A frame with snowballs, the same without, and which pixels only the faint halo reaches."""

    todo: list[Ready]
    ramp: exposure.Simulated
    without: exposure.Simulated

    def steps(self, **parameters: Any) -> list[Ready]:
        """Return the steps with other parameters of the last, the ramp fit."""
        *before, fit = self.todo
        return [*before, replace(fit, parameters={**fit.parameters, **parameters})]

    def image(self, made: exposure.Simulated, **parameters: Any) -> RateImage:
        image = over_bands(made.ramp, self.steps(**parameters)).product
        assert isinstance(image, RateImage)
        return image

    def faint_halo(self) -> Mask:
        """Where a snowball leaves 2 to 60 electrons: below what the search sees in one pixel (50 to 70)."""
        y, x = np.mgrid[: scene.ACTIVE, : scene.ACTIVE]
        faint, bright = np.zeros((2, *y.shape), np.bool_)
        for ball in self.ramp.snowballs:
            distance = np.hypot(x - ball["x"], y - ball["y"])
            off = (distance - ball["core_radius"]) / ball["halo_scale"]
            electrons = snowballs.HALO_E * np.exp(-off)
            faint |= (electrons > 2) & (electrons < 60)
            bright |= electrons >= 60
        return np.asarray(faint & ~bright)


@pytest.fixture(scope="module")
def struck(tmp_path_factory: pytest.TempPathFactory) -> Struck:
    """Return four snowballs, cosmic rays, and stars that fill their wells sooner or later."""
    store = scene.store(str(tmp_path_factory.mktemp("references")))
    aim = exposure.aim(store, build.DETECTOR, build.FILTER, ra_deg=270.0, dec_deg=66.0)
    meta = exposure.exposure_meta(build.DETECTOR, build.FILTER, pointing=aim)
    north, east = np.array([-8, -8, 8, 8]) / 3600, np.array([-8, 8, -8, 8]) / 3600
    table = scene.star_table(270.0 + east / np.cos(np.deg2rad(66)), 66.0 + north, np.array([11, 13, 15, 16]))
    star = sources_from_table(table, build.FILTER)
    ramp, without = (
        exposure.simulate(star, meta, store, seed=1, effects=exposure.Effects(snowballs=Snowballs(rate)))
        for rate in (0.5, 0.0)
    )
    assert len(ramp.snowballs) >= 4
    return Struck(ready(store), ramp, without)


ALGORITHMS = pytest.mark.parametrize("algorithm", list(ramp_fitting.ALGORITHMS))


@ALGORITHMS
def test_without_snowballs_nothing_changes_by_a_bit(struck: Struck, algorithm: str) -> None:
    off = struck.image(struck.without, algorithm=algorithm)
    on = struck.image(struck.without, algorithm=algorithm, expand_large_events=True)
    assert (struck.without.ramp.data[-1] > 55_000).sum() > 50
    assert np.count_nonzero(off.dq & DQ.JUMP_DET) > 100
    for name in PLANES:
        np.testing.assert_array_equal(getattr(on, name), getattr(off, name), err_msg=name)


@ALGORITHMS
def test_the_faint_halo_is_flagged_and_its_charge_leaves_the_rate(struck: Struck, algorithm: str) -> None:
    truth = struck.image(struck.without, algorithm=algorithm)
    off = struck.image(struck.ramp, algorithm=algorithm)
    on = struck.image(struck.ramp, algorithm=algorithm, expand_large_events=True)
    spent = (truth.dq | off.dq | on.dq) & np.uint32(DQ.SATURATED | DQ.DO_NOT_USE) != 0
    halo = struck.faint_halo() & ~spent
    flagged = [np.mean(image.dq[halo] & DQ.JUMP_DET != 0) for image in (off, on)]
    before, after = (np.mean((image.rate - truth.rate)[halo]) for image in (off, on))
    # Both frames share all other noise; what is left out of a ramp makes its rate scatter by its error.
    error = float(np.sqrt(np.mean(on.err[halo] ** 2) / halo.sum()))
    print(f"{algorithm}: {halo.sum()} px flagged {flagged}, bias {before:.4f}, {after:.4f} ± {error:.4f}")
    assert flagged[0] < 0.2
    assert flagged[1] > 0.99
    assert before > 0.04
    # By a factor of ten at least.
    assert abs(after) < before / 10 + 3 * error
    assert 3 * error < before / 5


@ALGORITHMS
def test_fitting_touched_pixels_again_equals_the_whole_frame_with_their_jumps(
    struck: Struck, algorithm: str
) -> None:
    todo = struck.steps(algorithm=algorithm, expand_large_events=True)
    whole, banded = one_by_one(struck.ramp.ramp, todo), over_bands(struck.ramp.ramp, list(todo)).product
    for name in PLANES:
        np.testing.assert_array_equal(getattr(banded, name), getattr(whole, name), err_msg=name)
    off = struck.image(struck.ramp, algorithm=algorithm)
    touched = touched_by(off, banded)
    for name in PLANES[:-1]:
        np.testing.assert_array_equal(getattr(banded, name)[~touched], getattr(off, name)[~touched])
    ramp: Any = struck.ramp.ramp
    for each in todo[:-1]:
        ramp = each.step.function(ramp, *each.references, **each.parameters)
    fit = ramp_fitting.fit_rows(
        with_jumps(ramp, banded, touched), *todo[-1].references, algorithm=algorithm,
        jump_threshold_sigma=np.inf,
    )  # fmt: skip
    np.testing.assert_array_equal(banded.rate[touched], fit.planes[0, 4:-4, 4:-4][touched])
    np.testing.assert_array_equal(banded.chisq[touched], fit.planes[3, 4:-4, 4:-4][touched])


def touched_by(off: RateImage, on: RateImage) -> Mask:
    assert off.jump_indices is not None
    assert on.jump_indices is not None
    added = {tuple(row) for row in on.jump_indices.tolist()} - {
        tuple(row) for row in off.jump_indices.tolist()
    }
    assert len(added) > 1000
    touched = np.zeros(on.dq.shape, np.bool_)
    _, y, x = np.array(sorted(added)).T
    touched[y, x] = True
    return touched


def with_jumps(ramp: WorkingRamp, image: RateImage, touched: Mask) -> WorkingRamp:
    assert image.jump_indices is not None
    resultant, y, x = image.jump_indices[touched[image.jump_indices[:, 1], image.jump_indices[:, 2]]].T
    flags = ramp.resultant_dq.copy()
    flags[resultant, y + 4, x + 4] |= np.uint8(DQ.JUMP_DET)
    return replace(ramp, resultant_dq=flags)


@ALGORITHMS
def test_every_jump_of_the_image_is_listed_once_and_in_order(struck: Struck, algorithm: str) -> None:
    image = struck.image(struck.ramp, algorithm=algorithm, expand_large_events=True)
    assert image.jump_indices is not None
    rows = image.jump_indices.tolist()
    assert rows == sorted(rows)
    assert len({tuple(row) for row in rows}) == len(rows)
    flagged = np.zeros(image.dq.shape, np.bool_)
    flagged[image.jump_indices[:, 1], image.jump_indices[:, 2]] = True
    np.testing.assert_array_equal(flagged, image.dq & DQ.JUMP_DET != 0)


def places(resultant: int, mask: Mask) -> NDArray[np.int16]:
    y, x = np.nonzero(mask)
    return np.stack([np.full(y.size, resultant), y, x], axis=1).astype(np.int16)


def distance(y0: float, x0: float) -> NDArray[np.float64]:
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return np.asarray(np.hypot(y - y0, x - x0))


@pytest.mark.parametrize("later", [-1, 0, 1])
def test_a_ring_of_jumps_about_a_new_core_grows_by_the_factor(later: int) -> None:
    r = distance(50, 60)
    ring = places(4, (r <= 10) & (r > 5))
    added = expanded(ring, places(4 + later, r <= 5), SHAPE, LargeEvents(expand_factor=2.0))
    grown = np.zeros(SHAPE, np.bool_)
    grown[added[:, 1], added[:, 2]] = True
    assert set(added[:, 0]) == {4}
    # Half a pixel's doubt about the edge of a disc of pixels, doubled.
    assert grown[(r > 10.0) & (r < 19)].all()
    assert not grown[r > 21].any()
    assert not grown[(r <= 10) & (r > 5)].any()
    # What is saturated by then has no jump; what will be has one.
    assert grown[r <= 5].all() == (later == 1)


@pytest.mark.parametrize(
    ("jumps", "core"),
    [
        ("no core", distance(0, 0) < 0),
        ("a core long before", distance(50, 60) <= 5),
        ("a core elsewhere", distance(20, 20) <= 5),
    ],
)
def test_jumps_without_a_new_core_do_not_grow(jumps: str, core: Mask) -> None:
    r = distance(50, 60)
    ring = places(4, (r <= 10) & (r > 5))
    full = places(1 if jumps == "a core long before" else 4, core)
    assert not len(expanded(ring, full, SHAPE, LargeEvents()))
    assert len(expanded(ring, full, SHAPE, LargeEvents(sat_required_snowball=False)))


def test_a_cosmic_ray_at_the_rim_of_a_filling_star_is_no_snowball() -> None:
    star = distance(50, 60) <= 6
    track = np.zeros(SHAPE, np.bool_)
    track[50, 67:77] = True
    assert not len(expanded(places(4, track), places(4, star), SHAPE, LargeEvents()))


def test_a_small_ring_and_a_small_core_are_left_alone() -> None:
    r = distance(50, 60)
    ring, core = places(4, (r > 0) & (r < 1.1)), places(4, r == 0)
    assert not len(expanded(ring, core, SHAPE, LargeEvents()))
    assert len(expanded(ring, core, SHAPE, LargeEvents(min_jump_area=4.0)))
    assert not len(expanded(ring, core, SHAPE, LargeEvents(min_jump_area=4.0, min_sat_area=2.0)))


def test_a_snowball_at_the_edge_stays_on_the_detector() -> None:
    r = distance(0, 119)
    added = expanded(places(2, (r <= 6) & (r > 3)), places(2, r <= 3), SHAPE, LargeEvents())
    assert len(added)
    assert added.min() >= 0
    assert added[:, 1].max() < SHAPE[0]
    assert added[:, 2].max() < SHAPE[1]


def test_saturation_is_listed_from_its_first_resultant() -> None:
    flags = np.zeros((5, 6, 7), np.uint8)
    flags[3:, 2, 4] = DQ.SATURATED
    flags[0:, 5, 6] = DQ.SATURATED | DQ.DO_NOT_USE
    flags[2, 1, 1] = DQ.DO_NOT_USE
    assert first_saturated(flags).tolist() == [[3, 2, 4], [0, 5, 6]]


def test_rows_are_run_in_stretches_no_longer_than_a_band() -> None:
    assert runs(np.array([3, 4, 5, 9, 20, 21, 22, 23, 24]), 3) == [
        range(3, 6),
        range(9, 10),
        range(20, 23),
        range(23, 25),
    ]
    assert runs(np.empty(0, np.int16), 3) == []


@pytest.mark.parametrize("wrong", [{"expand_factor": 0.5}, {"min_jump_area": 0.0}, {"min_sat_area": -1.0}])
def test_a_rule_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match="min_jump_area must be 1 or more"):
        LargeEvents(**wrong)  # type: ignore[arg-type]
