"""recatalog: the catalogue of an image that was changed in places, made again there alone.

Takes the catalogue of the image as it was with all that it was made of, and what was added to it; leaves the
catalogue of the image as it is. What is a property of the whole image stays as it was: background, noise at
each brightness, correlation of noise, the rule of deblending. Less than 1 % of new sources do not move them.

Sources with their peak in a ``core``, the changed pixels and a margin that a fit reaches over, are found and
measured again on a cut-out that holds all that their measurements look at; the others keep their entries.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from nexus_pipeline.bands import one_core
from nexus_pipeline.measure import columns, detect, joining
from nexus_pipeline.psf import fit
from nexus_pipeline.psf.fit_kernels import window_radius
from nexus_pipeline.psf.grid import PsfGrid
from nexus_pipeline.recipes import measuring
from nexus_pipeline.recipes.inject import Light
from nexus_pipeline.recipes.measuring import Evened, Measurement, Picture, Sky

Floats = NDArray[np.float64]

_RING_ROOM: Final = 8
"""Pixels beyond the background's ring that labels about it may need."""


@dataclass(frozen=True)
class Box:
    """Pixels from (x0, y0) up to but not (x1, y1)."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def index(self) -> tuple[slice, slice]:
        return slice(self.y0, self.y1), slice(self.x0, self.x1)

    def grown(self, by: int, shape: tuple[int, ...]) -> "Box":
        """Return the box with a margin, within an image of ``shape``."""
        return Box(
            max(self.x0 - by, 0), max(self.y0 - by, 0),
            min(self.x1 + by, shape[1]), min(self.y1 + by, shape[0]),
        )  # fmt: skip

    def holds(self, x: NDArray[np.int64], y: NDArray[np.int64]) -> NDArray[np.bool_]:
        return (x >= self.x0) & (x < self.x1) & (y >= self.y0) & (y < self.y1)

    def meets(self, other: "Box") -> bool:
        return self.x0 < other.x1 and other.x0 < self.x1 and self.y0 < other.y1 and other.y0 < self.y1

    def with_(self, other: "Box") -> "Box":
        """Return the box that holds both."""
        return Box(
            min(self.x0, other.x0), min(self.y0, other.y0), max(self.x1, other.x1), max(self.y1, other.y1)
        )


@dataclass(frozen=True)
class Again:
    """The catalogue of a changed image; ``new`` says which rows were measured again, ``cores`` where."""

    table: Table
    new: NDArray[np.bool_]
    cores: tuple[Box, ...]


def recatalog(
    base: Measurement,
    picture: Picture,
    psf: PsfGrid,
    added: Sequence[Light],
    *,
    evened: Evened | None = None,
) -> Again:
    """Return the catalogue of ``picture``, whose own was ``base``, after ``added``.

    ``psf`` and ``evened`` are those that ``base`` was measured with.
    """
    shape = picture.rate.shape
    margin = window_radius(psf.oversample) + 1
    changed = [Box(each.columns.start, each.rows.start, each.columns.stop, each.rows.stop) for each in added]
    cores = apart([box.grown(margin, shape) for box in changed])
    room = int(np.ceil(columns.RING_ARCSEC[1] / picture.scale_arcsec)) + _RING_ROOM
    kept = np.ones(len(base.found), np.bool_)
    for core in cores:
        kept &= ~core.holds(base.found.x, base.found.y)
    least = tuple(fit.faintest_light(sky.noise, sky.background) for sky in base.skies)
    work = _Work(base, picture, psf, tuple(added), evened, least)
    parts = [joining.chosen(base.measured, kept)]
    with one_core():
        parts += [_part(work, core, core.grown(room, shape)) for core in cores]
    every = measuring.with_probabilities(joining.joined(parts), psf)
    new = np.arange(len(every.stars.x)) >= np.count_nonzero(kept)
    return Again(measuring.table_of(every, psf), new, tuple(cores))


def apart(boxes: Sequence[Box]) -> list[Box]:
    """Return boxes that hold all of ``boxes`` and do not meet."""
    done: list[Box] = []
    for box in boxes:
        at = box
        while met := [other for other in done if other.meets(at)]:
            done = [other for other in done if other not in met]
            for other in met:
                at = at.with_(other)
        done.append(at)
    return done


@dataclass(frozen=True)
class _Work:
    """What all parts are measured with; ``least`` is what the noise over either sky hides of a star."""

    base: Measurement
    picture: Picture
    psf: PsfGrid
    added: tuple[Light, ...]
    evened: Evened | None
    least: tuple[float, ...]


def _part(work: _Work, core: Box, whole: Box) -> columns.Measured:
    """Return the sources with their peak in ``core``, as measured on the pixels of ``whole``."""
    base, cut = work.base, _cut(work.picture, work.added, whole)
    skies = tuple(_sky_of(sky, cut, whole) for sky in base.skies)
    found, n = _first_in(
        measuring.detected(cut, skies[0], base.stamp, rule=base.rule, inside=base.between), core, whole
    )
    here = work.psf.moved(whole.x0, whole.y0)
    fits = _fitted(work, _Piece(core, whole, cut, skies, here), found, n)
    made = measuring.measured(cut, skies[1], found, fits, psf=here, star=base.star, kron=base.kron)
    return replace(joining.moved(made, whole.x0, whole.y0), wcs=work.picture.wcs)


def _cut(picture: Picture, added: Sequence[Light], whole: Box) -> Picture:
    """Return the pixels of ``whole`` with what was added to them."""
    cut = picture.cut(whole.index)
    rate, poisson = cut.rate.copy(), cut.var_poisson.copy()
    for each in added:
        rows, columns_ = each.rows, each.columns
        box = Box(columns_.start, rows.start, columns_.stop, rows.stop)
        if box.meets(whole):
            y0, x0 = max(box.y0, whole.y0), max(box.x0, whole.x0)
            y1, x1 = min(box.y1, whole.y1), min(box.x1, whole.x1)
            to = np.s_[y0 - whole.y0 : y1 - whole.y0, x0 - whole.x0 : x1 - whole.x0]
            of = np.s_[y0 - box.y0 : y1 - box.y0, x0 - box.x0 : x1 - box.x0]
            rate[to] += each.added[of]
            poisson[to] += each.variance[of]
    return replace(cut, rate=rate, var_poisson=poisson)


def _sky_of(sky: Sky, cut: Picture, whole: Box) -> Sky:
    """Return what lies behind ``cut``, as it did."""
    planes = ("background", "variance", "extra_variance", "covered")
    there: dict[str, Any] = {name: np.ascontiguousarray(getattr(sky, name)[whole.index]) for name in planes}
    return replace(sky, image=cut.rate - there["background"], **there)


def _first_in(found: detect.Detections, core: Box, whole: Box) -> tuple[detect.Detections, int]:
    """Return ``found`` with those that have their peak in ``core`` first, and how many these are."""
    inside = core.holds(found.x + whole.x0, found.y + whole.y0)
    order = np.argsort(~inside, kind="stable")
    names = np.zeros(len(found) + 1, np.int32)
    names[order + 1] = np.arange(1, len(found) + 1)
    made = detect.Detections(names[found.labels], found.x[order], found.y[order], found.significance[order])
    return made, int(np.count_nonzero(inside))


@dataclass(frozen=True)
class _Piece:
    """A cut-out ``whole``, of which ``core`` is measured, with the skies behind it and the PSF there."""

    core: Box
    whole: Box
    cut: Picture
    skies: tuple[Sky, ...]
    psf: PsfGrid


def _fitted(work: _Work, piece: _Piece, found: detect.Detections, n: int) -> fit.PsfFits:
    """Return the fits of the first ``n`` of ``found``, pass by pass as ``measuring.fitted`` makes them.

    After each pass but the last the other sources' stars are taken off too, as they then were in the image.
    """
    base, cut, whole = work.base, piece.cut, piece.whole
    near = whole.grown(work.psf.radius, base.found.labels.shape)
    x, y = found.x[:n].astype(np.float64), found.y[:n].astype(np.float64)
    others = near.holds(base.found.x, base.found.y) & ~piece.core.holds(base.found.x, base.found.y)
    *passes, _ = _passes(base.fits)
    tasks = [
        fit.Task(
            sky.background, sky.extra_variance, ~cut.unusable, piece.psf, sky.noise, work.least[which],
        )
        for which, sky in enumerate(piece.skies)
    ]  # fmt: skip
    image, fits, gone = piece.skies[0].image, None, None
    for each in passes:
        fits, image = fit.fit_and_take_off(image, tasks[0], x, y, passes=1, after=fits)
        there = joining.chosen(each, others)
        there = replace(there, x=there.x - whole.x0, y=there.y - whole.y0)
        image = fit.exchanged(image, piece.psf, gone, there, least=tasks[0].least)
        gone = there
    assert fits is not None  # noqa: S101 - there is a pass before the last, for the type checker
    assert gone is not None  # noqa: S101
    image += piece.skies[0].background - piece.skies[1].background
    if work.evened is not None:
        image += _evened(work.evened, cut, (fits, gone), whole) - cut.rate
    return fit.fit_again(image, tasks[1], fits)


def _evened(evened: Evened, cut: Picture, stars: Sequence[fit.PsfFits], whole: Box) -> NDArray[np.float32]:
    """Return the pixels of ``cut`` with ``stars`` as if all had the mean PSF."""
    x, y = (np.concatenate([getattr(each, name) for each in stars]) for name in ("x", "y"))
    flux = np.concatenate([np.where(each.converged, each.flux, 0.0) for each in stars])
    return evened(cut.rate, x + whole.x0, y + whole.y0, flux, first=(whole.x0, whole.y0))


def _passes(fits: fit.PsfFits) -> list[fit.PsfFits]:
    """Return the fits after each pass, the first one first."""
    before = [] if fits.before is None else _passes(fits.before)
    return [*before, fits]
