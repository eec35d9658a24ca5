"""The PSF library: what a star looks like at any place, in any filter, on any date, at any sampling.

Takes a reference store, whose rules are the index: detector, filter and date lead to a file, which has the
ePSF by position and colour. Leaves *effective* PSFs: a sample is the share of a star's light that a whole
pixel of the detector collects whose middle lies there, however close the samples lie. Nothing is integrated
over samples. Beside it stand the PSFs of mosaics (``coadd``), whose samples are the mosaic's own pixels, and
the kernels that turn one PSF into another (``matching_kernel``).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.errors import InputError, MissingReferenceError
from nexus_pipeline.instrument.filters import IMAGING_FILTERS
from nexus_pipeline.instrument.wfi import DETECTORS, N_ACTIVE
from nexus_pipeline.products.model import Mosaic
from nexus_pipeline.psf.grid import PsfGrid
from nexus_pipeline.psf.matching import MatchingKernel, kernel_between, matching_kernel
from nexus_pipeline.recipes.epsf import has_ipc, psf_for
from nexus_pipeline.recipes.mosaic import Coadded
from nexus_pipeline.references.store import ReferenceStore, Rule, open_store
from nexus_pipeline.sky import smooth_map
from nexus_pipeline.steps import resample
from nexus_pipeline.steps.coadd_psf import CoaddPsf, Exposure

__all__ = ["MatchingKernel", "kernel_between", "matching_kernel"]

Floats = NDArray[np.float64]

SOLAR: Final = "G2V"
KIND: Final = "epsf"
_KINDS: Final = (KIND, "ipc")
EXPOSURES: Final = "exposures"
"""Where a mosaic says what its PSF depends on."""
_MOST_SAMPLES: Final = 4001
_KEPT: Final = 40


@dataclass(frozen=True)
class Stamp:
    """An effective PSF: ``values`` (odd, square), ``sampling`` of them a pixel along each axis.

    They sum to about ``sampling``², less what falls outside. The middle one is where the star lies but for
    ``offset`` (x, y; pixels). ``includes`` names what is in it besides the optics, ``files`` its references.
    """

    values: Floats
    sampling: float
    detector: str
    filter_name: str
    x: float
    y: float
    date: datetime
    spectral_type: str = SOLAR
    offset: tuple[float, float] = (0.0, 0.0)
    includes: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)


class Library:
    """The ePSFs of a reference store, each read once; ``entries`` are its index."""

    def __init__(self, store: ReferenceStore) -> None:
        self.store = store
        self._kept = lru_cache(maxsize=_KEPT)(self._read)

    def entries(self, *, detector: str | None = None, filter_name: str | None = None) -> Iterator[Rule]:
        """Yield which file holds for which detector and filter from which date on."""
        for rule in self.store.rules:
            wanted = (detector in (None, rule.detector), filter_name in (None, rule.filter_name))
            if rule.kind == KIND and all(wanted):
                yield rule

    def grid(
        self, detector: str, filter_name: str, date: datetime, *, spectral_type: str = SOLAR, ipc: bool = True
    ) -> tuple[PsfGrid, Mapping[str, str]]:
        """Return the ePSF over a detector on a date, with or without inter-pixel capacitance, and its files.

        Of a detector's ePSFs the latest holds that begins before ``date``. Raises InputError for a detector
        or filter there is not and a date without a time zone, MissingReferenceError where the store has none,
        or none so early, MismatchedReferenceError for a ``spectral_type`` that it was not made for.
        """
        _require(detector, filter_name, date)
        begun = [rule.useafter for rule in self.store.rules if rule.kind in _KINDS and rule.useafter <= date]
        # Dates between which no rule begins are as good as one: what is read is kept by it.
        epoch = max(begun, default=date)
        try:
            return self._kept(detector, filter_name, epoch, spectral_type, ipc)
        except MissingReferenceError as error:
            later = [rule.useafter for rule in self.entries(detector=detector, filter_name=filter_name)]
            if later and min(later) > date:
                raise MissingReferenceError(
                    f"no PSF of {detector} {filter_name} holds on {date:%Y-%m-%d}: the first begins on "
                    f"{min(later):%Y-%m-%d}"
                ) from error
            raise

    def _read(  # noqa: PLR0917 - lru_cache takes them by position
        self, detector: str, filter_name: str, date: datetime, spectral_type: str, ipc: bool
    ) -> tuple[PsfGrid, Mapping[str, str]]:
        where = {"detector": detector, "filter_name": filter_name, "date": date}
        return psf_for(self.store, where, ipc=ipc, spectral_type=spectral_type)


def open_library(url: str) -> Library:
    """Return the library of the reference store at ``url``; MissingReferenceError if there is none."""
    return Library(open_store(url))


def at(
    library: Library,
    detector: str,
    x: float,
    y: float,
    *,
    filter_name: str,
    date: datetime,
    sampling: float = 1.0,
    radius: int | None = None,
    offset: tuple[float, float] = (0.0, 0.0),
    spectral_type: str = SOLAR,
    ipc: bool = True,
) -> Stamp:
    """Return the effective PSF of a star at (x, y) of a detector, ``sampling`` samples a pixel.

    (2 · ``radius`` + 1)² samples, by default all there are; the star lies ``offset`` (x, y; pixels) from the
    middle one. Between the places of the grid it is interpolated linearly along both axes. Raises InputError
    off the detector and beyond the stamp, and what ``Library.grid`` raises.
    """
    if not (-0.5 <= x <= N_ACTIVE - 0.5 and -0.5 <= y <= N_ACTIVE - 0.5):
        raise InputError(f"x = {x}, y = {y} lies off the detector: its pixels go from 0 to {N_ACTIVE - 1}")
    psf, files = library.grid(detector, filter_name, date, spectral_type=spectral_type, ipc=ipc)
    if not (np.isfinite(sampling) and 0 < sampling * psf.radius < _MOST_SAMPLES):
        raise InputError(f"a PSF cannot have {sampling} samples a pixel")
    most = int((psf.radius - max(abs(each) for each in offset)) * sampling)
    reach = most if radius is None else radius
    if not 0 <= reach <= most:
        raise InputError(f"the PSF of {detector} {filter_name} has {most} samples about it, not {reach}")
    steps = np.arange(-reach, reach + 1) / sampling
    dx, dy = np.meshgrid(steps - offset[0], steps - offset[1])
    values = psf.values(x, y, dx=dx, dy=dy)
    return Stamp(
        values, sampling, detector, filter_name, x, y, date, spectral_type, offset, psf.includes, files
    )


def exposures_told(made: Coadded) -> list[dict[str, Any]]:
    """Return by exposure, in the order of the context's bits, what stars on the mosaic depend on."""
    return [
        {
            "detector": meta.detector,
            "start_time": meta.start_time.isoformat(),
            "ipc": has_ipc(meta),
            "weight": weight,
            "place": smooth_map.plain(smooth_map.smooth_map(place)),
        }
        for meta, weight, place in zip(made.metas, made.weights, made.maps, strict=True)
    ]


