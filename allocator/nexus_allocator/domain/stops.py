"""Why a server stopped: what was announced, or what the evidence says."""

from dataclasses import dataclass
from datetime import datetime

from nexus_allocator.domain.states import StopReason


@dataclass(frozen=True)
class Evidence:
    """What was seen of a server's end, and of its start where that news may be lost; None: nobody knows."""

    stopped_at: datetime | None = None
    alive_at_stop: bool | None = None
    exit_signal: int | None = None
    exit_code: int | None = None
    process_started_at: datetime | None = None


def deduced_reason(evidence: Evidence) -> StopReason:
    """Return the reason of a stop nobody announced.

    A process alive when stop was called was stopped by its owner's hand; a dead one names its own
    signal or exit code; without either the reason is unknown.
    """
    if evidence.alive_at_stop:
        return StopReason.OWN_HAND
    if evidence.exit_signal:
        return StopReason.SIGNAL
    if evidence.exit_code is not None:
        return StopReason.EXIT
    return StopReason.UNKNOWN
