"""The catalogue made again only where sources were put in, beside the whole one made again."""

from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import pytest
from astropy.table import Table
from scipy.spatial import cKDTree
from tests.support import injection
from tests.support import simulator as scene

from nexus_pipeline.products.model import Mosaic
from nexus_pipeline.recipes import inject, injection_trial, measuring, recatalog
from nexus_pipeline.recipes.catalog import mosaic_picture
from nexus_pipeline.recipes.injection_trial import Ground
from nexus_pipeline.recipes.injections import Ranges
from nexus_pipeline.recipes.measuring import Picture
from nexus_pipeline.recipes.recatalog import Again, Box
from nexus_pipeline.references.store import ReferenceStore
from nexus_pipeline.simulate import stamps

SIZE = 750
RADII = Ranges(magnitude=(20, 26), half_light_radius_arcsec=(0.1, 0.3), ellipticity=(0, 0.5))
NUMBERED_ANEW = ("label", "nn_label")


@dataclass(frozen=True)
class Case:
    """A mosaic's catalogue, that after sources were put in, and the pixels with them."""

    ground: Ground
    again: Again
    changed: Picture


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory) -> ReferenceStore:
    return scene.store(str(tmp_path_factory.mktemp("references")))


def case_of(mosaic: Mosaic, references: ReferenceStore, *, number: int, ranges: Ranges) -> Case:
    ground = injection_trial.ground_of_mosaic(mosaic, references)
    made = injection_trial.trial(ground, stamps.render, seed=1, number=number, ranges=ranges)
    return Case(ground, made.again, mosaic_picture(inject.into_mosaic(mosaic, made.added, told={})))


@pytest.fixture(scope="module")
def crowd(references: ReferenceStore) -> Case:
    """Return a crowded field, four exposures deep, that three sources are put into."""
    mosaic, _ = injection.field_mosaic(references, size=SIZE, n_stars=140, n_galaxies=120, seed=5)
    return case_of(mosaic, references, number=3, ranges=RADII)


@pytest.fixture(scope="module")
def drizzled(references: ReferenceStore) -> Case:
    """Return a mosaic of rolled images, where each place has a PSF of its own, with two stars more."""
    mosaic = injection.drizzled_mosaic(n_stars=49, seed=38)
    return case_of(mosaic, references, number=2, ranges=Ranges(magnitude=(20, 22), star_share=1.0))


def beside(one: Table, other: Table) -> Table:
    """Return the rows of ``other`` at the places of those of ``one``, of which each has one."""
    at, there = (np.column_stack([each["x_centroid"], each["y_centroid"]]) for each in (one, other))
    distance, which = cKDTree(there).query(at)
    assert distance.max() < 0.01
    return other[which]


@pytest.mark.parametrize("name", ["crowd", "drizzled"])
def test_what_was_changed_is_measured_as_if_all_had_been(name: str, request: pytest.FixtureRequest) -> None:
    case: Case = request.getfixturevalue(name)
    whole, again = injection.whole_again(case.ground, case.changed), case.again
    assert len(again.table) == len(whole)
    assert 2 <= again.new.sum() < 0.7 * len(whole)
    here = again.table[again.new]
    wanted = beside(here, whole)
    for column in here.colnames:
        if column not in NUMBERED_ANEW:
            one, other = (np.asarray(each[column], dtype=float) for each in (here, wanted))
            scale = float(np.median(np.abs(other[np.isfinite(other)]))) if np.isfinite(other).any() else 0.0
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5 * scale, err_msg=column)


def test_what_was_not_changed_keeps_its_rows(crowd: Case) -> None:
    old = crowd.again.table[~crowd.again.new]
    kept = beside(old, crowd.ground.base.table)
    assert np.array_equal(old["psf_flux"], kept["psf_flux"])
    assert np.array_equal(old["kron_flux"], kept["kron_flux"])


def test_what_the_whole_image_tells_anew_is_hidden_by_the_noise(crowd: Case) -> None:
    """Sky and noise are not told again: what that costs, with many more injections than 1 %."""
    free = measuring.measure(crowd.changed, crowd.ground.psf, lambda _: nullcontext(), threads=2).table
    here = crowd.again.table[crowd.again.new]
    distance, which = cKDTree(np.column_stack([free["x_centroid"], free["y_centroid"]])).query(
        np.column_stack([here["x_centroid"], here["y_centroid"]])
    )
    there = distance < 1
    assert there.mean() > 0.9
    here, wanted = here[there], free[which[there]]
    apart = np.abs(np.asarray(here["psf_flux"] - wanted["psf_flux"]) / np.asarray(wanted["psf_flux_err"]))
    print(
        f"{len(here)} rows: PSF fluxes differ by {np.nanmedian(apart):.4f} σ, at most {np.nanmax(apart):.3f}"
    )
    assert np.nanmedian(apart) < 0.05
    assert np.nanmax(apart) < 0.5


def test_a_star_put_into_a_drizzled_mosaic_is_fitted_as_well_as_its_own(
    drizzled: Case, references: ReferenceStore
) -> None:
    made = injection_trial.trial(
        drizzled.ground, stamps.render, seed=7, number=9, noisy=False,
        ranges=Ranges(magnitude=(19, 20), star_share=1.0),
    )  # fmt: skip
    found = made.matches.table[np.asarray(made.matches.table["found"])]
    assert len(found) >= 7
    goodness = made.again.table["psf_gof"][made.again.new]
    ratio = np.asarray(found["psf_flux"] / found["flux_njy"])
    print(f"flux {np.median(ratio):.4f}, χ² {np.median(goodness):.2f}")
    assert np.median(ratio) == pytest.approx(1, abs=0.005)
    # With one PSF for all it is above 5 (test_coadd_psf).
    assert np.median(goodness) < 1.3


def test_changes_that_meet_are_measured_together() -> None:
    boxes = [Box(0, 0, 10, 10), Box(20, 0, 30, 10), Box(9, 5, 21, 8), Box(50, 50, 60, 60)]
    assert recatalog.apart(boxes) == [Box(0, 0, 30, 10), Box(50, 50, 60, 60)]
    assert Box(5, 5, 8, 8).grown(10, (12, 15)) == Box(0, 0, 15, 12)
