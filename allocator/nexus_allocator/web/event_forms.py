"""An event as it was typed, and what is wrong with it."""

from dataclasses import dataclass
from datetime import UTC, datetime

from nexus_allocator.domain import events as rules
from nexus_allocator.domain.credits import MICRO
from nexus_allocator.domain.policy import Policy
from nexus_allocator.domain.states import TierSlug
from nexus_allocator.services.allocations import LARGEST_MICRO
from nexus_allocator.services.events import Plan
from nexus_allocator.services.teams import LABEL_LENGTH
from nexus_allocator.web.forms import Errors, number

EACH, POOL = "each", "pool"


@dataclass(frozen=True)
class EventForm:
    label: str = ""
    starts: str = ""
    ends: str = ""
    sizes: tuple[str, ...] = ()
    kind: str = EACH
    amount: str = ""
    people: str = ""

    def errors(self, policy: Policy, *, now: datetime) -> Errors:
        errors: Errors = {}
        label = self.label.strip()
        if not 0 < len(label) <= LABEL_LENGTH or not label.isprintable():
            errors["label"] = f"Give a name of 1 to {LABEL_LENGTH} characters."
        if not self.sizes or not set(self.sizes) <= set(policy.tiers[TierSlug.SPECIAL].sizes):
            errors["sizes"] = "Choose at least one server size."
        if self.kind not in (EACH, POOL):
            errors["kind"] = "Choose whose the credits are."
        amount = number(self.amount)
        if amount is None or not 0 < amount * MICRO <= LARGEST_MICRO or amount * MICRO % 1:
            largest = f"{LARGEST_MICRO // MICRO:,}"
            errors["amount"] = f"Give credits above zero and at most {largest}, such as 5 or 12.5."
        people = number(self.people)
        if people is None or people % 1 or not 0 < people <= rules.MOST_PEOPLE:
            errors["people"] = f"Give a whole number of people from 1 to {rules.MOST_PEOPLE:,}."
        return errors | self._date_errors(now)

    def _date_errors(self, now: datetime) -> Errors:
        starts, ends = moment(self.starts), moment(self.ends)
        errors: Errors = {}
        if starts is None:
            errors["starts"] = "Give day and time in UTC, such as 2027-03-01T09:00."
        if ends is None:
            errors["ends"] = "Give day and time in UTC, such as 2027-03-05T18:00."
        elif ends <= now:
            errors["ends"] = "The end must lie in the future."
        elif starts is not None and not rules.length_is_sound(starts, ends):
            errors["ends"] = "The end must lie after the beginning and within a year of it."
        return errors

    def plan(self) -> Plan:
        """Return the event to make. Only for a form without errors."""
        starts, ends, amount = moment(self.starts), moment(self.ends), number(self.amount)
        assert starts is not None  # noqa: S101 - errors() has said so before
        assert ends is not None  # noqa: S101
        assert amount is not None  # noqa: S101
        micro = int(amount * MICRO)
        return Plan(
            label=self.label.strip(), sizes=self.sizes, starts_at=starts, ends_at=ends,
            most_people=int(number(self.people) or 0),
            per_person_micro=micro if self.kind == EACH else None,
            pool_micro=micro if self.kind == POOL else None,
        )  # fmt: skip


def moment(text: str) -> datetime | None:
    """Return a moment in UTC as the browser's field or a person writes it; None for none or far off."""
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    if not 2000 <= found.year < 2200:
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
