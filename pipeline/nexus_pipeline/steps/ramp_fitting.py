"""ramp_fitting: from resultants to a rate, jumps found in the same pass.

Takes a working ramp (linear DN), gain and read noise; leaves a rate image (DN/s), border trimmed.
Two algorithms: ``likelihood`` (Brandt 2024, the mission's own) and ``casertano`` (Casertano
2022: weights from a table, within about 1 % of the best error). Jumps of snowballs may be grown
(``large_events``) before the pixels that this touches are fitted for good.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.bands import over_rows
from nexus_pipeline.errors import InputError
from nexus_pipeline.instrument.dq import DQ
from nexus_pipeline.instrument.wfi import BORDER, active
from nexus_pipeline.products.model import BorderPixels, ExposureMeta, RateImage, WorkingRamp
from nexus_pipeline.references.kinds import GainReference, ReadNoiseReference
from nexus_pipeline.steps import ramp_casertano, ramp_likelihood
from nexus_pipeline.steps.checks import require_detector, require_shape
from nexus_pipeline.steps.large_events import LargeEvents, Places, expanded, first_saturated
from nexus_pipeline.steps.ramp_planes import JUMP, KNOWN_JUMP, N_PLANES, Floats

ALGORITHMS: Final[Mapping[str, Callable[..., Callable[[int, int], None]]]] = {
    "likelihood": ramp_likelihood.band_fitter,
    "casertano": ramp_casertano.band_fitter,
}
JUMP_THRESHOLD_SIGMA: Final = 5.8
"""Of a Gaussian; Casertano's falls with the slope. In 10⁶ pixels without a jump either search then
sees two at most (0.3 to 10 DN/s, imaging table); at the mission's 4.5 the likelihood search sees
70 to 130."""


@dataclass(frozen=True)
class FittedRows:
    """The planes of ``ramp_planes`` (5, ny, nx) and the flags (ny, nx) of the rows of a ramp.

    ``jumps`` (n, 3) are (resultant, y, x) of the resultants that a jump precedes, by resultant and row.
    """

    planes: Floats
    dq: NDArray[np.uint32]
    jumps: NDArray[np.int16]


def require_algorithm(name: str) -> None:
    """Raise InputError if no ramp fit is called ``name``."""
    if name not in ALGORITHMS:
        raise InputError(f"no ramp fit is called {name!r}; there are {', '.join(ALGORITHMS)}")


def fit(
    ramp: WorkingRamp,
    gain: GainReference,
    read_noise: ReadNoiseReference,
    *,
    algorithm: str = "likelihood",
    jump_threshold_sigma: float = JUMP_THRESHOLD_SIGMA,
    expand_large_events: bool = False,
    min_jump_area: float = LargeEvents.min_jump_area,
    min_sat_area: float = LargeEvents.min_sat_area,
    expand_factor: float = LargeEvents.expand_factor,
    sat_required_snowball: bool = LargeEvents.sat_required_snowball,
) -> RateImage:
    """Return the slopes of ``ramp`` with their variances, χ² and DQ: ``fit_rows`` of a whole frame.

    ``expand_large_events`` finds snowballs among the jumps, as the parameters after it say
    (``LargeEvents``), and fits their pixels again without what their halos spoil.
    """
    rule = LargeEvents(min_jump_area, min_sat_area, expand_factor, sat_required_snowball)
    rows = fit_rows(ramp, gain, read_noise, algorithm=algorithm, jump_threshold_sigma=jump_threshold_sigma)
    y, x = active((rows.dq.shape[0], rows.dq.shape[1]))
    jumps = trimmed_jumps(rows.jumps, width=rows.dq.shape[1], first_row=y.start, last_row=y.stop)
    trimmed = FittedRows(rows.planes[:, y, x].copy(), rows.dq[y, x].copy(), jumps)
    if expand_large_events:
        saturated = first_saturated(ramp.resultant_dq[:, y, x])

        def refit(known: Places) -> None:
            refit_pixels(ramp, gain, read_noise, known, begin=(0, 0), fitted=trimmed, algorithm=algorithm)

        trimmed = expand(trimmed, in_order([saturated]), rule, refit)
    return image(trimmed, ramp.meta, amp33=ramp.amp33, border=ramp.border)


def fit_rows(
    ramp: WorkingRamp,
    gain: GainReference,
    read_noise: ReadNoiseReference,
    *,
    algorithm: str = "likelihood",
    jump_threshold_sigma: float = JUMP_THRESHOLD_SIGMA,
) -> FittedRows:
    """Return the fit of ``ramp``, a whole frame or a band of its rows.

    Pixels without two usable resultants on end get rate 0 and DO_NOT_USE (and SATURATED where
    that is why); a jump gives JUMP_DET, gain or read noise that are no positive numbers
    NO_GAIN_VALUE or UNRELIABLE_ERROR with DO_NOT_USE. ``jump_threshold_sigma`` = inf finds none.
    Raises InputError for an algorithm there is not and a threshold that is no positive number.
    """
    require_algorithm(algorithm)
    if not jump_threshold_sigma > 0:
        raise InputError(f"a jump threshold of {jump_threshold_sigma} σ: it must be above 0 (inf finds none)")
    for reference, plane in ((gain, gain.gain), (read_noise, read_noise.read_noise)):
        require_detector(reference, ramp.meta.detector)
        require_shape(plane, ramp.data.shape, reference)
    known_gain, known_noise = _positive(gain.gain), _positive(read_noise.read_noise)
    dq = ramp.dq | _flagged(~known_gain, DQ.NO_GAIN_VALUE) | _flagged(~known_noise, DQ.UNRELIABLE_ERROR)
    planes = np.empty((N_PLANES, *dq.shape), dtype=np.float32)
    jumps = np.zeros(ramp.data.shape, dtype=np.uint8)
    work = ALGORITHMS[algorithm](
        ramp,
        np.where(known_gain, gain.gain, 1).astype(np.float32),
        np.where(known_noise, read_noise.read_noise, 1).astype(np.float32),
        threshold=jump_threshold_sigma,
        planes=planes,
        dq=dq,
        jumps=jumps,
    )
    over_rows(work, dq.shape[0])
    _flag_no_slope(planes, dq, ramp.resultant_dq)
    return FittedRows(planes, dq, _listed(jumps, dq))


def expand(
    fitted: FittedRows, saturated: Places, rule: LargeEvents, refit: Callable[[Places], None]
) -> FittedRows:
    """Return a trimmed fit whose snowballs have grown; ``refit`` writes the fit of pixels whose jumps it
    gets.
    """
    shape = (fitted.dq.shape[0], fitted.dq.shape[1])
    added = expanded(fitted.jumps, saturated, shape, rule)
    jumps = in_order([fitted.jumps, added])
    touched = np.zeros(shape, np.bool_)
    touched[added[:, 1], added[:, 2]] = True
    if len(added):
        refit(jumps[touched[jumps[:, 1], jumps[:, 2]]])
    return replace(fitted, jumps=jumps)


def refit_pixels(
    ramp: WorkingRamp,
    gain: GainReference,
    read_noise: ReadNoiseReference,
    jumps: Places,
    *,
    begin: tuple[int, int],
    fitted: FittedRows,
    algorithm: str,
) -> None:
    """Write into the trimmed ``fitted`` the fit of its pixels that have ``jumps``, these and no others.

    ``ramp`` and references are a frame, or a band of rows of it; ``begin`` is where row and column
    ``BORDER`` of them lie in ``fitted``.
    """
    at, which = np.unique(jumps[:, 1:], axis=0, return_inverse=True)
    y, x = (at - np.array(begin) + BORDER).T
    flags = np.ascontiguousarray(ramp.resultant_dq[:, y, x])
    flags[jumps[:, 0], which.ravel()] |= KNOWN_JUMP
    line = replace(
        ramp,
        data=np.ascontiguousarray(ramp.data[:, y, x])[:, None],
        dq=ramp.dq[y, x][None],
        resultant_dq=flags[:, None],
    )
    done = fit_rows(
        line,
        replace(gain, gain=gain.gain[y, x][None]),
        replace(read_noise, read_noise=read_noise.read_noise[y, x][None]),
        algorithm=algorithm,
        jump_threshold_sigma=np.inf,
    )
    fitted.planes[:, at[:, 0], at[:, 1]] = done.planes[:, 0]
    fitted.dq[at[:, 0], at[:, 1]] = done.dq[0] | JUMP


def trimmed_jumps(
    jumps: NDArray[np.int16], *, width: int, first_row: int, last_row: int
) -> NDArray[np.int16]:
    """Return the jumps of rows ``first_row`` to ``last_row``, counted from there, without the border's
    columns.
    """
    y, x = jumps[:, 1], jumps[:, 2]
    inner = (y >= first_row) & (y < last_row) & (x >= BORDER) & (x < width - BORDER)
    return jumps[inner] - np.array([0, first_row, BORDER], dtype=np.int16)


def in_order(jumps: list[NDArray[np.int16]]) -> NDArray[np.int16]:
    """Return all ``jumps`` as one list, by resultant, row and column."""
    together = np.concatenate(jumps) if jumps else np.empty((0, 3), np.int16)
    return together[np.lexsort(together.T[::-1])]


def _listed(jumps: NDArray[np.uint8], dq: NDArray[np.uint32]) -> NDArray[np.int16]:
    """Return (resultant, y, x) of the flags in ``jumps``, looking only where ``dq`` knows of one."""
    y, x = np.nonzero(dq & JUMP)
    resultant, which = np.nonzero(jumps[:, y, x])
    return np.stack([resultant, y[which], x[which]], axis=1).astype(np.int16)


def image(fitted: FittedRows, meta: ExposureMeta, *, amp33: Any, border: BorderPixels) -> RateImage:
    """Return the L2 image of a frame's fit, its border trimmed already."""
    rate, var_rnoise, var_poisson, chisq, dumo = fitted.planes
    total = var_rnoise + var_poisson
    return RateImage(
        meta=meta,
        rate=rate,
        err=np.sqrt(total, out=total),
        var_poisson=var_poisson,
        var_rnoise=var_rnoise,
        dq=fitted.dq,
        chisq=chisq,
        dumo=dumo,
        jump_indices=fitted.jumps,
        amp33=amp33,
        border=border,
    )


def _flag_no_slope(planes: Floats, dq: NDArray[np.uint32], flags: NDArray[np.uint8]) -> None:
    """Write zeros into ``planes`` and the reason into ``dq`` where a rate is no number."""
    y, x = np.nonzero(~np.isfinite(planes[0]))
    planes[:, y, x] = 0
    saturated = (flags[:, y, x] & np.uint8(DQ.SATURATED)).any(axis=0)
    dq[y, x] |= np.where(saturated, np.uint32(DQ.SATURATED | DQ.DO_NOT_USE), np.uint32(DQ.DO_NOT_USE))


def _positive(plane: Floats) -> NDArray[np.bool_]:
    return np.isfinite(plane) & (plane > 0)


def _flagged(where: NDArray[np.bool_], flag: DQ) -> NDArray[np.uint32]:
    return np.where(where, np.uint32(flag | DQ.DO_NOT_USE), np.uint32(0))
