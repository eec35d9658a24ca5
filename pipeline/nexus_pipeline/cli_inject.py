"""``wfi inject``: its options, what it writes, and its text for people."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nexus_pipeline.account import account
from nexus_pipeline.errors import InputError
from nexus_pipeline.products import asdf_file, l1, l2, l3, l4, names, selection, store
from nexus_pipeline.products.model import Catalog, MosaicCatalog, Provenance
from nexus_pipeline.products.names import SUFFIXES
from nexus_pipeline.references.store import ReferenceStore, open_store

if TYPE_CHECKING:
    from nexus_pipeline.recipes.injected_product import Wanted

commands = typer.Typer()

Pair = tuple[float, float]
Targets = Mapping[str, str]
Own = Callable[..., dict[str, Any]]


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
    again: Annotated[bool, typer.Option("--again", help="Make what is there already, too.")] = False,
) -> None:
    """Put stars and galaxies into images and mosaics, and see which of them come back.

    Writes beside each other: the image with them (_injected), its catalogue made again where it changed, what
    was found of each (_matches.ecsv), its selection function, and that of all images (selection.asdf). What
    is there of the same image and parameters stays.
    """
    from nexus_pipeline.recipes.injected_product import Wanted  # noqa: PLC0415
    from nexus_pipeline.recipes.injections import Ranges  # noqa: PLC0415

    ranges = Ranges(magnitudes, stars, indices, radii, ellipticities)
    opened, parts = open_store(references), []
    for k, url in enumerate(images):
        typer.echo(url)
        ramp = None if ramps is None or _is_mosaic(url) else _ramp_of(url, ramps)
        wanted = Wanted(number, ranges, seed + k, noise, sources, ramp, psf_detector)
        parts.append(_done(url, opened, wanted, output=output, plots=plots, again=again))
    whole = store.join(output, "selection.asdf")
    selection.write(selection.together(parts), whole)
    typer.echo(f"  {whole}")


def _done(
    url: str, references: ReferenceStore, wanted: "Wanted", *, output: str, plots: bool, again: bool
) -> selection.Selection:
    """Put sources into the image at ``url``, unless that was done, and return what is known of them."""
    from nexus_pipeline.recipes import injected_product as product  # noqa: PLC0415

    hashes, targets = product.hashes_of(url, wanted), _targets(url, output, plots=plots)
    if not again and product.is_made(targets, product.fingerprint_of(hashes, references, wanted)):
        typer.echo(f"  there already, of the same image and parameters   {targets['image']}")
        return selection.load(targets["selection"])
    own = partial(product.provenance, hashes, references, wanted, account=account())
    made = (_mosaic if _is_mosaic(url) else _image)(url, references, wanted, targets=targets, own=own)
    _tell(made, targets["matches"])
    if plots:
        _draw(made.matches, targets["plot"])
    selection.write(made.selection, targets["selection"])
    return selection.load(targets["selection"])


def _is_mosaic(url: str) -> bool:
    return asdf_file.kind(url) == "WfiMosaic"


def _ramp_of(url: str, ramps: str) -> str:
    return store.join(ramps, names.derived_name(store.file_name(url), level="L1"))


def _targets(url: str, output: str, *, plots: bool) -> dict[str, str]:
    """Return where the files of one image go."""
    base = store.file_name(url).removesuffix(".asdf")
    for level in ("L2", "L3"):
        base = base.removesuffix(f"_{SUFFIXES[level]}")
    endings = {
        "image": f"{SUFFIXES['L3' if _is_mosaic(url) else 'L2']}.asdf",
        "catalogue": f"{SUFFIXES['L4']}.parquet",
        "matches": "matches.ecsv",
        "selection": "selection.asdf",
    }
    made = {what: store.join(output, f"{base}_injected_{ending}") for what, ending in endings.items()}
    return made | ({"plot": store.join(output, f"{base}_injected.png")} if plots else {})


def _mosaic(url: str, references: ReferenceStore, wanted: "Wanted", *, targets: Targets, own: Own) -> Any:
    """Put sources into the mosaic at ``url``, write it and its catalogue, and return the trial."""
    from nexus_pipeline.recipes import inject as recipe  # noqa: PLC0415
    from nexus_pipeline.recipes import injection_trial  # noqa: PLC0415

    mosaic = l3.read_mosaic(url)
    ground = injection_trial.ground_of_mosaic(mosaic, references, detector=wanted.detector)
    plan = _plan(wanted, ground.filter_name) | {"own": own(files=ground.references)}
    made = injection_trial.trial(ground, _renderer(), noisy=wanted.noisy, **plan)
    changed = recipe.into_mosaic(mosaic, made.added, told=dict(made.told))
    l3.write_mosaic(changed, targets["image"])
    provenance = Provenance(references=ground.references, context=references.context)
    catalog = MosaicCatalog(changed.meta, made.again.table, changed.wcsinfo, provenance)
    l4.write_mosaic_catalog(catalog, targets["catalogue"])
    return made


def _image(url: str, references: ReferenceStore, wanted: "Wanted", *, targets: Targets, own: Own) -> Any:
    """Put sources into the L2 at ``url`` or its ramp, write it and its catalogue, and return the trial."""
    from nexus_pipeline.recipes import inject as recipe  # noqa: PLC0415
    from nexus_pipeline.recipes import injection_trial  # noqa: PLC0415

    image = l2.read_rate_image(url)
    ground = injection_trial.ground_of_image(image, references)
    plan = _plan(wanted, ground.filter_name) | {"own": own(files=ground.references)}
    if wanted.ramp is None:
        made = injection_trial.trial(ground, _renderer(), noisy=wanted.noisy, **plan)
        changed = recipe.into_image(image, made.added, told=dict(made.told))
    else:
        exposed = injection_trial.Exposed(image, l1.read_ramp(wanted.ramp), references)
        made, changed = injection_trial.ramp_trial(ground, exposed, _renderer(), **plan)
    l2.write_rate_image(changed, targets["image"])
    catalog = Catalog(changed.meta, made.again.table, changed.provenance, changed.photometry)
    l4.write_catalog(catalog, targets["catalogue"])
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


def _plan(wanted: "Wanted", filter_name: str) -> dict[str, Any]:
    """Return what is put in, as ``injection_trial`` takes it."""
    plan: dict[str, Any] = {"seed": wanted.seed, "number": wanted.number, "ranges": wanted.ranges}
    if wanted.sources is not None:
        from nexus_pipeline.simulate.catalog import read_sources  # noqa: PLC0415

        plan["bodies"] = read_sources(wanted.sources, filter_name)
    return plan
