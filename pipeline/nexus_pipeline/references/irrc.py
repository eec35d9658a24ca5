"""The reference pixels and the 33rd output as signals in time, and what channels share with them.

Takes the border and the 33rd output of all resultants (DN); leaves their spectra at the frequencies at
which a channel is read, a row being 128 samples and a pause of 12. ``steps.refpix`` corrects with them,
``estimate`` makes the coefficients from darks. Sources: romancal 1.1 ``refpix``; Wiener's filter.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from nexus_pipeline.instrument.dq import DQ
from nexus_pipeline.instrument.wfi import BORDER, CHANNEL_WIDTH
from nexus_pipeline.products.model import BorderPixels

PAD: Final = 12
"""Samples that the pause at the end of a row lasts."""
ROW_SAMPLES: Final = CHANNEL_WIDTH + PAD
_INTERPOLATED_SAMPLES: Final = 32
_SMOOTHING_ROUNDS: Final = 3
_BAD: Final = np.uint32(DQ.BAD_REF_PIXEL)
# Frequencies are gathered for an estimate in bins that widen with the frequency, by this share.
_BIN_GROWTH: Final = 0.15
_MIN_IN_BIN: Final = 24
_SIGNIFICANT: Final = 5.0
_WORTH_WHILE: Final = 0.003

Floats = NDArray[np.float32]
Spectra = NDArray[np.complex64]


@dataclass(frozen=True)
class Edges:
    """Reference pixels in the order of reading: DN, 0 for those that may not be used.

    ``left`` and ``right`` (n, ny, 4) are the first samples of the rows of the first and the last channel;
    ``ends`` (n, n_channels + 1, 8, 128) the four rows at either end of each channel, the 33rd output last;
    ``output`` (n, ny, 128) is the 33rd output.
    """

    left: Floats
    right: Floats
    ends: Floats
    output: Floats


@dataclass(frozen=True)
class Prepared:
    """Spectra (n, n_frequencies) of the three references, and the line in time of each channel (n,
    n_channels).

    A channel's line is ``level`` + ``slope`` × samples since the middle of the frame.
    """

    left: Spectra
    right: Spectra
    output: Spectra
    level: NDArray[np.float64]
    slope: NDArray[np.float64]


def in_reading_order(rows: Floats) -> Floats:
    """Return rows (…, nx) as (…, n_channels, 128): every other channel is read from right to left."""
    channels = rows.reshape(*rows.shape[:-1], -1, CHANNEL_WIDTH).copy()
    channels[..., 1::2, :] = channels[..., 1::2, ::-1]
    return channels


def edges(border: BorderPixels, amp33: NDArray[np.uint16]) -> Edges:
    """Return the pixels of ``border`` and of the 33rd output in order."""
    sides = [
        np.where(getattr(border, f"dq_{side}") & _BAD, np.float32(0), getattr(border, side))
        for side in ("left", "right", "bottom", "top")
    ]
    ends = in_reading_order(np.concatenate(sides[2:], axis=1)).transpose(0, 2, 1, 3)
    output = amp33.astype(np.float32)
    own = np.concatenate([output[:, :BORDER], output[:, -BORDER:]], axis=1)
    return Edges(sides[0], sides[1][:, :, ::-1], np.concatenate([ends, own[:, None]], axis=1), output)


def prepare(
    given: Edges,
    *,
    remove_offset: bool = True,
    remove_trends: bool = True,
    cosine_interpolate: bool = True,
    fft_interpolate: bool = True,
) -> Prepared:
    """Return the spectra of ``given``, each pixel's mean over the resultants and each channel's line taken
    off.
    """
    if remove_offset:
        given = Edges(
            *(part - part.mean(axis=0) for part in (given.left, given.right, given.ends, given.output))
        )
    n, n_rows = given.output.shape[:2]
    level, slope = np.zeros((n, given.ends.shape[1])), np.zeros((n, given.ends.shape[1]))
    if remove_trends:
        level, slope = _lines(given.ends, n_rows)
    t = samples(n_rows)
    left = _without_line(given.left, t[:, :BORDER], level[:, 0], slope[:, 0])
    right = _without_line(given.right, t[:, :BORDER], level[:, -2], slope[:, -2])
    output = np.zeros((n, n_rows, ROW_SAMPLES), np.float32)
    output[:, :, :CHANNEL_WIDTH] = _without_line(
        given.output, t[:, :CHANNEL_WIDTH], level[:, -1], slope[:, -1]
    )
    for frame in output:
        if cosine_interpolate:
            _fill_by_neighbours(frame)
        if fft_interpolate:
            _fill_smoothly(frame)
    return Prepared(
        _spectrum(_padded(left), ROW_SAMPLES / BORDER),
        _spectrum(_padded(right), ROW_SAMPLES / BORDER),
        _spectrum(output, 1.0),
        level[:, :-1],
        slope[:, :-1],
    )


def samples(n_rows: int) -> NDArray[np.float64]:
    """Return the time of each sample (ny, 140) from the middle of the frame, in samples."""
    t = np.arange(n_rows * ROW_SAMPLES, dtype=np.float64).reshape(n_rows, ROW_SAMPLES)
    return t - t.mean()


def _lines(ends: Floats, n_rows: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return level and slope (n, n_channels) of straight lines through the pixels of ``ends`` that are not
    0.
    """
    t = samples(n_rows)[np.r_[0:BORDER, -BORDER:0], :CHANNEL_WIDTH]
    used = (ends != 0).astype(np.float64)
    n = np.maximum(used.sum(axis=(2, 3)), 1)
    t_mean, mean = (used * t).sum(axis=(2, 3)) / n, ends.sum(axis=(2, 3), dtype=np.float64) / n
    apart = (t - t_mean[..., None, None]) * used
    spread = (apart * t).sum(axis=(2, 3))
    slope = np.divide((apart * ends).sum(axis=(2, 3)), spread, out=np.zeros_like(mean), where=spread > 0)
    return mean - slope * t_mean, slope


