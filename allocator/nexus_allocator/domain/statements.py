"""Statements: what came and went per day and resource, and cells that no spreadsheet executes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from nexus_allocator.domain.policy import GIB, RateCard
from nexus_allocator.domain.states import EntryKind

# What a spreadsheet takes for the beginning of a formula; the last two are skipped before it looks.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


class Resource(StrEnum):
    """What an amount on a statement was for."""

    VCPU = "vcpu"
    MEMORY = "memory"
    GPU = "gpu"
    SERVER = "server"
    STORAGE = "storage"
    GRANT = "grant"
    CORRECTION = "correction"
    TRANSFER = "transfer"
    LAPSE = "lapse"


KIND_RESOURCE = {
    EntryKind.GRANT: Resource.GRANT,
    EntryKind.CORRECTION: Resource.CORRECTION,
    EntryKind.TRANSFER: Resource.TRANSFER,
    EntryKind.LAPSE: Resource.LAPSE,
    EntryKind.USAGE: Resource.SERVER,
    EntryKind.STORAGE: Resource.STORAGE,
}


@dataclass(frozen=True)
class Reserved:
    """What a server reserved, under which rate card."""

    cpu: int
    memory_bytes: int
    gpu: int
    rate_card_version: int


@dataclass(frozen=True)
class Line:
    """One resource's sum on one UTC day; positive came in."""

    day: date
    resource: Resource
    amount_micro: int


@dataclass(frozen=True)
class Movement:
    """One entry as a statement needs it; a correction about a server has its ``reserved`` too."""

    day: date
    kind: EntryKind
    amount_micro: int
    reserved: Reserved | None


def by_resource(amount_micro: int, reserved: Reserved, cards: Mapping[int, RateCard]) -> dict[Resource, int]:
    """Return ``amount_micro`` shared out over what the server reserved, by its own card's rates.

    The shares are whole and add up to the amount. Without the card it all stands under the server.
    """
    card = cards.get(reserved.rate_card_version)
    if card is None:
        return {Resource.SERVER: amount_micro}
    weights = {
        Resource.VCPU: reserved.cpu * card.vcpu_hour_micro * GIB,
        Resource.MEMORY: reserved.memory_bytes * card.gib_hour_micro,
        Resource.GPU: reserved.gpu * card.gpu_hour_micro * GIB,
    }
    return _shared(amount_micro, {resource: weight for resource, weight in weights.items() if weight})


def _shared(amount: int, weights: Mapping[Resource, int]) -> dict[Resource, int]:
    whole = sum(weights.values())
    if not whole:
        return {Resource.SERVER: amount}
    sign, size = (-1 if amount < 0 else 1), abs(amount)
    shares = {resource: size * weight // whole for resource, weight in weights.items()}
    largest = max(weights, key=lambda resource: weights[resource])
    shares[largest] += size - sum(shares.values())
    return {resource: sign * share for resource, share in shares.items()}


def lines(movements: Iterable[Movement], cards: Mapping[int, RateCard]) -> list[Line]:
    """Return the movements summed per day and resource, in order; what adds up to nothing is left out."""
    sums: dict[tuple[date, Resource], int] = {}
    for movement in movements:
        if movement.reserved is None:
            shares = {KIND_RESOURCE[movement.kind]: movement.amount_micro}
        else:
            shares = by_resource(movement.amount_micro, movement.reserved, cards)
        for resource, share in shares.items():
            sums[movement.day, resource] = sums.get((movement.day, resource), 0) + share
    return [Line(day, resource, total) for (day, resource), total in sorted(sums.items()) if total]


def safe_cell(text: str) -> str:
    """Return text that a spreadsheet shows and never runs: what could be a formula gets an apostrophe."""
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text
