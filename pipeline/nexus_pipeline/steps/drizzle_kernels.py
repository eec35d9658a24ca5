# ruff: noqa: PLR0913, PLR0917 - compiled code takes its arrays one by one
"""Compiled drizzling: drops of an image's pixels onto rows of a mosaic, their overlap areas exact.

A drop is the parallelogram that the map's slopes make of a pixel's square, shrunk. Its edges leave signed
areas in a small window, whose running sums along a row are the overlaps with the mosaic's pixels: the way
fonts are drawn. Nothing is written outside the rows asked for, so that bands of rows can go to threads.
"""

from math import ceil, floor, sqrt
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.bands import compiled
from nexus_pipeline.sky.pixel_map import STEP

Single = NDArray[np.float32]
Floats = NDArray[np.float64]

LANES: Final = 6
"""Sums of each pixel of a mosaic, side by side."""
WEIGHT, DATA, VAR_RNOISE, VAR_POISSON, VAR_FLAT, TIME = range(6)
_NOTHING: Final = 1e-9


@compiled
def add_image(
    nodes_x: Floats, nodes_y: Floats, data: Single, weight: Single, var_rnoise: Single, var_poisson: Single,
    var_flat: Single, time_s: float, sky: Floats, pixfrac: float, turbo: bool, first: int, sums: Single,
    context: NDArray[np.uint32], bit: int,
) -> None:  # fmt: skip
    """Add an image to ``sums`` (rows, nx, LANES), rows ``first``… of the mosaic, and ``bit`` to ``context``.

    ``data``, ``weight`` and the variances are (ny, nx) of the image, whose nodes' places on the mosaic are
    ``nodes_x``, ``nodes_y``; ``sky`` (3): level, and slopes along the mosaic's x and y, taken off.
    """
    rows, columns = sums.shape[0], sums.shape[1]
    half, over_drop = pixfrac / 2, 1 / (pixfrac * pixfrac)
    size = window_size(nodes_x, nodes_y, half)
    window = np.zeros((size, size + 1))
    slopes = np.empty(8)
    mark = np.uint32(1) << np.uint32(bit)
    for j in range(nodes_x.shape[0] - 1):
        for i in range(nodes_x.shape[1] - 1):
            if not reaches(nodes_x, nodes_y, j, i, columns, first, first + rows):
                continue
            cell(nodes_x, nodes_y, j, i, slopes)
            for v in range(min(STEP, data.shape[0] - j * STEP)):
                row = j * STEP + v
                along_x, along_y = slopes[2] + slopes[6] * v, slopes[3] + slopes[7] * v
                px, py = half * along_x, half * along_y
                for u in range(min(STEP, data.shape[1] - i * STEP)):
                    column = i * STEP + u
                    w = weight[row, column]
                    if w == 0:
                        continue
                    qx, qy = half * (slopes[4] + slopes[6] * u), half * (slopes[5] + slopes[7] * u)
                    cx = slopes[0] + along_x * u + slopes[4] * v
                    cy = slopes[1] + along_y * u + slopes[5] * v
                    # In the frame where pixel k of the rows is from k to k + 1.
                    at_x, at_y = cx + 0.5, cy + 0.5 - first
                    reach_x, reach_y = abs(px) + abs(qx), abs(py) + abs(qy)
                    if at_y + reach_y <= 0 or at_y - reach_y >= rows:
                        continue
                    if at_x + reach_x <= 0 or at_x - reach_x >= columns:
                        continue
                    area = 4 * abs(px * qy - py * qx)
                    value = data[row, column] - (sky[0] + sky[1] * cx + sky[2] * cy)
                    each = (
                        np.float32(w),
                        np.float32(w * value),
                        np.float32(w * w * var_rnoise[row, column]),
                        np.float32(w * w * var_poisson[row, column]),
                        np.float32(w * w * var_flat[row, column]),
                        np.float32(time_s * area * over_drop),
                    )
                    if turbo:
                        spread_square(at_x, at_y, sqrt(area), each, sums, context, mark)
                    else:
                        spread(at_x, at_y, px, py, qx, qy, window, each, sums, context, mark)


