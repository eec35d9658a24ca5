"""What the servers of a year leave on scratch, under a purge rule: GB kept, and files missed."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nexus_allocator.domain.policy import Policy
from nexus_allocator.domain.retention import longest_unused_days
from nexus_allocator.services.whatif.demand import SECONDS_A_DAY, Demand, Files
from nexus_allocator.services.whatif.replay import TIERS, Year

DAYS_A_MONTH = 30


@dataclass(frozen=True)
class Kept:
    """One element for each launch: what its files took, whether one was missed, what is there at the end."""

    gb_months: NDArray[np.float64]
    missed: NDArray[np.bool_]
    gb_at_end: NDArray[np.float64]


def keep(demand: Demand, year: Year, policy: Policy) -> Kept:
    """Follow the files that served launches leave, from use to use, to the purge or the end of the time."""
    files = demand.files or no_files(len(demand.launches))
    limits = np.array([longest_unused_days(policy.tiers[slug]) for slug in TIERS])[year.tier]
    written = demand.launches.at_s / SECONDS_A_DAY
    there = year.served_s > 0
    last, missed = written.copy(), np.zeros(len(written), bool)
    for gap in files.next_use_days.T:
        wanted = there & ~missed & ~np.isnan(gap)
        gone = wanted & (gap > limits) & (last + gap < demand.days)
        missed |= gone
        last = np.where(wanted & ~gone & (last + gap < demand.days), last + gap, last)
    until = np.minimum(last + limits, demand.days)
    size = np.where(there, files.size_gb, 0.0)
    return Kept(
        gb_months=size * (until - written) / DAYS_A_MONTH,
        missed=missed,
        gb_at_end=np.where(last + limits >= demand.days, size, 0.0),
    )


def no_files(count: int) -> Files:
    return Files(np.zeros(count), np.full((count, 1), np.nan))
