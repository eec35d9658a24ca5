"""The products in memory: plain arrays and frozen metadata, no file behind them.

All arrays are indexed (y, x) or (resultant, y, x). ``Ramp`` and ``WorkingRamp`` keep the border
of reference pixels, ``RateImage`` is without it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from nexus_pipeline.instrument.ma_table import MATable
from nexus_pipeline.instrument.wfi import BORDER, V2_CENTRE_ARCSEC, V3_CENTRE_ARCSEC
from nexus_pipeline.products.names import ExposureId

StepStatus = Literal["INCOMPLETE", "COMPLETE", "SKIPPED", "FAILED"]


@dataclass(frozen=True)
class Pointing:
    """Sky position of one point of the focal plane, and the roll there.

    ``ra_deg``, ``dec_deg`` (ICRS) is where (``v2_ref_arcsec``, ``v3_ref_arcsec``) looks;
    ``roll_deg`` is the position angle of the V3 axis at that point, from north through east.
    """

    ra_deg: float
    dec_deg: float
    roll_deg: float
    v2_ref_arcsec: float = V2_CENTRE_ARCSEC
    v3_ref_arcsec: float = V3_CENTRE_ARCSEC
    aberration_scale: float = 1.0


@dataclass(frozen=True)
class ExposureMeta:
    """What every product says of the exposure it comes from.

    ``carried`` is the ``meta`` tree of the file it was read from (plain values): what the
    pipeline does not itself know goes through to the next product untouched.
    """

    detector: str
    filter_name: str
    start_time: datetime
    ma_table: MATable
    pointing: Pointing
    exposure_id: ExposureId = field(default_factory=ExposureId)
    exposure_type: str = "WFI_IMAGE"
    file_name: str | None = None
    carried: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Ramp:
    """An L1 product: what the detector sent down.

    ``data`` is (n_resultants, 4096, 4096) and ``amp33`` (n_resultants, 4096, 128), both DN;
    ``resultant_dq`` (uint8), ``reference_read`` (4096, 4096) and its ``reference_amp33`` (4096, 128) are
    optional in L1 and None when absent.
    """

    meta: ExposureMeta
    data: NDArray[np.uint16]
    amp33: NDArray[np.uint16]
    resultant_dq: NDArray[np.uint8] | None = None
    reference_read: NDArray[np.uint16] | None = None
    reference_amp33: NDArray[np.uint16] | None = None


@dataclass(frozen=True)
class BorderPixels:
    """The reference border of a ramp (DN, uncorrected) and its DQ: edges 4 pixels wide, corners in both."""

    left: NDArray[np.float32]
    right: NDArray[np.float32]
    top: NDArray[np.float32]
    bottom: NDArray[np.float32]
    dq_left: NDArray[np.uint32]
    dq_right: NDArray[np.uint32]
    dq_top: NDArray[np.uint32]
    dq_bottom: NDArray[np.uint32]


def border_of(data: NDArray[np.float32], dq: NDArray[np.uint32], width: int = BORDER) -> BorderPixels:
    """Return copies of the four edges of a ramp (n, ny, nx) and of its flags (ny, nx)."""
    low, high = slice(None, width), slice(-width, None)
    return BorderPixels(
        left=data[:, :, low].copy(),
        right=data[:, :, high].copy(),
        top=data[:, high, :].copy(),
        bottom=data[:, low, :].copy(),
        dq_left=dq[:, low].copy(),
        dq_right=dq[:, high].copy(),
        dq_top=dq[high, :].copy(),
        dq_bottom=dq[low, :].copy(),
    )


@dataclass(frozen=True)
class WorkingRamp:
    """A ramp between L1 and the ramp fit.

    ``data`` (n_resultants, ny, nx) DN; ``dq`` (ny, nx) and ``resultant_dq`` (n_resultants, ny, nx)
    flags of ``DQ``; ``border`` the reference border as it came. A ramp may be a band of rows of a
    frame: ``first_row`` says which is its first; ``border`` and ``amp33`` are the whole frame's.
    """

    meta: ExposureMeta
    data: NDArray[np.float32]
    dq: NDArray[np.uint32]
    resultant_dq: NDArray[np.uint8]
    amp33: NDArray[np.uint16]
    border: BorderPixels
    first_row: int = 0


@dataclass(frozen=True)
class Photometry:
    """What turns L2 pixels into physical units; see ``nexus_pipeline.instrument`` for the convention."""

    conversion_megajanskys: float
    conversion_megajanskys_uncertainty: float
    pixel_area_sr: float


@dataclass(frozen=True)
class StepRecord:
    """How one step went: seconds of wall clock, peak resident bytes of the process up to its end.

    ``parameters`` are all it was run with, those left at their defaults too.
    """

    name: str
    status: StepStatus
    seconds: float = 0.0
    peak_memory_bytes: int = 0
    reason: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Provenance:
    """How a product was made: steps in order, references by kind, the store's context name.

    ``own`` is what ``products.fingerprint.provenance`` tells: recipe, versions, inputs' hashes, account.
    """

    steps: tuple[StepRecord, ...] = ()
    references: Mapping[str, str] = field(default_factory=dict)
    context: str | None = None
    logs: tuple[str, ...] = ()
    own: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RateImage:
    """An L2 product: (4088, 4088) planes.

    ``rate`` and ``err`` are DN/s, the variances DN²/s², ``dumo`` (uniform minus optimal slope)
    DN/s, ``chisq`` the χ² of the ramp fit, ``jump_indices`` (n, 3) the (resultant, y, x) before
    which it saw a jump. ``wcs`` maps 0-based pixel (x, y) of these
    planes to ICRS degrees. What a later step gives is None until then.
    """

    meta: ExposureMeta
    rate: NDArray[np.float32]
    err: NDArray[np.float32]
    var_poisson: NDArray[np.float32]
    var_rnoise: NDArray[np.float32]
    dq: NDArray[np.uint32]
    chisq: NDArray[np.float32]
    dumo: NDArray[np.float32]
    amp33: NDArray[np.uint16]
    border: BorderPixels
    jump_indices: NDArray[np.int16] | None = None
    var_flat: NDArray[np.float32] | None = None
    wcs: Any = None  # gwcs.WCS, which carries no types
    s_region: str | None = None
    photometry: Photometry | None = None
    provenance: Provenance = Provenance()


@dataclass(frozen=True)
class ScienceImage:
    """What a mosaic needs of an L2 product: as in ``RateImage``, the rest left unread."""

    meta: ExposureMeta
    rate: NDArray[np.float32]
    var_poisson: NDArray[np.float32]
    var_rnoise: NDArray[np.float32]
    dq: NDArray[np.uint32]
    var_flat: NDArray[np.float32] | None = None
    wcs: Any = None
    photometry: Photometry | None = None


@dataclass(frozen=True)
class Catalog:
    """An L4 product: one row per source in the mission's columns, units on the columns.

    ``segments`` (4088, 4088) has the label of the source that each pixel belongs to, 0 for none; None in one
    that was read, for it is a product of its own.
    """

    meta: ExposureMeta
    table: Table
    provenance: Provenance = Provenance()
    photometry: Photometry | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    segments: NDArray[np.uint32] | None = None


@dataclass(frozen=True)
class CoaddMeta:
    """What a mosaic says of the exposures in it.

    ``resample`` is rad's block of how they were brought together; ``exposure_id`` tells what their visits
    share, 0 where they differ: its exposure number means nothing. ``grouping`` is how the mission calls them
    together, by default by their visit; ``association`` the file that named them; ``images`` the ``meta`` of
    each (plain values). ``own`` is ours alone.
    """

    filter_name: str
    first: datetime
    last: datetime
    exposure_time_s: float
    exposure_id: ExposureId = field(default_factory=ExposureId)
    resample: Mapping[str, Any] = field(default_factory=dict)
    own: Mapping[str, Any] = field(default_factory=dict)
    max_exposure_time_s: float | None = None
    mean: datetime | None = None
    grouping: str | None = None
    release: str = "p"
    association: str | None = None
    images: tuple[Mapping[str, Any], ...] = ()
    steps: tuple[StepRecord, ...] = ()


@dataclass(frozen=True)
class MosaicCatalog:
    """An L4 product of a mosaic: as ``Catalog``; ``wcsinfo`` is the mosaic's."""

    meta: CoaddMeta
    table: Table
    wcsinfo: Mapping[str, Any]
    provenance: Provenance = Provenance()
    segments: NDArray[np.uint32] | None = None


