"""What a pod's status says of the notebook server in it, as Kubernetes lists it (camelCase keys)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

CONTAINER = "notebook"
HOLD = "nexus.roman/hold"
OUT_OF_MEMORY = "OOMKilled"
# A shell's way to say that a signal ended the process; container runtimes say it so, too.
SIGNALLED = 128
# How long after a pod was to be gone its node may take to say so.
CONFIRMATION = timedelta(seconds=5)

Pod = Mapping[str, Any]


@dataclass(frozen=True)
class End:
    """How the server's process ended; None where the pod does not say."""

    ended_at: datetime | None
    exit_code: int | None
    exit_signal: int | None
    ran_out_of_memory: bool


def started_at(pod: Pod | None) -> datetime | None:
    """Return when the server's process began; pulling its image comes before."""
    return _moment(_state(pod).get("running", {}).get("startedAt"))


def end_of(pod: Pod | None) -> End | None:
    """Return the end of the server's process, None while it runs, waits, or is not known."""
    told = _state(pod).get("terminated")
    if told is None:
        return None
    code = told.get("exitCode")
    signal = told.get("signal") or (code - SIGNALLED if code is not None and code > SIGNALLED else None)
    return End(
        ended_at=_moment(told.get("finishedAt")),
        exit_code=None if signal else code,
        exit_signal=signal,
        ran_out_of_memory=told.get("reason") == OUT_OF_MEMORY,
    )


def was_evicted(pod: Pod | None) -> str | None:
    """Return what the node said when it put the pod out, None for one that it did not."""
    status = (pod or {}).get("status") or {}
    return status.get("message") or "no reason given" if status.get("reason") == "Evicted" else None


def given_up_at(pod: Pod | None, now: datetime) -> datetime | None:
    """Return when the cluster gave the pod up, if its node had time to confirm that and is silent."""
    metadata = (pod or {}).get("metadata") or {}
    gone_by = _moment(metadata.get("deletionTimestamp"))
    if gone_by is None or now < gone_by + CONFIRMATION:
        return None
    return gone_by - timedelta(seconds=metadata.get("deletionGracePeriodSeconds") or 0)


def hold_of(pod: Pod | None) -> str | None:
    """Return the hold that the pod was made for, None where it does not say."""
    labels = ((pod or {}).get("metadata") or {}).get("labels") or {}
    hold: str | None = labels.get(HOLD)
    return hold


def is_going(pod: Pod) -> bool:
    return bool(pod["metadata"].get("deletionTimestamp"))


def _state(pod: Pod | None) -> Mapping[str, Any]:
    statuses = ((pod or {}).get("status") or {}).get("containerStatuses") or []
    for status in statuses:
        if status["name"] == CONTAINER:
            state: Mapping[str, Any] = status.get("state") or {}
            return state
    return {}


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
