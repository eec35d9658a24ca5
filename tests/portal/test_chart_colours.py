"""Two series in one drawing can be told apart by every kind of colour vision, in light and in dark."""

import re
from pathlib import Path

import pytest

from nexus_allocator.web import charts, whatif_report

CSS = (Path(charts.__file__).parent / "static" / "nexus.css").read_text()
# Linear RGB as seen by protanopes, deuteranopes and tritanopes: Machado, Oliveira and Fernandes (2009),
# IEEE Trans. Vis. Comput. Graph. 15, 1291, severity 1.
SEEN = {
    "all cones": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "no long": ((0.152, 1.053, -0.205), (0.115, 0.786, 0.099), (-0.004, -0.048, 1.052)),
    "no middle": ((0.367, 0.861, -0.228), (0.280, 0.673, 0.047), (-0.012, 0.043, 0.969)),
    "no short": ((1.256, -0.077, -0.179), (-0.078, 0.931, 0.148), (0.005, 0.691, 0.304)),
}
# Differences of CIELAB above 20 are seen at a glance; neighbours that are just told apart have 2.3.
AT_A_GLANCE = 20.0


def pairs() -> dict[str, tuple[str, str]]:
    found = re.findall(r"--nx-series-1: (#\w{6});\s+--nx-series-2: (#\w{6});", CSS)
    assert len(found) == 2, "light and dark"
    return {"light": found[0], "dark": found[1], "what if": (whatif_report.NOW, whatif_report.CHANGED)}


def lab(colour: str, vision: str) -> tuple[float, float, float]:
    """Return a colour in CIELAB (D65) as somebody with this vision sees it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in parts]
    r, g, b = (
        min(1.0, max(0.0, sum(k * each for k, each in zip(row, linear, strict=True)))) for row in SEEN[vision]
    )
    x, y, z = (
        (0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.95047,
        0.2126 * r + 0.7152 * g + 0.0722 * b,
        (0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.08883,
    )
    fx, fy, fz = (each ** (1 / 3) if each > 0.008856 else 7.787 * each + 16 / 116 for each in (x, y, z))
    return 116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)


@pytest.mark.parametrize("vision", SEEN)
@pytest.mark.parametrize("scheme", ["light", "dark", "what if"])
def test_series_differ_at_a_glance(scheme: str, vision: str) -> None:
    one, other = (lab(colour, vision) for colour in pairs()[scheme])
    assert sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) ** 0.5 > AT_A_GLANCE


def test_no_drawing_tells_two_things_apart_by_colour_alone() -> None:
    """What is held is striped, what is likely is dashed, and what a change makes is hatched."""
    assert "nx-meter__stripe" in CSS
    assert re.search(r"\.nx-key--held \{ background: repeating-linear-gradient", CSS)
    assert re.search(r"\.nx-chart__likely \{ stroke-dasharray", CSS)
    assert "hatch" in (Path(whatif_report.__file__)).read_text()
