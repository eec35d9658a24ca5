"""What people type, checked field by field, so that a page can say everything that is wrong at once."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation

from nexus_allocator.domain import science
from nexus_allocator.domain.credits import MICRO
from nexus_allocator.domain.names import NAME
from nexus_allocator.domain.policy import Policy
from nexus_allocator.services.allocations import LARGEST_MICRO, REASON_LENGTH
from nexus_allocator.services.requests import LONGEST_TITLE, MOST_EXPOSURES, MOST_MEMBERS, Ask
from nexus_allocator.services.teams import LABEL_LENGTH
from nexus_allocator.web.formats import day_text

Errors = dict[str, str]


@dataclass(frozen=True)
class Limits:
    min: int
    max: int


# Longer than the rule asks for: a sentence or two is what an administrator can decide on.
JUSTIFICATION = Limits(40, REASON_LENGTH[1])
REASON = Limits(REASON_LENGTH[0], 500)
LONGEST_AWARD = timedelta(days=5 * 366)
LONGEST_GRANT = 64
# Square degrees of the whole sky.
WHOLE_SKY = 41_253


@dataclass(frozen=True)
class AskForm:
    """A request as it was typed."""

    account: str = ""
    tier: str = ""
    justification: str = ""
    title: str = ""
    area: str = ""
    exposures: str = ""
    grant_number: str = ""
    members: str = ""
    team_label: str = ""
    papers: str = ""
    products: str = ""
    dois: str = ""

    def errors(self, accounts: set[str], tiers: set[str], *, draft: bool) -> Errors:
        """Return what is wrong; a draft may be unfinished, never too long."""
        errors: Errors = {}
        if self.account not in accounts:
            errors["account"] = "Choose one of your accounts."
        if self.tier not in tiers:
            errors["tier"] = "Choose a tier."
        limits = Limits(0, JUSTIFICATION.max) if draft else JUSTIFICATION
        if problem := text_problem(self.justification, limits, "a justification"):
            errors["justification"] = problem
        if len(self.title.strip()) > LONGEST_TITLE:
            errors["title"] = f"Give a title of at most {LONGEST_TITLE} characters."
        if len(self.grant_number.strip()) > LONGEST_GRANT:
            errors["grant_number"] = f"A grant number has at most {LONGEST_GRANT} characters."
        if len(self.team_label.strip()) > LABEL_LENGTH or not self.team_label.isprintable():
            errors["team_label"] = f"Give the team a name of at most {LABEL_LENGTH} characters."
        wrong = [name for name in self.names() if not NAME.fullmatch(name)]
        if wrong or len(self.names()) > MOST_MEMBERS:
            shown = ", ".join(name[:40] for name in wrong[:3]) or "more"
            errors["members"] = f"Give at most {MOST_MEMBERS} names as the hub writes them; not: {shown}."
        return errors | self.size_errors()

    def size_errors(self) -> Errors:
        errors: Errors = {}
        if self.area.strip() and not 0 < (number(self.area) or 0) <= WHOLE_SKY:
            errors["area"] = f"Give square degrees above zero and at most {WHOLE_SKY:,}, such as 40 or 2.5."
        count = number(self.exposures)
        if self.exposures.strip() and (count is None or count % 1 or not 0 < count <= MOST_EXPOSURES):
            errors["exposures"] = f"Give a whole number of exposures from 1 to {MOST_EXPOSURES:,}."
        return errors

    def names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self.members.replace(",", " ").split()))

    def exposure_count(self, policy: Policy) -> int | None:
        """Return the exposures typed, else those that cover the area; None without either."""
        if self.size_errors() or not (self.exposures.strip() or self.area.strip()):
            return None
        typed = number(self.exposures)
        return int(typed) if typed else science.exposures_over(policy, float(number(self.area) or 0))

    def ask(self, policy: Policy) -> Ask:
        return Ask(
            account=self.account,
            tier=self.tier,
            justification=self.justification,
            title=self.title.strip() or None,
            exposures=self.exposure_count(policy),
            grant_number=self.grant_number.strip() or None,
            members=self.names(),
            team_label=self.team_label.strip() or None,
            papers=self.papers,
            products=self.products,
            dois=self.dois,
        )


def number(text: str) -> Decimal | None:
    """Return a number that people typed; None for what is none."""
    try:
        found = Decimal(text.strip().replace(",", ""))
    except InvalidOperation:
        return None
    return found if found.is_finite() and found.adjusted() < 16 else None


@dataclass(frozen=True)
class Award:
    amount: str
    ends_on: str
    note: str
    bypass: str = ""

    def errors(self, *, now: datetime) -> Errors:
        errors: Errors = {}
        if self.amount_micro() is None:
            largest = f"{LARGEST_MICRO // MICRO:,}"
            errors["amount"] = (
                f"Give a number of credits above zero and at most {largest}, such as 500 or 12.5."
            )
        ends_on = self.last_day()
        today = now.astimezone(UTC).date()
        if ends_on is None:
            errors["ends_on"] = "Give the last day as year-month-day, such as 2027-09-30."
        elif not today < ends_on <= today + LONGEST_AWARD:
            last = day_text(today + LONGEST_AWARD)
            errors["ends_on"] = f"The last day must lie after today and not after {last}."
        if len(self.note.strip()) not in {0, *range(REASON.min, REASON.max + 1)}:
            errors["note"] = f"Leave the note empty, or write {REASON.min} to {REASON.max} characters."
        if len(self.bypass.strip()) not in {0, *range(REASON.min, REASON.max + 1)}:
            errors["bypass"] = f"Leave it empty, or write {REASON.min} to {REASON.max} characters."
        return errors

    def amount_micro(self) -> int | None:
        """Return the amount in micro-credits; None for what is no amount one can grant."""
        try:
            amount = Decimal(self.amount.strip().replace(",", ""))
        except InvalidOperation:
            return None
        if not amount.is_finite() or amount.adjusted() > 12 or amount * MICRO % 1:
            return None
        micro = int(amount * MICRO)
        return micro if 0 < micro <= LARGEST_MICRO else None

    def last_day(self) -> date | None:
        try:
            return date.fromisoformat(self.ends_on.strip())
        except ValueError:
            return None

    def expires_at(self) -> datetime:
        """Return the end of the last day. Only for an award without errors."""
        last_day = self.last_day()
        assert last_day is not None  # noqa: S101 - errors() has said so before
        return datetime.combine(last_day + timedelta(days=1), time(), UTC)


def text_problem(text: str, limits: Limits, what: str) -> str | None:
    """Return what is wrong with a text of people, None when it is fine."""
    length = len(text.strip())
    if length == 0 and limits.min:
        return f"Write {what} of at least {limits.min} characters."
    if length < limits.min:
        return f"Write {what} of at least {limits.min} characters; this has {length}."
    if length > limits.max:
        return f"Write {what} of at most {limits.max:,} characters; this has {length:,}."
    return None


def plain_newlines(text: str) -> str:
    """Return the text as the browser counted it: forms send each line break as two characters."""
    return text.replace("\r\n", "\n").replace("\x00", "")
