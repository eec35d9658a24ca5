"""Where a plan stands: its log, folded. Bounded by nine bytes per planned file."""

from array import array
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from typing import Any

from nexus_allocator.clients.files.signed_log import Event, LogBroken
from nexus_allocator.domain.errors import PurgePhase
from nexus_allocator.domain.purges import Phase, Wait


class State(IntEnum):
    """Of one planned file."""

    PLANNED = 0
    LEFT = 1
    WAITING = 2
    BACK = 3
    GOING = 4
    DELETED = 5
    STORED = 6


PHASES = {
    "planned": Phase.PLANNED,
    "noticed": Phase.NOTICED,
    "quarantining": Phase.QUARANTINING,
    "quarantined": Phase.QUARANTINED,
    "deleting": Phase.DELETING,
    "chilling": Phase.CHILLING,
    "cold": Phase.COLD,
    "finished": Phase.FINISHED,
    "cancelled": Phase.CANCELLED,
}
STATES = {"taken": State.WAITING, "restored": State.BACK, "going": State.GOING, "deleted": State.DELETED}
# Each begins a wait of its own: notice to quarantine, quarantine to deletion.
WAITS = {"noticed", "quarantined"}


@dataclass
class Standing:
    """The fold of a log; ``ctimes`` are those of waiting files, which the taking has set, ``digests`` the
    SHA-256 of those that were ever stored.
    """

    files: int
    size_bytes: int
    digest: str
    phase: Phase = Phase.PLANNED
    wait: Wait | None = None
    quarantine_inode: int | None = None
    states: bytearray = field(default_factory=bytearray)
    ctimes: "array[int]" = field(default_factory=lambda: array("q"))
    digests: dict[int, str] = field(default_factory=dict)

    def require(self, *phases: Phase) -> None:
        """Raises PurgePhase when the plan is in none of the phases."""
        if self.phase not in phases:
            raise PurgePhase(phase=str(self.phase), must_be=" or ".join(phases))

    def count(self, state: State) -> int:
        return self.states.count(state)

    def fates(self, first: int, files: int) -> str:
        """Return what became of these files, a digit each: the numbers of State."""
        return bytes(state + ord("0") for state in self.states[first : first + files]).decode("ascii")

    def learn(self, event: Event) -> None:
        """Take in one event, in the order of the log. Writes into itself."""
        what, now = event["what"], datetime.fromisoformat(event["at"])
        if self.wait is not None:
            self.wait = self.wait.look(now)
        if what in PHASES:
            self.phase = PHASES[what]
        if what in WAITS:
            self.wait = Wait(now)
        if what == "quarantining":
            self.quarantine_inode = event["quarantine"]
        for each in event.get("files", ()):
            self._mark(what, each)

    def _mark(self, what: str, each: Any) -> None:
        if what == "stored":
            number, self.digests[each[0]] = each
            self.states[number] = State.STORED
        elif what in ("taken", "thawed"):
            number, self.ctimes[each[0]] = each
            self.states[number] = State.WAITING
        elif what == "left":
            # What was put back out of the quarantine is left for good, too.
            self.states[each[0]] = State.LEFT
        else:
            self.states[each] = STATES[what]


def fold(events: list[Event]) -> Standing:
    """Return where the plan stands after all of its log. Raises LogBroken for a log without a beginning."""
    if not events or events[0]["what"] != "planned":
        raise LogBroken("the log does not begin with its plan")
    first = events[0]
    standing = Standing(first["count"], first["size_bytes"], first["digest"])
    standing.states, standing.ctimes = bytearray(first["count"]), array("q", bytes(8 * first["count"]))
    for event in events:
        standing.learn(event)
    return standing
