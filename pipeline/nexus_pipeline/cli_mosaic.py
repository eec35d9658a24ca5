"""Skymaps and associations from the command line; their text for people."""

from collections import Counter

import typer

from nexus_pipeline.errors import InputError
from nexus_pipeline.products import associations as files
from nexus_pipeline.products import l2, store
from nexus_pipeline.recipes.associations import Member, associations
from nexus_pipeline.sky import tessellation
from nexus_pipeline.sky.footprint import footprint
from nexus_pipeline.sky.skymap_file import read_skymap, write_skymap


def associate(images: list[str], skymap: str, output: str, *, product: str, release: str) -> None:
    """Write the associations of ``images`` to ``output`` and say what they are.

    Raises InputError for an image without a WCS and for images that touch no skycell of the skymap.
    """
    read = read_skymap(skymap)
    members = [_member(url) for url in images]
    made = associations(members, read, product=product, release=release)
    used = Counter(name for each in made for name in each.members)
    missed = [url for url in images if store.file_name(url) not in used]
    if missed:
        raise InputError(
            f"{missed[0]}: touches no skycell of {skymap}; does the skymap reach there?", url=missed[0]
        )
    for each in made:
        files.write_association(each, store.join(output, files.file_name(each)))
        typer.echo(f"{files.file_name(each)}   {len(each.members)} images")


def make_skymap(url: str, around: tuple[float, float, float] | None) -> None:
    """Write the skymap of the whole sky, or of the regions near a place (RA, Dec, radius in deg)."""
    if around is not None and not (-90 <= around[1] <= 90 and around[2] >= 0):
        raise InputError("--around takes RA, Dec from -90 to 90 and a radius of 0 or more, in degrees")
    made = tessellation.skymap(None if around is None else tessellation.regions_near(*around))
    write_skymap(made, url)
    typer.echo(f"{url}\n  {len(made.regions)} projection regions, {len(made.skycells)} skycells")


def _member(url: str) -> Member:
    image = l2.read_rate_image(url)
    if image.wcs is None:
        raise InputError(f"{url}: has no WCS (was assign_wcs left out?)", url=url)
    return Member(url, footprint(image.wcs, size=image.rate.shape[0]))
