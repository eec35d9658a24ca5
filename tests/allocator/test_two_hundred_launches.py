"""Two hundred launches at once from four processes, over HTTP, against two replicas, with room for ten."""

import json
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.support.allocator import INTERNAL_TOKEN, FakeHub, World, running_service, service_environment

from nexus_allocator.domain.states import TierSlug

PEOPLE, SERVERS_EACH, PROCESSES, ROOM = 20, 10, 4, 10
# A Small server for two hours and ten minutes of grace: 0.125 × 2.1667 credits, rounded up.
HOLD_MICRO = 270_834
# Until then the four processes have started and wait.
TOGETHER_AFTER_S = 8


def launches() -> list[dict[str, Any]]:
    wish = {"account": "crowd", "size": "small", "image": "nexus", "hours": 2}
    return [
        wish | {"hub_name": f"p{person}", "server_name": f"s{number}"}
        for number in range(SERVERS_EACH)
        for person in range(PEOPLE)
    ]


def launch_all(bases: list[str]) -> list[dict[str, Any]]:
    """Send every launch at one moment, from several processes, half to each replica."""
    wanted, begin_at = launches(), time.time() + TOGETHER_AFTER_S
    crowds = []
    for number in range(PROCESSES):
        asked = {
            "base": bases[number % len(bases)], "token": INTERNAL_TOKEN, "begin_at": begin_at,
            "launches": wanted[number::PROCESSES],
        }  # fmt: skip
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.launch_crowd"], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
        )  # fmt: skip
        assert process.stdin
        process.stdin.write(json.dumps(asked))
        process.stdin.close()
        process.stdin = None
        crowds.append(process)
    return [answer for process in crowds for answer in json.loads(process.communicate(timeout=180)[0])]


def test_ten_are_admitted_and_the_rest_refused_with_the_arithmetic(
    world: World, database_url: str, hub: FakeHub, tmp_path: Path
) -> None:
    names = [f"p{number}" for number in range(PEOPLE)]
    for name in names:
        world.astronomer(name)
    world.team("crowd", *names, tier=TierSlug.SPECIAL)
    world.grant("crowd", (ROOM * HOLD_MICRO + HOLD_MICRO - 1) / 1e6)
    # The launches are not in the fake hub's list; patience keeps the meter off them for the test's time.
    environment = service_environment(database_url, hub.api_url, NEXUS_HOLD_START_TIMEOUT_S="600")
    with ExitStack() as stack:
        bases = [stack.enter_context(running_service(environment, tmp_path / f"{n}.log")) for n in range(2)]
        began = time.perf_counter()
        answers = launch_all(bases)
    print(
        f"{len(answers)} launches, {time.perf_counter() - began - TOGETHER_AFTER_S:.1f} s,", figures(answers)
    )
    assert Counter(answer["status"] for answer in answers) == {201: ROOM, 402: 200 - ROOM}, answers[:3]
    for refusal in (answer["body"] for answer in answers if answer["status"] == 402):
        left = refusal["facts"]["available_micro"]
        assert left < HOLD_MICRO == refusal["facts"]["requested_micro"]
        assert "This server needs 0.28 credits, 0.27 left; a Small server for" in refusal["message"]
    result = world.figures("crowd")
    assert (result.held, result.available) == (ROOM * HOLD_MICRO, HOLD_MICRO - 1)


def figures(answers: list[dict[str, Any]]) -> str:
    times = sorted(answer["seconds"] for answer in answers)
    return f"median {times[len(times) // 2]:.2f} s, slowest {times[-1]:.2f} s"
