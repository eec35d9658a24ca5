"""When files on scratch are purged."""

import math

from nexus_allocator.domain.policy import Tier


def longest_unused_days(tier: Tier) -> float:
    """Return for how many days a file on the tier's scratch may lie unused; infinite where none is purged."""
    return math.inf if tier.scratch_days is None else float(tier.scratch_days)
