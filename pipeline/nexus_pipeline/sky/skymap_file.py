"""A skymap as a file: rad's ``skycells`` reference, which romancal reads too."""

from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from astropy.time import Time
from numpy.typing import NDArray
from roman_datamodels import datamodels

from nexus_pipeline.errors import MismatchedReferenceError
from nexus_pipeline.products import asdf_file
from nexus_pipeline.products.tree import plain
from nexus_pipeline.sky.skymap import REGION_COLUMNS, SKYCELL_COLUMNS, Skymap

_MODEL: Final = datamodels.SkycellsRefModel
USEAFTER: Final = datetime(2020, 1, 1, tzinfo=UTC)


def read_skymap(url: str) -> Skymap:
    """Return the skymap at ``url``.

    Refuses other files as ``asdf_file.opened`` does; MismatchedReferenceError for one without its columns, or
    whose regions speak of skycells that it has not.
    """
    with asdf_file.opened(url, expected=str(_MODEL._node_type.__name__), validate=False) as node:
        meta = plain(node["meta"])
        skymap = Skymap(
            _columns(url, node["projection_regions"], REGION_COLUMNS),
            _columns(url, node["skycells"], SKYCELL_COLUMNS),
            int(meta["nxy_skycell"]),
            int(meta["skycell_border_pixels"]),
            float(meta["pixel_scale"]),
        )
    starts, ends = skymap.regions["skycell_start"], skymap.regions["skycell_end"]
    if np.any(starts[1:] != ends[:-1]) or starts[0] != 0 or ends[-1] != len(skymap.skycells):
        raise MismatchedReferenceError(
            f"{url}: its projection regions do not share out its {len(skymap.skycells)} skycells in order",
            url=url,
        )
    return skymap


def write_skymap(skymap: Skymap, url: str) -> None:
    """Put ``skymap`` at ``url``; raises what ``asdf_file.write`` raises."""
    node = _MODEL.create_fake_data()._instance
    tree: dict[str, Any] = plain(node["meta"])
    tree |= {"pedigree": "GROUND", "author": "nexus_pipeline", "origin": "STSCI"}
    tree |= {
        "description": "Projection regions and skycells",
        "useafter": Time(USEAFTER.replace(tzinfo=None)),
    }
    tree |= {"nxy_skycell": skymap.nxy, "skycell_border_pixels": skymap.border_pixels}
    tree["pixel_scale"] = skymap.pixel_scale_arcsec
    node["meta"] = tree
    node["projection_regions"], node["skycells"] = skymap.regions, skymap.skycells
    asdf_file.write(url, {"roman": node})


def _columns(url: str, table: Any, wanted: np.dtype[np.void]) -> NDArray[np.void]:
    rows = np.asarray(table)
    lacking = [name for name in wanted.names or () if name not in (rows.dtype.names or ())]
    if lacking:
        raise MismatchedReferenceError(f"{url}: a skymap without the columns {', '.join(lacking)}", url=url)
    return rows[list(wanted.names or ())].astype(wanted)
