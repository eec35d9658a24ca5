"""``wfi mosaic`` and ``wfi export``: their options."""

from typing import Annotated

import typer

from nexus_pipeline.instrument.wfi import MOSAIC_SCALE_ARCSEC
from nexus_pipeline.runner import Settings

commands = typer.Typer()


@commands.command()
def mosaic(  # noqa: PLR0917 - typer takes options by position
    associations: Annotated[
        list[str], typer.Argument(metavar="ASSOCIATION.json...", help="What `wfi associate` wrote.")
    ],
    images: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="Where the L2 are; default: beside the association.")
    ] = None,
    output: Annotated[
        str, typer.Option("--output", "-o", help="Where mosaics go: a folder or s3:// prefix.")
    ] = ".",
    scale: Annotated[float, typer.Option(help="Width of a pixel, arcsec.")] = MOSAIC_SCALE_ARCSEC,
    parameters: Annotated[
        str | None, typer.Option(metavar="FILE.toml", help="Parameters: a table per step.")
    ] = None,
    skip: Annotated[list[str], typer.Option(metavar="STEP", help="Leave this step out.")] = [],  # noqa: B006
    again: Annotated[bool, typer.Option("--again", help="Make mosaics that are there already, too.")] = False,
) -> None:
    """Add L2 images up to mosaics on the skymap's skycells (L3); what is there of the same inputs stays."""
    from nexus_pipeline import cli_mosaic  # noqa: PLC0415
    from nexus_pipeline.recipes import settings  # noqa: PLC0415

    base = settings.read_settings(parameters) if parameters is not None else Settings()
    chosen = settings.with_changes(base, skip=skip)
    wanted = cli_mosaic.Wanted(images, output, scale, chosen, again)
    failed = cli_mosaic.make_mosaics(associations, wanted)
    if failed:
        raise typer.Exit(max(error.exit_status for error in failed))


@commands.command()
def export(
    products: Annotated[list[str], typer.Argument(metavar="PRODUCT...", help="L2 images and L3 mosaics.")],
    as_fits: Annotated[bool, typer.Option("--fits", help="FITS, the tree within as ASDF.")] = False,
    output: Annotated[
        str | None, typer.Option("--output", "-o", help="Where files go; default: beside the products.")
    ] = None,
) -> None:
    """Write products in another format: a plane per extension, world coordinates in FITS's own keywords."""
    from nexus_pipeline import cli_mosaic  # noqa: PLC0415

    cli_mosaic.export(products, output, as_fits=as_fits)
