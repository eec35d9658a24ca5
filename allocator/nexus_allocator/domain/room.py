"""Whether an allocation has room for one more launch: the rule that admission and the simulation share."""

from dataclasses import dataclass
from datetime import datetime

from nexus_allocator.domain.errors import (
    AllocationExpired,
    GpuLimit,
    QuotaExceeded,
    ServerLimit,
    SizeNotAllowed,
)
from nexus_allocator.domain.launches import Price, what_fits
from nexus_allocator.domain.policy import Policy, Size
from nexus_allocator.domain.states import TierSlug


@dataclass(frozen=True, slots=True)
class Room:
    """What an allocation has left at one moment: ``live`` servers with their ``gpus``, credits not held.

    ``sizes`` are those it may start; None is all of its tier's.
    """

    account: str
    tier: TierSlug
    expires_at: datetime
    live: int
    gpus: int
    available_micro: int
    sizes: tuple[str, ...] | None = None


def require_room(policy: Policy, room: Room, size: Size, price: Price, *, now: datetime) -> None:
    """Let a launch of ``size`` at ``price`` pass, or raise the AllocatorError that says why not."""
    tier = policy.tiers[room.tier]
    if now >= room.expires_at:
        raise AllocationExpired(account=room.account, expired_at=room.expires_at.date().isoformat())
    allowed = tier.sizes if room.sizes is None else room.sizes
    if size.slug not in allowed:
        raise SizeNotAllowed(account=room.account, tier=tier.label, size=size.slug, allowed=list(allowed))
    if tier.live_servers is not None and room.live >= tier.live_servers:
        raise ServerLimit(account=room.account, limit=tier.live_servers, live=room.live)
    if size.gpu and tier.gpus is not None and room.gpus + size.gpu > tier.gpus:
        raise GpuLimit(account=room.account, limit=tier.gpus, live=room.gpus, wanted=size.gpu)
    if price.amount_micro > room.available_micro:
        raise _quota_exceeded(policy, room, size, price)


def _quota_exceeded(policy: Policy, room: Room, size: Size, price: Price) -> QuotaExceeded:
    fit = what_fits(
        policy,
        policy.sizes_of(room.tier, only=room.sizes),
        wanted=size,
        minutes=price.planned_minutes,
        grace_minutes=price.grace_minutes,
        available_micro=room.available_micro,
    )
    return QuotaExceeded(
        requested_micro=price.amount_micro,
        available_micro=room.available_micro,
        fits=fit.facts() if fit else None,
    )