@compiled
def cell(nodes_x: Floats, nodes_y: Floats, j: int, i: int, slopes: Floats) -> None:
    """Write of a cell of nodes: its first place, slopes along the image's x and y, and how those bend."""
    for k, nodes in enumerate((nodes_x, nodes_y)):
        slopes[k] = nodes[j, i]
        slopes[2 + k] = (nodes[j, i + 1] - nodes[j, i]) / STEP
        slopes[4 + k] = (nodes[j + 1, i] - nodes[j, i]) / STEP
        slopes[6 + k] = ((nodes[j + 1, i + 1] - nodes[j + 1, i]) / STEP - slopes[2 + k]) / STEP


@compiled
def put(share: float, each: Any, row: int, column: int, sums: Single) -> None:
    """Add a share of what a drop brings to a pixel's sums; variances go by its square."""
    one, two = np.float32(share), np.float32(share * share)
    sums[row, column, WEIGHT] += one * each[WEIGHT]
    sums[row, column, DATA] += one * each[DATA]
    sums[row, column, VAR_RNOISE] += two * each[VAR_RNOISE]
    sums[row, column, VAR_POISSON] += two * each[VAR_POISSON]
    sums[row, column, VAR_FLAT] += two * each[VAR_FLAT]
    sums[row, column, TIME] += one * each[TIME]


@compiled
def spread(
    x: float, y: float, px: float, py: float, qx: float, qy: float, window: Floats, each: Any, sums: Single,
    context: NDArray[np.uint32], mark: Any,
) -> None:  # fmt: skip
    """Add a drop about (x, y) with half sides p and q to ``sums``: what it brings is ``each``, in lanes."""
    rows, columns = sums.shape[0], sums.shape[1]
    reach_x, reach_y = abs(px) + abs(qx), abs(py) + abs(qy)
    left, low = floor(x - reach_x), floor(y - reach_y)
    wide, high = floor(x + reach_x) - left + 1, floor(y + reach_y) - low + 1
    draw(x - left, y - low, px, py, qx, qy, window)
    over_area = 1 / (4 * abs(px * qy - py * qx))
    for b in range(high):
        row, total = low + b, 0.0
        for a in range(wide):
            total += window[b, a]
            window[b, a] = 0.0
            column, share = left + a, abs(total) * over_area
            if share > _NOTHING and 0 <= row < rows and 0 <= column < columns:
                put(share, each, row, column, sums)
                context[row, column] |= mark
        window[b, wide] = 0.0


@compiled
def spread_square(
    x: float, y: float, side: float, each: Any, sums: Single, context: NDArray[np.uint32], mark: Any
) -> None:  # fmt: skip
    """Add a drop about (x, y), a square along the axes, to ``sums``."""
    left, right, low, high = x - side / 2, x + side / 2, y - side / 2, y + side / 2
    over_area = 1 / (side * side)
    for row in range(max(floor(low), 0), min(ceil(high), sums.shape[0])):
        down = (min(high, row + 1.0) - max(low, row)) * over_area
        for column in range(max(floor(left), 0), min(ceil(right), sums.shape[1])):
            share = (min(right, column + 1.0) - max(left, column)) * down
            if share > _NOTHING:
                put(share, each, row, column, sums)
                context[row, column] |= mark


@compiled
def draw(x: float, y: float, px: float, py: float, qx: float, qy: float, window: Floats) -> None:
    """Add the parallelogram about (x, y) with half sides p and q to ``window``, as differences along rows."""
    ax, ay, bx, by = px - qx, py - qy, px + qx, py + qy
    edge(x - bx, y - by, x + ax, y + ay, window)
    edge(x + ax, y + ay, x + bx, y + by, window)
    edge(x + bx, y + by, x - ax, y - ay, window)
    edge(x - ax, y - ay, x - bx, y - by, window)


