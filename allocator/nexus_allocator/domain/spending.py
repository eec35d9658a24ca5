"""How much of an award is used, and which of the policy's marks that passes."""

from collections.abc import Iterable
from dataclasses import dataclass

WHOLE = 100


@dataclass(frozen=True)
class Spending:
    """An award and what is left of it, in micro-credits, running servers' use already taken off.

    The award is what the account could spend right after its last grant, changed by what was moved or
    corrected since.
    """

    award_micro: int
    left_micro: int

    @property
    def used_micro(self) -> int:
        return self.award_micro - self.left_micro

    def mark(self, marks: Iterable[int]) -> int | None:
        """Return the highest of ``marks``, percentages of the award, that is reached; None below all.

        The whole is reached exactly when nothing is left, an empty award's too.
        """
        if self.left_micro <= 0:
            return WHOLE
        reached = (mark for mark in marks if self.used_micro * WHOLE >= mark * self.award_micro)
        return max(reached, default=None)
