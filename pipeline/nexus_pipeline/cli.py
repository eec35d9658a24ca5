"""``wfi``: the pipeline's command line; the only place where results become text for people."""

import sys
import time
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any

import numpy as np
import typer

from nexus_pipeline import cli_coadd, cli_footprint, cli_inject, cli_psf, cli_survey
from nexus_pipeline.account import account
from nexus_pipeline.errors import InputError, PipelineError
from nexus_pipeline.instrument.filters import IMAGING_FILTERS, SPECTRAL_ELEMENTS
from nexus_pipeline.instrument.ma_table import IMAGING, MA_TABLES
from nexus_pipeline.instrument.wfi import DETECTORS
from nexus_pipeline.products import asdf_file, l1, l2, l3, l4, names, segm, store
from nexus_pipeline.products.model import ExposureMeta, Mosaic, Photometry, Pointing, Provenance, StepRecord
from nexus_pipeline.references.make import make_references
from nexus_pipeline.references.store import open_store
from nexus_pipeline.runner import Settings
from nexus_pipeline.told import BatchReport

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Roman WFI: ramps to images and catalogues."
)
references_app = typer.Typer(no_args_is_help=True, help="Stores of calibration references.")
app.add_typer(references_app, name="references")
app.add_typer(cli_coadd.commands)
app.add_typer(cli_psf.commands, name="psf")
app.add_typer(cli_survey.commands)
app.add_typer(cli_inject.commands)
app.add_typer(cli_footprint.commands)

StoreUrl = Annotated[
    str,
    typer.Option(
        "--references", "-r", help="Reference store: a folder, an s3:// prefix, crds or crds:CONTEXT."
    ),
]
OutputUrl = Annotated[
    str, typer.Option("--output", "-o", help="Where products go: a folder or s3:// prefix.")
]


def main() -> None:
    """Run the command line; refusals become one line on stderr and an exit status (2 input, 3 storage)."""
    try:
        app()
    except PipelineError as error:
        print(f"wfi: {error}", file=sys.stderr)
        sys.exit(error.exit_status)


@app.command()
def calibrate(  # noqa: PLR0917 - typer takes options by position
    ramps: Annotated[
        list[str],
        typer.Argument(
            metavar="L1...",
            help="L1 ramps: paths or URLs; a folder, or an exposure (rPPPPP…_EEEE), is all its ramps.",
        ),
    ],
    references: StoreUrl,
    output: OutputUrl = ".",
    parameters: Annotated[
        str | None, typer.Option(metavar="FILE.toml", help="Parameters: a table per step.")
    ] = None,
    skip: Annotated[list[str], typer.Option(metavar="STEP", help="Leave this step out.")] = [],  # noqa: B006
    ramp_fit: Annotated[
        str | None, typer.Option(help="likelihood (Brandt 2024) or casertano (Casertano 2022).")
    ] = None,
    expand_large_events: Annotated[
        bool, typer.Option("--expand-large-events", help="Find snowballs and leave their halos out.")
    ] = False,
    earlier: Annotated[
        list[str],
        typer.Option(metavar="L1|L2", help="May persist in it: flag what they filled. As L1..., or images."),
    ] = [],  # noqa: B006
    reference: Annotated[
        list[str], typer.Option(metavar="KIND=FILE", help="Use this file, whatever the rules say.")
    ] = [],  # noqa: B006
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Processes side by side; default: as cores and memory allow.")
    ] = None,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing/--overwrite", help="Leave ramps whose image is there already.")
    ] = False,
    gaia: Annotated[
        str | None,
        typer.Option(
            metavar="TABLE.parquet", help="Then register the images to these stars (Gaia's columns)."
        ),
    ] = None,
) -> None:
    """Calibrate L1 ramps to L2 images; one that fails does not stop the others.

    With --gaia the detectors of each exposure are then registered together (step tweakreg).
    """
    # Compiles kernels when it is first imported; `wfi info` should not wait for that.
    from nexus_pipeline import cli_register  # noqa: PLC0415
    from nexus_pipeline.scale import batch, memory  # noqa: PLC0415

    memory.keep_freed()
    targets = output_urls(batch.ramps(ramps), output)
    wanted, matching = settings(
        parameters,
        skip,
        ramp_fit,
        expand_large_events=expand_large_events,
        earlier=batch.ramps(earlier),
        registers=gaia is not None,
    )
    stars = None if gaia is None else cli_register.read_star_table(gaia)
    opened = open_store(references).with_files(files_by_kind(reference))
    tasks = [batch.Task(*pair) for pair in targets.items() if not (skip_existing and store.exists(pair[1]))]
    if len(tasks) < len(targets):
        print(f"{len(targets) - len(tasks)} of {len(targets)} images are there already")
    told = BatchReport(tasks, jobs or batch.default_jobs(len(tasks)))
    work = partial(batch.calibrate, settings=wanted, jobs=told.jobs, account=account(), on_step=told.step)
    with told, closing(work(tasks, opened)) as outcomes:
        for outcome in outcomes:
            told.hear(outcome)
    status = told.exit_status
    if stars is not None:
        # Those that were there already belong to their exposures too.
        images = {url: url for url in targets.values() if url not in told.failed_targets}
        failed = cli_register.onto(stars, images, opened, matching)
        status = max([status, *(error.exit_status for error in failed)])
    if status:
        raise typer.Exit(status)


