"""How an allocation ends: notices ahead, read-only days of grace, and what comes after."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from nexus_allocator.domain.policy import Policy, Size, Tier
from nexus_allocator.domain.states import AccountKind, Approval


class Phase(StrEnum):
    """Where an allocation stands by the clock."""

    RUNNING = "running"
    GRACE = "grace"
    OVER = "over"


def renews_itself(tier: Tier) -> bool:
    """What everybody is given on signing in is given again."""
    return tier.approval is Approval.AUTOMATIC


def phase(tier: Tier, expires_at: datetime, now: datetime) -> Phase:
    if now < expires_at:
        return Phase.RUNNING
    return Phase.GRACE if now < expires_at + tier.grace else Phase.OVER


def notice_due(
    notice_days: Sequence[int], *, expires_at: datetime, told_days: int | None, now: datetime
) -> int | None:
    """Return which notice to give now, by its days; None for none.

    Notices missed while nobody looked are not made up for: only the nearest counts.
    """
    if now >= expires_at:
        return None
    due = [days for days in notice_days if now >= expires_at - timedelta(days=days)]
    if not due or (told_days is not None and told_days <= min(due)):
        return None
    return min(due)


@dataclass(frozen=True)
class ReadOnly:
    """What the days of grace offer to a person: one small server at a time, paid by the platform."""

    size: Size
    minutes_left: int


def read_only(
    policy: Policy, tier: Tier, kind: AccountKind, *, expires_at: datetime, used_s: float, now: datetime
) -> ReadOnly | None:
    """Return what may be launched in the days of grace; None outside of them, and for teams.

    A team's members have accounts of their own, from which they reach its folder.
    """
    if kind is not AccountKind.PERSONAL or renews_itself(tier):
        return None
    if phase(tier, expires_at, now) is not Phase.GRACE:
        return None
    left = int(tier.grace_hours * 60 - used_s / 60)
    return ReadOnly(policy.sizes_of(tier.slug)[0], max(0, left))
