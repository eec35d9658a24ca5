"""``wfi inject``: its options, what it writes, and its text for people."""

from typing import Annotated, Any

import typer

from nexus_pipeline.errors import InputError
from nexus_pipeline.products import asdf_file, l1, l2, l3, l4, names, selection, store
from nexus_pipeline.products.model import Catalog, MosaicCatalog
from nexus_pipeline.products.names import SUFFIXES
from nexus_pipeline.references.store import ReferenceStore, open_store

commands = typer.Typer()

Pair = tuple[float, float]


@commands.command("inject")
def inject(  # noqa: PLR0913, PLR0917 - typer takes options by position
    images: Annotated[
        list[str], typer.Argument(metavar="L2|L3...", help="Mosaics and images: paths or URLs.")
    ],
    references: Annotated[
        str, typer.Option("--references", "-r", help="Reference store: a folder, s3:// or crds.")
    ],
    output: Annotated[
        str, typer.Option("--output", "-o", help="Where files go: a folder or s3:// prefix.")
    ] = ".",
    sources: Annotated[
        str | None,
        typer.Option(metavar="CATALOG", help="Put these in (.parquet, .ecsv; as for wfi simulate)."),
    ] = None,
    number: Annotated[
        int | None, typer.Option(min=1, help="How many in each; default: under 1 % of its own sources.")
    ] = None,
    magnitudes: Annotated[Pair, typer.Option(help="AB, from and to.")] = (20.0, 27.0),
    radii: Annotated[Pair, typer.Option(help="Half-light radii of galaxies, arcsec.")] = (0.1, 0.5),
    indices: Annotated[Pair, typer.Option(help="Sérsic indices of galaxies.")] = (0.5, 4.0),
    ellipticities: Annotated[Pair, typer.Option(help="Ellipticities of galaxies, 1 - b/a.")] = (0.0, 0.7),
    stars: Annotated[float, typer.Option(help="Which share of them are stars.")] = 0.5,
    seed: Annotated[int, typer.Option(help="The same seed plans and draws the same.")] = 1,
    noise: Annotated[bool, typer.Option(help="With the noise of the sources' own photons.")] = True,
    ramps: Annotated[
        str | None,
        typer.Option(metavar="FOLDER", help="L1 of the L2 (_uncal): photons go into them, not into images."),
    ] = None,
    psf_detector: Annotated[
        str | None, typer.Option(help="Whose PSF a mosaic has; default: as wfi catalog.")
    ] = None,
    plots: Annotated[bool, typer.Option("--plots", help="Draw figures (needs matplotlib).")] = False,
) -> None:
    """Put stars and galaxies into images and mosaics, and see which of them come back.

    Writes beside each other: the image with them (_injected), its catalogue made again where it changed, what
    was found of each (_matches.ecsv), and one selection function of all images (selection.asdf).
    """
    from nexus_pipeline.recipes.injections import Ranges  # noqa: PLC0415

    ranges = Ranges(magnitudes, stars, indices, radii, ellipticities)
    renderer, opened, parts = _renderer(), open_store(references), []
    for k, url in enumerate(images):
        typer.echo(url)
        wanted = {"number": number, "ranges": ranges, "bodies": sources, "seed": seed + k}
        if asdf_file.kind(url) == "WfiMosaic":
            made = _mosaic(url, opened, renderer, output=output, detector=psf_detector, noisy=noise, **wanted)
        else:
            made = _image(url, opened, renderer, output=output, ramps=ramps, noisy=noise, **wanted)
        parts.append(made.selection)
        _tell(made, f"{_stem(url, output)}_matches.ecsv")
        if plots:
            _draw(made.matches, f"{_stem(url, output)}.png")
    whole = store.join(output, "selection.asdf")
    selection.write(selection.together(parts), whole)
    typer.echo(f"  {whole}")


