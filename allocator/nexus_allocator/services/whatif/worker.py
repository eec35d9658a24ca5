"""Answers one what-if question in a process of its own: a year costs seconds of a processor.

Reads one question as JSON; writes lines of JSON: how far it is in per cent, and at last the answer.
"""

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from nexus_allocator.policy import load_policy
from nexus_allocator.policy.changes import changing
from nexus_allocator.services.whatif import population
from nexus_allocator.services.whatif.compare import Comparison, Figure, Months, compare

DRAWN = 15
# Launches that are decided come first for the processor.
NICE = 10


def answer(question: dict[str, Any], told: TextIO) -> None:
    """Write how far it is, and the answer, to ``told``."""

    def far(percent: int) -> None:
        told.write(json.dumps({"percent": percent}) + "\n")
        told.flush()

    file = Path(question["tiers_file"]) if question["tiers_file"] else None
    in_force, changed = load_policy(file), load_policy(file, change=changing(question["changes"]))
    wished = population.Population(people=question["people"], papers=question["papers"], seed=1, days=365)
    far(1)
    demand = population.draw(wished, in_force)
    far(DRAWN)
    found = compare(
        demand, policy=in_force, changed=changed,
        told=lambda share: far(DRAWN + round((99 - DRAWN) * share)),
    )  # fmt: skip
    told.write(json.dumps({"answer": asdict(found)}) + "\n")


def read_answer(kept: dict[str, Any]) -> Comparison:
    """Return an answer as `answer` wrote it."""
    return Comparison(
        figures=tuple(Figure(**each) for each in kept["figures"]),
        tiers=tuple(Figure(**each) for each in kept["tiers"]),
        months=tuple(
            Months(each["name"], each["unit"], tuple(each["now"]), tuple(each["changed"]))
            for each in kept["months"]
        ),
        assumptions=tuple(kept["assumptions"]),
    )


if __name__ == "__main__":
    os.nice(NICE)
    answer(json.loads(sys.stdin.read()), sys.stdout)
