"""survey: a field's L1 ramps to one catalogue of all its filters, through every product on the way.

Exposures, associations, mosaics, a catalogue per skycell, selection functions where wanted, and the
collection of all catalogues, in this order.
What is there already and bears the fingerprint of the same work is left as it is: a run that was stopped,
or killed, goes on where it was.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from nexus_pipeline.errors import InputError, PipelineError
from nexus_pipeline.instrument.wfi import MOSAIC_SCALE_ARCSEC
from nexus_pipeline.products import associations as files
from nexus_pipeline.products import fingerprint, hats, l3, names, selection, store
from nexus_pipeline.products.associations import Association
from nexus_pipeline.products.names import SUFFIXES
from nexus_pipeline.recipes import (
    exposure_product,
    mosaic_product,
    multiband_product,
    release,
    selection_product,
)
from nexus_pipeline.recipes.associations import associations, member_of
from nexus_pipeline.recipes.mosaic import Listener
from nexus_pipeline.recipes.release import Cut
from nexus_pipeline.recipes.selection_product import Injections
from nexus_pipeline.references.store import ReferenceStore
from nexus_pipeline.runner import Settings
from nexus_pipeline.scale import batch
from nexus_pipeline.sky.sky_grid import SkyGrid
from nexus_pipeline.sky.skymap import Skymap

IMAGES: Final = "images"
MOSAICS: Final = "mosaics"
CATALOGS: Final = "catalogs"
SELECTIONS: Final = "selections"


@dataclass(frozen=True)
class Plan:
    """Where products go, what they are made with, how the sky is cut, and who pays.

    Without ``injections`` there are no selection functions.
    """

    output: str
    references: ReferenceStore
    skymap: Skymap
    name: str = "survey"
    exposure: Settings = field(default_factory=Settings)
    mosaic: Settings = field(default_factory=Settings)
    cut: Cut = field(default_factory=Cut)
    injections: Injections | None = None
    jobs: int = 1
    account: str | None = None
    on_step: Listener | None = None

    def at(self, folder: str, name: str) -> str:
        return store.join(store.join(self.output, folder), name)


@dataclass(frozen=True)
class Done:
    """A product of a survey: whether it had to be made, what went wrong, or why there is none."""

    stage: str
    target: str
    made: bool = True
    seconds: float = 0.0
    error: PipelineError | None = None
    trace: str | None = None
    left_out: str | None = None


Progress = Generator[Done, None, None]


def survey(ramps: Sequence[str], plan: Plan) -> Progress:
    """Yield what becomes of each product, in the order of the steps; what failed ends it after its step.

    Raises InputError for ramps of which two would give one image, for images that touch no skycell, and where
    no skycell is seen in two filters.
    """
    images = {url: plan.at(IMAGES, names.derived_name(store.file_name(url), level="L2")) for url in ramps}
    if len(set(images.values())) < len(ramps) or not ramps:
        raise InputError("a survey needs ramps, of which no two have one name")
    if (yield from _whole(_exposures(images, plan))):
        return
    cells = _associated(images.values(), plan)
    complete(cells)
    if (yield from _whole(_mosaics(cells, plan))):
        return
    if (yield from _whole(_catalogs(cells, plan))):
        return
    if plan.injections is not None and (yield from _whole(_selections(cells, plan, plan.injections))):
        return
    yield from _whole(_released(cells, plan))


def _whole(stage: Progress) -> Generator[Done, None, bool]:
    """Yield all of a stage; return whether any of it failed."""
    failed = False
    for done in stage:
        failed |= done.error is not None
        yield done
    return failed


def _attempt(stage: str, target: str, *, is_made: bool, make: Callable[[], None]) -> Done:
    start = time.perf_counter()
    if is_made:
        return Done(stage, target, made=False)
    try:
        make()
    except PipelineError as error:
        return Done(stage, target, seconds=time.perf_counter() - start, error=error)
    return Done(stage, target, seconds=time.perf_counter() - start)


def _exposures(images: Mapping[str, str], plan: Plan) -> Progress:
    todo = []
    for source, target in images.items():
        print_ = exposure_product.fingerprint_of(fingerprint.sha256(source), plan.references, plan.exposure)
        if exposure_product.is_made(target, print_):
            yield Done("exposure", target, made=False)
        else:
            todo.append(batch.Task(source, target))
    outcomes = batch.calibrate(
        todo, plan.references, settings=plan.exposure, jobs=plan.jobs, account=plan.account,
        on_step=plan.on_step,
    )  # fmt: skip
    for each in outcomes:
        yield Done("exposure", each.task.target, True, each.seconds, each.error, each.trace)


def _associated(images: Iterable[str], plan: Plan) -> dict[str, list[Association]]:
    """Write the associations of ``images`` and return them by skycell."""
    made = associations([member_of(url) for url in images], plan.skymap)
    if not made:
        raise InputError("the images touch no skycell: does the skymap reach there?")
    cells = defaultdict(list)
    for each in made:
        files.write_association(each, plan.at(MOSAICS, files.file_name(each)))
        cells[str(each.skycell["name"])].append(each)
    return dict(cells)


def _mosaics(cells: Mapping[str, Sequence[Association]], plan: Plan) -> Progress:
    for each in (one for members in cells.values() for one in members):
        target = mosaic_url(each, plan)
        inputs = mosaic_product.find_inputs(each, store.join(plan.output, IMAGES))
        grid = mosaic_product.grid_of(each, inputs, scale_arcsec=MOSAIC_SCALE_ARCSEC)
        print_ = mosaic_product.fingerprint(inputs, grid, plan.mosaic)
        work = partial(_make_mosaic, each, inputs, grid, plan=plan)
        yield _attempt("mosaic", target, is_made=mosaic_product.is_made(target, print_), make=work)


def _make_mosaic(
    association: Association, inputs: mosaic_product.Inputs, grid: SkyGrid, *, plan: Plan
) -> None:
    made = mosaic_product.make(
        association, inputs, grid, settings=plan.mosaic, file_name=files.file_name(association),
        account=plan.account, on_step=plan.on_step,
    )  # fmt: skip
    l3.write_mosaic(made, mosaic_url(association, plan))


def _catalogs(cells: Mapping[str, Sequence[Association]], plan: Plan) -> Progress:
    for members in complete(cells).values():
        inputs = multiband_product.find_inputs([mosaic_url(each, plan) for each in members])
        print_ = multiband_product.fingerprint_of(inputs, plan.references)
        target, segments = (plan.at(CATALOGS, inputs.file_name(level)) for level in ("L4", "SEGM"))
        there = store.exists(segments) and multiband_product.is_made(target, print_)
        work = partial(_make_catalog, inputs, (target, segments), plan=plan)
        yield _attempt("catalogue", target, is_made=there, make=work)
    for cell in sorted(set(cells) - set(complete(cells))):
        yield Done("catalogue", cell, made=False, left_out="not all filters reach it")


def _make_catalog(inputs: multiband_product.Inputs, targets: tuple[str, str], *, plan: Plan) -> None:
    made = multiband_product.make(inputs, plan.references, account=plan.account, on_step=plan.on_step)
    multiband_product.write(made, *targets)


def _selections(cells: Mapping[str, Sequence[Association]], plan: Plan, wanted: Injections) -> Progress:
    """Put sources into the mosaics of each filter, and add up what is found of them by filter."""
    for of_filter in zip(*complete(cells).values(), strict=True):
        yield from _selections_of(of_filter, plan, wanted)


def _selections_of(mosaics: Sequence[Association], plan: Plan, wanted: Injections) -> Progress:
    parts, prints = [], []
    for number, each in enumerate(mosaics):
        url, mine = mosaic_url(each, plan), replace(wanted, seed=wanted.seed + number)
        prints.append(selection_product.fingerprint_of(fingerprint.sha256(url), plan.references, mine))
        parts.append(plan.at(SELECTIONS, f"{each.product}_selection.asdf"))
        there = selection_product.is_made(parts[-1], prints[-1])
        work = partial(_make_selection, url, parts[-1], mine, plan=plan)
        yield _attempt("selection", parts[-1], is_made=there, make=work)
    # A mosaic's name ends with its filter.
    whole = store.join(plan.output, f"selection_{mosaics[0].product.rpartition('_')[2]}.asdf")
    print_ = fingerprint.fingerprint(selection_product.RECIPE, {"parts": prints})
    add_up = partial(_add_up, parts, whole, print_)
    yield _attempt("selection", whole, is_made=selection_product.is_made(whole, print_), make=add_up)


def _make_selection(url: str, target: str, wanted: Injections, *, plan: Plan) -> None:
    # Draws with GalSim, which only those have who asked for it.
    from nexus_pipeline.simulate.stamps import render  # noqa: PLC0415

    made = selection_product.make(url, plan.references, render, wanted=wanted, account=plan.account)
    selection.write(made, target)


def _add_up(parts: Sequence[str], whole: str, print_: str) -> None:
    """Write the sum of ``parts``, made in the same step: where one failed there is none."""
    lacking = [url for url in parts if not store.exists(url)]
    if lacking:
        raise InputError(f"{lacking[0]} is not there: no selection function of the whole")
    added = selection.together([selection.load(url) for url in parts])
    told = {"fingerprint": print_, "parts": [store.file_name(url) for url in parts]}
    selection.write(replace(added, told=told), whole)


def _released(cells: Mapping[str, Sequence[Association]], plan: Plan) -> Progress:
    urls = [
        plan.at(CATALOGS, multiband_product.file_name([each.product for each in members], "L4"))
        for members in complete(cells).values()
    ]
    target = store.join(plan.output, plan.name)
    hashes = {store.file_name(url): fingerprint.sha256(url) for url in urls}
    there = hats.fingerprint(target) == release.fingerprint_of(hashes, plan.cut)
    work = partial(_make_release, urls, hashes, target, plan=plan)
    yield _attempt("release", target, is_made=there, make=work)


def _make_release(urls: Sequence[str], hashes: Mapping[str, str], target: str, *, plan: Plan) -> None:
    pieces = [release.read_piece(url, hashes[store.file_name(url)]) for url in urls]
    release.release(pieces, target, name=plan.name, cut=plan.cut, account=plan.account)


def complete(cells: Mapping[str, Sequence[Association]]) -> dict[str, Sequence[Association]]:
    """Return the skycells that have a mosaic in each filter of the survey; InputError if none has two."""
    most = max(len(members) for members in cells.values())
    whole = {cell: members for cell, members in cells.items() if len(members) == most}
    if most < 2:
        raise InputError("no skycell is seen in two filters or more: there are no colours to catalogue")
    return whole


def mosaic_url(association: Association, plan: Plan) -> str:
    """Return where the mosaic of ``association`` goes."""
    return plan.at(MOSAICS, f"{association.product}_{SUFFIXES['L3']}.asdf")
