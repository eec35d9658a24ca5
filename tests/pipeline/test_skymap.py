"""The skymap: every place of the sky in one region and in a skycell; which skycells footprints touch."""

import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from astropy.wcs import WCS
from numpy.typing import NDArray
from roman_datamodels import datamodels
from tests.support.romanisim_ramp import cache_folder, locked, peer_python

from nexus_pipeline.errors import InputError, MismatchedReferenceError
from nexus_pipeline.products.model import Pointing
from nexus_pipeline.sky import footprint as outlines
from nexus_pipeline.sky import tessellation, wcs
from nexus_pipeline.sky.distortion import synthetic_distortion
from nexus_pipeline.sky.skymap import NXY, Skymap, in_box
from nexus_pipeline.sky.skymap_file import read_skymap, write_skymap
from nexus_pipeline.sky.tangent import degrees_of, directions_of, plane_at

Floats = NDArray[np.float64]
DETECTOR_ARCSEC = 4088 * 0.11
# Poles, both sides of RA 0, a band's edge near the pole, the equator, anywhere.
PLACES = {
    "north pole": (77.0, 89.9),
    "south pole": (200.0, -89.95),
    "RA 0": (0.0, 30.0),
    "just before RA 0": (359.97, -61.3),
    "cap's edge": (12.0, 88.4),
    "equator": (123.4, 0.0),
    "anywhere": (270.0, 66.0),
}


@pytest.fixture(scope="module", params=PLACES, ids=list(PLACES))
def place(request: pytest.FixtureRequest) -> tuple[float, float]:
    return PLACES[request.param]


def around(place: tuple[float, float], n: int, *, arcsec: float, seed: int) -> Floats:
    """Return n positions (deg) within a square about ``place``."""
    offsets = np.random.default_rng(seed).uniform(-arcsec, arcsec, (n, 2))
    return np.column_stack(degrees_of(plane_at(*place).raise_to_sky(offsets)))


def detectors(place: tuple[float, float], n: int, *, seed: int) -> Floats:
    """Return n squares (n, 4, 2) of a detector's size within 40′ of ``place``, turned at random."""
    turn = np.random.default_rng(seed).uniform(0, 2 * np.pi, n)
    squares = []
    for (ra, dec), angle in zip(around(place, n, arcsec=2400, seed=seed + 1), turn, strict=True):
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * DETECTOR_ARCSEC / 2
        c, s = np.cos(angle), np.sin(angle)
        squares.append(degrees_of(plane_at(ra, dec).raise_to_sky(corners @ np.array([[c, s], [-s, c]]))))
    return np.moveaxis(np.array(squares), 1, 2)


def test_every_place_lies_in_the_box_of_one_region() -> None:
    boxes = tessellation.boxes()
    rng = np.random.default_rng(1)
    places = np.column_stack([rng.uniform(0, 360, 3000), np.rad2deg(np.arcsin(rng.uniform(-1, 1, 3000)))])
    edges = [(ra, dec) for ra in (0.0, 360.0 - 1e-12, 180.0) for dec in (-90.0, 90.0, 0.0, -88.4, 88.4)]
    for ra, dec in [*places, *edges]:
        assert in_box(boxes, ra, dec).sum() == 1, (ra, dec)


def test_every_place_of_a_region_lies_in_the_core_of_a_skycell(place: tuple[float, float]) -> None:
    skymap = tessellation.skymap(tessellation.regions_near(*place, 0.1))
    region = skymap.region_at(*place)
    assert region is not None
    row = skymap.regions[region]
    rng = np.random.default_rng(2)
    ra = rng.uniform(row["ra_min"], row["ra_max"], 20_000)
    dec = rng.uniform(row["dec_min"], row["dec_max"], 20_000)
    # The corners of the box, where a skycell is barely cut, too.
    ra[:8] = np.repeat([row["ra_min"] + 1e-9, row["ra_max"] - 1e-9], 4)
    dec[:8] = np.tile([row["dec_min"] + 1e-9, row["dec_max"] - 1e-9], 4)
    pixels = skymap.plane_of(region).pixels(directions_of(ra, dec))
    own = skymap.skycells[row["skycell_start"] : row["skycell_end"]]
    origins = np.column_stack([row["x_tangent"] - own["x_tangent"], row["y_tangent"] - own["y_tangent"]])
    places = {tuple(origin) for origin in np.rint(origins / skymap.step).astype(int).tolist()}
    assert len(places) == len(own), "two skycells on one place"
    wanted = np.floor((pixels + 0.5 - skymap.border_pixels / 2) / skymap.step).astype(int)
    assert {tuple(each) for each in wanted.tolist()} <= places
    assert pixels.min() > -0.5
    assert (pixels < np.array([row["nx"], row["ny"]]) - 0.5).all()


