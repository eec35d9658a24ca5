"""What a launch asks for, what it costs, and what would fit instead."""

import math
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from nexus_allocator.domain.credits import hold_micro
from nexus_allocator.domain.errors import BadHours
from nexus_allocator.domain.policy import HoursRange, Policy, Size


def planned_minutes(value: object, allowed: HoursRange) -> int:
    """Return planned hours, as a form or an API gave them, in minutes.

    Raises BadHours for anything but a finite number within the range, in its steps.
    """
    minutes = _minutes(value)
    if (
        minutes is None
        or not allowed.min_minutes <= minutes <= allowed.max_minutes
        or minutes % allowed.step_minutes
    ):
        raise BadHours(
            hours=str(value)[:40],
            min=allowed.min_minutes / 60,
            max=allowed.max_minutes / 60,
            step=allowed.step_minutes / 60,
        )
    return int(minutes)


def _minutes(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number * 60 if math.isfinite(number) else None


@dataclass(frozen=True)
class Price:
    """What one launch sets aside: the rate for the planned time and the grace to save."""

    rate_micro_per_hour: int
    planned_minutes: int
    grace_minutes: int

    @property
    def amount_micro(self) -> int:
        return hold_micro(self.rate_micro_per_hour, (self.planned_minutes + self.grace_minutes) * 60)


@dataclass(frozen=True)
class Fit:
    """A launch that the account could pay."""

    size: Size
    minutes: int

    def facts(self) -> dict[str, Any]:
        return {"size": self.size.slug, "label": self.size.label, "hours": self.minutes / 60}


def what_fits(
    policy: Policy,
    sizes: Iterable[Size],
    *,
    wanted: Size,
    minutes: int,
    grace_minutes: int,
    available_micro: int,
) -> Fit | None:
    """Return what to offer instead of ``wanted`` for ``minutes``, or None when nothing fits.

    The planned time matters more than the size: the largest smaller size that lasts as long, or
    else the size that lasts longest.
    """
    best: Fit | None = None
    for size in sorted(sizes, key=policy.rate_micro):
        if policy.rate_micro(size) > policy.rate_micro(wanted):
            break
        longest = longest_minutes(policy, size, grace_minutes=grace_minutes, available_micro=available_micro)
        if longest and (best is None or min(longest, minutes) >= best.minutes):
            best = Fit(size, min(longest, minutes))
    return best


def longest_minutes(policy: Policy, size: Size, *, grace_minutes: int, available_micro: int) -> int:
    """Return the longest launch of ``size`` that ``available_micro`` pays, in whole steps; else 0."""
    hours, rate = policy.hours, policy.rate_micro(size)
    lengths = range(hours.min_minutes, hours.max_minutes + 1, hours.step_minutes)
    # A longer launch never costs less, so the lengths that are paid come first.
    paid = bisect_right(
        lengths, available_micro, key=lambda minutes: Price(rate, minutes, grace_minutes).amount_micro
    )
    return lengths[paid - 1] if paid else 0
