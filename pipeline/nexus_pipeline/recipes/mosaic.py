"""mosaic: L2 images to one L3 mosaic: flux, skymatch, outlier_detection, resample, in romancal's order.

Images are taken one at a time, twice: once for the median that outliers stand out from, and once for the
mosaic. Memory holds one of them beside the mosaic's own sums; only its context grows with their number.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.products.model import ExposureMeta, StepRecord
from nexus_pipeline.recipes.mosaic_inputs import Inputs, Member
from nexus_pipeline.runner import LEFT_OUT, Settings, Step, peak_memory_bytes, resolved
from nexus_pipeline.sky.pixel_map import PixelMap
from nexus_pipeline.sky.sky_grid import SkyGrid
from nexus_pipeline.steps import aperture_noise, coadd_psf, flux, outlier_detection, resample, skymatch
from nexus_pipeline.steps.aperture_noise import ApertureNoise
from nexus_pipeline.steps.resample import Coadd, Drizzle, Sums

__all__ = ["STEPS", "Coadded", "Member", "check", "coadd"]

Floats = NDArray[np.float64]
Single = NDArray[np.float32]
Listener = Callable[[StepRecord], None]

STEPS: Final = (
    Step("flux", flux.calibrate, required=True),
    Step("skymatch", skymatch.match, parameters=("gradients",)),
    Step(
        "outlier_detection",
        outlier_detection.detect,
        parameters=("sigma", "sigma_beside", "slope", "slope_beside", "peak", "peak_beside"),
    ),
    Step("resample", resample.drizzle, parameters=("kernel", "pixfrac", "weight_type"), required=True),
)
_ALONE: Final = "one image has none to be compared with"


@dataclass(frozen=True)
class Coadded:
    """A mosaic on ``grid``, and what was found on the way to it.

    ``names`` and ``metas`` are its images' in the order of the context's bits, ``levels`` (n, 3) what was
    taken off them (MJy/sr, and its slopes per pixel along x and y), ``rejected`` (m, 3) the image, y and x of
    each outlier, ``maps`` where their pixels lie, ``weights`` what they typically weighed, and
    ``steps_of_weights`` each (``coadd_psf.in_steps``), ``noise`` what apertures collect of it.
    """

    grid: SkyGrid
    coadd: Coadd
    drizzle: Drizzle
    names: tuple[str, ...]
    metas: tuple[ExposureMeta, ...]
    maps: tuple[PixelMap, ...]
    weights: tuple[float, ...]
    steps_of_weights: tuple[NDArray[np.uint8], ...]
    levels: Floats
    rejected: NDArray[np.int16]
    noise: ApertureNoise | None
    steps: tuple[StepRecord, ...]


@dataclass(frozen=True)
class _Compared:
    """What comparing all images gave: their levels on the mosaic and on ``grid``, which ``median`` is on."""

    grid: SkyGrid
    levels: Floats
    coarse_levels: Floats
    median: Single | None


def check(settings: Settings) -> dict[str, dict[str, Any]]:
    """Return the parameters of each step; InputError if ``settings`` name or set what cannot be."""
    chosen = resolved(STEPS, settings)
    resample.drizzle(**chosen["resample"])
    outlier_detection.check(chosen["outlier_detection"]["sigma"], chosen["outlier_detection"]["sigma_beside"])
    return chosen


def coadd(
    members: Sequence[Member],
    grid: SkyGrid,
    *,
    settings: Settings | None = None,
    on_step: Listener | None = None,
) -> Coadded:
    """Return the mosaic of ``members`` on ``grid``.

    Raises what loading them raises, and InputError as ``Inputs`` does and for settings that fit no step.
    """
    settings = settings or Settings()
    chosen, inputs = check(settings), Inputs(members, grid)
    left_out = _left_out(settings, len(members))
    compared = _compare(inputs, chosen, left_out)
    drizzle, sums = resample.drizzle(**chosen["resample"]), Sums(grid, len(members))
    rejected, typical, steps = [], [], []
    for index in range(len(members)):
        piece = inputs.piece(index)
        if compared is not None and compared.median is not None:
            with inputs.timed("outlier_detection"):
                outliers = outlier_detection.detect(
                    piece,
                    piece.place.on(compared.grid, grid),
                    compared.median,
                    compared.coarse_levels[index],
                    **chosen["outlier_detection"],
                )
                piece.good[outliers] = False
                rejected.append(_listed(index, outliers, piece.place))
        with inputs.timed("resample"):
            level = resample.LEVEL if compared is None else compared.levels[index]
            resample.add(sums, piece, drizzle, level=level)
            typical.append(aperture_noise.typical(piece, drizzle))
            weights = resample.weights(piece, drizzle.weighting)
            steps.append(coadd_psf.in_steps(weights, typical[-1].weight))
    with inputs.timed("resample"):
        made = resample.finish(sums)
        noise = aperture_noise.predicted(grid, made, inputs.maps, typical, drizzle)
    return Coadded(
        grid=grid,
        coadd=made,
        drizzle=drizzle,
        names=tuple(member.name for member in members),
        metas=inputs.metas,
        maps=inputs.maps,
        weights=tuple(each.weight for each in typical),
        steps_of_weights=tuple(steps),
        levels=np.zeros((len(members), 3)) if compared is None else compared.levels,
        rejected=np.concatenate(rejected) if rejected else np.empty((0, 3), np.int16),
        noise=noise,
        steps=_records(inputs, chosen, left_out, on_step),
    )


def _left_out(settings: Settings, n: int) -> dict[str, str]:
    """Return why steps will not run, by name."""
    comparing = ("skymatch", "outlier_detection")
    why = dict.fromkeys(comparing, _ALONE) if n == 1 else {}
    return why | dict.fromkeys(sorted(settings.skip), LEFT_OUT)


def _compare(inputs: Inputs, chosen: dict[str, dict[str, Any]], left_out: dict[str, str]) -> _Compared | None:
    """Lay each image alone on a coarser grid, level them, and take the median; None if neither is wanted."""
    if {"skymatch", "outlier_detection"} <= set(left_out):
        return None
    with outlier_detection.stack(inputs.grid) as stack:
        blocks = []
        for index in range(len(inputs.members)):
            piece = inputs.piece(index)
            with inputs.timed("outlier_detection"):
                blocks.append(stack.append(piece, piece.place.on(stack.grid, inputs.grid)))
        levels = np.zeros((len(blocks), 3))
        if "skymatch" not in left_out:
            with inputs.timed("skymatch"):
                places = outlier_detection.block_places(stack.grid)
                levels = skymatch.match(np.array(blocks), places, **chosen["skymatch"])
        median = None
        if "outlier_detection" not in left_out:
            with inputs.timed("outlier_detection"):
                median = stack.median(levels)
        return _Compared(stack.grid, _levels_on(inputs.grid, levels, stack.grid), levels, median)


def _levels_on(grid: SkyGrid, levels: Floats, coarse: SkyGrid) -> Floats:
    """Return ``levels`` of pixels of ``coarse`` as those of ``grid``."""
    ratio = grid.scale_arcsec / coarse.scale_arcsec
    moved = levels.copy()
    moved[:, 0] += levels[:, 1:].sum(axis=1) * (0.5 * ratio - 0.5)
    moved[:, 1:] *= ratio
    return moved


def _listed(index: int, outliers: NDArray[np.bool_], place: PixelMap) -> NDArray[np.int16]:
    """Return (image, y, x) of each outlier, y and x in the whole image."""
    y, x = np.nonzero(outliers)
    return np.column_stack([np.full(y.size, index), y + place.first[0], x + place.first[1]]).astype(np.int16)


def _records(
    inputs: Inputs, chosen: dict[str, dict[str, Any]], left_out: dict[str, str], on_step: Listener | None
) -> tuple[StepRecord, ...]:
    peak, records = peak_memory_bytes(), []
    for step in STEPS:
        if step.name in left_out:
            records.append(StepRecord(step.name, "SKIPPED", reason=left_out[step.name]))
        else:
            seconds = inputs.seconds.get(step.name, 0.0)
            records.append(StepRecord(step.name, "COMPLETE", seconds, peak, parameters=chosen[step.name]))
        if on_step is not None:
            on_step(records[-1])
    return tuple(records)
