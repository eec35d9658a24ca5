"""tweakreg: a focal plane brought onto reference stars, in closure with a known displacement."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from numpy.typing import NDArray
from tests.support import star_fields as fields

from nexus_pipeline.errors import InputError, UnreadableProductError
from nexus_pipeline.sky import correction, star_table, wcs
from nexus_pipeline.sky.plane_fit import IDENTITY, PlaneMap, fit_clipped
from nexus_pipeline.sky.tangent import degrees_of, directions_of, plane_about
from nexus_pipeline.steps import tweakreg

Floats = NDArray[np.float64]


def errors_mas(truth: fields.Truth, found: list[tweakreg.Registered]) -> Floats:
    """Return how far each corrected WCS lies from the true one, (18, n, 2) mas, on a grid of pixels."""
    return np.array(
        [fields.difference_mas(one, each.wcs) for one, each in zip(truth.wcs, found, strict=True)]
    )


def test_shift_roll_and_jitter_are_taken_back_to_two_mas() -> None:
    truth = fields.focal_plane(seed=1, shift_arcsec=1.0, roll_arcsec=20.0, jitter_mas=20.0, n_stars=60)
    found = tweakreg.align(truth.seen, truth.references)
    assert [each.status for each in found] == ["COMPLETE"] * 18
    # 50 stars or more of 5 mas: shift and roll of a detector to 1.2 mas at its edge.
    apart = errors_mas(truth, found)
    assert np.sqrt(np.mean(apart**2)) < 2.0
    before = np.array([fields.difference_mas(a, b.wcs) for a, b in zip(truth.wcs, truth.seen, strict=True)])
    assert np.sqrt(np.mean(before**2)) > 500


def test_the_common_fit_alone_leaves_the_jitter() -> None:
    truth = fields.focal_plane(seed=2, shift_arcsec=1.0, roll_arcsec=-20.0, jitter_mas=20.0, n_stars=60)
    settings = tweakreg.Settings(detector_geometry="none")
    apart = errors_mas(truth, tweakreg.align(truth.seen, truth.references, settings))
    # 36 draws of 20 mas: their scatter is known to 2.4 mas.
    assert np.sqrt(np.mean(apart**2)) == pytest.approx(20, abs=8)


@pytest.mark.parametrize("geometry", ["shift", "rscale", "general"])
def test_every_geometry_takes_back_what_it_can(geometry: str) -> None:
    truth = fields.focal_plane(seed=3, shift_arcsec=1.0, roll_arcsec=20.0, jitter_mas=20.0, n_stars=60)
    settings = tweakreg.Settings(detector_geometry=geometry)
    apart = errors_mas(truth, tweakreg.align(truth.seen, truth.references, settings))
    assert np.sqrt(np.mean(apart**2)) < 2.0


def test_strangers_in_both_lists_do_no_harm() -> None:
    truth = fields.focal_plane(
        seed=4, shift_arcsec=3.0, roll_arcsec=30.0, jitter_mas=20.0, n_stars=60, strangers=300
    )
    assert np.sqrt(np.mean(errors_mas(truth, tweakreg.align(truth.seen, truth.references)) ** 2)) < 2.0


def test_a_detector_with_few_stars_takes_the_common_fit_and_says_so() -> None:
    truth = fields.focal_plane(seed=5, shift_arcsec=1.0, roll_arcsec=20.0, jitter_mas=0.0, n_stars=60)
    poor = replace(truth.seen[3], x=truth.seen[3].x[:4], y=truth.seen[3].y[:4], error_pixels=np.ones(4))
    found = tweakreg.align([*truth.seen[:3], poor, *truth.seen[4:]], truth.references)
    assert found[3].status == "COMPLETE"
    assert "common fit alone" in str(found[3].reason)
    assert found[0].reason is None
    assert np.sqrt(np.mean(errors_mas(truth, found)[3] ** 2)) < 2.0


def test_what_cannot_be_matched_fails_with_a_reason_and_no_wcs() -> None:
    truth = fields.focal_plane(seed=6, shift_arcsec=0.0, roll_arcsec=0.0, jitter_mas=0.0, n_stars=60)
    one = replace(truth.seen[0], x=truth.seen[0].x[:5], y=truth.seen[0].y[:5], error_pixels=np.ones(5))
    other = fields.focal_plane(seed=7, shift_arcsec=0.0, roll_arcsec=0.0, jitter_mas=0.0, n_stars=60)
    elsewhere = replace(truth.references, directions=-truth.references.directions)
    cases: list[tuple[Any, Any, str]] = [
        ([one], truth.references, "5 stars were found; 10 are needed"),
        (truth.seen, elsewhere, "has 0 stars here"),
        (truth.seen, other.references, "no displacement within 6 arcsec"),
    ]
    for seen, references, reason in cases:
        found = tweakreg.align(seen, references)
        assert {each.status for each in found} == {"FAILED"}
        assert all(each.wcs is None and reason in str(each.reason) for each in found)


def test_registering_again_changes_nothing_more() -> None:
    truth = fields.focal_plane(seed=8, shift_arcsec=1.0, roll_arcsec=20.0, jitter_mas=20.0, n_stars=60)
    once = tweakreg.align(truth.seen, truth.references)
    again = [replace(seen, wcs=found.wcs) for seen, found in zip(truth.seen, once, strict=True)]
    twice = tweakreg.align(again, truth.references)
    frames = ["detector", "v2v3", "v2v3vacorr", "v2v3corr", "world"]
    assert twice[0].wcs.available_frames == frames
    moved = [fields.difference_mas(a.wcs, b.wcs) for a, b in zip(once, twice, strict=True)]
    assert np.max(np.abs(moved)) < 0.3


def test_a_correction_is_the_map_of_the_sky_it_was_made_of_and_turns_back() -> None:
    image, pointing = fields.detector_wcs("WFI09", aberration_scale=1.0001)
    x, y = fields.pixel_grid()
    plane = plane_about(directions_of(*image(x, y, with_bounding_box=False)))
    angle = np.deg2rad(25 / 3600)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    shift = correction.SkyShift(plane, PlaneMap(turn, np.array([1.5, -0.7])))
    made = correction.corrected(image, pointing, shift, name="FIT")
    wanted = plane.project(directions_of(*shift(*image(x, y, with_bounding_box=False))))
    got = plane.project(directions_of(*made(x, y, with_bounding_box=False)))
    assert np.max(np.abs(wanted - got)) < 1e-4
    back = wcs.to_pixels(made, *made(x, y, with_bounding_box=False))
    assert max(np.max(np.abs(back[0] - x)), np.max(np.abs(back[1] - y))) < 1e-4
    assert made.bounding_box == image.bounding_box


def test_clipping_keeps_strays_out_of_the_fit() -> None:
    rng = np.random.default_rng(9)
    start = rng.uniform(-100, 100, (60, 2))
    end = start + np.array([0.3, -0.2]) + rng.normal(0, 0.005, (60, 2))
    end[:6] += 1.0
    found = fit_clipped(start, end, np.ones(60), geometry="rshift")
    assert not found.used[:6].any()
    # 54 pairs of 0.005: the mean to 0.0007.
    assert found.map.shift == pytest.approx([0.3, -0.2], abs=0.003)
    assert found.map.roll_arcsec == pytest.approx(0, abs=8)
    assert IDENTITY.scale == 1


def table(tmp_path: Path, **changes: Any) -> str:
    columns = {
        "ra": [10.0, 20.0], "dec": [0.0, 60.0], "pmra": [1000.0, np.nan], "pmdec": [-500.0, np.nan],
        "parallax": [100.0, np.nan], "ref_epoch": [2016.0, 2016.0],
    }  # fmt: skip
    kept = {key: value for key, value in (columns | changes).items() if value is not None}
    path = tmp_path / "gaia.parquet"
    pyarrow.parquet.write_table(pyarrow.table(kept), path)
    return str(path)


def test_stars_move_to_the_epoch_and_unknown_motions_are_none(tmp_path: Path) -> None:
    stars = star_table.read_star_table(table(tmp_path, parallax=[0.0, np.nan]))
    then = star_table.at_epoch(stars, datetime(2026, 1, 1, 12, tzinfo=UTC))
    ra, dec = degrees_of(then.directions)
    # Ten years of 1 and -0.5 arcsec; an hour is 0.1 mas.
    assert (ra[0] - 10) * 3600 == pytest.approx(10, abs=2e-3)
    assert dec[0] * 3600 == pytest.approx(-5, abs=2e-3)
    assert (ra[1], dec[1]) == (pytest.approx(20), pytest.approx(60))


def test_parallax_moves_a_star_as_astropy_has_it(tmp_path: Path) -> None:
    stars = star_table.read_star_table(table(tmp_path, pmra=[0.0, 0.0], pmdec=[0.0, 0.0]))
    when = datetime(2027, 3, 1, tzinfo=UTC)
    ra, dec = degrees_of(star_table.at_epoch(stars, when).directions)
    east, north = fields.parallax_factors(10.0, 0.0, when)
    # Roman is 1 % farther out than the Earth, which is what astropy knows: 1 mas of these 100.
    assert (ra[0] - 10) * 3.6e6 == pytest.approx(100 * east, abs=1.5)
    assert dec[0] * 3.6e6 == pytest.approx(100 * north, abs=1.5)


def test_a_table_that_is_not_gaias_is_refused_with_the_reason(tmp_path: Path) -> None:
    wrong = {
        "it lacks pmra, parallax": {"pmra": None, "parallax": None},
        "ra does not lie in 0 to 360": {"ra": [-10.0, 20.0]},
        "dec does not lie": {"dec": [0.0, 95.0]},
        "ref_epoch is no Julian year": {"ref_epoch": [57388.0, 57388.0]},
        "proper motions exceed": {"pmra": [1e6, 0.0]},
        "column dec does not hold numbers": {"dec": ["north", "south"]},
    }
    for reason, changes in wrong.items():
        with pytest.raises(InputError, match=reason):
            star_table.read_star_table(table(tmp_path, **changes))
    path = tmp_path / "gaia.parquet"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UnreadableProductError, match=r"gaia\.parquet"):
        star_table.read_star_table(str(path))


@pytest.mark.parametrize("told_by", ["field", "header"])
def test_a_column_in_another_unit_is_refused(tmp_path: Path, told_by: str) -> None:
    plain = pyarrow.parquet.read_table(table(tmp_path))

    def written(unit: str) -> str:
        """Return a table whose pmra is in ``unit``, as our catalogues tell it or as astropy does."""
        schema = plain.schema
        if told_by == "field":
            at = schema.get_field_index("pmra")
            schema = schema.set(at, schema.field(at).with_metadata({"unit": unit}))
        else:
            header = (
                f"datatype:\n- {{name: ra}}\n- {{name: pmra, unit: !astropy.units.Unit {{unit: {unit}}}}}\n"
            )
            schema = schema.with_metadata({"table_meta_yaml": header})
        path = tmp_path / "told.parquet"
        pyarrow.parquet.write_table(plain.cast(schema), path)
        return str(path)

    with pytest.raises(InputError, match="column pmra is in arcsec / yr; Gaia's unit is mas/yr"):
        star_table.read_star_table(written("arcsec / yr"))
    assert len(star_table.read_star_table(written("mas / yr"))) == 2
