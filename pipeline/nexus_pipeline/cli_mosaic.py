"""Skymaps, associations and mosaics from the command line; their text for people."""

from collections import Counter
from dataclasses import dataclass

import typer

from nexus_pipeline.account import account
from nexus_pipeline.errors import InputError, PipelineError
from nexus_pipeline.products import associations as files
from nexus_pipeline.products import fits_file, l3, store
from nexus_pipeline.products.names import SUFFIXES
from nexus_pipeline.recipes.associations import associations, member_of
from nexus_pipeline.runner import Settings
from nexus_pipeline.sky import tessellation
from nexus_pipeline.sky.skymap_file import read_skymap, write_skymap
from nexus_pipeline.told import print_step


@dataclass(frozen=True)
class Wanted:
    """Where images are (None: beside their association), where mosaics go, and how they are made."""

    images: str | None
    output: str
    scale_arcsec: float
    settings: Settings
    again: bool = False


def make_mosaics(urls: list[str], wanted: Wanted) -> list[PipelineError]:
    """Make the mosaics of the associations at ``urls``, say how each went, and return what was refused."""
    # Compiles kernels when it is first imported; `wfi info` should not wait for that.
    from nexus_pipeline.recipes import mosaic  # noqa: PLC0415
    from nexus_pipeline.scale import memory  # noqa: PLC0415

    memory.keep_freed()
    if not 0.01 <= wanted.scale_arcsec <= 1:
        raise InputError(f"--scale must be from 0.01 to 1 arcsec, not {wanted.scale_arcsec}")
    mosaic.check(wanted.settings)
    failed = []
    for url in urls:
        typer.echo(url)
        try:
            _make_mosaic(url, wanted)
        except PipelineError as error:
            failed.append(error)
            typer.echo(f"wfi: {error}", err=True)
    if failed and len(urls) > 1:
        typer.echo(f"wfi: {len(failed)} of {len(urls)} mosaics failed", err=True)
    return failed


def _make_mosaic(url: str, wanted: Wanted) -> None:
    from nexus_pipeline.recipes import mosaic_product as recipe  # noqa: PLC0415

    association = files.read_association(url)
    beside = url.rpartition("/")[0] or "."
    inputs = recipe.find_inputs(association, wanted.images or beside)
    grid = recipe.grid_of(association, inputs, scale_arcsec=wanted.scale_arcsec)
    target = store.join(wanted.output, f"{association.product}_{SUFFIXES['L3']}.asdf")
    if not wanted.again and recipe.is_made(target, recipe.fingerprint(inputs, grid, wanted.settings)):
        typer.echo(f"  there already, of the same images and parameters   {target}")
        return
    made = recipe.make(
        association,
        inputs,
        grid,
        settings=wanted.settings,
        file_name=store.file_name(url),
        account=account(),
        on_step=print_step,
    )
    l3.write_mosaic(made, target)
    rejected = 0 if made.outliers is None else len(made.outliers)
    typer.echo(f"  {len(inputs.urls)} images, {rejected} pixels rejected   {target}")


def export(urls: list[str], output: str | None, *, as_fits: bool) -> None:
    """Write the products at ``urls`` as FITS, beside them or in ``output``; raises what reading refuses."""
    if not as_fits:
        raise InputError("products go into FITS alone: say --fits")
    for url in urls:
        stem = store.file_name(url).removesuffix(".asdf")
        folder = output or url.rpartition("/")[0] or "."
        target = store.join(folder, f"{stem}.fits")
        fits_file.export(url, target)
        typer.echo(target)


def associate(images: list[str], skymap: str, output: str, *, product: str, release: str) -> None:
    """Write the associations of ``images`` to ``output`` and say what they are.

    Raises InputError for an image without a WCS and for images that touch no skycell of the skymap.
    """
    read = read_skymap(skymap)
    members = [member_of(url) for url in images]
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