def _mosaic(
    url: str, references: ReferenceStore, renderer: Any, *, output: str, detector: str | None, **wanted: Any
) -> Any:
    """Put sources into the mosaic at ``url``, write it and its catalogue, and return the trial."""
    from nexus_pipeline.recipes import inject as recipe  # noqa: PLC0415
    from nexus_pipeline.recipes import injection_trial  # noqa: PLC0415

    mosaic = l3.read_mosaic(url)
    ground = injection_trial.ground_of_mosaic(mosaic, references, detector=detector)
    made = injection_trial.trial(ground, renderer, **_with_bodies(wanted, ground.filter_name))
    changed = recipe.into_mosaic(mosaic, made.added, told=dict(made.told))
    l3.write_mosaic(changed, f"{_stem(url, output)}_{SUFFIXES['L3']}.asdf")
    catalog = MosaicCatalog(changed.meta, made.again.table, changed.wcsinfo)
    l4.write_mosaic_catalog(catalog, f"{_stem(url, output)}_{SUFFIXES['L4']}.parquet")
    return made


def _image(
    url: str,
    references: ReferenceStore,
    renderer: Any,
    *,
    output: str,
    ramps: str | None,
    noisy: bool,
    **wanted: Any,
) -> Any:
    """Put sources into the L2 at ``url`` or its ramp, write it and its catalogue, and return the trial."""
    from nexus_pipeline.recipes import inject as recipe  # noqa: PLC0415
    from nexus_pipeline.recipes import injection_trial  # noqa: PLC0415

    image = l2.read_rate_image(url)
    ground = injection_trial.ground_of_image(image, references)
    wanted = _with_bodies(wanted, ground.filter_name)
    if ramps is None:
        made = injection_trial.trial(ground, renderer, noisy=noisy, **wanted)
        changed = recipe.into_image(image, made.added, told=dict(made.told))
    else:
        ramp = l1.read_ramp(store.join(ramps, names.derived_name(store.file_name(url), level="L1")))
        exposed = injection_trial.Exposed(image, ramp, references)
        made, changed = injection_trial.ramp_trial(ground, exposed, renderer, **wanted)
    l2.write_rate_image(changed, f"{_stem(url, output)}_{SUFFIXES['L2']}.asdf")
    catalog = Catalog(changed.meta, made.again.table, changed.provenance, changed.photometry)
    l4.write_catalog(catalog, f"{_stem(url, output)}_{SUFFIXES['L4']}.parquet")
    return made


def _tell(made: Any, url: str) -> None:
    """Write what was found of each source, and say how many that was."""
    from nexus_pipeline.simulate.exposure import write_truth  # noqa: PLC0415

    found = made.matches.table
    write_truth(found, url)
    typer.echo(
        f"  {len(found)} sources put in, {int(found['found'].sum())} found, of these "
        f"{int(found['ambiguous'].sum())} ambiguous; {len(made.matches.strays)} strays"
    )


def _draw(found: Any, url: str) -> None:
    """Write the figure of ``found`` at ``url``; InputError without matplotlib."""
    try:
        from nexus_pipeline import selection_plots  # noqa: PLC0415
    except ImportError as error:
        raise InputError(f"figures need matplotlib ({error}): install nexus-pipeline[plots]") from error
    figure = selection_plots.figure(found)
    store.save(url, lambda handle: figure.savefig(handle, format="png", dpi=130))
    typer.echo(f"  {url}")


def _renderer() -> Any:
    try:
        from nexus_pipeline.simulate.stamps import render  # noqa: PLC0415
    except ImportError as error:
        raise InputError(
            f"drawing sources needs GalSim ({error}): install nexus-pipeline[simulate]"
        ) from error
    return render


def _with_bodies(wanted: dict[str, Any], filter_name: str) -> dict[str, Any]:
    """Return ``wanted`` with the catalogue's sources in place of its address."""
    if wanted["bodies"] is None:
        return wanted
    from nexus_pipeline.simulate.catalog import read_sources  # noqa: PLC0415

    return {**wanted, "bodies": read_sources(wanted["bodies"], filter_name)}


def _stem(url: str, output: str) -> str:
    """Return where the files of one image go, but for suffix and ending."""
    base = store.file_name(url).removesuffix(".asdf")
    for level in ("L2", "L3"):
        base = base.removesuffix(f"_{SUFFIXES[level]}")
    return store.join(output, f"{base}_injected")
