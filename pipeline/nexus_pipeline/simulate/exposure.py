"""One exposure of one detector: a source catalogue and a pointing to an L1 ramp and its truth.

Takes sources, a reference store and where the telescope looks; leaves the ramp (uint16 DN, mission
format) and a table of what was put in. One seed repeats everything bit for bit.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from io import StringIO
from typing import IO, Any, Final

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from nexus_pipeline.errors import InputError
from nexus_pipeline.instrument.filters import IMAGING_FILTERS
from nexus_pipeline.instrument.ma_table import IMAGING, MATable
from nexus_pipeline.instrument.wfi import BORDER, DETECTORS, active
from nexus_pipeline.products import names, store
from nexus_pipeline.products.charge import Charge
from nexus_pipeline.products.model import ExposureMeta, Photometry, Pointing, Ramp, RateImage
from nexus_pipeline.products.names import ExposureId
from nexus_pipeline.products.tree import OWN_KEY
from nexus_pipeline.psf.grid import PsfGrid, from_reference
from nexus_pipeline.references import kinds
from nexus_pipeline.references.store import ReferenceStore
from nexus_pipeline.simulate import (
    bad_pixels,
    cosmic_rays,
    detector,
    electronics,
    ideal,
    persistence,
    scene,
    snowballs,
)  # fmt: skip
from nexus_pipeline.simulate.attitude import PointingError, true_pointing
from nexus_pipeline.simulate.background import background_mjysr
from nexus_pipeline.simulate.catalog import Sources, read_beside, read_sources, read_table
from nexus_pipeline.simulate.changing import moment
from nexus_pipeline.simulate.colour import ColourPsfs, by_colour
from nexus_pipeline.simulate.electronics import Electronics
from nexus_pipeline.simulate.persistence import Persistence
from nexus_pipeline.simulate.plane import RatePlane, is_plane, rate_dn_s, read_plane
from nexus_pipeline.simulate.random import Effect, generator
from nexus_pipeline.simulate.snowballs import Snowballs
from nexus_pipeline.simulate.switches import read_effects
from nexus_pipeline.sky import distortion, wcs

__all__ = [
    "Effects",
    "Simulated",
    "aim",
    "exposure_meta",
    "is_plane",
    "middle",
    "moment",
    "read_beside",
    "read_effects",
    "read_plane",
    "read_sources",
    "read_truth",
    "simulate",
    "simulate_ideal",
    "snowballs_url",
    "truth_url",
    "write_truth",
]

DEFAULT_START: Final = datetime(2027, 6, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Effects:
    """What may be turned off, and the disturbances of the electronics."""

    cosmic_rays: bool = True
    snowballs: Snowballs = field(default_factory=Snowballs)
    persistence: Persistence = field(default_factory=Persistence)
    background: bool = True
    ipc: bool = True
    integral_nonlinearity: bool = True
    dark_decay: bool = True
    wfi18_transient: bool = True
    bad_pixels: bool = True
    colour: bool = True
    electronics: Electronics = field(default_factory=Electronics)
    pointing_error: PointingError = field(default_factory=PointingError)


@dataclass(frozen=True)
class Simulated:
    """A ramp and the tables of what is in it (see ``scene.truth`` and ``snowballs.draw``)."""

    ramp: Ramp
    truth: Table
    snowballs: Table


@dataclass(frozen=True)
class _Optics:
    """What turns the sky into pixels."""

    wcs: Any
    area: NDArray[np.float32]
    psf: PsfGrid
    photom: kinds.PhotomEntry
    flat: NDArray[np.float32]


def exposure_meta(
    detector_name: str,
    filter_name: str,
    *,
    pointing: Pointing,
    start_time: datetime = DEFAULT_START,
    ma_table: MATable = IMAGING,
    exposure_id: ExposureId | None = None,
) -> ExposureMeta:
    """Return the metadata of an exposure to come; InputError for an unknown detector or filter."""
    if detector_name not in DETECTORS:
        raise InputError(f"no detector {detector_name!r}: WFI01 to WFI18", detector=detector_name)
    if filter_name not in IMAGING_FILTERS:
        known = ", ".join(IMAGING_FILTERS)
        raise InputError(f"no imaging filter {filter_name!r}: {known}", filter_name=filter_name)
    exposure_id = exposure_id or ExposureId()
    meta = ExposureMeta(detector_name, filter_name, start_time, ma_table, pointing, exposure_id)
    name = names.file_name(exposure_id, detector_name, filter_name, level="L1")
    return replace(meta, file_name=name)


def aim(
    references: ReferenceStore,
    detector_name: str,
    filter_name: str,
    *,
    ra_deg: float,
    dec_deg: float,
    roll_deg: float = 0.0,
    start_time: datetime = DEFAULT_START,
) -> Pointing:
    """Return the pointing that puts (ra, dec) on the middle of a detector."""
    where: dict[str, Any] = {"detector": detector_name, "filter_name": filter_name, "date": start_time}
    transform = references.load(kinds.DistortionReference, **where).transform
    size = references.load(kinds.FlatReference, **where).flat.shape[0]
    return wcs.aim(transform, ra_deg, dec_deg, roll_deg=roll_deg, size=size)


def simulate(
    sources: Sources | RatePlane,
    meta: ExposureMeta,
    references: ReferenceStore,
    *,
    seed: int,
    effects: Effects | None = None,
    earlier: Sequence[Charge] = (),
    threads: int = 2,
    on_part: Callable[[str], None] | None = None,
) -> Simulated:
    """Return the L1 ramp of ``sources`` as ``meta`` says; ``on_part`` hears what is done.

    ``earlier`` is what exposures before it left in the pixels, to persist.
    """
    done = on_part or (lambda _: None)
    effects = effects or Effects()
    truly = true_pointing(meta.pointing, effects.pointing_error, seed=seed)
    optics = _optics(replace(meta, pointing=truly), references)
    done("optics")
    drawn, truth = _scene(sources, optics, meta, references, colour=effects.colour, threads=threads)
    done("sources")
    electrons, model = _detected(drawn.image, optics, meta, references, effects=effects)
    mask = references.load(kinds.MaskReference, **_where(meta)).dq if effects.bad_pixels else None
    if mask is not None:
        electrons = bad_pixels.dimmed(electrons, mask)
    done("background and references")
    hits, balls = _hits(effects, meta, seed, electrons.shape[0])
    if earlier:
        left = persistence.deposits(
            effects.persistence, earlier, meta,
            gain=model.gain, saturation=model.saturation, rng=generator(seed, Effect.PERSISTENCE),
        )  # fmt: skip
        hits = cosmic_rays.together(hits, left)
    data, amp33 = detector.expose(
        electrons,
        model,
        meta.ma_table,
        deposits=hits,
        electronics=effects.electronics,
        seed=seed,
        threads=threads,
    )
    if mask is not None:
        bad_pixels.disturb(data, mask, meta.ma_table, seed=seed)
    done("detector")
    return Simulated(Ramp(_told(meta, effects), data, amp33), truth, balls)


def simulate_ideal(
    sources: Sources | RatePlane,
    meta: ExposureMeta,
    references: ReferenceStore,
    *,
    seed: int,
    effects: Effects | None = None,
    threads: int = 2,
) -> tuple[RateImage, Table]:
    """Return an idealised L2 (see ``ideal``) and the truth; of ``effects`` background and colour count."""
    optics = _optics(meta, references)
    size, where = optics.flat.shape[0], _where(meta)
    effects = effects or Effects()
    drawn, truth = _scene(sources, optics, meta, references, colour=effects.colour, threads=threads)
    rate = drawn.image / optics.area
    rate += np.float32(_background_dn_s(optics, meta) if effects.background else 0.0)
    inner = active((size + 2 * BORDER, size + 2 * BORDER))
    dark = references.load(kinds.DarkReference, **where).rate[inner]
    made = ideal.with_noise(
        rate,
        meta.ma_table,
        dark=np.where(np.isfinite(dark), dark, 0.0).astype(np.float32),
        gain=references.load(kinds.GainReference, **where).gain[inner],
        flat=optics.flat,
        read_noise=references.load(kinds.ReadNoiseReference, **where).read_noise[inner],
        rng=generator(seed, Effect.IDEAL),
    )
    photometry = Photometry(
        optics.photom.conversion_megajanskys, optics.photom.uncertainty, optics.photom.pixel_area_sr
    )
    without = _told(meta, Effects(ipc=False))
    image = ideal.rate_image(made, without, photometry=photometry, image_wcs=optics.wcs)
    return image, truth


def middle(sources: Sources, ra_deg: float | None, dec_deg: float | None) -> tuple[float, float]:
    """Return (ra, dec) with the middle of the sources where one is None; InputError without sources."""
    if not len(sources):
        raise InputError("the catalogue has no sources")
    ra, dec = np.deg2rad(sources.ra_deg), np.deg2rad(sources.dec_deg)
    mean = np.array([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)]).mean(axis=1)
    own_ra = float(np.rad2deg(np.arctan2(mean[1], mean[0])) % 360)
    own_dec = float(np.rad2deg(np.arctan2(mean[2], np.hypot(mean[0], mean[1]))))
    return own_ra if ra_deg is None else ra_deg, own_dec if dec_deg is None else dec_deg


def truth_url(ramp_url: str) -> str:
    """Return where the truth of the ramp at ``ramp_url`` lies."""
    stem = ramp_url.removesuffix(".asdf")
    for suffix in ("_uncal", "_cal", "_coadd"):
        stem = stem.removesuffix(suffix)
    return f"{stem}_truth.ecsv"


def snowballs_url(ramp_url: str) -> str:
    """Return where the table of the snowballs in the ramp at ``ramp_url`` lies."""
    return f"{truth_url(ramp_url).removesuffix('_truth.ecsv')}_snowballs.ecsv"


def read_truth(url: str) -> Table:
    """Return the truth table at ``url``."""
    return read_table(url)


def write_truth(truth: Table, url: str) -> None:
    """Put the truth table at ``url`` (ECSV)."""
    text = StringIO()
    truth.write(text, format="ascii.ecsv")

    def fill(handle: IO[bytes]) -> None:
        handle.write(text.getvalue().encode())

    store.save(url, fill)


def _told(meta: ExposureMeta, effects: Effects) -> ExposureMeta:
    """Return ``meta`` that says whether there is IPC: photometry needs a PSF that has it too."""
    own = {**meta.carried.get(OWN_KEY, {}), "ipc": effects.ipc}
    return replace(meta, carried={**meta.carried, OWN_KEY: own})


def _where(meta: ExposureMeta) -> dict[str, Any]:
    return {
        "detector": meta.detector,
        "filter_name": meta.filter_name,
        "date": meta.start_time,
        "ma_table": meta.ma_table.number,
    }


def _optics(meta: ExposureMeta, references: ReferenceStore) -> _Optics:
    where = _where(meta)
    transform = references.load(kinds.DistortionReference, **where).transform
    flat = references.load(kinds.FlatReference, **where).flat
    return _Optics(
        wcs=wcs.build(transform, meta.pointing, size=flat.shape[0]),
        area=distortion.relative_pixel_area(transform, flat.shape[0]),
        psf=optical_psf(references.load(kinds.EpsfReference, **where)),
        photom=references.load(kinds.PhotomReference, **where).table[meta.filter_name],
        flat=flat,
    )


def _scene(
    sources: Sources | RatePlane,
    optics: _Optics,
    meta: ExposureMeta,
    references: ReferenceStore,
    *,
    colour: bool,
    threads: int,
) -> tuple[scene.Drawn, Table]:
    """Return the sources' light in DN/s per pixel, and the truth about them (no rows for a plane)."""
    size = optics.flat.shape[0]
    if isinstance(sources, RatePlane):
        gain = references.load(kinds.GainReference, **_where(meta)).gain
        rate = rate_dn_s(sources, flat=optics.flat, gain=gain[active(gain.shape)])
        return scene.Drawn((rate * optics.area).astype(np.float32), np.empty(0)), Table()
    placed = scene.place(
        sources, optics.wcs, conversion_megajanskys=optics.photom.conversion_megajanskys, size=size
    )
    coloured = colour and sources.effective_um is not None
    drawn = scene.draw(
        sources,
        placed,
        optics.wcs,
        optics.psf,
        size=size,
        colours=_colours(optics.psf, meta, references) if coloured else None,
        threads=threads,
        exposure_time_s=meta.ma_table.exposure_time_s,
    )
    return drawn, scene.truth(sources, placed, drawn)


