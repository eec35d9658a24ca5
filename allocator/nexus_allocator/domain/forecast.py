"""How fast an account spends, and between which moments that pace runs it dry.

Spending comes in bursts: what counts is how many of them a history holds, not how many days. It is
taken as a gamma process, whose future sum over its past sum follows the F distribution; the number of
bursts comes from how much weeks differ, the shape of the week from its days.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from nexus_allocator.domain.credits import MICRO

PACE_DAYS = 7
# Eight whole weeks tell the differences between weeks; what is older tells of somebody else's habits.
HISTORY_DAYS = 56
# With less, one quiet week or one busy one would be the whole pace.
LEAST_DAYS = 28
DAYS_A_WEEK = 7
# Days of a week are told apart from here on, and weeks, not days, are compared.
FULL_WEEKS_DAYS = 21
# Eight chances in ten that the end falls inside: a tenth on either side of the normal distribution.
TENTH = 1.2816
# No history promises a pace to better than a twentieth (400 bursts), and no spending is less than one.
MOST_BURSTS, FEWEST_BURSTS, FEWEST_FREEDOM = 400.0, 1.0, 2
# Busy days come in runs, so that a history too short for weeks holds fewer bursts than it seems to.
RUN_DAYS = 1.6
# A pause this unlikely among the days before it is taken for one that may last.
UNLIKELY_PAUSE, SHORTEST_PAUSE = 0.05, 3


@dataclass(frozen=True)
class Burn:
    """``runs_out_on`` is None while nothing is spent, or when the allocation expires first."""

    micro_per_day: int
    runs_out_on: datetime | None

    @property
    def credits_per_day(self) -> float:
        return self.micro_per_day / MICRO


def burn(*, spent_micro: int, days: float, balance_micro: int, now: datetime, expires_at: datetime) -> Burn:
    """Return the pace of the last ``days`` and the date at which it would use up ``balance_micro``."""
    per_day = int(spent_micro / days) if days > 0 else 0
    if per_day <= 0 or balance_micro <= 0:
        return Burn(max(per_day, 0), now if per_day > 0 else None)
    # Far dates overflow datetime; what outlives the allocation is of no use to anybody.
    days_left = balance_micro / per_day
    if days_left >= (expires_at - now) / timedelta(days=1):
        return Burn(per_day, None)
    return Burn(per_day, now + timedelta(days=days_left))


@dataclass(frozen=True)
class History:
    """What whole consecutive UTC days cost up to yesterday, oldest first, and today so far; micro-credits."""

    last: date
    days_micro: tuple[int, ...]
    today_micro: int = 0

    def window(self) -> "History":
        """Return the days that tell the pace: from the first that cost anything, within bounds."""
        days = self.days_micro[-HISTORY_DAYS:]
        first = next((index for index, micro in enumerate(days) if micro > 0), 0)
        return History(self.last, days[min(first, max(0, len(days) - LEAST_DAYS)) :], self.today_micro)

    @property
    def idle_days(self) -> int:
        """Return for how many whole days up to now nothing was spent."""
        if self.today_micro > 0:
            return 0
        spent = (ago for ago, micro in enumerate(reversed(self.days_micro)) if micro > 0)
        return next(spent, len(self.days_micro))

    def before_the_pause(self) -> "History":
        idle = self.idle_days
        return History(self.last - timedelta(days=idle), self.days_micro[: len(self.days_micro) - idle])

    def weekday(self, index: int) -> int:
        return (self.last - timedelta(days=len(self.days_micro) - 1 - index)).weekday()


@dataclass(frozen=True)
class Forecast:
    """A pace with the interval that holds the true one in eight of ten cases, and what it leads to.

    The dates say when the balance is used up: not before ``earliest`` and not after ``latest`` in eight
    of ten cases. None stands for not before the end. ``paused`` when nothing was spent for so many
    ``idle_days`` that spending may be over: the pace and ``earliest`` are then as before the pause.
    """

    micro_per_day: int
    low_micro_per_day: int
    high_micro_per_day: int
    earliest: datetime | None
    likely: datetime | None
    latest: datetime | None
    days: int
    idle_days: int
    paused: bool


def forecast(history: History, *, balance_micro: int, now: datetime, ends_at: datetime) -> Forecast:
    """Return the pace of the ``history`` and when it uses up ``balance_micro``, if before ``ends_at``."""
    window = history.window()
    paused = _is_pause(window)
    pace = _pace(window.before_the_pause() if paused else window)
    horizon = max(0.0, (ends_at - now) / timedelta(days=1))

    def runs_out(sigmas: float) -> datetime | None:
        if pace.per_day <= 0:
            return None
        if balance_micro <= 0:
            return now
        days = pace.days_to_spend(balance_micro, sigmas, horizon=horizon, weekday=now.weekday())
        return None if days is None else now + timedelta(days=days)

    return Forecast(
        micro_per_day=int(pace.per_day),
        low_micro_per_day=0 if paused else int(pace.rate(-1)),
        high_micro_per_day=int(pace.rate(1)),
        earliest=runs_out(1),
        likely=None if paused else runs_out(0),
        latest=None if paused else runs_out(-1),
        days=len(window.days_micro),
        idle_days=window.idle_days,
        paused=paused,
    )


@dataclass(frozen=True)
class _Pace:
    """A gamma process: ``bursts`` in ``days`` days; ``week`` holds each weekday's share of seven."""

    per_day: float
    days: float
    bursts: float
    sigma: float
    week: tuple[float, ...]

    def rate(self, side: int) -> float:
        """Return the end of the pace's own interval: below (-1) or above (1)."""
        return self.per_day * _f_quantile(side * self.sigma, math.inf, self.bursts)

    def days_to_spend(self, amount: float, sigmas: float, *, horizon: float, weekday: int) -> float | None:
        """Return after how many days ``amount`` is spent when it goes ``sigmas`` faster; None beyond."""

        def spent(days: float) -> float:
            busy = self._busy_days(days, weekday)
            ratio = 1.0
            if sigmas:
                # Below half a burst the approximation fails; what little time that is matters to nobody.
                coming = max(0.5, self.bursts * busy / self.days)
                ratio = _f_quantile(sigmas * self.sigma, coming, self.bursts)
            return self.per_day * busy * ratio

        return _first(spent, amount, horizon)

    def _busy_days(self, days: float, weekday: int) -> float:
        """Return how many average days stand in the next ``days``, from this weekday on."""
        weeks, rest = divmod(days, DAYS_A_WEEK)
        whole = int(rest)
        extra = sum(self.week[(weekday + ahead) % DAYS_A_WEEK] for ahead in range(whole))
        return weeks * DAYS_A_WEEK + extra + (rest - whole) * self.week[(weekday + whole) % DAYS_A_WEEK]