def files_by_kind(given: list[str]) -> dict[str, str]:
    """Return the files of ``KIND=FILE`` by kind; InputError for what has no such form."""
    pairs = [text.partition("=") for text in given]
    if not all(kind and url for kind, _, url in pairs):
        raise InputError("--reference takes KIND=FILE, for instance flat=my_flat.asdf")
    return {kind: url for kind, _, url in pairs}


def settings(
    parameters: str | None,
    skip: list[str],
    ramp_fit: str | None,
    *,
    expand_large_events: bool,
    earlier: list[str],
    registers: bool,
) -> tuple[Settings, Any]:
    """Return the recipe's settings: those of the file, the command line's over them; InputError if unfit.

    Beside them those of tweakreg, None where it is left out or not spoken of.
    """
    from nexus_pipeline.recipes import exposure, settings  # noqa: PLC0415

    base = settings.read_settings(parameters) if parameters is not None else Settings()
    over: dict[str, Any] = {} if ramp_fit is None else {"algorithm": ramp_fit}
    over |= {"expand_large_events": True} if expand_large_events else {}
    before = {"earlier": earlier} if earlier else {}
    changes = {"ramp_fitting": over, "persistence": before}
    wanted, matching = settings.with_changes(base, skip=skip, parameters=changes), None
    if registers or "tweakreg" in {*wanted.parameters, *wanted.skip}:
        from nexus_pipeline.recipes import registration  # noqa: PLC0415

        wanted, matching = registration.split(wanted)
    if registers and matching is None:
        raise InputError("tweakreg is to be left out: then there is no use for --gaia")
    exposure.check(wanted)
    return wanted, matching


def output_urls(sources: list[str], output: str, *, level: str = "L2") -> dict[str, str]:
    """Return where the product made of each source goes; InputError if two would take one name."""
    targets = {
        source: store.join(output, names.derived_name(store.file_name(source), level=level))
        for source in sources
    }
    if len(set(targets.values())) < len(sources):
        raise InputError("two of the inputs would give one file name; write them to two folders")
    return targets


@app.command()
def catalog(  # noqa: PLR0917 - typer takes options by position
    images: Annotated[list[str], typer.Argument(metavar="L2|L3...", help="Images, mosaics: paths or URLs.")],
    references: StoreUrl,
    output: OutputUrl = ".",
    ipc: Annotated[
        bool | None,
        typer.Option("--ipc/--no-ipc", help="Pixels do (not) couple; default: as the image says."),
    ] = None,
    psf_detector: Annotated[
        str | None, typer.Option(help="Whose PSF a mosaic has; default: the one it names.")
    ] = None,
    bands: Annotated[
        str | None,
        typer.Option(metavar="F106,F129,…", help="One catalogue of mosaics of one skycell in these filters."),
    ] = None,
) -> None:
    """Find and measure the sources of L2 images and L3 mosaics (L4 catalogues and segmentation maps).

    With --bands the mosaics given become one catalogue: the same sources, measured in each filter.
    """
    from nexus_pipeline import cli_catalog  # noqa: PLC0415

    if bands is not None:
        cli_catalog.make_of_bands(images, bands, open_store(references), output, psf_detector=psf_detector)
        return
    targets, maps = (output_urls(images, output, level=level) for level in ("L4", "SEGM"))
    opened = open_store(references)
    for source in images:
        print(source)
        made = cli_catalog.make(
            source, opened, targets[source], maps[source], ipc=ipc, psf_detector=psf_detector
        )
        print(f"  {made} sources   {targets[source]}", flush=True)


