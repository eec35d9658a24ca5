"""Kinds and states of what administrators do for people: announcements, what-if questions, erasures."""

from enum import StrEnum


class Level(StrEnum):
    """How loudly an announcement speaks."""

    INFO = "info"
    WARNING = "warning"
    URGENT = "urgent"


class QuestionState(StrEnum):
    RUNNING = "running"
    ANSWERED = "answered"
    FAILED = "failed"


PSEUDONYM = "erased"
ERASED_TEXT = "[erased]"


def pseudonym(digits: str) -> str:
    """Return the hub name of somebody whose personal data were erased."""
    return f"{PSEUDONYM}-{digits}"