def _pace(history: History) -> _Pace:
    """Return the pace of whole days; on an account's first day, that of today."""
    days = history.days_micro or (history.today_micro,)
    total = max(0, sum(days))
    flat = (1.0,) * DAYS_A_WEEK
    if total <= 0:
        return _Pace(0.0, len(days), FEWEST_BURSTS, TENTH, flat)
    bursts, freedom = _bursts(days, total)
    week = _week(history) if len(days) >= FULL_WEEKS_DAYS else flat
    return _Pace(total / len(days), len(days), bursts, _student(freedom), week)


def _bursts(days: Sequence[int], total: int) -> tuple[float, int]:
    """Return the square of the total over its variance, and the degrees of freedom that tell it."""
    size = DAYS_A_WEEK if len(days) >= FULL_WEEKS_DAYS else 1
    count = len(days) // size
    recent = days[len(days) - count * size :]
    blocks = [sum(recent[start : start + size]) for start in range(0, len(recent), size)]
    if count < 3:
        return FEWEST_BURSTS, FEWEST_FREEDOM
    mean = sum(blocks) / count
    variance = sum((block - mean) ** 2 for block in blocks) / (count - 1)
    # Of a total over ``days``, of which the blocks may leave out a few.
    bursts = total**2 / (variance * len(days) / size) if variance > 0 else MOST_BURSTS
    # Few blocks often look more alike than they are, and single days of one run are not so many bursts.
    bursts *= (count - 1) / (count + 1) / (1 if size > 1 else RUN_DAYS)
    return min(MOST_BURSTS, max(FEWEST_BURSTS, bursts)), count - 1


def _week(history: History) -> tuple[float, ...]:
    """Return what each weekday costs, Monday first, as a share of an average day."""
    days = history.days_micro
    whole = len(days) // DAYS_A_WEEK * DAYS_A_WEEK
    sums = [0.0] * DAYS_A_WEEK
    for index in range(len(days) - whole, len(days)):
        sums[history.weekday(index)] += max(0, days[index])
    mean = sum(sums) / DAYS_A_WEEK
    return tuple(each / mean for each in sums) if mean > 0 else (1.0,) * DAYS_A_WEEK


def _is_pause(history: History) -> bool:
    """Whether the idle days up to now would be unlikely, did the days before them go on."""
    idle = history.idle_days
    if not SHORTEST_PAUSE <= idle < len(history.days_micro):
        return False
    chance, count = 1.0, len(history.days_micro)
    before = range(count - idle)
    for index in range(count - idle, count):
        alike = [
            day
            for day in before
            if len(before) < FULL_WEEKS_DAYS or history.weekday(day) == history.weekday(index)
        ]
        busy = sum(history.days_micro[day] > 0 for day in alike)
        chance *= 1 - (busy + 0.5) / (len(alike) + 1)
    return chance < UNLIKELY_PAUSE


def _student(freedom: int) -> float:
    """Return the tenth's distance of Student's t, after Fisher and Cornish; ours is few weeks wide."""
    z = TENTH
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)


def _f_quantile(sigmas: float, coming: float, known: float) -> float:
    """Return the quantile of a future mean over a known one, for gamma shapes ``coming`` and ``known``.

    That is F with twice as many degrees of freedom, by Paulson's normal approximation of its cube root
    (Annals of Mathematical Statistics 13, 1942, 233).
    """
    one, two = 1 / (9 * coming), 1 / (9 * known)
    a, b, square = 1 - two, 1 - one, sigmas**2
    scale = a**2 - square * two
    if scale <= 0:
        return 0.0 if sigmas < 0 else math.inf
    root = math.sqrt(max(0.0, (a * b) ** 2 - scale * (b**2 - square * one)))
    cube_root = (a * b + math.copysign(root, sigmas)) / scale
    return max(0.0, cube_root) ** 3


def _first(spent: Callable[[float], float], amount: float, horizon: float) -> float | None:
    """Return the first time up to ``horizon`` at which the growing ``spent`` reaches ``amount``."""
    if spent(horizon) < amount:
        return None
    low, high = 0.0, horizon
    # Forty halvings bring ten years below a millisecond.
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if spent(middle) >= amount else (middle, high)
    return high