@app.command()
def register(  # noqa: PLR0917 - typer takes options by position
    images: Annotated[list[str], typer.Argument(metavar="L2...", help="L2 images: paths or URLs.")],
    references: StoreUrl,
    gaia: Annotated[str, typer.Option(metavar="TABLE.parquet", help="Stars in Gaia's columns.")],
    output: Annotated[
        str | None, typer.Option("--output", "-o", help="Where products go; default: in place of the images.")
    ] = None,
    detector_fit: Annotated[
        str, typer.Option(help="What a detector may differ by: none, shift, rshift, rscale or general.")
    ] = "rshift",
) -> None:
    """Bring L2 images onto reference stars; the detectors of an exposure together."""
    from nexus_pipeline import cli_register  # noqa: PLC0415

    failed = cli_register.register(
        images, gaia=gaia, references=references, output=output, detector_fit=detector_fit
    )
    if failed:
        raise typer.Exit(max(error.exit_status for error in failed))


@app.command()
def associate(  # noqa: PLR0917 - typer takes options by position
    images: Annotated[list[str], typer.Argument(metavar="L2...", help="L2 images: paths or URLs.")],
    skymap: Annotated[
        str, typer.Option(metavar="SKYCELLS.asdf", help="The mission's skycells reference, or `wfi skymap`.")
    ],
    output: OutputUrl = ".",
    product: Annotated[
        str, typer.Option(help="Mosaics of a visit, a pass, or all: visit, pass, full.")
    ] = "full",
    release: Annotated[str, typer.Option(help="Data release in the names; p is prompt.")] = "p",
) -> None:
    """Say which L2 images make which mosaics: an association per skycell and filter."""
    from nexus_pipeline import cli_mosaic  # noqa: PLC0415

    cli_mosaic.associate(images, skymap, output, product=product, release=release)


@app.command()
def skymap(
    url: Annotated[str, typer.Argument(metavar="SKYCELLS.asdf", help="Where the skymap goes.")],
    around: Annotated[
        tuple[float, float, float] | None,
        typer.Option(metavar="RA DEC RADIUS", help="Only what lies within RADIUS of a place, degrees."),
    ] = None,
) -> None:
    """Cut the sky in projection regions and skycells (whole: 7.7 million, 1.3 GB)."""
    from nexus_pipeline import cli_mosaic  # noqa: PLC0415

    cli_mosaic.make_skymap(url, around)


