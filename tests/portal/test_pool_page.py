"""The platform's budget and its brake, and what the hub did alone, as administrators see them."""

from datetime import timedelta
from uuid import uuid4

from tests.support.portal import PortalUnderTest, Visitor, text_of

from nexus_allocator.clients.hub import Sighting
from nexus_allocator.domain.leases import Lease, OfflineRefusal
from nexus_allocator.domain.policy import GIB
from nexus_allocator.domain.stops import Evidence
from nexus_allocator.services import leases
from nexus_allocator.store import pool

CREDIT = 1_000_000


def test_it_is_for_administrators(astronomer: Visitor) -> None:
    assert astronomer.open("admin/pool").status_code == 403


def test_before_the_first_reading_it_says_so(administrator: Visitor) -> None:
    said = text_of(administrator.open("admin/pool").text)
    assert "The meter has not read the budget yet." in said
    assert "The hub has never had to do without the service." in said


def test_the_brake_and_what_waits_are_told(administrator: Visitor, populated: PortalUnderTest) -> None:
    now = populated.clock()
    with populated.database.session_scope() as session:
        until = now + timedelta(hours=1)
        pool.write(session, spent_micro=19_000 * CREDIT, waits_until=until, now=now)
    said = text_of(administrator.open("admin/pool").text)
    assert "Brake on" in said
    assert "(19000.00 of 20000.00 credits of this period), until 15 March, 15:30 UTC at the earliest" in said
    assert "New launches of Medium and Large wait" in said
    populated.clock.forward(hours=1)
    assert "Brake off" in text_of(administrator.open("admin/pool").text)


def test_leases_and_refusals_are_counted_and_listed(
    administrator: Visitor, populated: PortalUnderTest
) -> None:
    now = populated.clock()
    lease = Lease(
        uuid4(), now - timedelta(hours=3), "", "astronomer", "small", 2, 4 * GIB, "nexus", 120, 10,
        125_000, 2,
        process_started_at=now - timedelta(hours=3),
        ended=Evidence(stopped_at=now - timedelta(hours=1), alive_at_stop=True),
    )  # fmt: skip
    two_hours_ago = now - timedelta(hours=2)
    refusal = OfflineRefusal(uuid4(), two_hours_ago, "wide-field-demo", "large", "only <b>Small</b>")
    seen = Sighting(
        "astronomer", "", None, ready=False, stopped=True, hold_id=None, process_started_at=None,
        last_stop=None,
        leases=(lease,), offline_refusals=(refusal,),
    )  # fmt: skip
    assert leases.collect(populated.database, [seen], now=now) == 2
    page = administrator.open("admin/pool").text
    said = text_of(page)
    assert "Leases in 30 days 1 Refusals in 30 days 1" in said
    assert "Ada Astronomer small on astronomer Offline lease 0.250" in said
    assert "Ada Astronomer large on wide-field-demo Refused: only <b>Small</b>" in said
    assert "<b>Small" not in page
