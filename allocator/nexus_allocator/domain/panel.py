"""The panel's rules: rounds, who can't review, what a score is, when enough was heard, who sees what."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from statistics import fmean
from uuid import UUID

from nexus_allocator.domain.errors import BadComment, BadRound, BadScores, PanelNotHeard
from nexus_allocator.domain.requests import WAITING
from nexus_allocator.domain.states import RequestState

# The scale, with its words; higher is better.
SCORES: Mapping[int, str] = {1: "Poor", 2: "Fair", 3: "Good", 4: "Very good", 5: "Outstanding"}
LONGEST_COMMENT = 4000
LONGEST_ROUND_LABEL = 80
LONGEST_ROUND = timedelta(days=366)


@dataclass(frozen=True)
class Criterion:
    """One of the things that reviewers score."""

    slug: str
    label: str
    question: str


@dataclass(frozen=True)
class Panel:
    """How many unconflicted reviews an award takes, and what they score."""

    least_reviews: int
    criteria: tuple[Criterion, ...]


@dataclass(frozen=True)
class Window:
    """When requests come into a round, and by when they are to be reviewed."""

    opens_at: datetime
    closes_at: datetime
    due_at: datetime

    def has(self, moment: datetime) -> bool:
        return self.opens_at <= moment < self.closes_at


@dataclass(frozen=True)
class Opinion:
    """What one reviewer says: a score per criterion, and two comments that may be empty."""

    scores: Mapping[str, int]
    for_panel: str = ""
    for_applicant: str = ""

    @property
    def mean(self) -> float:
        return fmean(self.scores.values())


@dataclass(frozen=True)
class Tally:
    """Scores of several reviewers: their mean, and the lowest and the highest."""

    mean: float
    low: float
    high: float
    count: int


class ConflictKind(StrEnum):
    """Why somebody can't review a request."""

    APPLICANT = "applicant"
    IN_TEAM = "in-team"
    NAMED = "named"
    DECLARED = "declared"


@dataclass(frozen=True)
class Parties:
    """Whom a request is about, and who declared a conflict with it."""

    applicant_id: UUID
    in_team: frozenset[UUID]
    named: frozenset[str]
    declared: frozenset[UUID]


def conflict_of(person_id: UUID, hub_name: str, parties: Parties) -> ConflictKind | None:
    """Return why this person can't review the request; None when nothing is known against it."""
    if person_id == parties.applicant_id:
        return ConflictKind.APPLICANT
    if person_id in parties.in_team:
        return ConflictKind.IN_TEAM
    if hub_name in parties.named:
        return ConflictKind.NAMED
    return ConflictKind.DECLARED if person_id in parties.declared else None


def sees_reviews(conflict: ConflictKind | None, *, is_reviewer: bool, has_given: bool) -> bool:
    """Say whether somebody sees what reviewers wrote: no reviewer before their own, nobody in conflict."""
    return conflict is None and (has_given or not is_reviewer)


def require_window(label: str, window: Window) -> str:
    """Return the label without surrounding space. Raises BadRound for dates out of order."""
    text = label.strip()
    if not 0 < len(text) <= LONGEST_ROUND_LABEL or not text.isprintable():
        raise BadRound(must_be=f"named in at most {LONGEST_ROUND_LABEL} characters")
    if not window.opens_at < window.closes_at <= window.due_at:
        raise BadRound(must_be="opened before it closes, and closed before its reviews are due")
    if window.due_at - window.opens_at > LONGEST_ROUND:
        raise BadRound(must_be=f"over, reviews and all, within {LONGEST_ROUND.days} days")
    return text


def require_opinion(panel: Panel, opinion: Opinion) -> Opinion:
    """Return the opinion with trimmed comments. Raises BadScores, BadComment."""
    wanted = {criterion.slug for criterion in panel.criteria}
    given = opinion.scores
    if set(given) != wanted or not all(type(score) is int and score in SCORES for score in given.values()):
        labels = [criterion.label for criterion in panel.criteria]
        raise BadScores(criteria=labels, low=min(SCORES), high=max(SCORES))
    comments = [text.strip() for text in (opinion.for_panel, opinion.for_applicant)]
    if any(len(text) > LONGEST_COMMENT or "\x00" in text for text in comments):
        raise BadComment(max=LONGEST_COMMENT)
    return Opinion(dict(given), *comments)


def require_heard(panel: Panel, reviews: int) -> None:
    """Raise PanelNotHeard unless enough reviewers without a conflict have been heard."""
    if reviews < panel.least_reviews:
        raise PanelNotHeard(reviews=reviews, needed=panel.least_reviews)


def tally(values: Iterable[float]) -> Tally | None:
    """Return the scores together, None without any."""
    found = list(values)
    return Tally(fmean(found), min(found), max(found), len(found)) if found else None


def tallies(panel: Panel, opinions: Collection[Opinion]) -> list[tuple[Criterion, Tally | None]]:
    """Return each criterion with its scores together; an earlier policy's criteria are left out."""
    return [
        (
            criterion,
            tally(opinion.scores[criterion.slug] for opinion in opinions if criterion.slug in opinion.scores),
        )
        for criterion in panel.criteria
    ]


def in_queue(moves: Sequence[tuple[RequestState, datetime]], *, now: datetime) -> timedelta:
    """Return how long a request has waited for others than its applicant, by its moves in order."""
    ends = [at for _, at in moves[1:]] + [now]
    spans = (end - at for (state, at), end in zip(moves, ends, strict=True) if state in WAITING)
    return sum(spans, timedelta())


def median_wait(waits: Collection[timedelta]) -> timedelta | None:
    """Return the wait in the middle, or between the two in the middle."""
    ordered = sorted(waits)
    if not ordered:
        return None
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
