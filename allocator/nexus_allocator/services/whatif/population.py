"""A synthetic population: a model of a year with stated assumptions, the same for the same seed.

It is a model, not a forecast: what it is good for is the difference between two policies on the same
people and wishes. `ASSUMPTIONS` says in words what the figures of `Population` mean.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from nexus_allocator.domain.policy import HoursRange, Policy
from nexus_allocator.domain.states import AccountKind, TierSlug
from nexus_allocator.services.whatif.demand import SECONDS_A_DAY, Demand, Files, Grant, Launches

START = datetime(2027, 1, 4, tzinfo=UTC)
SIZES = ("small", "medium", "large")
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Population:
    """How many, how often, how long; a lognormal is given by its median and the sigma of its logarithm."""

    people: int = 10_000
    papers: int = 1_000
    days: int = 365
    seed: int = 1
    here_at_start: float = 0.6
    launches_a_week: float = 0.12
    launches_sigma: float = 1.6
    most_launches_a_week: float = 50.0
    hours: float = 1.2
    hours_sigma: float = 0.7
    hours_sigma_between_people: float = 0.5
    paper_hours: float = 60.0
    paper_hours_sigma: float = 1.2
    paper_launch_hours: float = 4.0
    paper_days: tuple[int, int] = (60, 240)
    paper_on_entry: float = 0.35
    paper_on_research: float = 0.45
    papers_a_team: float = 1.5
    team_size: tuple[int, int] = (3, 8)
    plan_ahead: tuple[float, float] = (1.0, 2.0)
    file_gb: float = 0.3
    file_gb_sigma: float = 1.5
    used_again: float = 0.5
    used_again_days: float = 25.0


ASSUMPTIONS = (
    "{people:,} people; {here_at_start:.0%} are there on the first day, the rest come evenly over the year",
    "launches a week of one person: lognormal, median {launches_a_week}, sigma {launches_sigma}, at most "
    "{most_launches_a_week:g}; at any hour, weekends a quarter as often",
    "hours of one server: lognormal, median {hours}, sigma {hours_sigma}, and people differ by another "
    "{hours_sigma_between_people}; planned with 1 to 2 times as much, in the steps of the launch page",
    "{papers:,} papers a year, by people in proportion to how often they launch; their computing takes "
    "{paper_hours:g} hours (lognormal, sigma {paper_hours_sigma}) in servers of {paper_launch_hours:g} hours "
    "or so, over 2 to 8 months",
    "{paper_on_entry:.0%} of the papers are done on Entry accounts (Small), {paper_on_research:.0%} on "
    "Research awards (half Medium), the rest on team accounts ({papers_a_team} papers each, 3 to 8 people, "
    "Large too)",
    "a server leaves {file_gb} GB on scratch (lognormal, sigma {file_gb_sigma}), used again {used_again:.0%} "
    "of the time, after {used_again_days:g} days on average, up to four times; nobody deletes by hand",
    "refused for credits, people take a shorter or smaller server where one fits, and give up the launch "
    "where none does; half of the accounts ask for the next tier then, and four of five of these get it "
    "after 5 days",
)


def draw(population: Population, policy: Policy) -> Demand:
    """Return the wishes of a year. Planned hours follow ``policy``'s launch page; nothing else does."""
    rng = np.random.default_rng(population.seed)
    people = population.people
    here = rng.random(people) < population.here_at_start
    arrived = np.where(here, 0.0, rng.random(people) * population.days)
    often = np.minimum(
        population.launches_a_week * np.exp(population.launches_sigma * rng.standard_normal(people)),
        population.most_launches_a_week,
    )
    own = _own_launches(rng, population, often, arrived)
    papers = _papers(rng, population, often, arrived)
    teams = max(0, int(np.max(papers.account, initial=people - 1)) - people + 1)
    launches = _launches(rng, population, policy.hours, [own, *_paper_launches(rng, population, papers)])
    grants = _grants(population, arrived, papers)
    return Demand(
        start=START,
        days=population.days,
        sizes=SIZES,
        kinds=(AccountKind.PERSONAL,) * people + (AccountKind.TEAM,) * teams,
        launches=launches,
        grants=grants,
        patience=rng.random((people + teams, 2)),
        assumptions=tuple(each.format(**vars(population)) for each in ASSUMPTIONS),
        files=_files(rng, population, launches),
    )


@dataclass(frozen=True)
class _Wishes:
    """Launches before they are put in order; all arrays have one element for each."""

    days: Floats
    account: Integers
    person: Integers
    hours: Floats
    size: Integers
    paper: Integers


@dataclass(frozen=True)
class _Papers:
    """One element for each paper; ``tier`` indexes `TIERS`."""

    lead: Integers
    account: Integers
    tier: Integers
    first_day: Floats
    days: Floats
    hours: Floats


TIERS = (TierSlug.ENTRY, TierSlug.RESEARCH, TierSlug.TEAM)
# How often each of SIZES is used in papers, by tier.
PAPER_SIZES = np.array([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.3, 0.4, 0.3]])


