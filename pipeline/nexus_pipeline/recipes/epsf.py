"""The PSF that an image was made with: an ePSF reference, and the inter-pixel capacitance over it.

The stored ePSF of this project is without IPC, as the simulator needs it; one that includes it already is
taken as it is. Whether the detector had any is told by the image itself.
"""

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
    rule = store.find("epsf", **where)
    reference = store.read(kinds.EpsfReference, rule)
    if "ipc" in reference.includes or not (has_ipc(meta) if ipc is None else ipc):
        return from_reference(reference), {"epsf": rule.file}
    coupling = store.find("ipc", **where)
    kernel = store.read(kinds.IpcReference, coupling).kernel
    return from_reference(reference, ipc=kernel), {"epsf": rule.file, "ipc": coupling.file}


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
    where: dict[str, Any] = {"detector": detector, "filter_name": meta.filter_name, "date": meta.first}
    rule = store.find("epsf", **where)
    reference = store.read(kinds.EpsfReference, rule)
    files, finer = {"epsf": rule.file}, round(PIXEL_SCALE_ARCSEC / scale_arcsec)
    if meta.own.get("idealised"):
        return mosaic_psf(from_reference(reference), finer=finer), files
    kernel = None
    if "ipc" not in reference.includes:
        coupling = store.find("ipc", **where)
        kernel, files["ipc"] = store.read(kinds.IpcReference, coupling).kernel, coupling.file
    # The drop and the pixel it falls on.
    spread = (float(meta.resample.get("pixfrac", 1.0)) * finer, 1.0)
    return mosaic_psf(from_reference(reference, ipc=kernel), finer=finer, spread_pixels=spread), files