@compiled
def edge(x0: float, y0: float, x1: float, y1: float, window: Floats) -> None:
    """Add to ``window`` (rows, columns) what the edge from (x0, y0) to (x1, y1) lets in, to its right."""
    if y0 == y1:
        return
    sign, slope = 1.0, (x1 - x0) / (y1 - y0)
    if y0 > y1:
        sign, x0, y0, y1 = -1.0, x1, y1, y0
    row, x, y = int(y0), x0, y0
    while y < y1:
        next_y = min(row + 1.0, y1)
        next_x = x + (next_y - y) * slope
        low, high = min(x, next_x), max(x, next_x)
        column = int(low)
        if high <= column + 1:
            height, share = sign * (next_y - y), (low + high) / 2 - column
            window[row, column] += height * (1 - share)
            window[row, column + 1] += height * share
        else:
            steep = sign * (next_y - y) / (high - low)
            while low < high:
                end = min(column + 1.0, high)
                height, share = steep * (end - low), (low + end) / 2 - column
                window[row, column] += height * (1 - share)
                window[row, column + 1] += height * share
                low = end
                column += 1
        x, y = next_x, next_y
        row += 1


@compiled
def reaches(nodes_x: Floats, nodes_y: Floats, j: int, i: int, n: int, first: int, last: int) -> bool:
    """Say whether a cell of nodes may hold pixels that touch columns 0…n and rows first…last."""
    x0, x1, x2, x3 = nodes_x[j, i], nodes_x[j, i + 1], nodes_x[j + 1, i], nodes_x[j + 1, i + 1]
    y0, y1, y2, y3 = nodes_y[j, i], nodes_y[j, i + 1], nodes_y[j + 1, i], nodes_y[j + 1, i + 1]
    # Pixels reach half their diagonal beyond the nodes, and those are bent a little.
    margin = 1.0 + max(abs(x1 - x0) + abs(x2 - x0), abs(y1 - y0) + abs(y2 - y0)) / STEP
    if max(y0, y1, y2, y3) < first - margin or min(y0, y1, y2, y3) > last + margin:
        return False
    return bool(max(x0, x1, x2, x3) > -margin and min(x0, x1, x2, x3) < n + margin)


@compiled
def window_size(nodes_x: Floats, nodes_y: Floats, half: float) -> int:
    """Return how many pixels of the mosaic in a row the largest drop can touch, and some more."""
    reach = 0.0
    for j in range(nodes_x.shape[0] - 1):
        for i in range(nodes_x.shape[1] - 1):
            across = abs(nodes_x[j, i + 1] - nodes_x[j, i]) + abs(nodes_x[j + 1, i] - nodes_x[j, i])
            up = abs(nodes_y[j, i + 1] - nodes_y[j, i]) + abs(nodes_y[j + 1, i] - nodes_y[j, i])
            reach = max(reach, across, up)
    return ceil(2.5 * half * reach / STEP) + 4


@compiled
def finish(
    sums: Single, data: Single, err: Single, weight: Single, var_rnoise: Single, var_poisson: Single,
    var_flat: Single,
) -> None:  # fmt: skip
    """Write the means and variances of rows of ``sums``; NaN and weight 0 where nothing fell."""
    for y in range(sums.shape[0]):
        for x in range(sums.shape[1]):
            w = sums[y, x, WEIGHT]
            if w <= 0:
                weight[y, x] = 0.0
                data[y, x] = err[y, x] = var_rnoise[y, x] = var_poisson[y, x] = var_flat[y, x] = np.nan
                continue
            weight[y, x], data[y, x] = w, sums[y, x, DATA] / w
            rnoise = sums[y, x, VAR_RNOISE] / w / w
            poisson = sums[y, x, VAR_POISSON] / w / w
            flat = sums[y, x, VAR_FLAT] / w / w
            var_rnoise[y, x], var_poisson[y, x], var_flat[y, x] = rnoise, poisson, flat
            err[y, x] = np.sqrt(rnoise + poisson + flat)
