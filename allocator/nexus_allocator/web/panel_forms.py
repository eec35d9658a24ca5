"""What people type on the panel's pages, checked field by field."""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta

from nexus_allocator.domain.credits import MICRO
from nexus_allocator.domain.panel import LONGEST_COMMENT, LONGEST_ROUND_LABEL, SCORES, Opinion, Panel, Window
from nexus_allocator.services.allocations import LARGEST_MICRO
from nexus_allocator.services.panels import RoundPlan
from nexus_allocator.web.forms import Errors, number

DAYS = {"opens_on": "first day", "closes_on": "last day", "due_on": "day when reviews are due"}


@dataclass(frozen=True)
class RoundForm:
    """A round as it was typed: days in UTC, the last of which is whole."""

    label: str = ""
    opens_on: str = ""
    closes_on: str = ""
    due_on: str = ""
    budget: str = ""

    def errors(self) -> Errors:
        errors: Errors = {}
        if not 0 < len(self.label.strip()) <= LONGEST_ROUND_LABEL or not self.label.isprintable():
            errors["label"] = f"Give the round a name of at most {LONGEST_ROUND_LABEL} characters."
        days = {name: day(getattr(self, name)) for name in DAYS}
        for name, found in days.items():
            if found is None:
                errors[name] = f"Give the {DAYS[name]} as year-month-day, such as 2027-09-30."
        opens, closes, due = days.values()
        if opens and closes and closes < opens:
            errors["closes_on"] = "The last day can't lie before the first."
        if closes and due and due < closes:
            errors["due_on"] = "Reviews can't be due before the round has closed."
        if self.budget.strip() and self.budget_micro() is None:
            errors["budget"] = "Leave it empty, or give a number of credits above zero, such as 20000."
        return errors

    def budget_micro(self) -> int | None:
        """Return the budget in micro-credits; None for none and for what is none."""
        amount = number(self.budget)
        if amount is None or amount * MICRO % 1 or not 0 < amount * MICRO <= LARGEST_MICRO:
            return None
        return int(amount * MICRO)

    def plan(self) -> RoundPlan:
        """Return the round. Only for a form without errors."""
        opens, closes, due = (day(getattr(self, name)) or date.min for name in DAYS)
        window = Window(_start(opens), _start(closes + ONE_DAY), _start(due + ONE_DAY))
        return RoundPlan(self.label, window, self.budget_micro())


@dataclass(frozen=True)
class ReviewForm:
    """A review as it was typed; scores are words of the form until they are checked."""

    scores: dict[str, str] = field(default_factory=dict)
    for_panel: str = ""
    for_applicant: str = ""

    def errors(self, panel: Panel) -> Errors:
        errors: Errors = {}
        for criterion in panel.criteria:
            if self.scores.get(criterion.slug, "") not in map(str, SCORES):
                errors[f"score-{criterion.slug}"] = f"Choose a score for {criterion.label}."
        for name in ("for_panel", "for_applicant"):
            if len(getattr(self, name).strip()) > LONGEST_COMMENT:
                errors[name] = f"Write at most {LONGEST_COMMENT:,} characters."
        return errors

    def opinion(self) -> Opinion:
        """Return the review. Only for a form without errors."""
        return Opinion(
            {slug: int(score) for slug, score in self.scores.items()}, self.for_panel, self.for_applicant
        )


ONE_DAY = timedelta(days=1)


def form_of(opinion: Opinion | None) -> ReviewForm:
    """Return the form with a review's words in it, to be revised."""
    if opinion is None:
        return ReviewForm()
    scores = {slug: str(score) for slug, score in opinion.scores.items()}
    return ReviewForm(scores, opinion.for_panel, opinion.for_applicant)


def day(text: str) -> date | None:
    """Return a day that people typed, None for what is none or far off."""
    try:
        found = date.fromisoformat(text.strip())
    except ValueError:
        return None
    return found if 2000 <= found.year < 2200 else None


def _start(of: date) -> datetime:
    return datetime.combine(of, time(), UTC)