def of_mosaic(library: Library, mosaic: Mosaic) -> tuple[CoaddPsf, dict[str, str]]:
    """Return the PSF of a mosaic, and the reference files by kind and detector.

    Raises InputError for a mosaic that does not say where its exposures lie, and what ``Library.grid``
    raises.
    """
    meta, exposures, files, end = mosaic.meta, list[Exposure](), dict[str, str](), 0
    if not meta.own.get(EXPOSURES):
        raise InputError("the mosaic does not say where its exposures lie: it was made elsewhere, or before")
    for each in meta.own[EXPOSURES]:
        date = datetime.fromisoformat(each["start_time"])
        psf, used = library.grid(each["detector"], meta.filter_name, date, ipc=each["ipc"])
        place, steps = smooth_map.read(each["place"]), None
        if mosaic.weights_of_images is not None:
            start, end = end, end + place.shape[0] * place.shape[1]
            steps = mosaic.weights_of_images[start:end].reshape(place.shape)
        exposures.append(Exposure(psf, place, float(each["weight"]), steps))
        files |= {f"{kind}_{each['detector'].lower()}": file for kind, file in used.items()}
    how = resample.drizzle(kernel=meta.own["kernel"], pixfrac=float(meta.resample["pixfrac"]))
    return CoaddPsf(exposures, how), files


def coadd(made: CoaddPsf, mosaic: Mosaic, ra_deg: float, dec_deg: float, *, radius: int) -> Floats:
    """Return a star of unit flux at a place of ``mosaic``, whose PSF is ``made``: exact (``CoaddPsf.exact``).

    (2 · radius + 1)² of the mosaic's pixels about the one that the place is in, NaN where there is no
    exposure. InputError for a place beside the mosaic.
    """
    x, y = (float(each) for each in mosaic.wcs.invert(ra_deg, dec_deg, with_bounding_box=False))
    height, width = mosaic.data.shape
    if not (-0.5 <= x < width - 0.5 and -0.5 <= y < height - 0.5):
        raise InputError(f"RA {ra_deg}, Dec {dec_deg} lies beside the mosaic")
    return made.exact(x, y, radius=radius)


def _require(detector: str, filter_name: str, date: datetime) -> None:
    for given, known, what in ((detector, DETECTORS, "detector"), (filter_name, IMAGING_FILTERS, "filter")):
        if given not in known:
            raise InputError(f"no {what} with a PSF is called {given!r}; there are {', '.join(known)}")
    if date.tzinfo is None:
        raise InputError(f"{date:%Y-%m-%d %H:%M} has no time zone: PSFs hold from a moment on")
