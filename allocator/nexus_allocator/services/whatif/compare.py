"""Two policies on the same wishes, as figures people can weigh: cost, refusals, and who is hit."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nexus_allocator.domain.credits import MICRO
from nexus_allocator.domain.policy import Policy
from nexus_allocator.services.whatif.demand import SECONDS_A_DAY, Demand, Launches
from nexus_allocator.services.whatif.replay import TIERS, Answer, Year, replay
from nexus_allocator.services.whatif.storage import Kept, keep

# Somebody, or a paper, that loses more than this share of the wished hours is hindered.
HINDERED = 0.1
MONTH_S = 365.0 / 12 * SECONDS_A_DAY


@dataclass(frozen=True)
class Figure:
    """One line of the comparison; ``unit`` says what the two figures count."""

    name: str
    unit: str
    now: float
    changed: float

    @property
    def difference(self) -> float:
        return self.changed - self.now


@dataclass(frozen=True)
class Months:
    """Figures of each month under both policies, for a chart."""

    name: str
    unit: str
    now: tuple[float, ...]
    changed: tuple[float, ...]


@dataclass(frozen=True)
class Comparison:
    figures: tuple[Figure, ...]
    tiers: tuple[Figure, ...]
    months: tuple[Months, ...]
    assumptions: tuple[str, ...]


@dataclass(frozen=True)
class _Seen:
    """One year beside its demand."""

    demand: Demand
    year: Year
    policy: Policy
    kept: Kept

    @property
    def wishes(self) -> Launches:
        return self.demand.launches

    @property
    def refused(self) -> NDArray[np.bool_]:
        return self.year.answer >= Answer.NO_CREDITS

    @property
    def hit(self) -> NDArray[np.bool_]:
        return self.year.answer >= Answer.SHORTENED

    def hours_served(self) -> float:
        return float(self.year.served_s.sum()) / 3600

    def count(self, *answers: Answer) -> int:
        return int(np.isin(self.year.answer, answers).sum())

    def lost_s(self) -> NDArray[np.int64]:
        return self.demand.launches.used_s - self.year.served_s

    def people(self, chosen: NDArray[np.bool_]) -> int:
        return len(np.unique(self.demand.launches.person[chosen]))

    def hindered(self, who: NDArray[np.int64] | NDArray[np.int32]) -> int:
        """Return how many of ``who`` lose more than `HINDERED` of their hours; -1 is nobody."""
        known = who >= 0
        wished = np.bincount(who[known], self.demand.launches.used_s[known])
        lost = np.bincount(who[known], self.lost_s()[known])
        return int(np.count_nonzero(lost > HINDERED * wished))

    def scratch_micro(self) -> float:
        return float(self.kept.gb_months.sum()) * self.policy.rate_card.gb_month_micro

    def cost_micro(self) -> NDArray[np.float64]:
        """Return what each launch costs the platform, by the rate card in force now."""
        return self.year.cost_micro(self.policy.rate_card)


FIGURES: tuple[tuple[str, str, Callable[[_Seen], float]], ...] = (
    ("Launches wished for", "", lambda seen: len(seen.year.answer)),
    ("as wished", "", lambda seen: seen.count(Answer.SERVED)),
    ("shorter or smaller, as offered", "", lambda seen: seen.count(Answer.SHORTENED)),
    ("refused: credits used up", "", lambda seen: seen.count(Answer.NO_CREDITS)),
    ("refused: too many servers or GPUs", "", lambda seen: seen.count(Answer.NO_PLACE)),
    ("refused: size not in the tier", "", lambda seen: seen.count(Answer.NOT_OFFERED)),
    ("refused: allocation ended", "", lambda seen: seen.count(Answer.ENDED)),
    ("Hours served", "h", _Seen.hours_served),
    ("Hours wished for and not served", "h", lambda seen: float(seen.lost_s().sum()) / 3600),
    ("People refused at least once", "", lambda seen: seen.people(seen.refused)),
    ("People cut short or refused", "", lambda seen: seen.people(seen.hit)),
    ("People who lose over a tenth of their hours", "", lambda seen: seen.hindered(seen.wishes.person)),
    ("Papers that lose over a tenth of their hours", "", lambda seen: seen.hindered(seen.wishes.paper)),
    ("Requests for a higher tier", "", lambda seen: seen.year.requests),
    ("Credits granted", "credits", lambda seen: seen.year.granted_micro / MICRO),
    ("Credits charged", "credits", lambda seen: int(seen.year.charged_micro.sum()) / MICRO),
    ("Cost at the rates in force now", "credits", lambda seen: float(seen.cost_micro().sum()) / MICRO),
)  # fmt: skip


FIGURES_OF_FILES: tuple[tuple[str, str, Callable[[_Seen], float]], ...] = (
    ("Scratch at the end", "GB", lambda seen: float(seen.kept.gb_at_end.sum())),
    ("Cost of scratch at the rates in force now", "credits", lambda seen: seen.scratch_micro() / MICRO),
    ("People who want a purged file", "", lambda seen: seen.people(seen.kept.missed)),
)


def compare(
    demand: Demand, *, policy: Policy, changed: Policy, told: Callable[[float], None] = lambda _: None
) -> Comparison:
    """Return what ``changed`` would do that ``policy`` does not; ``told`` hears which share is done."""
    now = _seen(demand, policy, in_force=policy)
    told(0.5)
    then = _seen(demand, changed, in_force=policy)
    told(1.0)
    told_of = FIGURES + (FIGURES_OF_FILES if demand.files else ())
    return Comparison(
        figures=tuple(Figure(name, unit, seen(now), seen(then)) for name, unit, seen in told_of),
        tiers=_by_tier(now, then),
        months=_by_month(now, then),
        assumptions=demand.assumptions,
    )


def _seen(demand: Demand, policy: Policy, *, in_force: Policy) -> _Seen:
    year = replay(demand, policy)
    return _Seen(demand, year, in_force, keep(demand, year, policy))


def _by_tier(now: _Seen, then: _Seen) -> tuple[Figure, ...]:
    """Return who is hit and what is spent by the tier that the account had at the time."""

    def people(seen: _Seen, number: int) -> float:
        return seen.people(seen.hit & (seen.year.tier == number))

    def cost(seen: _Seen, number: int) -> float:
        return float(seen.cost_micro()[seen.year.tier == number].sum()) / MICRO

    named = (("people cut short or refused", "", people), ("cost", "credits", cost))
    return tuple(
        Figure(f"{tier.value.title()}: {name}", unit, told(now, number), told(then, number))
        for number, tier in enumerate(TIERS)
        if np.any(now.year.tier == number) or np.any(then.year.tier == number)
        for name, unit, told in named
    )


def _by_month(now: _Seen, then: _Seen) -> tuple[Months, ...]:
    demand = now.demand
    month = (demand.launches.at_s / MONTH_S).astype(np.int64)
    count = max(1, int(np.ceil(demand.days * SECONDS_A_DAY / MONTH_S)))

    def sums(weights: NDArray[np.float64]) -> tuple[float, ...]:
        return tuple(np.bincount(month, weights, minlength=count)[:count].tolist())

    told: tuple[tuple[str, str, Callable[[_Seen], NDArray[np.float64]]], ...] = (
        ("Launches refused", "launches", lambda seen: seen.refused.astype(np.float64)),
        ("Cost at the rates in force now", "credits", lambda seen: seen.cost_micro() / MICRO),
    )
    return tuple(Months(name, unit, sums(each(now)), sums(each(then))) for name, unit, each in told)