@app.command()
def simulate(  # noqa: PLR0913, PLR0917 - typer takes options by position
    sources: Annotated[
        str,
        typer.Argument(metavar="CATALOG", help="Sources (.parquet, .ecsv) or a rate image (.fits, .asdf)."),
    ],
    references: StoreUrl,
    output: OutputUrl = ".",
    detector: Annotated[str, typer.Option(help="WFI01 to WFI18.")] = "WFI01",
    detectors: Annotated[
        str | None,
        typer.Option(metavar="all|LIST", help="Many of one exposure: all, or WFI01,WFI02…"),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Processes side by side; default: as cores and memory allow.")
    ] = None,
    filter_name: Annotated[str, typer.Option("--filter", help="F062 to F213.")] = "F158",
    ra: Annotated[float | None, typer.Option(help="ICRS degrees; default: the sources' middle.")] = None,
    dec: Annotated[float | None, typer.Option(help="ICRS degrees; default: the sources' middle.")] = None,
    roll: Annotated[float, typer.Option(help="Position angle of V3 there, degrees.")] = 0.0,
    start: Annotated[datetime, typer.Option(help="Start of the exposure, UTC.")] = datetime(2027, 6, 1),  # noqa: DTZ001
    ma_table: Annotated[int, typer.Option(help="MA table number.")] = IMAGING.number,
    exposure: Annotated[int, typer.Option(help="Number of the exposure in its visit.")] = 1,
    seed: Annotated[int, typer.Option(help="The same seed makes the same ramp, bit for bit.")] = 1,
    cosmic_rays: Annotated[bool, typer.Option(help="Let cosmic rays hit the detector.")] = True,
    parameters: Annotated[
        str | None, typer.Option(metavar="FILE.toml", help="Parameters: a table per effect.")
    ] = None,
    skip: Annotated[list[str], typer.Option(metavar="EFFECT", help="Leave this effect out.")] = [],  # noqa: B006
    level: Annotated[
        int, typer.Option(min=1, max=3, help="1: the ramp; 2: an idealised image; 3: an idealised mosaic.")
    ] = 1,
    size: Annotated[int, typer.Option(help="Edge of a mosaic, pixels of 0.055 arcsec.")] = 5000,
    exposures: Annotated[int, typer.Option(help="Exposures in each pixel of a mosaic.")] = 1,
    unit: Annotated[str, typer.Option(help="Of a rate image: DN/s (as L2) or e/s (as detected).")] = "DN/s",
    earlier: Annotated[
        list[str], typer.Option(metavar="L1|L2", help="What an exposure before it left persists in it.")
    ] = [],  # noqa: B006
    seds: Annotated[
        str | None, typer.Option(metavar="TABLE", help="Spectra the sources name: sed, wavelength, flux.")
    ] = None,
    light_curves: Annotated[
        str | None, typer.Option(metavar="TABLE", help="Light curves: variable, mjd, delta_mag.")
    ] = None,
) -> None:
    """Simulate a detector's L1 ramp (ideal L2, L3), or an exposure's many, and write the truth beside each.

    One --detector has its middle on RA, Dec; --detectors have their places in the focal plane, whose
    reference point (WFI_CEN) is on RA, Dec with V3 at the roll angle. A mosaic touches the sky at RA, Dec,
    north up, with the PSF and the noise of the --detector.
    """
    simulator = import_simulator()
    left_out = skip if cosmic_rays else [*skip, "cosmic_rays"]
    effects = simulator.read_effects(simulator.Effects(), parameters, left_out)
    refuse_unknown([detector], DETECTORS, "detector")
    refuse_unknown([filter_name], IMAGING_FILTERS, "filter")
    if ma_table not in MA_TABLES:
        raise InputError(f"no MA table {ma_table}; there are {', '.join(map(str, MA_TABLES))}")
    opened, begin = open_store(references), start.replace(tzinfo=start.tzinfo or UTC)
    if simulator.is_plane(sources):
        if ra is None or dec is None or detectors is not None:
            raise InputError("a rate image needs --ra and --dec, and is one detector's")
        field, ra_deg, dec_deg = simulator.read_plane(sources, unit), ra, dec
    else:
        moment = simulator.moment(begin, MA_TABLES[ma_table].exposure_time_s)
        beside = simulator.read_beside(seds, light_curves, moment)
        field = simulator.read_sources(sources, filter_name, beside)
        ra_deg, dec_deg = simulator.middle(field, ra, dec)
    from nexus_pipeline import cli_simulate  # noqa: PLC0415
    from nexus_pipeline.scale.simulation import Plan  # noqa: PLC0415

    pointing = Pointing(ra_deg, dec_deg, roll)
    stack = cli_simulate.stack(level, detectors, (ra_deg, dec_deg), size=size, exposures=exposures)
    if detectors is None:
        where = {"ra_deg": ra_deg, "dec_deg": dec_deg, "roll_deg": roll, "start_time": begin}
        pointing = simulator.aim(opened, detector, filter_name, **where)
    plan = Plan(
        field, opened, filter_name, pointing, begin, MA_TABLES[ma_table],
        names.ExposureId(exposure=exposure), effects, level, tuple(earlier), stack,
    )  # fmt: skip
    if detectors is None:
        cli_simulate.one(detector, plan, output, seed=seed)
    elif status := cli_simulate.many(cli_simulate.chosen(detectors), plan, output, seed=seed, jobs=jobs):
        raise typer.Exit(status)


@app.command("make-field")
def make_field(  # noqa: PLR0917 - typer takes options by position
    url: Annotated[str, typer.Argument(metavar="CATALOG.parquet", help="Where the catalogue goes.")],
    ra: Annotated[float, typer.Option(help="Middle of the field, ICRS degrees.")],
    dec: Annotated[float, typer.Option(help="Middle of the field, ICRS degrees.")],
    radius: Annotated[
        float, typer.Option(min=0.0, max=5.0, help="Degrees; 0.55 holds the focal plane, 0.095 a detector.")
    ] = 0.55,
    stars: Annotated[float, typer.Option(min=0.0, help="Stars per square arcmin.")] = 10.0,
    galaxies: Annotated[float, typer.Option(min=0.0, help="Galaxies per square arcmin.")] = 40.0,
    filter_name: Annotated[str, typer.Option("--filter", help="Of the magnitudes, F062 to F213.")] = "F158",
    seed: Annotated[int, typer.Option(help="The same seed makes the same field.")] = 1,
    gaia: Annotated[
        str | None,
        typer.Option(metavar="TABLE.parquet", help="Write its stars too, as Gaia had them in 2016."),
    ] = None,
    date: Annotated[datetime, typer.Option(help="When the catalogue's positions hold, UTC.")] = datetime(  # noqa: DTZ001
        2027, 6, 1
    ),
) -> None:
    """Make a random field of stars and galaxies to simulate, and the reference stars to register it to."""
    refuse_unknown([filter_name], IMAGING_FILTERS, "filter")
    import_simulator()
    from nexus_pipeline import cli_simulate  # noqa: PLC0415

    cli_simulate.make_field(
        url, (ra, dec), radius_deg=radius, per_arcmin2=(stars, galaxies), filter_name=filter_name,
        seed=seed, gaia=gaia, when=date.replace(tzinfo=date.tzinfo or UTC),
    )  # fmt: skip


