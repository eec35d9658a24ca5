"""Replays what people want under one policy: the domain's own rules decide each launch and price it."""

import heapq
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nexus_allocator.domain.credits import SECONDS_PER_HOUR, charge_micro
from nexus_allocator.domain.errors import AllocatorError, QuotaExceeded
from nexus_allocator.domain.launches import Price
from nexus_allocator.domain.policy import Policy, RateCard, Size
from nexus_allocator.domain.room import Room, require_room
from nexus_allocator.domain.states import TierSlug
from nexus_allocator.services.whatif.demand import SECONDS_A_DAY, Demand, Grant

# Of the accounts that are refused credits, so many ask for the next tier; of those, so many get it,
# after so long. A share of the population that no anchor has measured: see the assumptions.
ASKING, AWARDED, DECIDED_AFTER_S = 0.5, 0.8, 5 * SECONDS_A_DAY


class Answer(IntEnum):
    """What became of a launch; ``SHORTENED`` is a smaller or shorter server that was offered and taken."""

    SERVED = 0
    SHORTENED = 1
    NO_CREDITS = 2
    NO_PLACE = 3
    NOT_OFFERED = 4
    ENDED = 5


REFUSALS = {
    "quota_exceeded": Answer.NO_CREDITS, "server_limit": Answer.NO_PLACE, "gpu_limit": Answer.NO_PLACE,
    "size_not_allowed": Answer.NOT_OFFERED, "unknown_size": Answer.NOT_OFFERED,
    "allocation_expired": Answer.ENDED,
}  # fmt: skip
TIERS = tuple(TierSlug)


@dataclass(frozen=True)
class Year:
    """What one policy made of a demand; the arrays have one element for each launch.

    ``size`` indexes the policy's ``sizes`` and is that of the server that ran; ``tier`` indexes `TIERS`.
    """

    answer: NDArray[np.int8]
    tier: NDArray[np.int8]
    charged_micro: NDArray[np.int64]
    served_s: NDArray[np.int64]
    size: NDArray[np.int8]
    sizes: tuple[Size, ...]
    granted_micro: int
    requests: int

    def cost_micro(self, card: RateCard) -> NDArray[np.float64]:
        """Return what each launch cost at the rates of ``card``, whatever it was charged."""
        rates = np.array([card.per_hour_micro(size) for size in self.sizes], np.float64)
        return rates[self.size] * self.served_s / SECONDS_PER_HOUR


@dataclass(slots=True)
class _Allocation:
    """One account's allocation as the year goes on."""

    name: str
    expires_at: datetime
    tier: TierSlug = TierSlug.ENTRY
    balance_micro: int = 0
    held_micro: int = 0
    live: int = 0
    gpus: int = 0
    asked: TierSlug | None = None


@dataclass(slots=True)
class _Running:
    """A server's end as the replay keeps it: what is given back, and what is charged then."""

    account: int
    held_micro: int
    charge_micro: int
    gpus: int


@dataclass
class _Platform:
    policy: Policy
    demand: Demand
    accounts: list[_Allocation]
    ends: list[tuple[int, int, _Running]] = field(default_factory=list)
    coming: list[tuple[int, int, Grant]] = field(default_factory=list)
    granted_micro: int = 0
    requests: int = 0
    number: int = 0

    def next_number(self) -> int:
        self.number += 1
        return self.number

    def until(self, at_s: int) -> None:
        """Let servers end and credits come that are due by ``at_s``."""
        while self.ends and self.ends[0][0] <= at_s:
            running = heapq.heappop(self.ends)[2]
            account = self.accounts[running.account]
            account.held_micro -= running.held_micro
            account.balance_micro -= running.charge_micro
            account.live -= 1
            account.gpus -= running.gpus
        while self.coming and self.coming[0][0] <= at_s:
            self._give(heapq.heappop(self.coming)[2])

    def _give(self, grant: Grant) -> None:
        account = self.accounts[grant.account]
        terms = None if grant.tier is None else self.policy.tiers[grant.tier]
        amount = grant.amount_micro
        if amount is None:
            amount = round((terms.credits_micro or 0) * grant.share) if terms else 0
        account.balance_micro += amount
        self.granted_micro += amount
        if grant.raises and terms:
            lasts = terms.length if grant.lasts_s is None else timedelta(seconds=grant.lasts_s)
            ends_at = self.demand.start + timedelta(seconds=grant.at_s) + lasts
            account.tier = max(account.tier, terms.slug, key=TIERS.index)
            account.expires_at = max(account.expires_at, ends_at)

    def ask(self, number: int, at_s: int) -> None:
        """Ask for the tier above when the account is one that does, once for each tier."""
        account = self.accounts[number]
        above = self.policy.requestable(self.demand.kinds[number], account.tier)
        asks, gets = self.demand.patience[number]
        if not above or account.asked == above[0].slug or asks >= ASKING:
            return
        account.asked = above[0].slug
        self.requests += 1
        if gets < AWARDED:
            grant = Grant(at_s + DECIDED_AFTER_S, number, above[0].slug)
            heapq.heappush(self.coming, (grant.at_s, self.next_number(), grant))


