"""Administrators' tables as CSV: all that matches, a batch at a time, in cells that no spreadsheet runs."""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy.orm import Session

from nexus_allocator.domain.credits import exact
from nexus_allocator.domain.policy import Policy
from nexus_allocator.domain.statements import safe_cell
from nexus_allocator.domain.states import RequestState, TierSlug
from nexus_allocator.services import panel_lists, portal_lists, workbench
from nexus_allocator.services.panel_lists import CaseRow
from nexus_allocator.services.portal_lists import AccountRow, PersonRow, RequestRow
from nexus_allocator.services.portal_reading import ServerReading
from nexus_allocator.services.workbench import ReviewRow

Cell = str | bool | datetime | Decimal | None


def people(session: Session, *, policy: Policy, query: str) -> Iterator[str]:
    """Yield the people whose name, hub name or mail address contains ``query``."""
    yield _csv(
        [("hub name", "name", "teams", "last sign-in", "suspended", "administrator", "agreed", "erased")]
    )
    yield from _paged(
        lambda number: portal_lists.people(session, policy=policy, query=query, number=number).rows, _person
    )


def accounts(session: Session, *, query: str, now: datetime) -> Iterator[str]:
    """Yield the accounts whose name or owner contains ``query``; amounts in credits."""
    yield _csv([("account", "owner or name", "team", "tier", "balance", "held", "ends", "ended")])
    yield from _paged(
        lambda number: portal_lists.accounts(session, query=query, number=number, now=now).rows, _account
    )


def servers(session: Session, *, query: str, now: datetime) -> Iterator[str]:
    """Yield the running servers of people or accounts that contain ``query``."""
    yield _csv([("hub name", "server", "size", "account", "placed", "started", "until", "credits so far")])
    found = portal_lists.servers(session, now=now, query=query)
    yield _csv([_cells(_server(server)) for server in found])


REQUEST_COLUMNS = (
    "request", "hub name", "account", "tier", "tier before", "state", "sent", "decided", "asked credits",
    "awarded credits", "ends", "title", "justification", "reason",
)  # fmt: skip


def requests(
    session: Session, *, query: str, tier: TierSlug | None = None, state: RequestState | None = None
) -> Iterator[str]:
    """Yield the sent requests whose person, account or title contains ``query``, the latest first."""
    yield _csv([REQUEST_COLUMNS])
    yield from _paged(
        lambda number: (
            portal_lists.every_request(session, query=query, tier=tier, state=state, number=number).rows
        ),
        _request,
    )


CASE_COLUMNS = (
    "request", "title", "applicant", "tier", "state", "sent", "days waited", "asked credits",
    "awarded credits", "reviews", "mean", "lowest", "highest",
)  # fmt: skip


def cases(session: Session, round_id: UUID, *, viewer: UUID, now: datetime) -> Iterator[str]:
    """Yield the requests of a round, the best scores first; no score that the viewer may not see.

    Raises UnknownRound.
    """
    _, rows, _ = panel_lists.of_round(session, round_id, viewer=viewer, now=now)
    yield _csv([CASE_COLUMNS])
    yield _csv([_cells(_case(row)) for row in rows])


def reviews(
    session: Session, round_id: UUID, *, viewer: UUID, policy: Policy, now: datetime
) -> Iterator[str]:
    """Yield the reviews of a round's requests, but none that the viewer may not see. Raises UnknownRound."""
    _, rows, _ = panel_lists.of_round(session, round_id, viewer=viewer, now=now)
    criteria = [criterion.slug for criterion in policy.panel.criteria]
    yield _csv([("request", "title", "reviewer", "given", "counts", *criteria, "mean", "for the panel",
                 "for the applicant")])  # fmt: skip
    for row in rows:
        heard = workbench.heard_of(session, row.id, viewer=viewer, policy=policy)
        yield _csv([_cells(_review(row, each, criteria)) for each in heard.rows])


def _paged(
    read: Callable[[int], Sequence[portal_lists.Row]], told: Callable[[portal_lists.Row], Sequence[Cell]]
) -> Iterator[str]:
    number = 1
    while rows := read(number):
        yield _csv([_cells(told(row)) for row in rows])
        number += 1


def _person(row: PersonRow) -> Sequence[Cell]:
    return (row.hub_name, row.display_name, "; ".join(row.teams), row.signed_in_at, row.suspended_at,
            row.is_administrator, row.has_accepted, row.is_erased)  # fmt: skip


def _account(row: AccountRow) -> Sequence[Cell]:
    return (row.slug, row.label, row.is_team, row.tier.value, _credits(row.sums.balance_micro),
            _credits(row.sums.held_micro), row.expires_at, row.expired)  # fmt: skip


def _server(row: ServerReading) -> Sequence[Cell]:
    return (row.hub_name, row.server_name, row.size, row.account_label, row.placed_at, row.started_at,
            row.until, _credits(row.usage_micro))  # fmt: skip


def _request(row: RequestRow) -> Sequence[Cell]:
    return (str(row.id), row.hub_name, row.account, row.tier.value, row.tier_before.value, row.state.value,
            row.submitted_at, row.decided_at, _credits(row.asked_micro), _credits(row.awarded_micro),
            row.ends_at, row.title, row.justification, row.decision_reason)  # fmt: skip


def _case(row: CaseRow) -> Sequence[Cell]:
    mean = row.mean
    scores = [_score(each) for each in (mean.mean, mean.low, mean.high)] if mean else [None] * 3
    return (str(row.id), row.title, row.applicant, row.tier.value, row.state.value, row.submitted_at,
            Decimal(row.waited.days), _credits(row.asked_micro), _credits(row.awarded_micro),
            Decimal(row.heard), *scores)  # fmt: skip


def _review(row: CaseRow, review: ReviewRow, criteria: Sequence[str]) -> Sequence[Cell]:
    said = review.opinion
    scores = [Decimal(said.scores[each]) if each in said.scores else None for each in criteria]
    return (str(row.id), row.title, review.by, review.at, review.counts, *scores,
            _score(said.mean), said.for_panel, said.for_applicant)  # fmt: skip


def _score(value: float) -> Decimal:
    return Decimal(f"{value:.2f}")


def _credits(micro: int | None) -> Decimal | None:
    return None if micro is None else Decimal(exact(micro))


def _cells(row: Sequence[Cell]) -> list[str]:
    return [_text(each) for each in row]


def _text(value: Cell) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    return str(value) if isinstance(value, Decimal) else safe_cell(value)


def _csv(rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()
