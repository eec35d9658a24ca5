"""A comparison of two policies for people: as text, as CSV, and as a chart in an SVG file of its own."""

import csv
import io
from collections.abc import Iterator, Sequence
from html import escape

from nexus_allocator.services.whatif.compare import Comparison, Figure, Months
from nexus_allocator.web.charts import axis_text

# Okabe and Ito's blue and vermilion differ for every kind of colour vision; the second is hatched too.
NOW, CHANGED, INK, GRID = "#0072b2", "#d55e00", "#1c1a24", "#ddd7d0"
WIDTH, PANEL, LEFT, RIGHT, TOP, BOTTOM = 860, 190, 70, 12, 58, 26
HEAD = ("", "now", "changed", "difference")


def as_text(found: Comparison, what: str) -> str:
    """Return the comparison as a table in plain text, with what it assumes below."""
    rows = [[name, *cells] for name, cells in map(cells, (*found.figures, *found.tiers))]
    widths = [max(len(row[column]) for row in [list(HEAD), *rows]) for column in range(len(HEAD))]
    break_at = len(found.figures) + 1

    def line(row: Sequence[str]) -> str:
        numbers = "  ".join(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
        return f"{row[0].ljust(widths[0])}  {numbers}".rstrip()

    lines = [line(row) for row in [list(HEAD), *rows]]
    lines.insert(break_at, "")
    notes = [f"- {assumption}" for assumption in found.assumptions]
    return "\n".join([f"What if: {what}", "", *lines, "", "Assumed:", *notes, ""])


def as_csv(found: Comparison) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["figure", "unit", "now", "changed", "difference"])
    for figure in (*found.figures, *found.tiers):
        values = [f"{value:.6g}" for value in (figure.now, figure.changed, figure.difference)]
        writer.writerow([figure.name, figure.unit, *values])
    return text.getvalue()


def cells(figure: Figure) -> tuple[str, list[str]]:
    """Return the figure's name with its unit, and now, changed and difference as people read them."""
    name = f"{figure.name} ({figure.unit})" if figure.unit else figure.name
    difference = f"{figure.difference:+,.0f}"
    if figure.now and round(figure.difference):
        difference += f" ({figure.difference / figure.now:+.1%})"
    return name, [f"{figure.now:,.0f}", f"{figure.changed:,.0f}", difference]


def as_svg(found: Comparison, what: str) -> str:
    """Return one panel of paired bars for each monthly figure; the description says them in words."""
    height = TOP + len(found.months) * (PANEL + BOTTOM + 26)
    panels = [
        part
        for number, months in enumerate(found.months)
        for part in _panel(months, TOP + number * (PANEL + BOTTOM + 26))
    ]
    told = " ".join(_told(months) for months in found.months)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
            f'height="{height}" role="img" aria-labelledby="title desc" '
            f'font-family="system-ui, sans-serif" font-size="12" fill="{INK}">',
            f'<title id="title">What if {escape(what)}</title>',
            f'<desc id="desc">{escape(told)}</desc>',
            '<defs><pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" '
            f'patternTransform="rotate(45)"><rect width="6" height="6" fill="{CHANGED}"/>'
            '<line x1="0" y1="0" x2="0" y2="6" stroke="#fff" stroke-width="2.5"/></pattern></defs>',
            f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
            f'<text x="12" y="22" font-size="15" font-weight="600">What if {escape(what)}</text>',
            *_key(),
            *panels,
            "</svg>",
            "",
        ]
    )


def _key() -> Iterator[str]:
    for x, fill, text in ((12, NOW, "now"), (70, "url(#hatch)", "changed")):
        yield f'<rect x="{x}" y="33" width="12" height="12" fill="{fill}"/>'
        yield f'<text x="{x + 18}" y="43">{text}</text>'


def _panel(months: Months, top: float) -> Iterator[str]:
    base, highest = top + 18 + PANEL - 18, max(1e-9, *months.now, *months.changed)
    step = _step(highest)
    levels = [step * number for number in range(int(-(-highest // step)) + 1)]
    rise = (PANEL - 18) / levels[-1]
    name = f"{escape(months.name)} ({months.unit} a month)"
    yield f'<text x="12" y="{top + 8:g}" font-weight="600">{name}</text>'
    for level in levels:
        y = base - level * rise
        yield f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="{GRID}"/>'
        yield f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{_axis(level)}</text>'
    slot = (WIDTH - LEFT - RIGHT) / len(months.now)
    for number, pair in enumerate(zip(months.now, months.changed, strict=True)):
        for place, (value, fill) in enumerate(zip(pair, (NOW, "url(#hatch)"), strict=True)):
            x, tall = LEFT + (number + 0.12 + 0.39 * place) * slot, value * rise
            yield (
                f'<rect x="{x:.1f}" y="{base - tall:.1f}" width="{0.36 * slot:.1f}" height="{tall:.1f}" '
                f'fill="{fill}"><title>month {number + 1}: {value:,.0f} {months.unit}</title></rect>'
            )
        middle = LEFT + (number + 0.5) * slot
        yield f'<text x="{middle:.1f}" y="{base + 16:g}" text-anchor="middle">{number + 1}</text>'


def _step(highest: float) -> float:
    step, index, factors = 1.0, 0, (2.0, 2.5, 2.0)
    while highest > step * 5:
        step *= factors[index % 3]
        index += 1
    return step


def _axis(level: float) -> str:
    return axis_text(round(level * 1_000_000))


def _told(months: Months) -> str:
    now, changed = sum(months.now), sum(months.changed)
    return f"{months.name}: {now:,.0f} {months.unit} in all now, {changed:,.0f} changed."