@dataclass(frozen=True)
class MultibandCatalog:
    """An L4 product of mosaics of one skycell in several filters: one row per source, columns by filter.

    ``metas`` are the mosaics', by filter, in order of wavelength; ``reference`` is the filter whose PSF the
    others' images were matched to. ``own`` is ours alone.
    """

    metas: Mapping[str, CoaddMeta]
    reference: str
    table: Table
    wcsinfo: Mapping[str, Any]
    provenance: Provenance = Provenance()
    segments: NDArray[np.uint32] | None = None
    own: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Mosaic:
    """An L3 product: (ny, nx) planes of surface brightness in MJy/sr, variances in their squares.

    ``context`` (n, ny, nx) has a bit for each image that a pixel is made of; ``wcsinfo`` says the ``wcs`` in
    numbers, as rad wants them. ``outliers`` (n, 3) are the image, y and x of the pixels that were rejected,
    ``weights_of_images`` one after the other what the images' pixels on the mosaic weighed (see
    ``steps.coadd_psf.in_steps``).
    """

    meta: CoaddMeta
    data: NDArray[np.float32]
    err: NDArray[np.float32]
    var_poisson: NDArray[np.float32]
    var_rnoise: NDArray[np.float32]
    weight: NDArray[np.float32]
    context: NDArray[np.uint32]
    wcs: Any
    wcsinfo: Mapping[str, Any]
    var_flat: NDArray[np.float32] | None = None
    outliers: NDArray[np.int16] | None = None
    weights_of_images: NDArray[np.uint8] | None = None
