"""Which part of the sky products cover: MOCs beside points that are tried one by one."""

from dataclasses import replace
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import Latitude, Longitude
from mocpy import MOC
from numpy.typing import NDArray
from tests.support import injection
from tests.support import mosaic as images
from tests.support import simulator as scene
from tests.support.pipeline import wfi

from nexus_pipeline.errors import InputError
from nexus_pipeline.products import associations
from nexus_pipeline.recipes import footprints
from nexus_pipeline.sky import coverage, sky_grid, tessellation
from nexus_pipeline.sky.skymap_file import write_skymap
from nexus_pipeline.sky.tangent import degrees_of, directions_of, plane_at

Floats = NDArray[np.float64]

N_POINTS = 20_000
CELL_ARCSEC = 5.0
"""From a corner of a cell of order 16 to the opposite one, no more."""
PLACES = {
    "north pole": (0.0, 90.0),
    "south pole": (120.0, -89.99),
    "RA 0": (0.0, 30.0),
    "just before RA 0": (359.999, -61.3),
    "equator": (123.4, 0.0),
}


def holds(moc: MOC, directions: Floats) -> NDArray[np.bool_]:
    ra, dec = degrees_of(directions)
    return np.asarray(moc.contains_lonlat(Longitude(ra, u.deg), Latitude(dec, u.deg)))


def depth_arcsec(directions: Floats, outlines: Floats) -> Floats:
    """Return how deep points lie inside any of convex ``outlines``; negative outside of all, at least."""
    n, v = outlines.shape[:2]
    corners = directions_of(*outlines.reshape(-1, 2).T).reshape(n, v, 3)
    edges = np.cross(corners, np.roll(corners, -1, axis=1))
    edges /= np.linalg.norm(edges, axis=2)[..., None]
    edges *= np.sign(np.einsum("nvk,nk->nv", edges, corners.mean(axis=1)))[..., None]
    return np.rad2deg(np.einsum("nvk,pk->pnv", edges, directions).min(axis=2).max(axis=1)) * 3600


@pytest.mark.parametrize("place", PLACES.values(), ids=list(PLACES))
def test_a_footprint_holds_all_points_inside_its_skycells_and_none_beyond_a_cell_s_width(
    place: tuple[float, float],
) -> None:
    cells = tessellation.skymap(tessellation.regions_near(*place, 0.01)).skycells
    nearest = np.argsort(directions_of(cells["ra_center"], cells["dec_center"]) @ directions_at(place))[-9:]
    outlines = np.stack(
        [np.column_stack([cells[f"ra_corn{k}"], cells[f"dec_corn{k}"]])[nearest] for k in (1, 2, 3, 4)],
        axis=1,
    )
    moc = coverage.of_outlines(outlines)
    offsets = np.random.default_rng(61).uniform(-700, 700, (N_POINTS, 2))
    points = plane_at(*place).raise_to_sky(offsets)
    depth, inside = depth_arcsec(points, outlines), holds(moc, points)
    assert 0.1 < np.mean(depth > 0) < 0.9
    assert inside[depth > 0].all()
    assert not inside[depth < -CELL_ARCSEC].any()


def directions_at(place: tuple[float, float]) -> Floats:
    return directions_of(np.array([place[0]]), np.array([place[1]]))[0]


def test_a_mosaic_covers_its_pixels_with_light_only(tmp_path: Path) -> None:
    mosaic, _ = injection.field_mosaic(scene.store(str(tmp_path)), size=300, n_stars=1, n_galaxies=0, seed=5)
    weight = mosaic.weight.copy()
    weight[:, :200] = 0
    moc = footprints.of_mosaic(replace(mosaic, weight=weight))
    grid = sky_grid.of_wcsinfo(mosaic.wcsinfo)
    x, y = np.random.default_rng(62).uniform(-200, 500, (2, N_POINTS))
    inside = holds(moc, grid.directions(np.column_stack([x, y])))
    margin = CELL_ARCSEC / 0.055
    light = (x > 201) & (x < 298) & (y > 1) & (y < 298)
    near = (x > 200 - margin) & (x < 299 + margin) & (y > -margin) & (y < 299 + margin)
    assert inside[light].all()
    assert not inside[~near].any()
    with pytest.raises(InputError, match="no pixel with light"):
        footprints.of_mosaic(replace(mosaic, weight=np.zeros_like(weight)))


def test_wfi_footprint_writes_what_images_associations_and_skymaps_cover_together(tmp_path: Path) -> None:
    association = images.written(tmp_path, n=1)
    image = next(tmp_path.glob("*_cal.asdf"))
    skymap = tmp_path / "skycells.asdf"
    write_skymap(tessellation.skymap(tessellation.regions_near(images.RA, images.DEC, 0.01)[:1]), str(skymap))
    mocs = {}
    for name, product in {"image.fits": image, "cell.json": association, "map.fits": skymap}.items():
        told = wfi("footprint", product, "--output", tmp_path / name, "--order", 15)
        assert told.status == 0, told.err
        assert "square degrees" in told.out
        mocs[name] = MOC.load(tmp_path / name, "json" if name.endswith("json") else "fits")
    grid = sky_grid.on_skycell(associations.read_association(str(association)).skycell)
    inside = np.random.default_rng(63).uniform(0, grid.nx - 1, (1000, 2))
    assert holds(mocs["cell.json"], grid.directions(inside)).all()
    assert mocs["image.fits"].intersection(mocs["cell.json"]).sky_fraction > 0
    whole = tmp_path / "whole.fits"
    assert wfi("footprint", image, association, skymap, "-o", whole, "--order", 15).status == 0
    together = MOC.load(whole, "fits")
    assert together == mocs["image.fits"].union(mocs["cell.json"], mocs["map.fits"])
    assert wfi("footprint", image, "--order", 30).status == 2
