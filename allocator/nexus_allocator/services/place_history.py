"""What places held is kept thinner as it gets older, so that looking often costs no space for good."""

from datetime import datetime, timedelta

from nexus_allocator.services.delivery import Scopes
from nexus_allocator.store import places

A_DAY, A_MONTH = timedelta(days=1), timedelta(days=30)
# Days are charged within a month, and pages look back by one.
PARTS_FOR, ALL_FOR, DAILY_FOR = timedelta(days=7), timedelta(days=90), timedelta(days=730)


def thin(scopes: Scopes, *, now: datetime) -> None:
    """Leave one look a day of what is older than 90 days, one in 30 days of what is older than two years.

    What a place was made of is kept for seven days, and at its last look.
    """
    with scopes.session_scope() as session:
        places.thin_usage(session, before=now - ALL_FOR, period=A_DAY)
        places.thin_usage(session, before=now - DAILY_FOR, period=A_MONTH)
        places.forget_parts(session, before=now - PARTS_FOR)
