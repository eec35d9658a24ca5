"""The panel's readings as its pages want them: lengths and scores as words, dates as days."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from nexus_allocator.domain import wording
from nexus_allocator.domain.panel import SCORES, Tally
from nexus_allocator.domain.policy import Policy
from nexus_allocator.services.panel_lists import CaseRow, Queue
from nexus_allocator.services.workbench import Workbench
from nexus_allocator.store.panel_tables import PanelRound
from nexus_allocator.web import views
from nexus_allocator.web.formats import credits_field
from nexus_allocator.web.panel_forms import RoundForm

# Before the end of a last day.
INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True)
class RoundView:
    """A round with the days that people typed."""

    row: PanelRound
    requests: int
    is_open: bool

    def __getattr__(self, name: str) -> Any:
        return getattr(self.row, name)

    @property
    def last_day(self) -> Any:
        return self.row.closes_at - INSTANT

    @property
    def due_day(self) -> Any:
        return self.row.due_at - INSTANT


def round_form(row: PanelRound) -> RoundForm:
    return RoundForm(
        label=row.label,
        opens_on=row.opens_at.date().isoformat(),
        closes_on=(row.closes_at - INSTANT).date().isoformat(),
        due_on=(row.due_at - INSTANT).date().isoformat(),
        budget="" if row.budget_micro is None else credits_field(row.budget_micro),
    )


def case_view(row: CaseRow, policy: Policy) -> dict[str, Any]:
    return {
        "row": row,
        "tier_label": policy.tiers[row.tier].label,
        "waited": wait_text(row.waited),
        "score": tally_text(row.mean),
        "needed": policy.panel.least_reviews,
        "conflict": wording.CONFLICTS[row.conflict] if row.conflict else None,
        "due_day": row.round.due_at - INSTANT if row.round else None,
    }


def queue_view(found: Queue, policy: Policy) -> dict[str, Any]:
    return {
        "cases": [case_view(row, policy) for row in found.cases],
        "median_waiting": wait_text(found.median_waiting),
        "median_decided": wait_text(found.median_decided),
        "decided": found.decided,
    }


def bench_view(found: Workbench, policy: Policy) -> dict[str, Any]:
    """Return the workbench's values, for an administrator's page as for a reviewer's."""
    return {
        "bench": found,
        "waited": wait_text(found.waited),
        "conflict": wording.CONFLICTS[found.conflict] if found.conflict else None,
        "criteria": [
            (criterion, tally_text(scores), scores.count if scores else 0)
            for criterion, scores in found.heard.criteria
        ],
        "overall": tally_text(found.heard.overall),
        "score_labels": {criterion.slug: criterion.label for criterion in policy.panel.criteria},
        "scale": SCORES,
        "usage": [views.account_view(account, policy) for account in found.usage],
        "pool": views.pool_view(found.pool, policy, now=found.pool.period_start),
        "round_left_micro": round_left_micro(found),
        "due_day": found.round.due_at - INSTANT if found.round else None,
    }


def round_left_micro(found: Workbench) -> int | None:
    """Return what the round may still award, None where it has no budget."""
    if found.round is None or found.round.budget_micro is None:
        return None
    return found.round.budget_micro - found.round_awarded_micro


def tally_text(scores: Tally | None) -> str:
    """Return the mean with its spread, as "3.5 (2 to 5)"; "–" without any."""
    if scores is None:
        return "–"
    if scores.count == 1:
        return f"{scores.mean:.1f} (one review)"
    return f"{scores.mean:.1f} ({scores.low:g} to {scores.high:g})"


def wait_text(length: timedelta | None) -> str:
    """Return a wait in whole days, in hours below two of them."""
    if length is None:
        return "–"
    hours = int(length.total_seconds() // 3600)
    if hours < 1:
        return "under an hour"
    if hours < 48:
        return "1 hour" if hours == 1 else f"{hours} hours"
    return f"{length.days} days"
