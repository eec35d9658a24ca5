"""tweakreg: the detectors of one exposure matched together to reference stars, and their WCS corrected.

Takes star positions (pixels) of each detector with its WCS, and the stars of a table at the exposure's
epoch; leaves for each detector a corrected WCS, or why there is none. One displacement, found in a
histogram of offsets, and one linear map serve the whole focal plane; what a detector then still differs by
is fitted to its own stars, if it has enough.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.errors import InputError
from nexus_pipeline.products.model import Pointing, StepStatus
from nexus_pipeline.sky import correction, matching, tangent
from nexus_pipeline.sky.plane_fit import Fit, PlaneMap, check_geometry, fit_clipped
from nexus_pipeline.sky.star_table import StarsAtEpoch

Floats = NDArray[np.float64]

PIXEL_ARCSEC: Final = 0.11
_LEAST_ERROR_ARCSEC: Final = 0.001
"""Added to every error: no star may decide alone."""
_FIELD_MARGIN_ARCSEC: Final = 30.0
_TOLERANCES_ARCSEC: Final = (0.5, 0.25, 0.15)
_ALONE: Final = "none"


@dataclass(frozen=True)
class Settings:
    """How to register; ``detector_geometry`` may be "none", the others name what a fit may change."""

    search_radius_arcsec: float = 6.0
    geometry: str = "rshift"
    detector_geometry: str = "rshift"
    min_stars: int = 10
    min_detector_stars: int = 10
    clip_sigma: float = 3.0

    def __post_init__(self) -> None:
        check_geometry(self.geometry)
        if self.detector_geometry != _ALONE:
            check_geometry(self.detector_geometry)
        if min(self.min_stars, self.min_detector_stars) < 3 or self.search_radius_arcsec <= 0:
            raise InputError("registration needs 3 stars or more and a search radius above 0")


@dataclass(frozen=True)
class DetectorStars:
    """Stars of one detector: pixel positions (n,) and their errors, the WCS and the pointing behind it."""

    detector: str
    x: Floats
    y: Floats
    error_pixels: Floats
    wcs: Any
    pointing: Pointing


@dataclass(frozen=True)
class Registered:
    """What became of one detector: ``wcs`` only if COMPLETE; ``results`` tells the fit in plain values."""

    status: StepStatus
    wcs: Any = None
    reason: str | None = None
    results: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class _Field:
    """All detectors in one plane (arcsec): positions, errors, and the detector of each star."""

    plane: tangent.TangentPlane
    stars: Floats
    error: Floats
    owner: NDArray[np.int64]
    references: Floats
    reference_error: Floats


@dataclass(frozen=True)
class _Pairs:
    start: Floats
    end: Floats
    weight: Floats
    owner: NDArray[np.int64]


def align(
    detectors: Sequence[DetectorStars], references: StarsAtEpoch, settings: Settings | None = None
) -> list[Registered]:
    """Return what became of each of ``detectors`` of one exposure; what cannot be matched is FAILED."""
    settings = settings or Settings()
    n = sum(len(each.x) for each in detectors)
    if n < settings.min_stars:
        return _failed(detectors, f"{n} stars were found; {settings.min_stars} are needed")
    field = _field(detectors, references)
    if len(field.references) < settings.min_stars:
        return _failed(
            detectors,
            f"{references.name} has {len(field.references)} stars here; {settings.min_stars} are needed",
        )
    found = matching.displacement(field.stars, field.references, radius_arcsec=settings.search_radius_arcsec)
    if not found.is_clear or found.n_pairs < settings.min_stars:
        return _failed(
            detectors,
            f"no displacement within {settings.search_radius_arcsec:g} arcsec brings stars and "
            f"{references.name} together: {found.n_pairs} pairs agree, {found.by_chance:.1f} by chance",
        )
    return _fitted(detectors, field, found, settings=settings, table=references.name)


def _failed(detectors: Sequence[DetectorStars], reason: str) -> list[Registered]:
    return [Registered("FAILED", reason=reason)] * len(detectors)


def _field(detectors: Sequence[DetectorStars], references: StarsAtEpoch) -> _Field:
    sky = [_directions(each) for each in detectors]
    outlines = np.concatenate([_outline(each.wcs) for each in detectors])
    plane = tangent.plane_about(outlines)
    reach = np.max(np.abs(plane.project(outlines))) + _FIELD_MARGIN_ARCSEC
    ahead = references.directions @ plane.axes[0] > np.cos(np.deg2rad(2 * reach / 3600))
    there = plane.project(references.directions[ahead])
    inside = np.all(np.abs(there) < reach, axis=1)
    return _Field(
        plane=plane,
        stars=plane.project(np.concatenate(sky)),
        error=np.concatenate([each.error_pixels for each in detectors]) * PIXEL_ARCSEC,
        owner=np.repeat(np.arange(len(detectors)), [len(each.x) for each in detectors]),
        references=there[inside],
        reference_error=references.error_arcsec[ahead][inside],
    )


def _directions(each: DetectorStars) -> Floats:
    return tangent.directions_of(*each.wcs(each.x, each.y, with_bounding_box=False))


def _outline(wcs: Any) -> Floats:
    (left, right), (low, high) = wcs.bounding_box
    corners = np.array([left, right, right, left], float), np.array([low, low, high, high], float)
    return tangent.directions_of(*wcs(*corners, with_bounding_box=False))


def _fitted(
    detectors: Sequence[DetectorStars],
    field: _Field,
    found: matching.Displacement,
    *,
    settings: Settings,
    table: str,
) -> list[Registered]:
    pairs, fit = _common_fit(field, found, settings)
    n = 0 if fit is None else int(np.count_nonzero(fit.used))
    if fit is None or n < settings.min_stars:
        return _failed(detectors, f"{n} pairs of stars agree; {settings.min_stars} are needed")
    common, done = fit.map, []
    for k, each in enumerate(detectors):
        own = _own_fit(pairs, common, k, settings)
        change = common if own is None else own.map.after(common)
        wcs = correction.corrected(
            each.wcs, each.pointing, correction.SkyShift(field.plane, change), name=f"FIT-LVL2-{table}"
        )
        results = _results(fit, own, change, table=table, n=int(np.count_nonzero(pairs.owner == k)))
        reason = None if own is not None or settings.detector_geometry == _ALONE else _too_few(results)
        done.append(Registered("COMPLETE", wcs, reason, results))
    return done


def _too_few(results: Mapping[str, Any]) -> str:
    return f"{results['nmatches']} stars of its own: the exposure's common fit alone"


def _common_fit(field: _Field, found: matching.Displacement, settings: Settings) -> tuple[_Pairs, Fit | None]:
    """Match and fit in turn, closer each time; no fit where fewer than ``min_stars`` match."""
    turn = matching.turned(np.eye(2), found.roll_arcsec).T
    common, fit = PlaneMap(turn, found.shift_arcsec), None
    for tolerance in _TOLERANCES_ARCSEC:
        pairs = _pairs(field, common, tolerance)
        if len(pairs.start) < settings.min_stars:
            return pairs, None
        fit = fit_clipped(
            pairs.start, pairs.end, pairs.weight, geometry=settings.geometry, sigma=settings.clip_sigma
        )
        common = fit.map
    return pairs, fit


def _pairs(field: _Field, common: PlaneMap, tolerance: float) -> _Pairs:
    one, other = matching.nearest_pairs(common(field.stars), field.references, within_arcsec=tolerance)
    error = np.hypot(field.error[one], field.reference_error[other])
    return _Pairs(
        field.stars[one],
        field.references[other],
        1 / (error**2 + _LEAST_ERROR_ARCSEC**2),
        field.owner[one],
    )


def _own_fit(pairs: _Pairs, common: PlaneMap, k: int, settings: Settings) -> Fit | None:
    """Return the map of detector ``k`` after the common one, None where too few stars tell it."""
    mine = pairs.owner == k
    if settings.detector_geometry == _ALONE or np.count_nonzero(mine) < settings.min_detector_stars:
        return None
    fit = fit_clipped(
        common(pairs.start[mine]),
        pairs.end[mine],
        pairs.weight[mine],
        geometry=settings.detector_geometry,
        sigma=settings.clip_sigma,
    )
    return fit if np.count_nonzero(fit.used) >= settings.min_detector_stars else None


def _results(fit: Fit, own: Fit | None, change: PlaneMap, *, table: str, n: int) -> dict[str, Any]:
    """Return what the product says of the fit, in plain values; shifts and widths are arcsec."""
    told = {
        "status": "SUCCESS",
        "abs_refcat": table,
        "nmatches": n,
        "matrix": change.matrix.tolist(),
        "shift": change.shift.tolist(),
        "rot": (fit.map.roll_arcsec + (own.map.roll_arcsec if own else 0.0)) / 3600,
        "scale": change.scale,
        "common_nmatches": int(np.count_nonzero(fit.used)),
        "common_shift": fit.map.shift.tolist(),
        "common_roll_arcsec": fit.map.roll_arcsec,
        "common_rms": fit.rms,
    }
    return told if own is None else told | {"rms": own.rms, "nused": int(np.count_nonzero(own.used))}
