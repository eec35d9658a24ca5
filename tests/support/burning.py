"""Histories of spending as people make them, drawn day by day without end."""

import random
from collections.abc import Callable, Iterator
from datetime import date

Process = Callable[[random.Random, date], Iterator[int]]
CREDIT = 1_000_000


def weekly(rng: random.Random, first: date) -> Iterator[int]:
    """Somebody at work: from Monday to Friday, some days off, days that differ by a half."""
    typical = rng.uniform(0.3, 3) * CREDIT
    weekday = first.weekday()
    while True:
        busy = weekday < 5 and rng.random() < 0.9
        yield round(typical * rng.lognormvariate(0, 0.5)) if busy else 0
        weekday = (weekday + 1) % 7


def bursty(rng: random.Random, _first: date) -> Iterator[int]:
    """Runs of one to four days about every nine days, of very different sizes."""
    typical = rng.uniform(0.5, 20) * CREDIT
    while True:
        for _ in range(int(rng.expovariate(1 / 6.5))):
            yield 0
        size = typical * rng.lognormvariate(0, 0.8)
        for _ in range(rng.randint(1, 4)):
            yield round(size * rng.uniform(0.6, 1.4))


def daily(rng: random.Random, _first: date) -> Iterator[int]:
    """A service that is never off."""
    typical = rng.uniform(1, 5) * CREDIT
    while True:
        yield round(typical * rng.uniform(0.9, 1.1))
