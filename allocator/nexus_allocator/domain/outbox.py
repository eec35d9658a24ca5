"""What leaves the service after a commit: by which way, in which state, and when it is tried again."""

import random
from datetime import timedelta
from enum import StrEnum

FIRST_PAUSE = timedelta(seconds=15)
LONGEST_PAUSE = timedelta(hours=1)
# With the pauses above the last attempt comes about a day after the first.
MOST_ATTEMPTS = 32
LONGEST_PROBLEM = 300


class Channel(StrEnum):
    """By which way something leaves."""

    MAIL = "mail"
    WEBHOOK = "webhook"
    HUB = "hub"
    FILES = "files"
    PURGES = "purges"
    SNAPSHOTS = "snapshots"


class OutgoingState(StrEnum):
    """``for-digest`` waits for the next digest; ``dropped`` had nobody to go to, or nothing to do."""

    WAITING = "waiting"
    FOR_DIGEST = "for-digest"
    SENT = "sent"
    IN_DIGEST = "in-digest"
    DROPPED = "dropped"
    DEAD = "dead"


OVER = (OutgoingState.SENT, OutgoingState.IN_DIGEST, OutgoingState.DROPPED)


class HubCall(StrEnum):
    """What the hub is asked to do."""

    STOP_SERVER = "stop-server"
    REVOKE_TOKENS = "revoke-tokens"


class PurgeCall(StrEnum):
    """What is done with a plan of a purge, by a process that has the volume and the log's key."""

    RESTORE = "restore"
    CANCEL_PURGE = "cancel-purge"


class SnapshotCall(StrEnum):
    """What is done with a snapshot, by a process that has the volume and may read it."""

    BRING_BACK = "bring-back"


class FileCall(StrEnum):
    """What a volume is asked: to make and limit a place as its row says, to look at what is in it."""

    SETTLE_PLACE = "settle-place"
    LOOK = "look"


class DeliveryFailed(Exception):  # noqa: N818 - says what happened
    """An attempt came to nothing; ``is_final`` when another would fare no better."""

    def __init__(self, problem: str, *, is_final: bool = False) -> None:
        super().__init__(problem)
        self.problem, self.is_final = problem[:LONGEST_PROBLEM], is_final


def pause_after(attempts: int, rng: random.Random) -> timedelta:
    """Return how long to wait after so many failed attempts: twice as long each time, up to an hour.

    Chance takes off up to half, so that what failed together is not tried again together.
    """
    whole = min(LONGEST_PAUSE, FIRST_PAUSE * (1 << min(attempts - 1, 16)))
    return whole * (0.5 + rng.random() / 2)