def test_names_are_the_missions_and_nobody_elses() -> None:
    regions = tessellation.boxes()
    starts = [tessellation.region_name(region) for region in regions]
    assert len(set(starts)) == len(regions)
    skymap = tessellation.skymap(tessellation.regions_near(0.0, 30.0, 0.1))
    names = skymap.skycells["name"]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"\d{3}[pm]\d{2}x\d{2}y\d{2}", name) for name in names)
    assert skymap.skycells["name"][skymap.find(str(names[5]))] == names[5]
    with pytest.raises(InputError, match="no skycell '999p99x00y00'"):
        skymap.find("999p99x00y00")


def test_pixels_of_a_skycell_are_those_of_a_plain_tangent_projection(place: tuple[float, float]) -> None:
    skymap = tessellation.skymap(tessellation.regions_near(*place, 0.1))
    for cell in (0, len(skymap.skycells) // 2, len(skymap.skycells) - 1):
        told = skymap.wcs_info(cell)
        plain = WCS(naxis=2)
        plain.wcs.ctype = ["RA---TAN", "DEC--TAN"]
        plain.wcs.crval = [told["ra_projection_center"], told["dec_projection_center"]]
        plain.wcs.crpix = [told["x0_projection"] + 1, told["y0_projection"] + 1]
        # romancal's parity: x to the east; and gwcs's default, where FITS has another at a pole.
        plain.wcs.lonpole = 180
        plain.wcs.cdelt = [told["pixel_scale"], told["pixel_scale"]]
        row = skymap.skycells[cell]
        middle, corner = (NXY - 1) / 2, NXY - 0.5
        for x, y, ra, dec in (
            (middle, middle, row["ra_center"], row["dec_center"]),
            (-0.5, -0.5, row["ra_corn1"], row["dec_corn1"]),
            (corner, corner, row["ra_corn3"], row["dec_corn3"]),
        ):
            there = directions_of(*np.array(plain.pixel_to_world_values([x], [y])))
            assert np.linalg.norm(there - directions_of(np.array([ra]), np.array([dec]))) < 1e-11
        assert (told["ra_center"], told["nx"], told["name"]) == (row["ra_center"], NXY, row["name"])


def test_the_skycells_a_footprint_touches_are_those_no_great_circle_parts_from_it(
    place: tuple[float, float],
) -> None:
    skymap = tessellation.skymap(tessellation.regions_near(*place, 1.0))
    footprints = detectors(place, 60, seed=3)
    which, cells = skymap.touched_by(footprints)
    found = set(zip(which.tolist(), cells.tolist(), strict=True))
    assert found == by_brute_force(skymap, footprints)
    assert len(found) > 60 * 4
    assert list(zip(which, cells, strict=True)) == sorted(found)


def by_brute_force(skymap: Skymap, footprints: Floats) -> set[tuple[int, int]]:
    """Compare each footprint with each skycell by the planes of their sides, in space."""
    rows = skymap.skycells
    corners = np.stack(
        [directions_of(rows[f"ra_corn{k}"], rows[f"dec_corn{k}"]) for k in (1, 2, 3, 4)], axis=1
    )
    found = set()
    for i, corners_deg in enumerate(footprints):
        own = directions_of(*corners_deg.T)
        near = np.flatnonzero(corners[:, 0] @ own[0] > np.cos(np.deg2rad(0.5)))
        for cell in near:
            if not parted(own, corners[cell]) and not parted(corners[cell], own):
                found.add((i, int(cell)))
    return found


def parted(one: Floats, other: Floats) -> bool:
    """Say whether all of ``other`` is beyond all of ``one`` as seen along a side of ``one``."""
    normals = np.cross(one, np.roll(one, -1, axis=0))
    normals *= np.sign(normals @ one.mean(axis=0))[:, None]
    # Of one that nowhere bends inwards the least is nought, the side itself.
    return bool(((normals @ other.T).max(axis=1) <= (normals @ one.T).min(axis=1) + 1e-15).any())


def test_no_footprints_touch_nothing() -> None:
    skymap = tessellation.skymap(tessellation.regions_near(10.0, 10.0, 0.1))
    for footprints in (np.empty((0, 4, 2)), detectors((200.0, -40.0), 3, seed=5)):
        which, cells = skymap.touched_by(footprints)
        assert which.size == cells.size == 0


@pytest.fixture(scope="module")
def skymap_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("skymap") / "skycells.asdf"
    rows = sorted({row for place in PLACES.values() for row in tessellation.regions_near(*place, 1.0)})
    write_skymap(tessellation.skymap(rows), str(path))
    return path


def test_a_skymap_is_read_as_it_was_written_and_by_the_missions_reader(skymap_file: Path) -> None:
    skymap = read_skymap(str(skymap_file))
    again = skymap_file.with_name("again.asdf")
    write_skymap(skymap, str(again))
    np.testing.assert_array_equal(read_skymap(str(again)).skycells, skymap.skycells)
    with datamodels.open(skymap_file) as model:
        model.validate()
        assert model.meta.nxy_skycell == NXY
        np.testing.assert_array_equal(model.projection_regions["skycell_end"], skymap.regions["skycell_end"])


def test_a_skymap_whose_regions_and_skycells_do_not_fit_is_refused(tmp_path: Path) -> None:
    whole = tessellation.skymap(tessellation.regions_near(10.0, 10.0, 0.1))
    write_skymap(Skymap(whole.regions, whole.skycells[:-1]), str(tmp_path / "short.asdf"))
    with pytest.raises(MismatchedReferenceError, match="do not share out its"):
        read_skymap(str(tmp_path / "short.asdf"))


def test_romancal_finds_the_same_skycells(skymap_file: Path, tmp_path: Path) -> None:
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    with locked(cache / "romanisim-l1.lock"):
        python = peer_python(cache)
    # romancal's regions have no straight sides at a pole: away from there.
    places = [PLACES[name] for name in ("RA 0", "just before RA 0", "equator", "anywhere")]
    footprints = np.concatenate([detectors(place, 2, seed=9) for place in places])
    np.save(tmp_path / "footprints.npy", footprints)
    script = Path(__file__).parents[1] / "support" / "oracle_skycells.py"
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [python, script, skymap_file, tmp_path / "footprints.npy", tmp_path / "out.npy"],
        capture_output=True, text=True, timeout=300, check=False, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    skymap = read_skymap(str(skymap_file))
    which, cells = skymap.touched_by(footprints)
    theirs = {tuple(pair) for pair in np.load(tmp_path / "out.npy").tolist()}
    ours = set(zip(which.tolist(), cells.tolist(), strict=True))
    assert theirs <= ours

    def middle_in_box(footprint: int, cell: int) -> bool:
        middle = directions_of(*footprints[footprint].T).mean(axis=0)[None]
        ra, dec = (float(each[0]) for each in degrees_of(middle))
        return bool(in_box(skymap.regions[skymap.region_of(cell)], ra, dec))

    # romancal looks only into regions whose box the footprint touches.
    both = {pair for pair in ours if middle_in_box(*pair)}
    assert len(both) > 4 * 2 * 4
    assert both == {pair for pair in theirs if middle_in_box(*pair)}


def test_outlines_of_many_exposures_are_those_of_their_wcs() -> None:
    pointings = [Pointing(359.9, -31.2, 77.0), Pointing(12.0, 89.7, 310.0)]
    transforms = [synthetic_distortion(name) for name in ("WFI01", "WFI16")]
    many = outlines.footprints(transforms, pointings)
    one_by_one = [
        outlines.footprint(wcs.build(each, pointing)) for pointing in pointings for each in transforms
    ]
    for fast, slow in zip(many, one_by_one, strict=True):
        apart = directions_of(*fast.T) - directions_of(*slow.T)
        assert np.abs(apart).max() < 1e-12
