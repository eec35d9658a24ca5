"""``wfi survey`` and ``wfi release``: their options, and what people are told."""

from typing import TYPE_CHECKING, Annotated

import typer

from nexus_pipeline.account import account
from nexus_pipeline.references.store import open_store
from nexus_pipeline.runner import Settings

if TYPE_CHECKING:
    from nexus_pipeline.scale.survey import Done
    from nexus_pipeline.sky.skymap import Skymap

commands = typer.Typer()

_AROUND_DEG = 1.0


@commands.command()
def survey(  # noqa: PLR0917 - typer takes options by position
    ramps: Annotated[
        list[str], typer.Argument(metavar="L1...", help="L1 ramps of all filters, as `wfi calibrate` takes.")
    ],
    references: Annotated[
        str, typer.Option("--references", "-r", help="Reference store: a folder, an s3:// prefix or crds.")
    ],
    output: Annotated[str, typer.Option("--output", "-o", help="Where all products go.")],
    skymap: Annotated[
        str | None,
        typer.Option(metavar="SKYCELLS.asdf", help="As `wfi associate`; default: our own about the ramps."),
    ] = None,
    name: Annotated[
        str, typer.Option(help="Of the catalogue, a HATS collection of its own folder.")
    ] = "survey",
    parameters: Annotated[
        str | None, typer.Option(metavar="FILE.toml", help="Of the exposures' steps: a table per step.")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Exposures side by side; default: as cores and memory allow.")
    ] = None,
    inject: Annotated[
        int | None,
        typer.Option(min=1, help="Put so many sources into each mosaic: selection functions."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of what is put in.")] = 1,
) -> None:
    """L1 ramps of several filters to images, mosaics, catalogues, and one HATS catalogue of the field.

    With --inject also selection_f158.asdf and so on: which share of sources is found in each filter's own
    mosaics (`wfi inject`).

    What is there of the same inputs stays: after a crash the same command goes on.
    """
    # Compiles kernels when it is first imported; `wfi info` should not wait for that.
    from nexus_pipeline.recipes import settings  # noqa: PLC0415
    from nexus_pipeline.recipes.selection_product import Injections  # noqa: PLC0415
    from nexus_pipeline.scale import batch, memory  # noqa: PLC0415
    from nexus_pipeline.scale import survey as work  # noqa: PLC0415

    memory.keep_freed()
    found = batch.ramps(ramps)
    plan = work.Plan(
        output=output,
        references=open_store(references),
        skymap=_skymap(skymap, found),
        name=name,
        exposure=settings.read_settings(parameters) if parameters is not None else Settings(),
        jobs=jobs or batch.default_jobs(len(found)),
        account=account(),
        injections=None if inject is None else Injections(inject, seed),
    )
    failed = []
    for done in work.survey(found, plan):
        tell(done)
        failed += [done.error] if done.error is not None else []
    if failed:
        typer.echo(f"wfi: {len(failed)} products failed; what is made stays for the next run", err=True)
        raise typer.Exit(max(error.exit_status for error in failed))


def tell(done: "Done") -> None:
    """Say what became of a product."""
    if done.error is not None:
        typer.echo(f"{done.stage:<10} failed: {done.error}\n{done.trace or ''}".rstrip(), err=True)
    elif done.left_out is not None:
        typer.echo(f"{done.stage:<10} left out: {done.left_out}   {done.target}")
    elif not done.made:
        typer.echo(f"{done.stage:<10} there already   {done.target}")
    else:
        typer.echo(f"{done.stage:<10} {done.seconds:7.2f} s   {done.target}")


def _skymap(url: str | None, ramps: list[str]) -> "Skymap":
    """Return the skymap at ``url``, or what of our own is about the first ramp."""
    from nexus_pipeline.products import l1  # noqa: PLC0415
    from nexus_pipeline.sky import skymap_file, tessellation  # noqa: PLC0415

    if url is not None:
        return skymap_file.read_skymap(url)
    pointing = l1.read_meta(ramps[0]).pointing
    near = tessellation.regions_near(pointing.ra_deg, pointing.dec_deg, _AROUND_DEG)
    return tessellation.skymap(near)


@commands.command()
def release(  # noqa: PLR0917 - typer takes options by position
    catalogs: Annotated[
        list[str], typer.Argument(metavar="CATALOG...", help="Catalogues of skycells with the same columns.")
    ],
    output: Annotated[str, typer.Option("--output", "-o", help="The folder of the collection.")],
    name: Annotated[str, typer.Option(help="Of the catalogue.")] = "survey",
    margin: Annotated[float, typer.Option(min=0.1, max=30.0, help="Arcsec beyond each partition.")] = 5.0,
    most_rows: Annotated[int, typer.Option(min=1, help="Of a partition.")] = 1_000_000,
) -> None:
    """Join the catalogues of skycells to one of the sky (HATS), in which each source is once."""
    from nexus_pipeline.recipes import release as recipe  # noqa: PLC0415

    pieces = [recipe.read_piece(url) for url in catalogs]
    cut = recipe.Cut(most_rows, margin)
    made = recipe.release(pieces, output, name=name, cut=cut, account=account())
    typer.echo(f"{made} sources of {len(pieces)} skycells   {output}")