def _without_line(
    values: Floats, t: NDArray[np.float64], level: NDArray[np.float64], slope: NDArray[np.float64]
) -> Floats:
    line = level[:, None, None] + slope[:, None, None] * t
    return np.where(values != 0, values - line, 0).astype(np.float32)


def _fill_by_neighbours(frame: Floats) -> None:
    """Write into ``frame`` (ny, 140), where it is 0, the mean of the samples about it, weighed by half a
    sine.
    """
    flat = frame.reshape(-1)
    weight = np.sin(np.arange(1, _INTERPOLATED_SAMPLES + 1) * np.pi / _INTERPOLATED_SAMPLES)
    reach = (_INTERPOLATED_SAMPLES - 1) // 2
    around = np.pad(flat, _INTERPOLATED_SAMPLES)
    gaps = np.flatnonzero(flat == 0)
    near = around[gaps[:, None] + _INTERPOLATED_SAMPLES + reach - np.arange(_INTERPOLATED_SAMPLES)]
    known = (near != 0) @ weight
    flat[gaps] = np.divide(near @ weight, known, out=np.zeros(gaps.size), where=known > 0)


def _fill_smoothly(frame: Floats) -> None:
    """Write into the pauses of ``frame`` (ny, 140) what remains there of its low frequencies, three times.

    The mission multiplies the spectrum by (1 + cos 2πf) / 2: that is a mean of each sample and its two
    neighbours in time, weighed ¼, ½, ¼, and needs no transform. The last sample's neighbour is the first.
    """
    after = np.roll(frame[:, :1], -1, axis=0)
    around = np.concatenate([frame[:, CHANNEL_WIDTH - 1 :], after], axis=1)
    for _ in range(_SMOOTHING_ROUNDS):
        around[:, 1:-1] = (around[:, :-2] + 2 * around[:, 1:-1] + around[:, 2:]) / 4
    frame[:, CHANNEL_WIDTH:] = around[:, 1:-1]


def _padded(first: Floats) -> Floats:
    out = np.zeros((*first.shape[:2], ROW_SAMPLES), np.float32)
    out[:, :, : first.shape[2]] = first
    return out


