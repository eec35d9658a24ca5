"""footprints: which part of the sky a product covers, as a MOC."""

import numpy as np
from mocpy import MOC
from scipy.ndimage import binary_erosion

from nexus_pipeline.errors import InputError
from nexus_pipeline.products import asdf_file, l2, l3
from nexus_pipeline.products.associations import ENDING, read_association
from nexus_pipeline.products.model import Mosaic
from nexus_pipeline.sky import coverage, sky_grid
from nexus_pipeline.sky.footprint import footprint
from nexus_pipeline.sky.skymap_file import read_skymap
from nexus_pipeline.sky.tangent import degrees_of


def covered(url: str, *, order: int = coverage.ORDER) -> MOC:
    """Return what the product at ``url`` covers.

    An image (L2) covers its outline, a mosaic (L3) the pixels that have light, an association its skycell,
    a skymap all skycells. InputError for an image without a WCS and an association on no skycell; raises
    what the readers of products raise.
    """
    if url.endswith(ENDING):
        return _of_association(url, order)
    kind = asdf_file.kind(url)
    if kind == "WfiImage":
        return _of_image(url, order)
    if kind == "WfiMosaic":
        return of_mosaic(l3.read_mosaic(url), order=order)
    return _of_skymap(url, order)


def of_mosaic(mosaic: Mosaic, *, order: int = coverage.ORDER) -> MOC:
    """Return what the pixels of ``mosaic`` with weight cover: cells in which one of them has its middle.

    Only some of the pixels between those at the edges are looked at, several in each cell.
    """
    grid, seen = sky_grid.of_wcsinfo(mosaic.wcsinfo), mosaic.weight > 0
    if not seen.any():
        raise InputError("the mosaic has no pixel with light in it")
    step = max(1, int(coverage.cell_arcsec(order) / grid.scale_arcsec / 6))
    wanted = seen & ~binary_erosion(seen)
    wanted[::step, ::step] |= seen[::step, ::step]
    y, x = np.nonzero(wanted)
    directions = grid.directions(np.column_stack([x, y]).astype(np.float64))
    return coverage.of_places(*degrees_of(directions), order=order)


def _of_image(url: str, order: int) -> MOC:
    image = l2.read_science_image(url)
    if image.wcs is None:
        raise InputError(f"{url}: has no WCS (was assign_wcs left out?)", url=url)
    return coverage.of_outlines(footprint(image.wcs, size=image.rate.shape[0])[None], order=order)


def _of_association(url: str, order: int) -> MOC:
    where = read_association(url).skycell
    if not where:
        raise InputError(f"{url}: is on no skycell", url=url)
    grid = sky_grid.on_skycell(where)
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * [grid.nx, grid.ny] - 0.5
    outline = np.column_stack(degrees_of(grid.directions(corners)))
    return coverage.of_outlines(outline[None], order=order)


def _of_skymap(url: str, order: int) -> MOC:
    cells = read_skymap(url).skycells
    outlines = [np.column_stack([cells[f"ra_corn{k}"], cells[f"dec_corn{k}"]]) for k in (1, 2, 3, 4)]
    return coverage.of_outlines(np.stack(outlines, axis=1), order=order)
