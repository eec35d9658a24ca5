"""The PSF that an image was made with: an ePSF reference, and the inter-pixel capacitance over it.

The stored ePSF of this project is without IPC, as the simulator needs it; one that includes it already is
taken as it is. Whether the detector had any is told by the image itself.
"""

from collections.abc import Mapping
from typing import Any, Final

from nexus_pipeline.errors import InputError
from nexus_pipeline.instrument.wfi import PIXEL_SCALE_ARCSEC
from nexus_pipeline.products.model import CoaddMeta, ExposureMeta
from nexus_pipeline.products.tree import OWN_KEY
from nexus_pipeline.psf.grid import PsfGrid, from_reference
from nexus_pipeline.psf.mosaic import mosaic_psf
from nexus_pipeline.references import kinds
from nexus_pipeline.references.store import ReferenceStore

IPC_KEY: Final = "ipc"


def has_ipc(meta: ExposureMeta) -> bool:
    """Return False only for a simulated exposure that says it was made without IPC."""
    return bool(meta.carried.get(OWN_KEY, {}).get(IPC_KEY, True))


def psf_of(
    meta: ExposureMeta, store: ReferenceStore, *, ipc: bool | None = None
) -> tuple[PsfGrid, dict[str, str]]:
    """Return the ePSF of a solar star in the exposure, and the reference files by kind.

    ``ipc`` says whether the image has it, None that the image says so itself.
    """
    where: dict[str, Any] = {
        "detector": meta.detector,
        "filter_name": meta.filter_name,
        "date": meta.start_time,
        "ma_table": meta.ma_table.number,
    }
    return psf_for(store, where, ipc=has_ipc(meta) if ipc is None else ipc)


def psf_for(
    store: ReferenceStore, where: Mapping[str, Any], *, ipc: bool, spectral_type: str = "G2V"
) -> tuple[PsfGrid, dict[str, str]]:
    """Return the ePSF for exposures of ``where`` (arguments of ``store.find``), and the files by kind."""
    rule = store.find("epsf", **where)
    reference = store.read(kinds.EpsfReference, rule)
    if "ipc" in reference.includes or not ipc:
        return from_reference(reference, spectral_type=spectral_type), {"epsf": rule.file}
    coupling = store.find("ipc", **where)
    kernel = store.read(kinds.IpcReference, coupling).kernel
    psf = from_reference(reference, spectral_type=spectral_type, ipc=kernel)
    return psf, {"epsf": rule.file, "ipc": coupling.file}


def mosaic_psf_of(
    meta: CoaddMeta, store: ReferenceStore, *, scale_arcsec: float, detector: str | None = None
) -> tuple[PsfGrid, dict[str, str]]:
    """Return the ePSF of a mosaic's pixels, and the reference files by kind.

    It is that of the middle of ``detector`` for a solar star (``psf.mosaic``); without inter-pixel
    capacitance and any spread for an idealised mosaic. InputError if nobody names
    a detector.
    """
    detector = detector or meta.own.get("detector")
    if detector is None:
        raise InputError("the mosaic does not say whose PSF it has: name a detector")
    where = {"detector": detector, "filter_name": meta.filter_name, "date": meta.first}
    idealised = bool(meta.own.get("idealised"))
    psf, files = psf_for(store, where, ipc=not idealised)
    finer = round(PIXEL_SCALE_ARCSEC / scale_arcsec)
    # The drop and the pixel it falls on.
    spread = () if idealised else (float(meta.resample.get("pixfrac", 1.0)) * finer, 1.0)
    return mosaic_psf(psf, finer=finer, spread_pixels=spread), files
