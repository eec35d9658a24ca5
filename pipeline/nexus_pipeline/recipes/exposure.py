"""exposure: one L1 ramp to one L2 image, in romancal 1.1's order.

Its source catalogue and tweakreg come after it, in ``registration``: they want all detectors of an exposure.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial, wraps
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation

from nexus_pipeline.errors import InputError, StepSkipped
from nexus_pipeline.instrument.dq import DQ
from nexus_pipeline.instrument.filters import IMAGING_FILTERS, SPECTRAL_ELEMENTS
from nexus_pipeline.instrument.wfi import BORDER
from nexus_pipeline.products.l1 import read_ramp
from nexus_pipeline.products.model import ExposureMeta, Ramp, RateImage, StepRecord
from nexus_pipeline.recipes import persistence
from nexus_pipeline.recipes.ramp_pass import over_bands
from nexus_pipeline.references import kinds
from nexus_pipeline.references.kinds import Reference
from nexus_pipeline.references.store import ReferenceStore
from nexus_pipeline.runner import LEFT_OUT, Pass, Settings, Step, recorded, resolved, run
from nexus_pipeline.steps import (
    assign_wcs,
    dark_current,
    dark_decay,
    dq_init,
    flatfield,
    linearity,
    photom,
    ramp_fitting,
    refpix,
    saturation,
    wfi18_transient,
)  # fmt: skip


def if_any_light(function: Callable[..., RateImage]) -> Callable[..., RateImage]:
    """Return ``function`` so that it is skipped, as in romancal, where every pixel is saturated."""

    @wraps(function)
    def unless_saturated(image: RateImage, *references: Reference, **parameters: Any) -> RateImage:
        if np.all(image.dq & np.uint32(DQ.SATURATED)):
            raise StepSkipped("every pixel is saturated")
        return function(image, *references, **parameters)

    return unless_saturated


def not_for_spectra(meta: ExposureMeta) -> str | None:
    """Say why a spectrum is not divided by a flat: the right one would depend on the wavelength."""
    spectral = meta.filter_name in SPECTRAL_ELEMENTS
    return f"a spectrum ({meta.filter_name}) takes no imaging flat" if spectral else None


RAMP_STEPS: Final = (
    Step(
        "dq_init",
        dq_init.begin,
        (kinds.MaskReference,),
        parameters=("expand_gw_flagging",),
        required=True,
    ),
    Step("saturation", saturation.flag, (kinds.SaturationReference,), parameters=("grow_pixels",)),
    Step(
        "refpix",
        refpix.subtract,
        (kinds.RefpixReference,),
        parameters=("remove_offset", "remove_trends", "cosine_interpolate", "fft_interpolate"),
    ),
    Step("dark_decay", dark_decay.subtract, (kinds.DarkDecayReference,)),
    Step(
        "wfi18_transient",
        wfi18_transient.subtract,
        parameters=("mask_rows",),
        not_for=wfi18_transient.not_for,
    ),
    Step(
        "linearity",
        linearity.correct,
        (kinds.LinearityReference, kinds.InverseLinearityReference, kinds.IntegralNonlinearityReference),
        parameters=("every_read", "integral"),
    ),
    Step(
        "ramp_fitting",
        ramp_fitting.fit,
        (kinds.GainReference, kinds.ReadNoiseReference),
        parameters=(
            "algorithm",
            "jump_threshold_sigma",
            "expand_large_events",
            "min_jump_area",
            "min_sat_area",
            "expand_factor",
            "sat_required_snowball",
        ),
        required=True,
    ),
)
IMAGE_STEPS: Final = (
    Step("dark_current", if_any_light(dark_current.subtract), (kinds.DarkReference,)),
    Step("assign_wcs", if_any_light(assign_wcs.assign), (kinds.DistortionReference,)),
    Step("photom", if_any_light(photom.calibrate), (kinds.PhotomReference,)),
    Step("flatfield", if_any_light(flatfield.divide), (kinds.FlatReference,), not_for=not_for_spectra),
    Step("persistence", persistence.flag, parameters=("earlier", "threshold_dn", "decay_time_s")),
)
STEPS: Final = (*RAMP_STEPS, *IMAGE_STEPS)
BY_ROWS: Final = (
    kinds.SaturationReference, kinds.LinearityReference, kinds.InverseLinearityReference,
    kinds.GainReference, kinds.ReadNoiseReference,
)  # fmt: skip
"""16 planes of a detector, a gigabyte, that no step needs more of than its band."""


def check(settings: Settings) -> None:
    """Raise InputError if ``settings`` name a step, a parameter or a ramp fit there is not."""
    algorithm = resolved(STEPS, settings)["ramp_fitting"]["algorithm"]
    if algorithm not in ramp_fitting.ALGORITHMS:
        raise InputError(
            f"no ramp fit is called {algorithm!r}; there are {', '.join(ramp_fitting.ALGORITHMS)}"
        )


def calibrate(
    url: str,
    store: ReferenceStore,
    *,
    settings: Settings | None = None,
    on_step: Callable[[StepRecord], None] | None = None,
) -> RateImage:
    """Return the L2 image of the L1 ramp at ``url``, its provenance within.

    ``on_step`` hears of each step when it is done. Raises what reading, the store and the steps
    raise, and InputError for an element that takes neither images nor spectra and ``settings``
    that fit no step.
    """
    check(settings or Settings())
    with recorded("read") as measured:
        stages = [read_ramp(url)]
    filter_name = stages[0].meta.filter_name
    if filter_name not in (*IMAGING_FILTERS, *SPECTRAL_ELEMENTS):
        raise InputError(f"{url}: taken through {filter_name}; only images and spectra are calibrated")
    if on_step is not None:
        on_step(measured())
    parts = (Pass(RAMP_STEPS, over_bands, by_rows=BY_ROWS), *IMAGE_STEPS)
    image = run(stages, parts, store, settings=settings, on_step=on_step, before=[measured()])
    assert isinstance(image, RateImage)  # noqa: S101 - what the last step returns, for the type checker
    return image


def recalibrate(ramp: Ramp, image: RateImage, touched: NDArray[np.bool_], store: ReferenceStore) -> RateImage:
    """Return ``image`` as ``calibrate`` would make it of ``ramp``, which is not the one it is of.

    They differ in pixels that are ``touched`` (4088²) alone: only rows with these, and as many beside them as
    saturation spreads over, are fitted, with the settings that the image tells. InputError for an image whose
    snowballs were grown: that joins pixels that lie far apart.
    """
    settings = _settings_of(image)
    chosen = resolved(STEPS, settings)
    if chosen["ramp_fitting"]["expand_large_events"]:
        raise InputError("an image with snowballs that were grown is calibrated whole")
    reach = saturation.reach(grow_pixels=chosen["saturation"]["grow_pixels"])
    # A pixel's flags spread along rows, columns and diagonals.
    affected = binary_dilation(touched, np.ones((3, 3), np.bool_), iterations=reach) if reach else touched
    only = np.flatnonzero(affected.any(axis=1)) + BORDER
    parts = (Pass(RAMP_STEPS, partial(over_bands, only=only), by_rows=BY_ROWS), *IMAGE_STEPS)
    fitted = run([ramp], parts, store, settings=settings)
    planes = ("rate", "err", "var_poisson", "var_rnoise", "var_flat", "dq", "chisq", "dumo")
    both: dict[str, Any] = {
        name: np.where(affected, getattr(fitted, name), getattr(image, name))
        for name in planes
        if getattr(image, name) is not None
    }
    return replace(image, jump_indices=_joined_jumps(image, fitted, affected), **both)


def _settings_of(image: RateImage) -> Settings:
    """Return the settings that ``image`` was calibrated with, as it tells them."""
    known = {step.name for step in STEPS}
    steps = [step for step in image.provenance.steps if step.name in known]
    parameters = {step.name: dict(step.parameters) for step in steps if step.status == "COMPLETE"}
    return Settings(parameters, frozenset(step.name for step in steps if step.reason == LEFT_OUT))


def _joined_jumps(
    image: RateImage, fitted: RateImage, affected: NDArray[np.bool_]
) -> NDArray[np.int16] | None:
    if image.jump_indices is None or fitted.jump_indices is None:
        return None
    old, new = image.jump_indices, fitted.jump_indices
    return ramp_fitting.in_order([old[~affected[old[:, 1], old[:, 2]]], new[affected[new[:, 1], new[:, 2]]]])
