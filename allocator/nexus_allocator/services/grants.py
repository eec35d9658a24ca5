"""The list of grants approved elsewhere: read from CSV whole or not at all."""

import csv
import io
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation

from sqlalchemy.orm import Session

from nexus_allocator.domain.credits import MICRO
from nexus_allocator.domain.errors import BadGrantList
from nexus_allocator.domain.records import Act
from nexus_allocator.services.allocations import LARGEST_MICRO
from nexus_allocator.services.decisions import grant_key
from nexus_allocator.services.records import record
from nexus_allocator.store import requests
from nexus_allocator.store.tables import ApprovedGrant

COLUMNS = ("number", "email", "ends_on", "credits")


@dataclass(frozen=True)
class Grant:
    """One line of the list; ``credits_micro`` None is what the tier gives."""

    number: str
    holder_email: str
    ends_at: datetime
    credits_micro: int | None


def read_list(text: str) -> list[Grant]:
    """Return the grants of a CSV with the columns number, email, ends_on and perhaps credits.

    Raises BadGrantList with the first line that is wrong and how many more there are.
    """
    reader = csv.DictReader(io.StringIO(text.removeprefix("\ufeff")), restkey="more")
    names = [name.strip().lower() for name in reader.fieldnames or []]
    if not {*COLUMNS[:3]} <= set(names) or not set(names) <= set(COLUMNS):
        columns = f"the columns must be {', '.join(COLUMNS)} (credits may be left out)"
        raise BadGrantList(line=1, problem=columns, more=0)
    reader.fieldnames = names
    grants: list[Grant] = []
    wrong: list[tuple[int, str]] = []
    for row in reader:
        try:
            grants.append(_grant(row, {grant.number for grant in grants}))
        except ValueError as error:
            wrong.append((reader.line_num, str(error)))
    if wrong:
        raise BadGrantList(line=wrong[0][0], problem=wrong[0][1], more=len(wrong) - 1)
    return grants


def import_list(session: Session, grants: list[Grant], *, actor: str, now: datetime) -> int:
    """Keep the grants and return how many; one known already takes the new words unless it was used."""
    kept = 0
    for grant in grants:
        row = requests.lock_grant(session, grant.number)
        if row is None:
            row = ApprovedGrant(number=grant.number)
            session.add(row)
        elif row.request_id is not None:
            continue
        row.holder_email, row.credits_micro = grant.holder_email, grant.credits_micro
        row.ends_at, row.imported_at = grant.ends_at, now
        kept += 1
    record(session, Act.GRANTS_IMPORTED, None, by=actor, after={"count": kept}, now=now)
    return kept


def _grant(row: dict[str, str | None], known: set[str]) -> Grant:
    if "more" in row:
        raise ValueError("there are more cells than columns")
    number = grant_key(row["number"])
    email = (row["email"] or "").strip()
    if number is None:
        raise ValueError("the number is missing")
    if number in known:
        raise ValueError(f"{number} is there twice")
    if email.count("@") != 1 or any(sign.isspace() for sign in email):
        raise ValueError(f"{email[:60]!r} is no e-mail address")
    return Grant(number, email, _end_of(row["ends_on"] or ""), _micro(row.get("credits") or ""))


def _end_of(text: str) -> datetime:
    try:
        return datetime.combine(date.fromisoformat(text.strip()) + timedelta(days=1), time(), UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{text[:20]!r} is no day such as 2027-09-30") from error


def _micro(text: str) -> int | None:
    if not text.strip():
        return None
    try:
        micro = Decimal(text.strip()) * MICRO
    except InvalidOperation as error:
        raise ValueError(f"{text[:20]!r} is no number of credits") from error
    if not micro.is_finite() or micro != micro.to_integral_value() or not 0 < micro <= LARGEST_MICRO:
        raise ValueError(f"{text[:20]!r} is no number of credits above zero with at most six decimals")
    return int(micro)
