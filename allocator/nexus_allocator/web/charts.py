"""Charts as plain geometry, drawn by a template as SVG without script; a table says the same."""

from collections.abc import Sequence
from dataclasses import dataclass

from nexus_allocator.services.forecasts import DaySpend
from nexus_allocator.web.formats import credits_exact, credits_text, day_text, short_day_text

MARGIN_LEFT, MARGIN_RIGHT, MARGIN_TOP, MARGIN_BOTTOM = 52.0, 8.0, 12.0, 28.0


@dataclass(frozen=True)
class Bar:
    x: float
    y: float
    width: float
    height: float
    label: str


@dataclass(frozen=True)
class Tick:
    at: float
    label: str
    anchor: str = "end"


@dataclass(frozen=True)
class BarChart:
    """A drawing in user units; ``title`` and ``description`` say in words what it shows."""

    width: float
    height: float
    left: float
    right: float
    base: float
    bars: tuple[Bar, ...]
    amounts: tuple[Tick, ...]
    days: tuple[Tick, ...]
    title: str
    description: str


def spend_chart(spend: Sequence[DaySpend], *, title: str, width: float, height: float) -> BarChart:
    """Draw one bar per day of ``spend`` (consecutive days, at least one), scaled to a round top amount."""
    base = height - MARGIN_BOTTOM
    step, top = amount_scale(max(entry.micro for entry in spend))
    slot = (width - MARGIN_LEFT - MARGIN_RIGHT) / len(spend)
    rise = (base - MARGIN_TOP) / top
    amounts = tuple(
        Tick(round(base - level * rise, 2), axis_text(level)) for level in range(0, top + 1, step)
    )
    return BarChart(
        width=width,
        height=height,
        left=MARGIN_LEFT,
        right=width - MARGIN_RIGHT,
        base=base,
        bars=bars_of(spend, slot=slot, base=base, rise=rise),
        amounts=amounts,
        days=day_ticks(spend, slot=slot, count=max(2, int(width // 130))),
        title=title,
        description=describe(spend),
    )


def bars_of(spend: Sequence[DaySpend], *, slot: float, base: float, rise: float) -> tuple[Bar, ...]:
    return tuple(
        Bar(
            x=round(MARGIN_LEFT + index * slot + slot * 0.12, 2),
            y=round(base - entry.micro * rise, 2),
            width=round(slot * 0.76, 2),
            height=round(entry.micro * rise, 2),
            label=f"{day_text(entry.day)}: {credits_text(entry.micro)} credits",
        )
        for index, entry in enumerate(spend)
        if entry.micro > 0
    )


def amount_scale(highest: int) -> tuple[int, int]:
    """Return (step, top) in micro-credits: a step of 1, 2 or 5 times a power of ten."""
    step = 1_000
    factors = (2.0, 2.5, 2.0)
    index = 0
    while highest > step * 5:
        step = int(step * factors[index % 3])
        index += 1
    return step, step * max(2, -(-highest // step))


def axis_text(level: int) -> str:
    """Return an amount in credits as the narrow edge of a chart has room for it."""
    amount, unit = level / 1_000_000, ""
    for least, divisor, name in ((10**9, 10**9, "bn"), (10**6, 10**6, "M"), (10**5, 10**3, "k")):
        if amount >= least:
            amount, unit = amount / divisor, f" {name}"
            break
    return f"{amount:,.6f}".rstrip("0").rstrip(".") + unit


def day_ticks(spend: Sequence[DaySpend], *, slot: float, count: int) -> tuple[Tick, ...]:
    last = len(spend) - 1
    every = max(1, -(-last // count))
    ticks = []
    for index in range(last, -1, -every):
        anchor = "end" if index == last and last > 0 else "start" if index == 0 and last > 0 else "middle"
        edge = {"start": 0.12, "middle": 0.5, "end": 0.88}[anchor]
        ticks.append(
            Tick(round(MARGIN_LEFT + (index + edge) * slot, 2), short_day_text(spend[index].day), anchor)
        )
    return tuple(reversed(ticks))


def describe(spend: Sequence[DaySpend]) -> str:
    """Return the chart in one or two sentences, as a person who cannot see it would want it told."""
    total = sum(entry.micro for entry in spend)
    period = f"from {day_text(spend[0].day)} to {day_text(spend[-1].day)}"
    if total == 0:
        return f"Nothing was spent {period}."
    highest = max(spend, key=lambda entry: entry.micro)
    active = sum(entry.micro > 0 for entry in spend)
    return (
        f"{credits_exact(total)} credits were spent {period}, on {active} of {len(spend)} days. "
        f"The most on one day was {credits_exact(highest.micro)} credits, on {day_text(highest.day)}."
    )


@dataclass(frozen=True)
class Meter:
    """Shares of a grant in percent: spent, set aside for running servers, free."""

    spent: float
    held: float
    free: float
    description: str


def balance_meter(*, granted: int, balance: int, held: int) -> Meter | None:
    """Return the shares of ``granted``; None where nothing was ever granted."""
    if granted <= 0:
        return None
    left = min(max(balance, 0), granted)
    kept = min(max(held, 0), left)
    description = (
        f"Of {credits_text(granted)} credits granted, {credits_text(granted - balance)} are spent, "
        f"{credits_text(held)} are held for running servers and {credits_text(balance - held)} are free."
    )
    return Meter(
        spent=round(100 * (granted - left) / granted, 2),
        held=round(100 * kept / granted, 2),
        free=round(100 * (left - kept) / granted, 2),
        description=description,
    )
