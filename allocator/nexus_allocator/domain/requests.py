"""How requests may move: from which state to which, by whom, and when the clock moves them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from nexus_allocator.domain.errors import BadResults, IllegalMove
from nexus_allocator.domain.states import Mover, RequestState

S = RequestState
APPLICANT = frozenset({Mover.APPLICANT})
REVIEWER = frozenset({Mover.REVIEWER})
ADMINISTRATOR = frozenset({Mover.ADMINISTRATOR})
PLATFORM = frozenset({Mover.PLATFORM})

# Nobody has decided yet; an account has one such request at most.
OPEN = (S.DRAFT, S.SUBMITTED, S.IN_REVIEW, S.RETURNED, S.OFFERED, S.ACCEPTED)
WAITING = (S.SUBMITTED, S.IN_REVIEW)
WITH_APPLICANT = (S.DRAFT, S.RETURNED)
# Something was awarded, and no later award has taken its place.
LIVING = (S.AWARDED, S.AWARDED_IN_PART, S.ACTIVE, S.EXPIRING, S.GRACE, S.EXPIRED)
RENEWABLE = (S.EXPIRING, S.GRACE, S.EXPIRED)

MOVES: Mapping[RequestState, Mapping[RequestState, frozenset[Mover]]] = {
    S.DRAFT: {S.SUBMITTED: APPLICANT, S.WITHDRAWN: APPLICANT},
    S.SUBMITTED: {
        S.IN_REVIEW: ADMINISTRATOR | REVIEWER,
        S.RETURNED: ADMINISTRATOR,
        S.OFFERED: ADMINISTRATOR,
        S.AWARDED: ADMINISTRATOR | PLATFORM,
        S.AWARDED_IN_PART: ADMINISTRATOR | PLATFORM,
        S.DENIED: ADMINISTRATOR,
        S.WITHDRAWN: APPLICANT,
    },
    S.IN_REVIEW: {
        S.RETURNED: ADMINISTRATOR,
        S.OFFERED: ADMINISTRATOR,
        S.AWARDED: ADMINISTRATOR,
        S.AWARDED_IN_PART: ADMINISTRATOR,
        S.DENIED: ADMINISTRATOR,
        S.WITHDRAWN: APPLICANT,
    },
    S.RETURNED: {S.SUBMITTED: APPLICANT, S.WITHDRAWN: APPLICANT},
    # Other terms than asked for: declined, taken back or not answered in time, the request is decided again.
    S.OFFERED: {
        S.ACCEPTED: APPLICANT,
        S.IN_REVIEW: APPLICANT | ADMINISTRATOR | PLATFORM,
        S.WITHDRAWN: APPLICANT,
    },
    S.ACCEPTED: {S.AWARDED: PLATFORM, S.AWARDED_IN_PART: PLATFORM},
    S.AWARDED: {S.ACTIVE: PLATFORM, S.RENEWED: PLATFORM},
    S.AWARDED_IN_PART: {S.ACTIVE: PLATFORM, S.RENEWED: PLATFORM},
    S.ACTIVE: {S.EXPIRING: PLATFORM, S.RENEWED: PLATFORM},
    S.EXPIRING: {S.GRACE: PLATFORM, S.RENEWED: PLATFORM},
    S.GRACE: {S.EXPIRED: PLATFORM, S.RENEWED: PLATFORM},
    S.EXPIRED: {S.RENEWED: PLATFORM},
    S.DENIED: {},
    S.WITHDRAWN: {},
    S.RENEWED: {},
}


DOI = re.compile(r"10\.\d{4,9}/[^\s\"<>]{1,200}")
DOI_PREFIXES = ("https://doi.org/", "http://doi.org/", "https://dx.doi.org/", "doi:")
RESULTS_LENGTH = (3, 2000)
MOST_DOIS = 100


@dataclass(frozen=True)
class Results:
    """What came of an allocation, told when its renewal is asked for."""

    papers: str
    products: str
    dois: tuple[str, ...]


def results(papers: str, products: str, dois: str) -> Results:
    """Return the results as they are kept, DOIs without their prefixes. Raises BadResults."""
    least, most = RESULTS_LENGTH
    for text, floor in ((papers, least), (products, 0)):
        if not floor <= len(text.strip()) <= most or "\x00" in text:
            raise BadResults(must_be=f"papers in {least} to {most} characters (“none yet” will do)")
    words = tuple(dict.fromkeys(_bare_doi(word) for word in dois.replace(",", " ").split()))
    if len(words) > MOST_DOIS or not all(DOI.fullmatch(word) for word in words):
        raise BadResults(must_be=f"at most {MOST_DOIS} DOIs such as 10.3847/1538-3881/ab1234")
    return Results(papers.strip(), products.strip(), words)


def _bare_doi(word: str) -> str:
    for prefix in DOI_PREFIXES:
        if word.lower().startswith(prefix):
            return word[len(prefix) :]
    return word


def may_move_to(state: RequestState, mover: Mover) -> list[RequestState]:
    return [after for after, movers in MOVES[state].items() if mover in movers]


def require_move(before: RequestState, after: RequestState, mover: Mover) -> None:
    """Raise IllegalMove, with where the mover may take it, unless ``mover`` may take it to ``after``."""
    allowed = may_move_to(before, mover)
    if after not in allowed:
        raise IllegalMove(
            state=before.value, wanted=after.value, mover=mover.value, may=[state.value for state in allowed]
        )


def moves_due(
    state: RequestState, *, ends_at: datetime, notice: timedelta, grace: timedelta, now: datetime
) -> list[RequestState]:
    """Return the states that the clock has led through since ``state``, in order."""
    due = {S.ACTIVE: now, S.EXPIRING: ends_at - notice, S.GRACE: ends_at, S.EXPIRED: ends_at + grace}
    order = list(due)
    if state in (S.AWARDED, S.AWARDED_IN_PART):
        after = order
    elif state in due:
        after = order[order.index(state) + 1 :]
    else:
        after = []
    return [each for each in after if due[each] <= now]
