"""Daily snapshots of places: their names, which are kept for how long, and what is asked of one."""

import os
import re
from datetime import date, datetime, timedelta

from nexus_allocator.domain.errors import BadName
from nexus_allocator.domain.places import Place, PlaceKind
from nexus_allocator.domain.purges import Parts

LONGEST_PATH = 4000
# A scratch can be made again by definition; nobody pays for keeping it twice.
KEPT = (PlaceKind.HOME, PlaceKind.TEAM)
DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


def name_of(now: datetime) -> str:
    """Return what the snapshot of a UTC day is called."""
    return f"{now:%Y-%m-%d}"


def goes_on(name: str, *, keep_days: int, keep_weeks: int) -> date | None:
    """Return the day on which a daily snapshot is dropped; None of one whose name is no day: it stays."""
    if not DAY.fullmatch(name):
        return None
    day = date.fromisoformat(name)
    daily, weekly = day + timedelta(days=keep_days), day + timedelta(weeks=keep_weeks)
    return max(daily, weekly) if day.weekday() == 0 else daily


def path_below(text: str, place: Place) -> Parts:
    """Return what a person typed as a path below their place; "." is all of it.

    As they see it in their server is fine too: ``~/notes``, ``/home/NAME/notes``, ``/teams/NAME/notes``.
    Raises BadName.
    """
    path = text.strip()
    seen = ("~", f"/home/{place.name}") if place.kind is PlaceKind.HOME else (f"/{place}",)
    for top in seen:
        if path == top or path.startswith(f"{top}/"):
            path = path[len(top) :].lstrip("/") or "."
    names = tuple(os.fsencode(name) for name in path.split("/") if name not in ("", "."))
    if not path or path.startswith("/") or len(path) > LONGEST_PATH or b".." in names or "\0" in path:
        must_be = f"a path below {place} without .., such as notes/today.ipynb; . for all of it"
        raise BadName(name=path[:40], must_be=must_be)
    return names


def to_drop(names: list[str], *, keep_days: int, keep_weeks: int, today: date) -> list[str]:
    """Return the names of daily snapshots whose time is over: one a day is kept, then the Mondays'.

    Names that are no days are somebody else's, and stay.
    """
    days = {name: date.fromisoformat(name) for name in names if DAY.fullmatch(name)}
    daily, weekly = today - timedelta(days=keep_days), today - timedelta(weeks=keep_weeks)
    return sorted(
        name for name, day in days.items() if day <= daily and not (day.weekday() == 0 and day > weekly)
    )
