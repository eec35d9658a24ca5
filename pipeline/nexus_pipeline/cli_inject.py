"""``wfi inject``: its options, what it writes, and its text for people."""

from typing import Annotated, Any

import typer

from nexus_pipeline.errors import InputError
from nexus_pipeline.products import asdf_file, l2, l3, l4, selection, store
from nexus_pipeline.products.model import Catalog, Mosaic, MosaicCatalog
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
    psf_detector: Annotated[
        str | None, typer.Option(help="Whose PSF a mosaic has; default: the one it names.")
    ] = None,
    plots: Annotated[bool, typer.Option("--plots", help="Draw figures (needs matplotlib).")] = False,
) -> None:
    """Put stars and galaxies into images and mosaics, and see which of them come back.

    Writes beside each other: the image with them (_injected), its catalogue made again where it changed, what
    was found of each (_matches.ecsv), and one selection function of all images (selection.asdf).
    """
    from nexus_pipeline.recipes.injections import Ranges  # noqa: PLC0415

    ranges = Ranges(magnitudes, stars, indices, radii, ellipticities)
    wanted = {"number": number, "ranges": ranges, "noisy": noise}
    opened, parts = open_store(references), []
    for k, url in enumerate(images):
        typer.echo(url)
        made = _one(url, opened, output, sources=sources, psf_detector=psf_detector, seed=seed + k, **wanted)
        parts.append(made.selection)
        if plots:
            _draw(made.matches, store.join(output, f"{_stem(url)}_injected.png"))
    whole = store.join(output, "selection.asdf")
    selection.write(selection.together(parts), whole)
    typer.echo(f"  {whole}")


def _one(
    url: str,
    references: ReferenceStore,
    output: str,
    *,
    sources: str | None,
    psf_detector: str | None,
    **wanted: Any,
) -> Any:
    """Put sources into the image at ``url``, write what came of it, and return the trial."""
    from nexus_pipeline.recipes import injection_trial  # noqa: PLC0415

    is_mosaic = asdf_file.kind(url) == "WfiMosaic"
    image: Any = l3.read_mosaic(url) if is_mosaic else l2.read_rate_image(url)
    if is_mosaic:
        ground = injection_trial.ground_of_mosaic(image, references, detector=psf_detector)
    else:
        ground = injection_trial.ground_of_image(image, references)
    made = injection_trial.trial(ground, _renderer(), bodies=_bodies(sources, ground.filter_name), **wanted)
    _write(image, made, store.join(output, f"{_stem(url)}_injected"))
    found = made.matches.table
    typer.echo(
        f"  {len(found)} sources put in, {int(found['found'].sum())} found, of these "
        f"{int(found['ambiguous'].sum())} ambiguous; {len(made.matches.strays)} strays"
    )
    return made


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


def _bodies(sources: str | None, filter_name: str) -> Any:
    if sources is None:
        return None
    from nexus_pipeline.simulate.catalog import read_sources  # noqa: PLC0415

    return read_sources(sources, filter_name)


def _write(image: Any, made: Any, stem: str) -> None:
    """Write the image with what was put in, its catalogue, and the matches."""
    from nexus_pipeline.recipes import inject as recipe  # noqa: PLC0415
    from nexus_pipeline.simulate.exposure import write_truth  # noqa: PLC0415

    told, catalog_url = dict(made.told), f"{stem}_{SUFFIXES['L4']}.parquet"
    if isinstance(image, Mosaic):
        mosaic = recipe.into_mosaic(image, made.added, told=told)
        l3.write_mosaic(mosaic, f"{stem}_{SUFFIXES['L3']}.asdf")
        l4.write_mosaic_catalog(MosaicCatalog(mosaic.meta, made.again.table, mosaic.wcsinfo), catalog_url)
    else:
        changed = recipe.into_image(image, made.added, told=told)
        l2.write_rate_image(changed, f"{stem}_{SUFFIXES['L2']}.asdf")
        catalog = Catalog(changed.meta, made.again.table, changed.provenance, changed.photometry)
        l4.write_catalog(catalog, catalog_url)
    write_truth(made.matches.table, f"{stem}_matches.ecsv")


def _stem(url: str) -> str:
    base = store.file_name(url).removesuffix(".asdf")
    return base.removesuffix(f"_{SUFFIXES['L3']}").removesuffix(f"_{SUFFIXES['L2']}")