def import_simulator() -> Any:
    """Return the simulator's module; InputError without GalSim."""
    try:
        from nexus_pipeline.simulate import exposure  # noqa: PLC0415
    except ImportError as error:
        raise InputError(f"the simulator needs GalSim ({error}): install nexus-pipeline[simulate]") from error
    return exposure


@app.command()
def info(product: Annotated[str, typer.Argument(help="A product: path or URL.")]) -> None:
    """Say what a product is and how it was made."""
    for label, value in described(product):
        print(f"{label:<15} {value}")


def described(url: str) -> list[tuple[str, Any]]:
    """Return labelled facts about the product at ``url``; WrongProductError for what is none of ours."""
    if url.endswith(".parquet"):
        return catalog_facts(url)
    kind = asdf_file.kind(url)
    if kind == "WfiImage":
        image = l2.read_rate_image(url)
        rows = [
            ("product", "L2 image"),
            ("shape", image.rate.shape),
            ("footprint", image.s_region or "not assigned"),
        ]
        return (
            rows + exposure_facts(image.meta) + photometry_facts(image.photometry) + history(image.provenance)
        )
    if kind == "SegmentationMap":
        meta, labels = segm.read_segments(url)
        n_sources = int(np.max(labels))
        return [("product", "L4 segmentation map"), ("sources", n_sources), *exposure_facts(meta)]
    if kind in ("MosaicSegmentationMap", "MultibandSegmentationMap"):
        return [("product", asdf_file.KINDS[kind].removeprefix("an "))]
    is_mosaic = kind == "WfiMosaic"
    return mosaic_facts(l3.read_mosaic(url)) if is_mosaic else ramp_facts(url)


def ramp_facts(url: str) -> list[tuple[str, Any]]:
    return [("product", "L1 ramp"), *exposure_facts(l1.read_meta(url))]


def catalog_facts(url: str) -> list[tuple[str, Any]]:
    made_of = l4.made_of(url)
    if made_of == "mosaics":
        of_mosaics = l4.read_multiband_catalog(url)
        return [
            ("product", "L4 catalogue of several filters"),
            ("sources", len(of_mosaics.table)),
            ("filters", ", ".join(of_mosaics.metas)),
            ("PSF matched to", of_mosaics.reference),
        ]
    if made_of == "mosaic":
        of_mosaic = l4.read_mosaic_catalog(url)
        return [
            ("product", "L4 catalogue of a mosaic"),
            ("sources", len(of_mosaic.table)),
            ("filter", of_mosaic.meta.filter_name),
        ]
    catalog = l4.read_catalog(url)
    rows: list[tuple[str, Any]] = [("product", "L4 catalogue"), ("sources", len(catalog.table))]
    return rows + exposure_facts(catalog.meta) + photometry_facts(catalog.photometry)


def mosaic_facts(mosaic: Mosaic) -> list[tuple[str, Any]]:
    info = mosaic.wcsinfo
    return [
        ("product", "L3 mosaic"),
        ("shape", mosaic.data.shape),
        ("footprint", info["s_region"]),
        ("filter", mosaic.meta.filter_name),
        ("start", mosaic.meta.first.astimezone(UTC).isoformat()),
        ("exposure time", f"{mosaic.meta.exposure_time_s:.1f} s"),
        ("centre", f"{info['ra']:.6f} {info['dec']:+.6f}"),
    ]


def exposure_facts(meta: ExposureMeta) -> list[tuple[str, Any]]:
    table, pointing = meta.ma_table, meta.pointing
    return [
        ("detector", meta.detector),
        ("filter", meta.filter_name),
        ("start", meta.start_time.astimezone(UTC).isoformat()),
        ("MA table", f"{table.name} ({table.n_resultants} resultants, {table.exposure_time_s:.1f} s)"),
        ("pointing", f"{pointing.ra_deg:.6f} {pointing.dec_deg:+.6f} roll {pointing.roll_deg:.3f} deg"),
    ]


