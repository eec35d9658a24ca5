"""A treemap as plain geometry: areas as the amounts, cells as square as they come (Bruls et al. 2000)."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Cell:
    """One rectangle in user units; ``number`` is that of its amount in the order given."""

    number: int
    x: float
    y: float
    width: float
    height: float


def cells(amounts: Sequence[int], *, width: float, height: float) -> list[Cell]:
    """Lay out amounts, the largest first, over a rectangle; those of nothing get no cell."""
    total = sum(amounts)
    if total <= 0:
        return []
    waiting = [(number, each * width * height / total) for number, each in enumerate(amounts) if each > 0]
    found: list[Cell] = []
    x, y, wide, high = 0.0, 0.0, width, height
    while waiting:
        side = min(wide, high)
        row = _row(waiting, side)
        area = sum(each for _, each in row)
        depth = area / side if side else 0.0
        along = y if wide >= high else x
        for number, each in row:
            length = each / depth if depth else 0.0
            if wide >= high:
                found.append(_rounded(number, x, along, depth, length))
            else:
                found.append(_rounded(number, along, y, length, depth))
            along += length
        if wide >= high:
            x, wide = x + depth, wide - depth
        else:
            y, high = y + depth, high - depth
        waiting = waiting[len(row) :]
    return found


def _row(waiting: Sequence[tuple[int, float]], side: float) -> list[tuple[int, float]]:
    """Return as many of the first as make the worst cell of one strip the squarest."""
    count = 1
    while count < len(waiting) and _worst(waiting[: count + 1], side) <= _worst(waiting[:count], side):
        count += 1
    return list(waiting[:count])


def _worst(row: Sequence[tuple[int, float]], side: float) -> float:
    areas = [each for _, each in row]
    whole = sum(areas)
    return max(side**2 * max(areas) / whole**2, whole**2 / (side**2 * min(areas)))


def _rounded(number: int, x: float, y: float, width: float, height: float) -> Cell:  # noqa: PLR0917
    return Cell(number, round(x, 2), round(y, 2), round(width, 2), round(height, 2))