def _colours(plain: PsfGrid, meta: ExposureMeta, references: ReferenceStore) -> ColourPsfs | None:
    return by_colour(references.load(kinds.EpsfReference, **_where(meta)), plain)


def optical_psf(reference: kinds.EpsfReference) -> PsfGrid:
    """Return the ePSF; InputError for one that includes IPC, which belongs to the detector here."""
    if "ipc" in reference.includes:
        raise InputError("the ePSF includes inter-pixel capacitance: the simulator needs one without it")
    return from_reference(reference)


def _detected(
    light: NDArray[np.float32],
    optics: _Optics,
    meta: ExposureMeta,
    references: ReferenceStore,
    *,
    effects: Effects,
) -> tuple[NDArray[np.float32], detector.DetectorModel]:
    """Return expected electrons per second with the border, and the detector's planes.

    Surface brightness × flat × gain is what the convention in ``instrument`` comes to.
    """
    where = _where(meta)
    gain = references.load(kinds.GainReference, **where).gain
    dark = references.load(kinds.DarkReference, **where).rate
    light /= optics.area
    light += np.float32(_background_dn_s(optics, meta) if effects.background else 0.0)
    light *= optics.flat
    rate = np.where(np.isfinite(dark), dark, 0.0).astype(np.float32)
    rate[active(rate.shape)] += light
    rate *= gain
    model = detector.DetectorModel(
        gain=gain,
        read_noise=references.load(kinds.ReadNoiseReference, **where).read_noise,
        saturation=references.load(kinds.SaturationReference, **where).threshold,
        inverse_linearity=references.load(kinds.InverseLinearityReference, **where).coefficients,
        terms=_terms(meta, references, rate.shape[0], effects=effects),
    )
    if effects.ipc:
        model = replace(model, ipc=references.load(kinds.IpcReference, **where).kernel)
    if effects.integral_nonlinearity:
        inl = references.load(kinds.IntegralNonlinearityReference, **where)
        model = replace(model, converter=_converter(inl))
    return rate, model


