"""How figures, times and lengths read on a page."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal

from nexus_allocator.domain import science

MICRO = Decimal(1_000_000)


def credits_text(micro: int) -> str:
    """Return micro-credits as credits: two decimals, three below 0.1, one from 1,000 on.

    Rounded towards zero, so that what is left never looks like more than it is.
    """
    amount = Decimal(micro) / MICRO
    size = abs(amount)
    if 0 < size < Decimal("0.0005"):
        return "under 0.001"
    places = "0.001" if 0 < size < Decimal("0.1") else "0.01" if size < 1000 else "0.1"
    return f"{amount.quantize(Decimal(places), ROUND_DOWN):,}"


def credits_exact(micro: int) -> str:
    """Return micro-credits as credits with the three decimals of a table column."""
    return f"{(Decimal(micro) / MICRO).quantize(Decimal('0.001'), ROUND_HALF_UP):,}"


def rate_text(micro_per_hour: int) -> str:
    """Return a rate as credits per hour without trailing zeros."""
    return f"{(Decimal(micro_per_hour) / MICRO).normalize():f}"


def credits_round(micro: int) -> str:
    """Return an amount that people chose, such as a grant: no more decimals than it has."""
    return f"{(Decimal(micro) / MICRO).normalize():,f}"


def credits_field(micro: int) -> str:
    """Return micro-credits as an input field holds them: plain digits, nothing rounded away."""
    return f"{(Decimal(micro) / MICRO).normalize():f}"


def unit_text(micro: int) -> str:
    return "credit" if abs(micro) == MICRO else "credits"


def iso(moment: datetime | date) -> str:
    """Return what a ``datetime`` attribute holds; a moment is given in UTC."""
    if isinstance(moment, datetime):
        return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return moment.isoformat()


def day_text(moment: datetime | date) -> str:
    day = moment.astimezone(UTC).date() if isinstance(moment, datetime) else moment
    return f"{day.day} {day:%B %Y}"


def short_day_text(day: date) -> str:
    return f"{day.day} {day:%b}"


def moment_text(moment: datetime) -> str:
    moment = moment.astimezone(UTC)
    return f"{moment.day} {moment:%B %Y, %H:%M} UTC"


def length_text(length: timedelta) -> str:
    """Return a length as "1 h 05 min", rounded to the minute; below one minute in seconds."""
    seconds = max(0, round(length.total_seconds()))
    if seconds < 60:
        return f"{seconds} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min"


def hours_text(hours: float) -> str:
    return f"{hours:g} h"


def area_text(square_degrees: float) -> str:
    return f"about {science.about(square_degrees)} sq deg"


def gigabytes_text(size_gb: int) -> str:
    return f"{size_gb / 1000:g} TB" if size_gb >= 1000 else f"{size_gb} GB"


def listed(values: Sequence[object]) -> str:
    """Return values as "30, 14, 7 and 1"."""
    words = [str(value) for value in values]
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1] if words else "no"]))


def plural(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"
