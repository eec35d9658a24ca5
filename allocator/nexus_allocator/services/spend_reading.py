"""The standing notices of accounts, for the pages that warn of them."""

from collections.abc import Mapping, Sequence

from sqlalchemy.orm import Session

from nexus_allocator.domain.policy import Enforcement
from nexus_allocator.services.enforcement import Standing, standing
from nexus_allocator.store import accounts, spend_notices


def by_slug(session: Session, slugs: Sequence[str], *, terms: Enforcement) -> Mapping[str, Standing]:
    """Return the highest standing notice of each of these accounts that has one."""
    allocations = {row.allocation.id: row.slug for row in accounts.by_slugs(session, slugs)}
    found = spend_notices.highest(session, list(allocations))
    return {allocations[allocation_id]: standing(notice, terms) for allocation_id, notice in found.items()}
