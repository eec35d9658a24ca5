# ruff: noqa: PLR0913, PLR0917 - compiled code takes its arrays one by one
"""Compiled parts of outlier detection: medians of images on a grid, and images compared with them."""

from math import floor
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.bands import compiled
from nexus_pipeline.sky.pixel_map import STEP
from nexus_pipeline.steps.drizzle_kernels import DATA, TIME, WEIGHT

Single = NDArray[np.float32]
Floats = NDArray[np.float64]

SUSPECT, OUTLIER = 1, 2
_LEAST_NEIGHBOURS: Final = 0.4


@compiled
def mean_of(sums: Single, least: float, mean: Single) -> None:
    """Write the means of rows of ``sums``; NaN where less than ``least`` of a pixel is covered."""
    for y in range(sums.shape[0]):
        for x in range(sums.shape[1]):
            covered = sums[y, x, TIME] >= least
            mean[y, x] = sums[y, x, DATA] / sums[y, x, WEIGHT] if covered else np.nan


@compiled
def median_of(images: Single, levels: Floats, first: int, median: Single) -> None:
    """Write the median of rows (n, rows, nx), each less its level (n, 3), that begin at row ``first``.

    Of two images the lower: their mean would hold half of a ray. NaN where fewer are.
    """
    n = images.shape[0]
    values = np.empty(n)
    for y in range(images.shape[1]):
        for x in range(images.shape[2]):
            count = 0
            for i in range(n):
                value = images[i, y, x] - (levels[i, 0] + levels[i, 1] * x + levels[i, 2] * (first + y))
                if np.isfinite(value):
                    at = count
                    while at > 0 and values[at - 1] > value:
                        values[at] = values[at - 1]
                        at -= 1
                    values[at] = value
                    count += 1
            if count < 2:
                median[y, x] = np.nan
            elif count == 2:
                median[y, x] = values[0]
            else:
                median[y, x] = (values[(count - 1) // 2] + values[count // 2]) / 2


@compiled
def blot(median: Single, nodes_x: Floats, nodes_y: Floats, first: int, model: Single) -> None:
    """Write the median where the pixels of rows ``first``… of an image lie, linear between its pixels."""
    rows, columns = median.shape
    for v in range(model.shape[0]):
        j = (first + v) // STEP
        down = (first + v) / STEP - j
        for u in range(model.shape[1]):
            i = u // STEP
            right = u / STEP - i
            x = (nodes_x[j, i] * (1 - right) + nodes_x[j, i + 1] * right) * (1 - down)
            x += (nodes_x[j + 1, i] * (1 - right) + nodes_x[j + 1, i + 1] * right) * down
            y = (nodes_y[j, i] * (1 - right) + nodes_y[j, i + 1] * right) * (1 - down)
            y += (nodes_y[j + 1, i] * (1 - right) + nodes_y[j + 1, i + 1] * right) * down
            left, low, total, known = floor(x), floor(y), 0.0, 0.0
            for b in range(2):
                for a in range(2):
                    column, row = left + a, low + b
                    if 0 <= row < rows and 0 <= column < columns and np.isfinite(median[row, column]):
                        share = (1 - abs(x - column)) * (1 - abs(y - row))
                        total += share * median[row, column]
                        known += share
            model[v, u] = total / known if known > _LEAST_NEIGHBOURS else np.nan


@compiled
def _relief(model: Single, y: int, x: int) -> tuple[float, float]:
    """Return the steepest step from a pixel to its four neighbours, and its rise above the lowest of eight.

    The step is infinite beside pixels that the median does not know: its own end is of few pixels.
    """
    step, rise = 0.0, 0.0
    for b in range(max(y - 1, 0), min(y + 2, model.shape[0])):
        for a in range(max(x - 1, 0), min(x + 2, model.shape[1])):
            above = model[y, x] - model[b, a]
            if not np.isfinite(above):
                return np.inf, 0.0
            rise = max(rise, above)
            if b == y or a == x:
                step = max(step, abs(above))
    return step, rise


@compiled
def judge(
    data: Single, var_rnoise: Single, var_poisson: Single, var_flat: Single, good: NDArray[np.bool_],
    model: Single, level: Floats, nodes_x: Floats, nodes_y: Floats, sky_poisson: float, sigmas: Floats,
    slopes: Floats, peaks: Floats, first: int, last: int, verdict: NDArray[np.uint8],
) -> None:  # fmt: skip
    """Write into rows ``first``…``last`` of ``verdict`` which pixels stand out from ``model``.

    By more than ``sigmas`` of the noise and ``slopes`` of the model's steepest step to a neighbour, for
    OUTLIER and SUSPECT; upwards ``peaks`` of its rise above the lowest of eight neighbours, noise taken off,
    where that is more. Photons beyond the model's are not taken for noise: they are what is looked for.
    """
    for y in range(first, last):
        j, down = y // STEP, (y % STEP) / STEP
        for x in range(data.shape[1]):
            verdict[y, x] = 0
            expected = model[y, x]
            if not good[y, x] or not np.isfinite(expected):
                continue
            i, right = x // STEP, (x % STEP) / STEP
            at_x = (nodes_x[j, i] * (1 - right) + nodes_x[j, i + 1] * right) * (1 - down)
            at_x += (nodes_x[j + 1, i] * (1 - right) + nodes_x[j + 1, i + 1] * right) * down
            at_y = (nodes_y[j, i] * (1 - right) + nodes_y[j, i + 1] * right) * (1 - down)
            at_y += (nodes_y[j + 1, i] * (1 - right) + nodes_y[j + 1, i + 1] * right) * down
            value = data[y, x] - (level[0] + level[1] * at_x + level[2] * at_y)
            step, rise = _relief(model, y, x)
            poisson = var_poisson[y, x]
            if data[y, x] > 0 and expected < data[y, x]:
                poisson = max(poisson * max(expected, 0.0) / data[y, x], min(poisson, sky_poisson))
            noise = np.sqrt(var_rnoise[y, x] + var_flat[y, x] + poisson)
            # A drizzled median is blunter than an image: a star's core stands above it where it has a peak.
            peak = np.sqrt(max(rise**2 - noise**2, 0.0)) if value > expected else 0.0
            apart = abs(value - expected)
            if apart > max(slopes[0] * step, peaks[0] * peak) + sigmas[0] * noise:
                verdict[y, x] = OUTLIER
            elif apart > max(slopes[1] * step, peaks[1] * peak) + sigmas[1] * noise:
                verdict[y, x] = SUSPECT


@compiled
def beside_outliers(verdict: NDArray[np.uint8], rejected: NDArray[np.bool_], first: int, last: int) -> None:
    """Write for rows ``first``…``last`` which pixels are outliers, or suspects beside one."""
    rows, columns = verdict.shape
    for y in range(first, last):
        for x in range(columns):
            rejected[y, x] = verdict[y, x] == OUTLIER
            if verdict[y, x] == SUSPECT:
                for b in range(max(y - 1, 0), min(y + 2, rows)):
                    for a in range(max(x - 1, 0), min(x + 2, columns)):
                        rejected[y, x] |= verdict[b, a] == OUTLIER


@compiled
def block_medians(image: Single, size: int, every: int, first: int, medians: Floats) -> None:
    """Write the medians of a row of blocks ``size`` pixels wide; NaN where less than half of one is known.

    Every ``every``-th pixel of every ``every``-th row counts.
    """
    values = np.empty((size // every + 1) ** 2, np.float32)
    for block in range(medians.shape[0]):
        count, seen = 0, 0
        for y in range(first, min(first + size, image.shape[0]), every):
            for x in range(block * size, min((block + 1) * size, image.shape[1]), every):
                seen += 1
                if np.isfinite(image[y, x]):
                    values[count] = image[y, x]
                    count += 1
        medians[block] = np.median(values[:count]) if 2 * count > seen else np.nan
