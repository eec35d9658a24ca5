"""Credits as exposures and square degrees from L1 to L2, by what the policy says was measured."""

import math

from nexus_allocator.domain.credits import SECONDS_PER_HOUR
from nexus_allocator.domain.policy import Policy


def exposure_micro(policy: Policy) -> int:
    """Return what one exposure costs, rounded up: its processor time's share of a busy server."""
    science, size = policy.science, policy.size(policy.science.size)
    cpu_s = science.cpu_s_per_detector * science.detectors_per_exposure
    return math.ceil(policy.rate_micro(size) * cpu_s / size.cpu / SECONDS_PER_HOUR)


def square_degrees(policy: Policy, amount_micro: int) -> float:
    """Return the area that ``amount_micro`` would take from L1 to L2; none for what is overspent."""
    whole = max(0, amount_micro) // exposure_micro(policy)
    return whole * policy.science.square_degrees_per_exposure


def exposures_over(policy: Policy, area_square_degrees: float) -> int:
    """Return how many exposures cover an area once."""
    return math.ceil(area_square_degrees / policy.science.square_degrees_per_exposure)


def about(value: float) -> str:
    """Return a figure to two digits, rounded down, so that what is left never looks like more."""
    if value < 0.01:
        return "0"
    step = 10.0 ** (math.floor(math.log10(value)) - 1)
    # The small part mends quotients such as 0.29 / 0.01 that fall just short of a whole number.
    rounded = math.floor(value / step + 1e-9) * step
    return f"{rounded:,.0f}" if value >= 10 else f"{rounded:.1f}" if value >= 1 else f"{rounded:.2f}"
