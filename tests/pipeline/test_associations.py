"""Associations: which images make which mosaics, under the mission's names and in its JSON."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.support.romanisim_ramp import cache_folder, locked, peer_python

from nexus_pipeline.errors import InputError, UnreadableProductError
from nexus_pipeline.products.associations import (
    Association,
    file_name,
    read_association,
    write_association,
)
from nexus_pipeline.recipes.associations import Member, associations
from nexus_pipeline.sky import tessellation
from nexus_pipeline.sky.skymap import Skymap
from nexus_pipeline.sky.tangent import degrees_of, plane_at

SCRIPT = Path(__file__).parents[1] / "support" / "oracle_associations.py"
AT = (359.99, 12.3)


@pytest.fixture(scope="module")
def skymap() -> Skymap:
    return tessellation.skymap(tessellation.regions_near(*AT, 0.5))


def square(middle_arcsec: tuple[float, float], side_arcsec: float = 450.0) -> NDArray[np.float64]:
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * side_arcsec / 2 + np.array(middle_arcsec)
    return np.column_stack(degrees_of(plane_at(*AT).raise_to_sky(corners)))


def image(visit: int, *, filter_name: str = "f158", pass_number: int = 1, exposure: int = 1) -> str:
    return f"r0000101{pass_number:03d}001001{visit:03d}_{exposure:04d}_wfi01_{filter_name}_cal.asdf"


MEMBERS = [
    Member("/data/" + image(1), square((0, 0))),
    Member("/data/" + image(1, exposure=2), square((30, -20))),
    Member("/data/" + image(2), square((10, 10))),
    Member("/data/" + image(3, pass_number=2), square((0, 0))),
    Member("/data/" + image(1, filter_name="f106", exposure=3), square((0, 0))),
    Member("/data/" + image(4), square((4000, 3000))),
]


def test_a_mosaic_of_all_has_every_image_of_its_filter_that_touches_its_skycell(skymap: Skymap) -> None:
    made = associations(MEMBERS, skymap, product="full", release="dr1")
    which, cells = skymap.touched_by(np.array([member.footprint for member in MEMBERS]))
    for each in made:
        cell = skymap.find(each.skycell["name"])
        touching = {Path(MEMBERS[k].url).name for k in which[cells == cell]}
        filter_name = each.product[-4:]
        assert set(each.members) == {name for name in touching if f"_{filter_name}_" in name}
        assert each.product == f"r00001_dr1_full_{each.skycell['name']}_{filter_name}"
    assert sum(len(each.members) for each in made) == len(which)
    assert [each.product for each in made] == sorted(each.product for each in made)


def test_mosaics_of_a_visit_and_of_a_pass_have_their_own_images_only(skymap: Skymap) -> None:
    for product, start, group in (("visit", "v", slice(6, 20)), ("pass", "p", slice(6, 11))):
        made = associations(MEMBERS, skymap, product=product)
        for each in made:
            groups = {name[group] for name in each.members}
            assert len(groups) == 1, "of one visit or pass"
            assert each.product.startswith(f"r00001_p_{start}{groups.pop()}_")
        assert len({each.product for each in made}) == len(made)
    assert {each.product.split("_")[2] for each in made} == {"p01001", "p01002"}


def test_associations_are_read_as_they_were_written_and_by_romancal(skymap: Skymap, tmp_path: Path) -> None:
    made = associations(MEMBERS, skymap, product="pass")[:5]
    paths = [tmp_path / file_name(each) for each in made]
    for each, path in zip(made, paths, strict=True):
        write_association(each, str(path))
        assert read_association(str(path)) == each
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    with locked(cache / "romanisim-l1.lock"):
        python = peer_python(cache)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [python, SCRIPT, *paths], capture_output=True, text=True, timeout=300, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert json.loads(done.stdout) == [list(each.members) for each in made]


def test_what_is_no_association_is_refused_with_its_reason(tmp_path: Path) -> None:
    path = tmp_path / "x_asn.json"
    path.write_text("{")
    with pytest.raises(UnreadableProductError, match="not an association of one product"):
        read_association(str(path))
    path.write_text(json.dumps({"products": [], "program": "00001"}))
    with pytest.raises(UnreadableProductError, match="not an association of one product"):
        read_association(str(path))
    doubled = [{"expname": image(1)}, {"expname": image(1)}]
    path.write_text(json.dumps({"products": [{"name": "m", "members": doubled}], "program": "00001"}))
    with pytest.raises(InputError, match=r"x_asn.json: the association m has members twice: r00001"):
        read_association(str(path))
    with pytest.raises(InputError, match="no members"):
        Association("m", (), 1)


def test_wrong_products_names_and_doubles_are_refused(skymap: Skymap) -> None:
    with pytest.raises(InputError, match="no product is called 'daily'"):
        associations(MEMBERS, skymap, product="daily")
    with pytest.raises(InputError, match=r"'mine.asdf' is not the name of a product"):
        associations([Member("mine.asdf", square((0, 0)))], skymap)
    with pytest.raises(InputError, match="members twice"):
        associations([MEMBERS[0], MEMBERS[0]], skymap)
    assert associations([], skymap) == []