def _spectrum(signal: Floats, factor: float) -> Spectra:
    flat = signal.reshape(len(signal), -1)
    spectrum: Spectra = fft.rfft(flat) * np.float32(factor / flat.shape[1])
    return spectrum


def estimate(
    prepared: Prepared, channels: Iterator[Floats]
) -> tuple[NDArray[np.complex128], NDArray[np.complex128], NDArray[np.complex128]]:
    """Return (gamma, zeta, alpha), each (n_channels, n_frequencies), that take most noise out of darks.

    ``channels`` gives each channel's samples in reading order (n, ny, 128), offsets taken off, in the order
    of the lines of ``prepared``. The filter is Wiener's, from cross-spectra gathered over resultants and
    bins of frequencies; beyond the first bins in which it makes no significant difference it is zero.
    """
    n_frequencies = prepared.output.shape[1]
    n_channels = prepared.level.shape[1]
    # The reference columns are read once a row: beyond half that frequency they say nothing new.
    slow = n_frequencies // ROW_SAMPLES
    three = np.stack([prepared.left, prepared.right, prepared.output])
    out = np.zeros((3, n_channels, n_frequencies), np.complex128)
    for c, channel in enumerate(channels):
        t = samples(channel.shape[1])[:, :CHANNEL_WIDTH]
        values = _without_line(channel, t, prepared.level[:, c], prepared.slope[:, c])
        if c in (0, n_channels - 1):
            # The first samples of its rows are the reference columns: no noise that others tell.
            values[:, :, :BORDER] = 0
        spectrum = _spectrum(_padded(values), ROW_SAMPLES / CHANNEL_WIDTH)
        out[:, c, :slow] = _wiener(spectrum[:, :slow], three[:, :, :slow])
        out[2:, c, slow:] = _wiener(spectrum[:, slow:], three[2:, :, slow:])
    # The correction multiplies by the even number next to the number of samples (romancal 1.1).
    out *= (2 * (n_frequencies - 1)) / (2 * n_frequencies)
    return out[0], out[1], out[2]


def _wiener(wanted: Spectra, told_by: NDArray[np.complex64]) -> NDArray[np.complex128]:
    """Return the filters (n_references, n) that make most of ``wanted`` (n_resultants, n) of ``told_by``.

    From the first bin on in which they take out less than 0.3 % of the power, or no more than chance would,
    they are zero.
    """
    n_frequencies = wanted.shape[1]
    starts = _bins(n_frequencies)
    widths = np.diff([*starts, n_frequencies])
    cross = _gathered(told_by[:, None] * told_by[None].conj(), starts)
    both = _gathered(wanted * told_by.conj(), starts)
    filters = np.linalg.solve(cross.transpose(2, 1, 0), both.T[..., None])[..., 0]
    gained = np.real(np.sum(filters.conj() * both.T, axis=1))
    power = _gathered(np.abs(wanted) ** 2, starts).real
    # So much of pure noise is explained by the coefficients' number alone.
    by_chance = len(told_by) / (widths * len(wanted)) * power
    weak = np.flatnonzero(gained < np.maximum(_SIGNIFICANT * by_chance, _WORTH_WHILE * power))
    filters[weak[0] if weak.size else len(starts) :] = 0
    return np.repeat(filters, widths, axis=0).T


def _bins(n_frequencies: int) -> list[int]:
    starts = [0]
    while starts[-1] < n_frequencies:
        starts.append(starts[-1] + max(_MIN_IN_BIN, int(_BIN_GROWTH * starts[-1])))
    return starts[:-1]


def _gathered(products: NDArray[np.complexfloating], starts: list[int]) -> NDArray[np.complex128]:
    """Return the sums of ``products`` (…, n, n_frequencies) over resultants and bins, (…, n_bins)."""
    summed = products.sum(axis=-2, dtype=np.complex128)
    gathered: NDArray[np.complex128] = np.add.reduceat(summed, starts, axis=-1)
    return gathered
