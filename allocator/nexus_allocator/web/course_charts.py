"""The course of a balance and where its pace leads, as plain geometry; a table says the same."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from nexus_allocator.domain.forecast import Forecast
from nexus_allocator.services.forecasts import DayLeft
from nexus_allocator.web.charts import (
    MARGIN_BOTTOM,
    MARGIN_LEFT,
    MARGIN_RIGHT,
    MARGIN_TOP,
    Tick,
    amount_scale,
    axis_text,
)
from nexus_allocator.web.formats import credits_text, day_text, short_day_text

# What lies ahead is shown for at least as long as this, and a little beyond where the interval ends.
SHORTEST_AHEAD = timedelta(days=14)
BEYOND = 1.08
DAY = timedelta(days=1)


@dataclass(frozen=True)
class CourseChart:
    """A drawing in user units: what was left, the likely line on from today, and the interval about it."""

    width: float
    height: float
    left: float
    right: float
    base: float
    top: float
    now: float
    past: str
    likely: str
    doubt: str
    amounts: tuple[Tick, ...]
    days: tuple[Tick, ...]
    title: str
    description: str


@dataclass(frozen=True)
class _Scale:
    """From moments and micro-credits to user units."""

    first: datetime
    across: float
    base: float
    rise: float

    def point(self, moment: datetime, micro: float) -> str:
        return f"{self.x(moment):.1f},{self.y(micro):.1f}"

    def x(self, moment: datetime) -> float:
        return round(MARGIN_LEFT + (moment - self.first) / DAY * self.across, 1)

    def y(self, micro: float) -> float:
        return round(self.base - max(0.0, micro) * self.rise, 1)


def course_chart(
    course: Sequence[DayLeft],
    expected: Forecast,
    *,
    now: datetime,
    ends_at: datetime,
    title: str,
    width: float,
    height: float,
) -> CourseChart:
    """Draw ``course`` (consecutive days, the last is today) and what is expected from ``now`` on."""
    left = course[-1].micro
    first = now - (len(course) - 1) * DAY
    end = _end(expected, now=now, ends_at=ends_at)
    base = height - MARGIN_BOTTOM
    step, top = amount_scale(max(0, *(each.micro for each in course)))
    across = (width - MARGIN_LEFT - MARGIN_RIGHT) / max(1.0, (end - first) / DAY)
    scale = _Scale(first, across, base, (base - MARGIN_TOP) / top)
    past = ((now - (len(course) - 1 - index) * DAY, each.micro) for index, each in enumerate(course))
    likely = _line(expected.likely, expected.micro_per_day, left=left, now=now, end=end)
    return CourseChart(
        width=width, height=height, left=MARGIN_LEFT, right=width - MARGIN_RIGHT, base=base, top=MARGIN_TOP,
        now=scale.x(now),
        past=" ".join(scale.point(moment, micro) for moment, micro in past),
        likely="" if expected.paused else " ".join(scale.point(*each) for each in likely),
        doubt=_doubt(expected, scale, left=left, now=now, end=end),
        amounts=tuple(Tick(scale.y(level), axis_text(level)) for level in range(0, top + 1, step)),
        days=_days(scale, first=first, now=now, end=end, count=max(2, int(width // 150))),
        title=title,
        description=describe(expected, left=left, now=now, ends_at=ends_at),
    )  # fmt: skip


def _end(expected: Forecast, *, now: datetime, ends_at: datetime) -> datetime:
    """Return where the drawing ends: beyond the interval, at the latest with the allocation."""
    last = expected.latest or (expected.likely if expected.paused else None) or ends_at
    return max(now + SHORTEST_AHEAD, min(now + (last - now) * BEYOND, ends_at))


def _line(
    moment: datetime | None, per_day: int, *, left: int, now: datetime, end: datetime
) -> list[tuple[datetime, float]]:
    """Return the way from what is left to nothing at ``moment``, or to what the pace leaves at the end."""
    if moment is None:
        return [(now, left), (end, max(0.0, left - per_day * ((end - now) / DAY)))]
    return [(now, left), (moment, 0.0), *([(end, 0.0)] if moment < end else [])]


def _doubt(expected: Forecast, scale: _Scale, *, left: int, now: datetime, end: datetime) -> str:
    if expected.high_micro_per_day <= 0 or left <= 0:
        return ""
    fast = _line(expected.earliest, expected.high_micro_per_day, left=left, now=now, end=end)
    slow = _line(expected.latest, expected.low_micro_per_day, left=left, now=now, end=end)
    return " ".join(scale.point(*each) for each in [*fast, *reversed(slow)])


def _days(scale: _Scale, *, first: datetime, now: datetime, end: datetime, count: int) -> tuple[Tick, ...]:
    """Return dates under the axis, today's among them, none close to another."""
    total = (end - first) / DAY
    every = max(1.0, total / count)
    marks = [now]
    while marks[0] - every * DAY >= first:
        marks.insert(0, marks[0] - every * DAY)
    while marks[-1] + every * DAY <= end:
        marks.append(marks[-1] + every * DAY)
    return tuple(_tick(scale, moment, now=now, ahead=(end - moment) / (end - first)) for moment in marks)


def _tick(scale: _Scale, moment: datetime, *, now: datetime, ahead: float) -> Tick:
    anchor = "end" if ahead < 0.05 else "start" if ahead > 0.95 else "middle"
    day: date = moment.date()
    return Tick(scale.x(moment), "today" if moment == now else short_day_text(day), anchor)


def describe(expected: Forecast, *, left: int, now: datetime, ends_at: datetime) -> str:
    """Return the chart in sentences, as a person who cannot see it would want it told."""
    told = [f"{credits_text(left)} credits are left on {day_text(now)}."]
    if expected.micro_per_day <= 0:
        return f"{told[0]} Nothing was spent lately, so there is no pace to reckon with."
    if expected.paused:
        told.append(f"Nothing was spent for {expected.idle_days} days.")
    if expected.likely:
        told.append(f"At the present pace they are used up on {day_text(expected.likely)}.")
    told.append(f"In eight of ten cases that is {_between(expected, ends_at)}.")
    return " ".join(told)


def _between(expected: Forecast, ends_at: datetime) -> str:
    if expected.earliest is None:
        return f"not before {day_text(ends_at)}"
    if expected.latest is None:
        return f"not before {day_text(expected.earliest)}"
    return f"between {day_text(expected.earliest)} and {day_text(expected.latest)}"
