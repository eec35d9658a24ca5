"""registration: L2 images of one or more exposures, each brought onto a table of reference stars.

One image is held at a time: stars and world coordinates of all detectors of an exposure are enough to fit
them together; a second reading then writes what was found into each. What cannot be registered is written
as it was, and says why.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Final

import numpy as np

from nexus_pipeline.errors import MissingReferenceError, PipelineError
from nexus_pipeline.instrument.filters import IMAGING_FILTERS
from nexus_pipeline.products import l2, names, store, wfi_wcs
from nexus_pipeline.products.model import ExposureMeta, Provenance, RateImage, StepRecord
from nexus_pipeline.recipes.registration_catalog import find_stars, read_psf
from nexus_pipeline.references.store import ReferenceStore
from nexus_pipeline.runner import Settings as RunSettings
from nexus_pipeline.runner import Step, peak_memory_bytes, recorded, resolved
from nexus_pipeline.sky.star_table import ReferenceStars, at_epoch
from nexus_pipeline.sky.wcs import s_region
from nexus_pipeline.steps import tweakreg
from nexus_pipeline.steps.tweakreg import DetectorStars, Registered, Settings

CATALOG: Final = "source_catalog"
TWEAKREG: Final = "tweakreg"
STEPS: Final = (Step(TWEAKREG, Settings, parameters=tuple(field.name for field in fields(Settings))),)


@dataclass(frozen=True)
class Outcome:
    """What became of one image: its status and why, or the error that kept it from being read or written."""

    url: str
    target: str
    n_stars: int = 0
    registered: Registered | None = None
    error: PipelineError | None = None


@dataclass(frozen=True)
class _Seen:
    """One image's stars, and how finding them went; without stars, why it is not registered."""

    url: str
    meta: ExposureMeta
    record: StepRecord
    stars: DetectorStars | None = None
    refused: Registered | None = None


def split(settings: RunSettings) -> tuple[RunSettings, Settings | None]:
    """Return the settings of the other steps and those of tweakreg, None if it is to be left out."""
    own = {TWEAKREG: settings.parameters.get(TWEAKREG, {})}
    others = {step: table for step, table in settings.parameters.items() if step != TWEAKREG}
    chosen = Settings(**resolved(STEPS, RunSettings(own))[TWEAKREG])
    return RunSettings(others, settings.skip - {TWEAKREG}), None if TWEAKREG in settings.skip else chosen


def register(
    targets: Mapping[str, str],
    table: ReferenceStars,
    references: ReferenceStore,
    *,
    settings: Settings | None = None,
    on_image: Callable[[Outcome], None] | None = None,
) -> list[Outcome]:
    """Register the L2 images ``targets`` names, write each to its target, and its WCS product beside it.

    The detectors of an exposure are fitted together. An image that cannot be matched is written as it
    was, tweakreg FAILED in it, SKIPPED for a spectrum and without world coordinates; one that cannot be
    read or written is an outcome with an error.
    """
    settings = settings or Settings()
    seen: list[_Seen] = []
    outcomes: list[Outcome] = []

    def tell(outcome: Outcome) -> None:
        outcomes.append(outcome)
        if on_image is not None:
            on_image(outcome)

    for url, target in targets.items():
        try:
            seen.append(see(url, references))
        except PipelineError as error:
            tell(Outcome(url, target, error=error))
    for each in seen:
        if each.refused is not None:
            skipped = StepRecord(TWEAKREG, each.refused.status, parameters=asdict(settings))
            tell(_finished(each, targets[each.url], each.refused, skipped))
    for exposure in _exposures(seen):
        epoch = at_epoch(table, exposure[0].meta.start_time)
        with recorded(TWEAKREG, parameters=asdict(settings)) as measured:
            stars = [each.stars for each in exposure if each.stars is not None]
            found = tweakreg.align(stars, epoch, settings)
        for each, registered in zip(exposure, found, strict=True):
            tell(_finished(each, targets[each.url], registered, measured()))
    return outcomes


def see(url: str, references: ReferenceStore) -> _Seen:
    """Return the stars of the image at ``url``, or why it is not registered."""
    image = l2.read_rate_image(url)
    meta, reason = image.meta, unfit(image)
    if reason is not None:
        return _refused(url, meta, Registered("SKIPPED", reason=reason))
    try:
        psf = read_psf(image, references)
    except MissingReferenceError as missing:
        return _refused(url, meta, Registered("FAILED", reason=str(missing)))
    with recorded(CATALOG) as measured:
        found = find_stars(image, psf)
    error = np.hypot(found.x_err, found.y_err) / np.sqrt(2)
    stars = DetectorStars(meta.detector, found.x, found.y, error, image.wcs, meta.pointing)
    return _Seen(url, meta, measured(), stars)


def unfit(image: RateImage) -> str | None:
    """Say why there is nothing to register in ``image``, None if there is."""
    if image.meta.filter_name not in IMAGING_FILTERS:
        return f"a spectrum ({image.meta.filter_name}) has no stars to match"
    return "it has no world coordinates: assign_wcs was not run" if image.wcs is None else None


def _refused(url: str, meta: ExposureMeta, why: Registered) -> _Seen:
    return _Seen(url, meta, StepRecord(CATALOG, why.status, reason=why.reason), refused=why)


def _exposures(seen: Iterable[_Seen]) -> list[list[_Seen]]:
    groups: dict[Any, list[_Seen]] = {}
    for each in seen:
        if each.stars is None:
            continue
        key = each.meta.exposure_id, each.meta.filter_name, each.meta.start_time
        groups.setdefault(key, []).append(each)
    return list(groups.values())


def _finished(each: _Seen, target: str, registered: Registered, record: StepRecord) -> Outcome:
    outcome = Outcome(each.url, target, 0 if each.stars is None else len(each.stars.x), registered)
    record = replace(
        record,
        status=registered.status,
        reason=registered.reason,
        peak_memory_bytes=peak_memory_bytes(),
    )
    try:
        image = with_registration(l2.read_rate_image(each.url), registered, (each.record, record))
        l2.write_rate_image(image, target)
        if image.wcs is not None:
            wfi_wcs.write_wcs(image, wcs_url(target))
    except PipelineError as error:
        return replace(outcome, error=error)
    return outcome


def wcs_url(image_url: str) -> str:
    """Return where the WCS product of the image at ``image_url`` lies: beside it."""
    folder = image_url.rsplit("/", 1)[0] if "/" in image_url else "."
    return store.join(folder, names.derived_name(store.file_name(image_url), level="WCS"))


def with_registration(image: RateImage, registered: Registered, records: tuple[StepRecord, ...]) -> RateImage:
    """Return ``image`` with what was found, its footprint and its provenance; as it was if nothing was."""
    results = dict(registered.results or {"status": registered.status, "nmatches": 0})
    meta = replace(image.meta, carried={**image.meta.carried, wfi_wcs.FIT_RESULTS: results})
    image = replace(image, meta=meta, provenance=_with_records(image.provenance, records))
    if registered.wcs is None:
        return image
    footprint = s_region(registered.wcs, size=image.rate.shape[0])
    return replace(image, wcs=registered.wcs, s_region=footprint)


def _with_records(provenance: Provenance, records: tuple[StepRecord, ...]) -> Provenance:
    again = {record.name for record in records}
    kept = tuple(record for record in provenance.steps if record.name not in again)
    lines = tuple(
        f"{record.name} {record.status}{f': {record.reason}' if record.reason else ''}" for record in records
    )
    return replace(provenance, steps=(*kept, *records), logs=(*provenance.logs, *lines))