def _own_launches(rng: Generator, population: Population, often: Floats, arrived: Floats) -> _Wishes:
    weeks = (population.days - arrived) / 7
    person = np.repeat(np.arange(len(often)), rng.poisson(often * weeks))
    count = len(person)
    days = arrived[person] + rng.random(count) * (population.days - arrived[person])
    habit = population.hours_sigma_between_people * rng.standard_normal(len(often))
    spread = population.hours_sigma * rng.standard_normal(count)
    hours = population.hours * np.exp(habit[person] + spread)
    none = np.zeros(count, np.int64)
    days = np.maximum(_mostly_on_workdays(rng, days), arrived[person])
    return _Wishes(days, person, person, hours, none, none - 1)


def _mostly_on_workdays(rng: Generator, days: Floats) -> Floats:
    """Return the moments, three of four of those at weekends moved back into the week before."""
    weekday = (START.weekday() + days.astype(np.int64)) % 7
    moved = (weekday >= 5) & (rng.random(len(days)) < 0.75) & (days >= 6)
    return np.where(moved, days - weekday + rng.integers(0, 5, len(days)), days)


def _papers(rng: Generator, population: Population, often: Floats, arrived: Floats) -> _Papers:
    count = population.papers
    lead = rng.choice(population.people, count, p=often / often.sum())
    tier = np.searchsorted(
        np.cumsum([population.paper_on_entry, population.paper_on_research]), rng.random(count)
    )
    teams = max(1, round(int(np.count_nonzero(tier == 2)) / population.papers_a_team))
    team = population.people + rng.integers(0, teams, count)
    days = rng.uniform(*population.paper_days, count)
    latest = np.maximum(arrived[lead], population.days - days / 2)
    first = arrived[lead] + rng.random(count) * (latest - arrived[lead])
    hours = population.paper_hours * np.exp(population.paper_hours_sigma * rng.standard_normal(count))
    return _Papers(lead, np.where(tier == 2, team, lead), tier, first, days, hours)


def _paper_launches(rng: Generator, population: Population, papers: _Papers) -> list[_Wishes]:
    """Return the servers of all papers; on a team's account several people start them."""
    number = np.maximum(1, rng.poisson(papers.hours / population.paper_launch_hours))
    paper = np.repeat(np.arange(len(number)), number)
    count = len(paper)
    days = papers.first_day[paper] + rng.random(count) * papers.days[paper]
    hours = (papers.hours / number)[paper] * np.exp(0.5 * rng.standard_normal(count))
    members = rng.integers(*population.team_size, len(number))
    colleague = (papers.lead[paper] + rng.integers(0, members[paper]) * 7919) % population.people
    person = np.where(papers.tier[paper] == 2, colleague, papers.lead[paper])
    steps = np.cumsum(PAPER_SIZES, axis=1)[papers.tier[paper]]
    size = (rng.random(count)[:, None] > steps).sum(axis=1)
    return [_Wishes(days, papers.account[paper], person, hours, size, paper)]


def _launches(rng: Generator, population: Population, offered: HoursRange, wishes: list[_Wishes]) -> Launches:
    """Put all wishes of the year in order, their planned time as the launch page takes it."""

    def joined(name: str) -> NDArray[np.float64]:
        return np.concatenate([getattr(each, name) for each in wishes])

    at_s = (joined("days") * SECONDS_A_DAY).astype(np.int64)
    order = np.argsort(at_s, kind="stable")
    order = order[at_s[order] < population.days * SECONDS_A_DAY]
    used_s = np.minimum(joined("hours") * 3600, offered.max_minutes * 60).astype(np.int64)
    ahead = rng.uniform(*population.plan_ahead, len(at_s))
    steps = np.ceil(used_s / 60 * ahead / offered.step_minutes) * offered.step_minutes
    planned = np.clip(steps, offered.min_minutes, offered.max_minutes).astype(np.int32)
    return Launches(
        at_s=at_s[order],
        account=joined("account").astype(np.int64)[order],
        person=joined("person").astype(np.int64)[order],
        size=joined("size").astype(np.int8)[order],
        planned_minutes=planned[order],
        used_s=used_s[order],
        paper=joined("paper").astype(np.int32)[order],
    )


def _files(rng: Generator, population: Population, launches: Launches) -> Files:
    count, most_uses = len(launches), 4
    gaps = rng.exponential(population.used_again_days, (count, most_uses))
    again = np.cumprod(rng.random((count, most_uses)) < population.used_again, axis=1).astype(bool)
    size = population.file_gb * np.exp(population.file_gb_sigma * rng.standard_normal(count))
    return Files(size, np.where(again, gaps, np.nan))


def _grants(population: Population, arrived: Floats, papers: _Papers) -> tuple[Grant, ...]:
    """Return everybody's Entry grant, and the awards before the papers that need one."""
    found = [Grant(int(day * SECONDS_A_DAY), account, TierSlug.ENTRY) for account, day in enumerate(arrived)]
    awards: dict[int, tuple[float, TierSlug]] = {}
    for account, tier, day in zip(papers.account, papers.tier, papers.first_day, strict=True):
        if tier and day < awards.get(int(account), (np.inf, TierSlug.ENTRY))[0]:
            awards[int(account)] = (float(day), TIERS[tier])
    found += [Grant(int(day * SECONDS_A_DAY), account, tier) for account, (day, tier) in awards.items()]
    return tuple(sorted(found, key=lambda grant: grant.at_s))
