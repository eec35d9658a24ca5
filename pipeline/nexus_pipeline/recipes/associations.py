"""associations: which L2 images make which mosaics: by skycell and filter, those of a visit, a pass, or all.

Takes images' names and footprints and the skymap; leaves one ``Association`` per product, with the mission's
names.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.errors import InputError
from nexus_pipeline.products import asdf_file, names, store
from nexus_pipeline.products.associations import Association
from nexus_pipeline.products.names import ExposureId
from nexus_pipeline.sky.footprint import footprint
from nexus_pipeline.sky.skymap import Skymap

Floats = NDArray[np.float64]

GROUPINGS: Final[dict[str, Callable[[ExposureId], str]]] = {
    "visit": names.visit_grouping,
    "pass": names.pass_grouping,
    "full": lambda _: "full",
}
"""What the mission calls VISIT, SUBSET and FULL products: by what its names say of their exposures."""


@dataclass(frozen=True)
class Member:
    """An L2 image: its file, and its footprint (v, 2): corners in RA and Dec, deg."""

    url: str
    footprint: Floats


def member_of(url: str) -> Member:
    """Return the L2 image at ``url`` as a member; InputError for one without a WCS."""
    with asdf_file.opened(url, expected="WfiImage", validate=False) as node:
        wcs, size = node["meta"]["wcs"], node["data"].shape[0]
    if wcs is None:
        raise InputError(f"{url}: has no WCS (was assign_wcs left out?)", url=url)
    return Member(url, footprint(wcs, size=size))


def associations(
    members: Sequence[Member], skymap: Skymap, *, product: str = "full", release: str = "p"
) -> list[Association]:
    """Return the associations of ``members``, in order of their names.

    All footprints have as many corners. Raises InputError for a product there is not, a file name that is not
    the mission's and an image given twice.
    """
    if product not in GROUPINGS:
        raise InputError(f"no product is called {product!r}; there are {', '.join(GROUPINGS)}")
    if not members:
        return []
    file_names = [store.file_name(member.url) for member in members]
    told = [names.parse_file_name(name) for name in file_names]
    found: dict[tuple[int, str, str, int], list[str]] = defaultdict(list)
    footprints = np.array([member.footprint for member in members])
    for index, cell in zip(*skymap.touched_by(footprints), strict=True):
        exposure_id, _, filter_name, _ = told[index]
        key = (exposure_id.program, GROUPINGS[product](exposure_id), filter_name, int(cell))
        found[key].append(file_names[index])
    made = [_association(skymap, key, found[key], release) for key in found]
    return sorted(made, key=lambda each: each.product)


def _association(
    skymap: Skymap, key: tuple[int, str, str, int], members: Sequence[str], release: str
) -> Association:
    program, grouping, filter_name, cell = key
    where = skymap.wcs_info(cell)
    name = names.mosaic_stem(program, grouping, filter_name, skycell=where["name"], release=release)
    return Association(name, tuple(sorted(members)), program, release, where)
