"""Daily snapshots of places: their names, and which are kept for how long."""

import re
from datetime import date, datetime, timedelta

DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


def name_of(now: datetime) -> str:
    """Return what the snapshot of a UTC day is called."""
    return f"{now:%Y-%m-%d}"


def to_drop(names: list[str], *, keep_days: int, keep_weeks: int, today: date) -> list[str]:
    """Return the names of daily snapshots whose time is over: one a day is kept, then the Mondays'.

    Names that are no days are somebody else's, and stay.
    """
    days = {name: date.fromisoformat(name) for name in names if DAY.fullmatch(name)}
    daily, weekly = today - timedelta(days=keep_days), today - timedelta(weeks=keep_weeks)
    return sorted(
        name for name, day in days.items() if day <= daily and not (day.weekday() == 0 and day > weekly)
    )
