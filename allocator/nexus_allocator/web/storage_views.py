"""How places read on a page: sizes, bars, treemaps, and what stands at the top of each page."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any

from nexus_allocator.domain.care import Level
from nexus_allocator.domain.places import PlaceKind
from nexus_allocator.domain.quotas import BLOCKED, GB, Filling, Overfull
from nexus_allocator.domain.wording import overfull_sentence
from nexus_allocator.services.scratch import Wish
from nexus_allocator.services.storage_reading import PlaceReading
from nexus_allocator.web.forms import Errors
from nexus_allocator.web.treemap import Cell, cells

KINDS = {PlaceKind.HOME: "Home", PlaceKind.TEAM: "Team folder", PlaceKind.SCRATCH: "Scratch"}
FILLINGS = {
    Filling.FINE: ("", ""),
    Filling.SOFT: ("Over its soft limit", "nx-tag--accent"),
    Filling.LOCKED: ("Make room to write", "nx-tag--bad"),
    Filling.FULL: ("Full", "nx-tag--bad"),
}
WIDE, NARROW = (500.0, 280.0), (340.0, 380.0)
# Below this a label would not fit into its cell, in user units.
LEAST = (64.0, 30.0)
LONGEST = 60
UNITS = ("kB", "MB", "GB", "TB", "PB")


class By(StrEnum):
    """What a treemap is by."""

    FOLDERS = "folders"
    TYPES = "types"
    AGES = "ages"


BY_LABELS = {By.FOLDERS: "By folder", By.TYPES: "By type", By.AGES: "By last change"}


@dataclass(frozen=True)
class Part:
    name: str
    size: str
    percent: str
    inner: tuple["Part", ...] = ()


@dataclass(frozen=True)
class Drawn:
    """A cell with its part; ``label`` only where it fits."""

    cell: Cell
    part: Part
    label: bool
    tint: int


@dataclass(frozen=True)
class Treemap:
    width: float
    height: float
    drawn: tuple[Drawn, ...]


@dataclass(frozen=True)
class PlaceView:
    """A place as its page draws it; ``reading`` has what needs no wording."""

    reading: PlaceReading
    id: str
    title: str
    tag: tuple[str, str]
    parts: tuple[Part, ...]
    wide: Treemap
    narrow: Treemap

    @property
    def bar(self) -> float:
        """Return how much of the usage bar is filled, in percent."""
        return float(min(self.reading.percent or 0, 100))


@dataclass(frozen=True)
class Spoken:
    """What stands at the top of each page, and how loudly."""

    level: Level
    text: str


def spoken(place: Overfull) -> Spoken:
    level = Level.URGENT if place.filling in BLOCKED else Level.WARNING
    return Spoken(level, overfull_sentence(place))


def place_view(reading: PlaceReading, by: By) -> PlaceView:
    found = parts_of(reading.parts.get(by, ()))
    sizes = [int(each["bytes"]) for each in reading.parts.get(by, ())]
    return PlaceView(
        reading=reading,
        id=f"{reading.place.kind}-{reading.place.name}",
        title=f"{KINDS[reading.place.kind]} {reading.place.name}",
        tag=FILLINGS[reading.filling],
        parts=found,
        wide=treemap(sizes, found, WIDE),
        narrow=treemap(sizes, found, NARROW),
    )


def parts_of(told: Sequence[dict[str, Any]], total: int | None = None) -> tuple[Part, ...]:
    whole = total or sum(int(each["bytes"]) for each in told) or 1
    return tuple(
        Part(
            name=str(each["name"])[:LONGEST],
            size=bytes_text(int(each["bytes"])),
            percent=f"{100 * int(each['bytes']) / whole:.0f} %",
            inner=parts_of(each.get("folders") or (), whole),
        )
        for each in told
    )


def treemap(sizes: Sequence[int], parts: Sequence[Part], size: tuple[float, float]) -> Treemap:
    width, height = size
    drawn = tuple(
        Drawn(cell, parts[cell.number], cell.width >= LEAST[0] and cell.height >= LEAST[1], cell.number % 4)
        for cell in cells(sizes, width=width, height=height)
    )
    return Treemap(width, height, drawn)


def bytes_text(size: int) -> str:
    """Return a size as people read it: three digits that count, in decimal units as the rate card has."""
    if abs(size) < 1000:
        return f"{size} bytes"
    power = min((len(str(abs(size))) - 1) // 3, len(UNITS))
    amount, unit = Decimal(size) / 1000**power, UNITS[power - 1]
    digits = 0 if abs(amount) >= 100 else 1 if abs(amount) >= 10 else 2
    return f"{amount:.{digits}f} {unit}"


@dataclass(frozen=True)
class ScratchForm:
    """A wish for scratch as it was typed."""

    account: str
    size_gb: str = ""
    days: str = ""

    def errors(self, *, most_bytes: int | None, most_days: int) -> Errors:
        errors: Errors = {}
        most_gb = None if most_bytes is None else most_bytes / GB
        size = self._size()
        if size is None or size <= 0 or (most_gb is not None and size > most_gb):
            errors["size_gb"] = "Give a size above zero" + (f", at most {most_gb:,g} GB." if most_gb else ".")
        if not self.days.strip().isdigit() or not 1 <= int(self.days) <= most_days:
            errors["days"] = f"Give whole days from 1 to {most_days}."
        return errors

    def wish(self) -> Wish:
        return Wish(self.account, float(self._size() or 0), int(self.days))

    def _size(self) -> Decimal | None:
        try:
            size = Decimal(self.size_gb.strip())
        except InvalidOperation:
            return None
        return size if size.is_finite() and abs(size) < 10**9 else None
