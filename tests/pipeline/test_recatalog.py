"""The catalogue made again only where sources were put in, beside the whole one made again."""

from contextlib import nullcontext

import numpy as np
import pytest
from astropy.table import Table
from scipy.spatial import cKDTree
from tests.support import injection
from tests.support import simulator as scene

from nexus_pipeline.psf.grid import PsfGrid
from nexus_pipeline.recipes import inject, injections, measuring, recatalog
from nexus_pipeline.recipes.catalog import mosaic_picture
from nexus_pipeline.recipes.epsf import mosaic_psf_of
from nexus_pipeline.recipes.injections import Ranges
from nexus_pipeline.recipes.measuring import Measurement, Picture
from nexus_pipeline.recipes.recatalog import Again, Box
from nexus_pipeline.simulate import stamps

SIZE = 900
RADII = Ranges(magnitude=(20, 26), half_light_radius_arcsec=(0.1, 0.3), ellipticity=(0, 0.5))
NUMBERED_ANEW = ("label", "nn_label")


@pytest.fixture(scope="module")
def case(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Measurement, Picture, PsfGrid, Again, Picture]:
    """Return a crowded field's catalogue, what it is of, and both after four sources were put in."""
    references = scene.store(str(tmp_path_factory.mktemp("references")))
    mosaic, _ = injection.field_mosaic(references, size=SIZE, n_stars=200, n_galaxies=300, seed=5)
    picture = mosaic_picture(mosaic)
    psf, _ = mosaic_psf_of(mosaic.meta, references, scale_arcsec=picture.scale_arcsec)
    base = measuring.measure(picture, psf, lambda _: nullcontext(), threads=2)
    planned = injections.on_grid(picture, 4, seed=1, ranges=RADII)
    added = inject.lights(picture, planned, psf, stamps.render, seed=1)
    changed = mosaic_picture(inject.into_mosaic(mosaic, added, told={}))
    return base, picture, psf, recatalog.recatalog(base, picture, psf, added), changed


def beside(one: Table, other: Table) -> Table:
    """Return the rows of ``other`` at the places of those of ``one``, of which each has one."""
    at, there = (np.column_stack([each["x_centroid"], each["y_centroid"]]) for each in (one, other))
    distance, which = cKDTree(there).query(at)
    assert distance.max() < 0.01
    return other[which]


def test_what_was_changed_is_measured_as_if_all_had_been(
    case: tuple[Measurement, Picture, PsfGrid, Again, Picture],
) -> None:
    base, _, psf, again, changed = case
    whole = injection.whole_again(base, changed, psf)
    assert len(again.table) == len(whole)
    assert 10 < again.new.sum() < 0.5 * len(whole)
    here = again.table[again.new]
    wanted = beside(here, whole)
    for name in here.colnames:
        if name not in NUMBERED_ANEW:
            scale = float(np.nanmedian(np.abs(wanted[name]))) if np.isfinite(wanted[name]).any() else 0.0
            np.testing.assert_allclose(
                np.asarray(here[name], float), np.asarray(wanted[name], float),
                rtol=1e-4, atol=1e-5 * scale, err_msg=name,
            )  # fmt: skip


def test_what_was_not_changed_keeps_its_rows(
    case: tuple[Measurement, Picture, PsfGrid, Again, Picture],
) -> None:
    base, _, _, again, _ = case
    old = again.table[~again.new]
    kept = beside(old, base.table)
    assert np.array_equal(old["psf_flux"], kept["psf_flux"])
    assert np.array_equal(old["kron_flux"], kept["kron_flux"])


def test_what_the_whole_image_tells_anew_is_hidden_by_the_noise(
    case: tuple[Measurement, Picture, PsfGrid, Again, Picture],
) -> None:
    """Sky and noise are not told again: what that costs, with many more injections than 1 %."""
    _, _, psf, again, changed = case
    free = measuring.measure(changed, psf, lambda _: nullcontext(), threads=2).table
    here = again.table[again.new]
    distance, which = cKDTree(np.column_stack([free["x_centroid"], free["y_centroid"]])).query(
        np.column_stack([here["x_centroid"], here["y_centroid"]])
    )
    there = distance < 1
    assert there.mean() > 0.95
    here, wanted = here[there], free[which[there]]
    apart = np.abs(np.asarray(here["psf_flux"] - wanted["psf_flux"]) / np.asarray(wanted["psf_flux_err"]))
    print(
        f"{len(here)} rows: PSF fluxes differ by {np.nanmedian(apart):.4f} σ, at most {np.nanmax(apart):.3f}"
    )
    assert np.nanmedian(apart) < 0.05
    assert np.nanmax(apart) < 0.5


def test_changes_that_meet_are_measured_together() -> None:
    boxes = [Box(0, 0, 10, 10), Box(20, 0, 30, 10), Box(9, 5, 21, 8), Box(50, 50, 60, 60)]
    assert recatalog.apart(boxes) == [Box(0, 0, 30, 10), Box(50, 50, 60, 60)]
    assert Box(5, 5, 8, 8).grown(10, (12, 15)) == Box(0, 0, 15, 12)