def photometry_facts(photometry: Photometry | None) -> list[tuple[str, Any]]:
    if photometry is None:
        return [("photometry", "not calibrated")]
    return [("photometry", f"{photometry.conversion_megajanskys:.6g} MJy/sr per DN/s")]


def history(provenance: Provenance) -> list[tuple[str, Any]]:
    steps: list[tuple[str, Any]] = [
        (f"  {step.name}", f"{step.status} {step.seconds:.2f} s{said(step)}") for step in provenance.steps
    ]
    files: list[tuple[str, Any]] = [(f"  {kind}", name) for kind, name in provenance.references.items()]
    return [("steps", len(steps)), *steps, ("references", provenance.context or "unknown"), *files]


def said(step: StepRecord) -> str:
    """Return what a step was run with, or why it was not."""
    words = [f"{name}={value}" for name, value in step.parameters.items()]
    words += [step.reason] if step.reason else []
    return f"   {', '.join(words)}" if words else ""


@references_app.command("make")
def make(  # noqa: PLR0917 - typer takes options by position
    url: Annotated[
        str, typer.Argument(metavar="STORE", help="Where the references go: a folder or s3:// prefix.")
    ],
    detector: Annotated[list[str], typer.Option(help="Detector(s), WFI01 to WFI18.")] = ["WFI01"],  # noqa: B006
    filter_name: Annotated[
        list[str], typer.Option("--filter", help="Filter(s), F062 to F213, GRISM, PRISM.")
    ] = ["F158"],  # noqa: B006
    seed: Annotated[int, typer.Option(help="The same seed makes the same references.")] = 1,
    psf: Annotated[
        bool, typer.Option(help="Draw the PSFs too (needs GalSim; 10 s a detector and filter).")
    ] = True,
) -> None:
    """Make a consistent set of synthetic references."""
    refuse_unknown(detector, DETECTORS, "detector")
    refuse_unknown(filter_name, (*IMAGING_FILTERS, *SPECTRAL_ELEMENTS), "filter")
    from nexus_pipeline.sky.distortion import relative_pixel_area, synthetic_distortion  # noqa: PLC0415

    def geometry(name: str, size: int) -> tuple[Any, Any]:
        transform = synthetic_distortion(name)
        return transform, relative_pixel_area(transform, size)

    from nexus_pipeline.simulate.detector import darks  # noqa: PLC0415

    start = time.perf_counter()
    made = make_references(url, geometry, darks, detectors=detector, filter_names=filter_name, seed=seed)
    if psf:
        for name in detector:
            made = made.add(epsf(name, band) for band in filter_name if band in IMAGING_FILTERS)
    for rule in made.rules:
        print(f"  {rule.file}")
    print(f"{made.context}: {len(made.rules)} references in {time.perf_counter() - start:.1f} s at {url}")


@references_app.command("export-psf")
def export_psf(
    url: Annotated[str, typer.Argument(metavar="FILE.asdf", help="Where the PSF goes.")],
    detector: Annotated[str, typer.Option(help="WFI01 to WFI18.")] = "WFI01",
    filter_name: Annotated[str, typer.Option("--filter", help="F062 to F213.")] = "F158",
) -> None:
    """Write the optics of our ePSF as romanisim wants them: unit sum, without pixel response and IPC."""
    refuse_unknown([detector], DETECTORS, "detector")
    refuse_unknown([filter_name], IMAGING_FILTERS, "filter")
    from nexus_pipeline.references.files import write_reference  # noqa: PLC0415

    import_simulator()
    from nexus_pipeline.simulate.optics import optical_reference  # noqa: PLC0415

    write_reference(optical_reference(detector, filter_name), url)
    print(url)


def epsf(detector: str, filter_name: str) -> Any:
    """Return the PSF reference the simulator draws; InputError without GalSim."""
    try:
        from nexus_pipeline.simulate.optics import epsf_reference  # noqa: PLC0415
    except ImportError as error:
        raise InputError(f"drawing PSFs needs GalSim ({error}): install nexus-pipeline[simulate]") from error
    return epsf_reference(detector, filter_name)


def refuse_unknown(given: list[str], known: tuple[str, ...], what: str) -> None:
    """Raise InputError if one of ``given`` is not ``known``."""
    for name in given:
        if name not in known:
            raise InputError(f"no {what} is called {name!r}; there are {', '.join(known)}")


if __name__ == "__main__":
    main()
