"""Offline leases: what a person may still start on their own account while the service can't be reached.

The service offers one beforehand, the hub grants it within the offer's caps and keeps it in the spawner's
state, and the service collects it from there as a hold. Hub and service share these values and their form.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, TypeVar
from uuid import UUID

from nexus_allocator.domain.credits import hold_micro
from nexus_allocator.domain.stops import Evidence

MINUTE = timedelta(minutes=1)
SHORTEST_HOURS = 0.25
Kept = TypeVar("Kept", bound="State")


class OfflineKind(StrEnum):
    LEASE = "lease"
    REFUSAL = "refusal"


class LeaseRefused(Exception):  # noqa: N818 - a refusal is an answer
    """A launch that no offline lease covers; the text says why, for people."""


class State:
    """A value that stands in the spawner's state as JSON: moments and ids as text."""

    def as_state(self) -> dict[str, Any]:
        return {name: _told(value) for name, value in asdict(self).items()}  # type: ignore[call-overload]

    @classmethod
    def from_state(cls: type[Kept], state: Mapping[str, Any]) -> Kept:
        """Return the value; raise KeyError, TypeError or ValueError for what can't be one."""
        return cls(**{field.name: _read(str(field.type), state[field.name]) for field in fields(cls)})  # type: ignore[arg-type]


def _told(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, dict):
        return {name: _told(part) for name, part in value.items()}
    return str(value) if isinstance(value, UUID) else value


def _read(kind: str, value: Any) -> Any:
    if value is None:
        return None
    if "Evidence" in kind:
        moments = ("stopped_at", "process_started_at")
        return Evidence(**value | {name: _moment(value[name]) for name in moments if value.get(name)})
    if "datetime" in kind:
        return _moment(value)
    return UUID(value) if "UUID" in kind else value


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text} has no time zone")
    return moment


@dataclass(frozen=True)
class Offer(State):
    """What one person may start while the service is away: one size, on their own account, with these caps.

    ``minutes`` is the longest lease and ``total_minutes`` all leases together until the service has
    collected them, both with the grace to save; ``until`` is when the offer itself ends.
    """

    account: str
    size: str
    size_label: str
    cpu: int
    memory_bytes: int
    image: str
    home: str
    uid: int
    gid: int
    umask: str
    rate_micro_per_hour: int
    rate_card_version: int
    grace_minutes: int
    minutes: int
    total_minutes: int
    until: datetime

    @property
    def longest_hours(self) -> float:
        return (self.minutes - self.grace_minutes) / 60

    def cap_micro(self) -> int:
        """Return what all leases together may cost at most."""
        return hold_micro(self.rate_micro_per_hour, self.total_minutes * 60)


@dataclass(frozen=True)
class Lease(State):
    """One granted lease; ``ended`` and ``stop_reason`` once its server has."""

    id: UUID
    at: datetime
    server_name: str
    account: str
    size: str
    cpu: int
    memory_bytes: int
    image: str
    planned_minutes: int
    grace_minutes: int
    rate_micro_per_hour: int
    rate_card_version: int
    process_started_at: datetime | None = None
    ended: Evidence | None = None
    stop_reason: str | None = None

    @property
    def minutes(self) -> int:
        return self.planned_minutes + self.grace_minutes

    @property
    def until(self) -> datetime:
        return self.at + self.minutes * MINUTE

    @property
    def amount_micro(self) -> int:
        return hold_micro(self.rate_micro_per_hour, self.minutes * 60)


@dataclass(frozen=True)
class OfflineRefusal(State):
    """A launch that was refused because the service was away."""

    id: UUID
    at: datetime
    account: str
    size: str
    why: str


def granted(
    offer: Offer | None,
    leases: Iterable[Lease],
    *,
    lease_id: UUID,
    server_name: str,
    account: str,
    size: str,
    hours: float,
    now: datetime,
) -> Lease:
    """Return the lease that covers this launch. Raises LeaseRefused.

    ``leases`` are all of the person's that the service has not collected.
    """
    if offer is None or now >= offer.until:
        raise LeaseRefused("nothing can be started")
    offered = f"only a {offer.size_label} server on your own account can be started"
    if account != offer.account or size != offer.size:
        raise LeaseRefused(offered)
    minutes = round(hours * 60) + offer.grace_minutes
    if hours < SHORTEST_HOURS or minutes > offer.minutes:
        raise LeaseRefused(f"{offered}, for {SHORTEST_HOURS:g} to {offer.longest_hours:g} h")
    earlier = list(leases)
    if any(lease.ended is None and now < lease.until for lease in earlier):
        raise LeaseRefused(f"{offered}, and one at a time")
    if sum(lease.minutes for lease in earlier) + minutes > offer.total_minutes:
        raise LeaseRefused(
            f"{offered}, for {offer.total_minutes / 60:g} h in all, which are used up or nearly so"
        )
    return Lease(
        id=lease_id, at=now, server_name=server_name, account=account, size=size, cpu=offer.cpu,
        memory_bytes=offer.memory_bytes, image=offer.image, planned_minutes=minutes - offer.grace_minutes,
        grace_minutes=offer.grace_minutes, rate_micro_per_hour=offer.rate_micro_per_hour,
        rate_card_version=offer.rate_card_version,
    )  # fmt: skip


def ended(lease: Lease, evidence: Evidence, *, started: datetime | None, reason: str | None) -> Lease:
    return replace(lease, process_started_at=started, ended=evidence, stop_reason=reason)