def _converter(inl: kinds.IntegralNonlinearityReference) -> NDArray[np.float32]:
    """Return the DN that converters add at 0, 1, 2 … true DN: ``inl`` holds what to add to their outputs."""
    outputs = np.arange(2.0**16)
    rows = []
    for correction in inl.correction:
        true = outputs + np.interp(outputs, inl.value, correction)
        rows.append(np.interp(outputs, true, outputs) - outputs)
    return np.array(rows, dtype=np.float32)


def _terms(
    meta: ExposureMeta, references: ReferenceStore, size: int, *, effects: Effects
) -> electronics.Terms:
    """Return the signals of the electronics that go by row and column."""
    terms, table = electronics.no_terms(meta.ma_table, size), meta.ma_table
    if effects.dark_decay:
        decay = references.load(kinds.DarkDecayReference, **_where(meta))
        if decay.amplitude_dn is not None and decay.time_constant_s is not None:
            terms += electronics.dark_decay(
                meta.detector, table, size,
                amplitude_dn=decay.amplitude_dn, time_constant_s=decay.time_constant_s,
            )  # fmt: skip
    if effects.wfi18_transient and meta.detector == electronics.TRANSIENT_DETECTOR:
        terms += electronics.first_read_transient(meta.detector, table, size)
    return terms


def _background_dn_s(optics: _Optics, meta: ExposureMeta) -> float:
    brightness = background_mjysr(
        meta.detector,
        meta.filter_name,
        ra_deg=meta.pointing.ra_deg,
        dec_deg=meta.pointing.dec_deg,
        date=meta.start_time,
    )
    return brightness / optics.photom.conversion_megajanskys


def _hits(effects: Effects, meta: ExposureMeta, seed: int, size: int) -> tuple[cosmic_rays.Deposits, Table]:
    """Return the charge that particles leave, and the snowballs among them."""
    hits, table = cosmic_rays.no_deposits(size), meta.ma_table
    if effects.cosmic_rays:
        hits = cosmic_rays.cosmic_rays(table, size=size, rng=generator(seed, Effect.COSMIC_RAYS))
    rng = generator(seed, Effect.SNOWBALLS)
    balls = snowballs.draw(effects.snowballs, table, size=size, rng=rng)
    if len(balls):
        hits = cosmic_rays.together(hits, snowballs.deposits(balls, size=size, rng=rng))
    return hits, balls
