"""``wfi psf``: PSFs of the library and of mosaics, as files and as a list; their text for people."""

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

commands = typer.Typer(no_args_is_help=True, help="PSFs: of detectors, of mosaics, built from stars.")

Store = Annotated[str, typer.Option("--references", "-r", help="Reference store with the ePSFs.")]
Output = Annotated[str, typer.Option("--output", "-o", metavar="FILE.fits|FILE.asdf", help="Where it goes.")]
FilterName = Annotated[str, typer.Option("--filter", help="F062 to F213.")]


@commands.command("list")
def listed(
    references: Store,
    detector: Annotated[str | None, typer.Option(help="Only this detector's.")] = None,
    filter_name: Annotated[str | None, typer.Option("--filter", help="Only of this filter.")] = None,
) -> None:
    """Say which ePSFs there are: detector, filter, from which date on, and their files."""
    from nexus_pipeline.recipes import psf  # noqa: PLC0415

    for rule in psf.open_library(references).entries(detector=detector, filter_name=filter_name):
        where = f"{rule.detector or 'any':<6} {rule.filter_name or 'any':<5}"
        typer.echo(f"{where} {rule.useafter:%Y-%m-%d}   {rule.file}")


@commands.command("at")
def at(  # noqa: PLR0917 - typer takes options by position
    detector: Annotated[str, typer.Argument(help="WFI01 to WFI18.")],
    x: Annotated[float, typer.Argument(help="Of the 4088 pixels of L2, from 0.")],
    y: Annotated[float, typer.Argument()],
    references: Store,
    output: Output,
    filter_name: FilterName = "F158",
    date: Annotated[datetime, typer.Option(help="UTC.")] = datetime(2027, 6, 1),  # noqa: DTZ001
    sampling: Annotated[float, typer.Option(help="Samples a pixel, any number.")] = 1.0,
    radius: Annotated[int | None, typer.Option(help="Samples about the middle; default: all.")] = None,
    spectral_type: Annotated[str, typer.Option(help="The star's, as the reference names them.")] = "G2V",
    ipc: Annotated[bool, typer.Option(help="With inter-pixel capacitance, as images show stars.")] = True,
) -> None:
    """Write the effective PSF at a place of a detector: each sample is what a whole pixel there collects."""
    from nexus_pipeline.products import stamp_file  # noqa: PLC0415
    from nexus_pipeline.recipes import psf  # noqa: PLC0415

    stamp_file.require_known(output)
    made = psf.at(
        psf.open_library(references), detector, x, y, filter_name=filter_name,
        date=date.replace(tzinfo=date.tzinfo or UTC), sampling=sampling, radius=radius,
        spectral_type=spectral_type, ipc=ipc,
    )  # fmt: skip
    facts: dict[str, Any] = {
        "detector": made.detector, "filter": made.filter_name, "x": made.x, "y": made.y,
        "date": made.date.isoformat(), "sampling": made.sampling, "spectral_type": made.spectral_type,
        "includes": ",".join(made.includes), "kind": "effective",
    }  # fmt: skip
    stamp_file.write(output, made.values, facts | dict(made.files))
    share = made.values.sum() / made.sampling**2
    typer.echo(
        f"{output}   {made.values.shape[0]}² samples, {made.sampling:g} a pixel, {share:.2%} of the light"
    )


@commands.command("coadd")
def coadd(  # noqa: PLR0917 - typer takes options by position
    mosaic: Annotated[str, typer.Argument(metavar="L3", help="A mosaic that `wfi mosaic` made.")],
    ra: Annotated[float, typer.Argument(help="ICRS degrees.")],
    dec: Annotated[float, typer.Argument(help="ICRS degrees.")],
    references: Store,
    output: Output,
    radius: Annotated[int, typer.Option(help="Pixels of the mosaic about the star's.")] = 30,
) -> None:
    """Write what a star at a place of a mosaic looks like on its pixels: its exposures' PSFs, drizzled."""
    from nexus_pipeline.products import l3, stamp_file  # noqa: PLC0415
    from nexus_pipeline.recipes import psf  # noqa: PLC0415

    stamp_file.require_known(output)
    image = l3.read_mosaic(mosaic)
    made, files = psf.of_mosaic(psf.open_library(references), image)
    star = psf.coadd(made, image, ra, dec, radius=radius)
    facts = {"filter": image.meta.filter_name, "ra": ra, "dec": dec, "kind": "on the mosaic's pixels"}
    stamp_file.write(output, star, facts | files)
    typer.echo(f"{output}   {star.shape[0]}² pixels, {len(made.exposures)} exposures on the mosaic")


@commands.command("build")
def build(  # noqa: PLR0917 - typer takes options by position
    images: Annotated[list[str], typer.Argument(metavar="L2...", help="Dithered images of one detector.")],
    output: Annotated[
        str,
        typer.Option("--output", "-o", metavar="FILE.asdf|STORE", help="A file, or a store to add it to."),
    ],
    places: Annotated[int, typer.Option(min=1, max=9, help="Places along an edge of the detector.")] = 1,
    radius: Annotated[int, typer.Option(min=6, max=20, help="Pixels from a star that tell of it.")] = 10,
    wings: Annotated[
        str | None, typer.Option(metavar="STORE", help="Whose ePSF goes on where stars tell no more.")
    ] = None,
) -> None:
    """Build the ePSF reference of a detector and filter from the stars of dithered images."""
    from nexus_pipeline.products import l2  # noqa: PLC0415
    from nexus_pipeline.recipes import psf, psf_build  # noqa: PLC0415
    from nexus_pipeline.recipes.epsf import has_ipc  # noqa: PLC0415
    from nexus_pipeline.references.files import write_reference  # noqa: PLC0415
    from nexus_pipeline.references.store import open_or_new  # noqa: PLC0415

    read = [l2.read_science_image(url) for url in images]
    meta, far = read[0].meta, None
    if wings is not None:
        library = psf.open_library(wings)
        far, _ = library.grid(meta.detector, meta.filter_name, meta.start_time, ipc=has_ipc(meta))
    made, report = psf_build.build_reference(read, n_places=places, radius=radius, wings=far)
    if output.endswith(".asdf"):
        write_reference(made, output)
    else:
        open_or_new(output).add([made])
    typer.echo(f"{output}   {report.n_stars} stars seen {report.n_sightings} times")
    typer.echo(f"  reduced chi2 {report.built.chi2:.2f}, peak good to {report.built.peak_error:.2%}")
    for url, (xx, yy, xy) in zip(images, report.built.jitter, strict=True):
        typer.echo(f"  {url}: wider by {xx:+.4f}, {yy:+.4f}, {xy:+.4f} pixels² (xx, yy, xy) than the mean")
