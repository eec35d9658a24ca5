"""``wfi footprint``: its options, and what people are told."""

import json
from functools import partial
from io import BytesIO
from typing import IO, TYPE_CHECKING, Annotated

import typer

from nexus_pipeline.errors import InputError
from nexus_pipeline.products import store

if TYPE_CHECKING:
    from mocpy import MOC

commands = typer.Typer()


@commands.command()
def footprint(
    products: Annotated[
        list[str], typer.Argument(metavar="PRODUCT...", help="L2, L3, associations, skymaps: paths or URLs.")
    ],
    output: Annotated[
        str, typer.Option("--output", "-o", help="A MOC, as FITS; as JSON if it ends with .json.")
    ] = "footprint.fits",
    order: Annotated[int, typer.Option(help="Of the smallest HEALPix cells; 16: 3.2 arcsec.")] = 16,
) -> None:
    """Write which part of the sky products cover together: a MOC, as Aladin, TOPCAT and archives read it."""
    from nexus_pipeline.recipes import footprints  # noqa: PLC0415
    from nexus_pipeline.sky import coverage  # noqa: PLC0415

    if not coverage.ORDERS[0] <= order <= coverage.ORDERS[1]:
        raise InputError(f"--order must be from {coverage.ORDERS[0]} to {coverage.ORDERS[1]}, not {order}")
    whole = coverage.union([footprints.covered(url, order=order) for url in products])
    store.save(output, partial(_write, whole, as_json=output.endswith(".json")))
    typer.echo(f"{coverage.square_degrees(whole):.6f} square degrees   {output}")


def _write(moc: "MOC", handle: IO[bytes], *, as_json: bool) -> None:
    content = BytesIO()
    if as_json:
        content.write(json.dumps(moc.serialize("json")).encode())
    else:
        # Not into the file itself: astropy knows no files that must be new.
        moc.serialize("fits").writeto(content)
    handle.write(content.getvalue())
