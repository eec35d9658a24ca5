"""HATS collections: hats and LSDB find every row once, and beside each cell the rows of the margin."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import cdshealpix
import numpy as np
import pyarrow.parquet
import pytest
from astropy.table import Column, Table
from numpy.typing import NDArray
from tests.support.readers import hats_collections

from nexus_pipeline.errors import InputError
from nexus_pipeline.products import hats, store
from nexus_pipeline.recipes import release
from nexus_pipeline.recipes.release import Cut, Piece
from nexus_pipeline.sky import healpix, sky_grid
from nexus_pipeline.sky.tangent import degrees_of, directions_of, plane_at

Floats = NDArray[np.float64]
SEED = 20271121
PLACES = ((0.0, 0.0), (10.0, 90.0), (200.0, -90.0), (0.0, 41.8), (150.1, 2.2))
"""RA 0, the poles, where polar and equatorial cells meet, anywhere."""
PER_PLACE, SPREAD_ARCSEC = 300, 35.0
CUT = Cut(most_rows=120)


def rows() -> Table:
    """Return crowds of sources about ``PLACES``, of about one within 5 arcsec of another."""
    rng = np.random.default_rng(SEED)
    directions = [
        plane_at(*place).raise_to_sky(rng.normal(0, SPREAD_ARCSEC, (PER_PLACE, 2))) for place in PLACES
    ]
    ra, dec = degrees_of(np.concatenate(directions))
    table = Table({"ra": ra, "dec": dec, "id": np.arange(len(ra)), "flux": rng.normal(0, 1, len(ra))})
    table["flux"] = Column(table["flux"].astype(np.float32), unit="nJy", description="Some flux")
    return table


def whole_sky(table: Table) -> list[Piece]:
    """Return ``table`` as cells about the places it was made at."""
    pieces = []
    near = np.repeat(np.arange(len(PLACES)), PER_PLACE)
    for number, place in enumerate(PLACES):
        grid = sky_grid.about(*place, nx=8000, ny=8000, scale_arcsec=0.055)
        info = {**sky_grid.wcsinfo_of(grid), "skycell_name": f"cell{number}"}
        pieces.append(Piece(f"{number}_cat.parquet", f"{number}" * 64, table[near == number], info))
    return pieces


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    url = tmp_path_factory.mktemp("hats") / "sky"
    assert release.release(whole_sky(rows()), str(url), name="sky", cut=CUT, account="team-7") == len(rows())
    return url


@pytest.fixture(scope="module")
def found(collection: Path) -> Any:
    cones = [[ra, dec, 20.0] for ra, dec in PLACES]
    return hats_collections({str(collection): cones})[str(collection)]


def separations_arcsec(a: Floats, b: Floats) -> Floats:
    """Return the angles between all unit vectors of ``a`` and ``b``, also where they are tiny."""
    chords = np.linalg.norm(a[:, None] - b[None], axis=2)
    return np.asarray(np.rad2deg(2 * np.arcsin(np.clip(chords / 2, 0, 1))) * 3600)


def test_hats_finds_the_collection_valid_and_every_row_once(found: Any) -> None:
    assert found["valid"]
    assert found["type"] == "CatalogCollection"
    assert sorted(found["rows"]) == list(range(len(PLACES) * PER_PLACE))
    assert {"ra": "double[pyarrow]", "flux": "float[pyarrow]"}.items() <= found["columns"].items()
    assert len(found["partitions"]) > 3 * len(PLACES)
    assert max(map(len, found["partitions"].values())) <= CUT.most_rows


def least_distances(table: Table, cells: list[str]) -> dict[tuple[str, int], float]:
    """Return how far (arcsec) rows lie from cells that are near and not their own.

    What lies within 5″ of a row lies in its cell of order 12 (51″ wide) or in one beside that, and those lie
    whole in one of ``cells`` or in none. Their edges are drawn with a point every 0.1″.
    """
    directions = directions_of(np.asarray(table["ra"]), np.asarray(table["dec"]))
    fine = healpix.index_of(np.asarray(table["ra"]), np.asarray(table["dec"])) >> 2 * 17
    around = cdshealpix.neighbours(fine, np.uint8(12))
    of = {}
    for cell in cells:
        order, pixel = (int(part) for part in cell.split("/"))
        of[order, pixel] = cell
    away: dict[tuple[str, int], float] = {}
    for small in np.unique(around[around >= 0]):
        parents = [of.get((order, int(small) >> 2 * (12 - order))) for order in range(13)]
        owner = next((cell for cell in parents if cell is not None), None)
        rows_near = np.flatnonzero((around == small).any(axis=1) & (fine != small))
        if owner is None or not rows_near.size:
            continue
        lon, lat = cdshealpix.vertices(np.array([small]), np.uint8(12), 512)
        edge = directions_of(lon.deg.ravel(), lat.deg.ravel())
        for row, least in zip(
            rows_near, separations_arcsec(directions[rows_near], edge).min(axis=1), strict=True
        ):
            key = (owner, int(row))
            away[key] = min(float(least), away.get(key, np.inf))
    return away


def test_the_margin_has_the_rows_within_five_arcsec_of_a_cell_and_no_others(found: Any) -> None:
    assert found["threshold"] == 5.0
    own = {(cell, row) for cell, rows_ in found["partitions"].items() for row in rows_}
    away = {
        key: least
        for key, least in least_distances(rows(), list(found["partitions"])).items()
        if key not in own
    }
    margin = {(cell, row) for cell, rows_ in found["margins"].items() for row in rows_}
    assert {key for key, least in away.items() if least < 4.99} <= margin
    assert margin <= {key for key, least in away.items() if least < 5.06}
    assert len(margin) > 100


def test_a_crossmatch_across_cells_finds_every_pair(found: Any) -> None:
    table = rows()
    directions = directions_of(np.asarray(table["ra"]), np.asarray(table["dec"]))
    away = separations_arcsec(directions, directions)
    np.fill_diagonal(away, np.inf)
    assert found["pairs"] == np.argwhere(away < 4.9).tolist()


def test_cones_at_poles_and_across_ra_0_find_what_lies_in_them(found: Any) -> None:
    table = rows()
    directions = directions_of(np.asarray(table["ra"]), np.asarray(table["dec"]))
    middles = directions_of(*np.array(PLACES).T)
    wanted = [np.flatnonzero(each < 20.0).tolist() for each in separations_arcsec(middles, directions)]
    assert found["cones"] == wanted
    assert min(map(len, wanted)) > 20


def test_our_reader_gives_back_the_rows_with_units_and_provenance(collection: Path) -> None:
    back = hats.read_rows(str(collection))
    assert sorted(back["id"].to_pylist()) == list(range(len(PLACES) * PER_PLACE))
    index = back[hats.INDEX_COLUMN].to_numpy()
    assert all(first <= second for first, second in pairwise(index))
    assert set(back["skycell"].to_pylist()) == {f"cell{number}" for number in range(len(PLACES))}
    (main,) = (path for path in collection.iterdir() if path.is_dir() and "arcs" not in path.name)
    schema = pyarrow.parquet.read_schema(main / "dataset" / "_common_metadata")
    assert schema.field("flux").metadata[b"unit"] == b"nJy"
    footer = schema.metadata[b"table_meta_yaml"].decode()
    assert "account: team-7" in footer
    assert "2" * 64 in footer
    joint = pyarrow.parquet.read_metadata(main / "dataset" / "_metadata")
    assert joint.num_rows == len(back)


def test_a_new_release_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    url, table = str(tmp_path / "sky"), rows()
    pieces = whole_sky(table)
    release.release(pieces[:2], url, name="sky", cut=CUT)
    before = hats.fingerprint(url)
    release.release(pieces[2:3], url, name="sky", cut=CUT)
    assert before != hats.fingerprint(url) == release.fingerprint_of({"2_cat.parquet": "2" * 64}, CUT)
    assert len(hats.read_rows(url)) == PER_PLACE
    # The catalogue, its margin, and the file that names them.
    assert len(store.listed(url)) == 3


def test_a_source_of_two_skycells_is_told_by_the_one_it_lies_deeper_in() -> None:
    left = sky_grid.about(10.0, 0.0, nx=1000, ny=1000, scale_arcsec=0.055)
    shift = 900 * 0.055 / 3600
    right = sky_grid.about(10.0 + shift, 0.0, nx=1000, ny=1000, scale_arcsec=0.055)
    rng = np.random.default_rng(SEED)
    ra, dec = rng.uniform(9.995, 10.019, 400), rng.uniform(-0.006, 0.006, 400)
    pieces = []
    for name, grid in (("a", left), ("b", right)):
        x, y = grid.pixels(directions_of(ra, dec)).T
        inside = (np.abs(x - 499.5) < 500) & (np.abs(y - 499.5) < 500)
        table = Table({"ra": ra[inside], "dec": dec[inside], "id": np.flatnonzero(inside)})
        pieces.append(Piece(name, name, table, {**sky_grid.wcsinfo_of(grid), "skycell_name": name}))
    shared = np.intersect1d(pieces[0].table["id"], pieces[1].table["id"])
    made = release.together(pieces)
    assert len(shared) > 20
    assert sorted(made["id"]) == sorted({*pieces[0].table["id"], *pieces[1].table["id"]})
    of_shared = made[np.isin(made["id"], shared)]
    middle = 10.0 + shift / 2
    assert (of_shared["skycell"] == np.where(of_shared["ra"] < middle, "a", "b")).all()


def test_catalogues_of_other_bands_and_empty_ones_are_refused(tmp_path: Path) -> None:
    first, second, *_ = whole_sky(rows())
    other = Piece("other", "f" * 64, second.table["ra", "dec", "id"], second.wcsinfo)
    with pytest.raises(InputError, match="other: has other columns"):
        release.release([first, other], str(tmp_path / "sky"), name="sky")
    empty = Piece("none", "e" * 64, first.table[:0], first.wcsinfo)
    with pytest.raises(InputError, match="no source"):
        release.release([empty], str(tmp_path / "sky"), name="sky")
    assert not (tmp_path / "sky").exists()


def test_cells_of_order_12_are_not_cut_however_many_rows_they_hold() -> None:
    index = np.sort(healpix.index_of(np.full(40, 150.0), np.full(40, 2.0)))
    (only,) = healpix.partitions(index, most_rows=3)
    assert only.order == healpix.HIGHEST_ORDER
    assert only.first <= index[0] < only.beyond
    assert len(only.rows) == 40
