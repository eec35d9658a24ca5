"""How places read on a page."""

from dataclasses import dataclass

from nexus_allocator.domain.care import Level
from nexus_allocator.domain.quotas import BLOCKED, Overfull
from nexus_allocator.domain.wording import overfull_sentence


@dataclass(frozen=True)
class Spoken:
    """What stands at the top of each page, and how loudly."""

    level: Level
    text: str


def spoken(place: Overfull) -> Spoken:
    level = Level.URGENT if place.filling in BLOCKED else Level.WARNING
    return Spoken(level, overfull_sentence(place))
