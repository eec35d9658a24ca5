"""What people want of the Nexus, whatever the policy answers: launches, and awards for their papers."""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from nexus_allocator.domain.states import AccountKind, TierSlug

SECONDS_A_DAY = 86_400


@dataclass(frozen=True)
class Launches:
    """Launches in the order in which they are wished for; every array has one element for each.

    ``at_s`` counts seconds from the start, ``size`` indexes the demand's sizes, ``used_s`` is how long
    the server would run were it not cut short, ``paper`` is -1 for work on none.
    """

    at_s: NDArray[np.int64]
    account: NDArray[np.int64]
    person: NDArray[np.int64]
    size: NDArray[np.int8]
    planned_minutes: NDArray[np.int32]
    used_s: NDArray[np.int64]
    paper: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.at_s)


@dataclass(frozen=True)
class Files:
    """What each launch leaves on scratch: ``size_gb``, and days from one use to the next, NaN for no more."""

    size_gb: NDArray[np.float64]
    next_use_days: NDArray[np.float64]


@dataclass(frozen=True)
class Grant:
    """Credits that an account gets: ``amount_micro``, or without it a ``share`` of what ``tier`` gives.

    With ``raises`` the account has at least the tier from then on, for ``lasts_s`` or the tier's length.
    """

    at_s: int
    account: int
    tier: TierSlug | None
    amount_micro: int | None = None
    share: float = 1.0
    raises: bool = True
    lasts_s: int | None = None


@dataclass(frozen=True)
class Demand:
    """All that is wished for between ``start`` and ``days`` later.

    ``patience`` says for each account whether it asks for the next tier when its credits are refused,
    and whether it would get it: a draw from 0 to 1 for each, the same under every policy.
    """

    start: datetime
    days: int
    sizes: tuple[str, ...]
    kinds: tuple[AccountKind, ...]
    launches: Launches
    grants: tuple[Grant, ...]
    patience: NDArray[np.float64]
    assumptions: tuple[str, ...]
    files: Files | None = None
    grace_minutes: int = 10