def replay(demand: Demand, policy: Policy) -> Year:
    """Return what ``policy`` would have made of the demand."""
    accounts = [_Allocation(f"account {number}", demand.start) for number in range(len(demand.kinds))]
    platform = _Platform(policy, demand, accounts)
    for grant in demand.grants:
        heapq.heappush(platform.coming, (grant.at_s, platform.next_number(), grant))
    launches = demand.launches
    rows = zip(
        launches.at_s.tolist(), launches.account.tolist(), launches.size.tolist(),
        launches.planned_minutes.tolist(), launches.used_s.tolist(), strict=True,
    )  # fmt: skip
    answers = [_answer(platform, _Wish(*row)) for row in rows]
    columns = list(zip(*answers, strict=True)) or [(), (), (), (), ()]
    platform.until(demand.days * SECONDS_A_DAY)
    return Year(
        answer=np.array(columns[0], np.int8),
        tier=np.array(columns[1], np.int8),
        charged_micro=np.array(columns[2], np.int64),
        served_s=np.array(columns[3], np.int64),
        size=np.array(columns[4], np.int8),
        sizes=tuple(policy.sizes.values()),
        granted_micro=platform.granted_micro,
        requests=platform.requests,
    )


class _Wish(NamedTuple):
    """One launch as it is wished for."""

    at_s: int
    account: int
    size: int
    planned_minutes: int
    used_s: int


def _answer(platform: _Platform, wish: _Wish) -> tuple[int, int, int, int, int]:
    """Decide one launch as the service would; return answer, tier, micro-credits, seconds, size."""
    platform.until(wish.at_s)
    policy, demand, allocation = platform.policy, platform.demand, platform.accounts[wish.account]
    now = demand.start + timedelta(seconds=wish.at_s)
    tier, answer, minutes = TIERS.index(allocation.tier), Answer.SERVED, wish.planned_minutes
    try:
        size = policy.size(demand.sizes[wish.size])
        price = Price(policy.rate_micro(size), minutes, demand.grace_minutes)
        require_room(policy, _room(allocation), size, price, now=now)
    except AllocatorError as refusal:
        fits = refusal.facts.get("fits") if isinstance(refusal, QuotaExceeded) else None
        if isinstance(refusal, QuotaExceeded):
            platform.ask(wish.account, wish.at_s)
        if not fits:
            return REFUSALS[refusal.slug], tier, 0, 0, 0
        size, minutes = policy.size(fits["size"]), round(fits["hours"] * 60)
        price, answer = Price(policy.rate_micro(size), minutes, demand.grace_minutes), Answer.SHORTENED
    served_s = min(wish.used_s, minutes * 60)
    charge = _start(platform, wish, size, price, served_s=served_s)
    return answer, tier, charge, served_s, list(policy.sizes).index(size.slug)


def _room(allocation: _Allocation) -> Room:
    return Room(
        allocation.name, allocation.tier, allocation.expires_at, allocation.live, allocation.gpus,
        allocation.balance_micro - allocation.held_micro,
    )  # fmt: skip


def _start(platform: _Platform, wish: _Wish, size: Size, price: Price, *, served_s: int) -> int:
    """Hold the price until the server ends; return what it will be charged then."""
    charge = charge_micro(price.rate_micro_per_hour, served_s)
    allocation, held = platform.accounts[wish.account], price.amount_micro
    allocation.held_micro += held
    allocation.live += 1
    allocation.gpus += size.gpu
    running = _Running(wish.account, held, charge, size.gpu)
    heapq.heappush(platform.ends, (wish.at_s + served_s, platform.next_number(), running))
    return charge
