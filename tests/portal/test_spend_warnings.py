"""An award that is nearly used is told of where people look: on the front page and the account's own."""

from datetime import timedelta

from tests.support.portal import PortalUnderTest, Visitor, text_of

from nexus_allocator.services import allocations
from nexus_allocator.services.enforcement import enforce


def used_but_for(portal: PortalUnderTest, left: float) -> None:
    """Ada's 25 credits run down to ``left`` by a server that still runs, and the meter comes by."""
    with portal.database.session_scope() as session:
        allocations.correct(
            session, account="astronomer", amount_micro=-24_000_000, reason="for the test", actor="test",
            now=portal.clock(),
        )  # fmt: skip
    hold_id, began = portal.launch("astronomer", hours=2), portal.clock()
    portal.clock.forward(seconds=(1 - left) / 0.125 * 3600)
    portal.seen(hold_id, started_at=began)
    enforce(portal.database, portal.clients[-1], terms=portal.policy.enforcement, now=portal.clock())


def test_nothing_is_told_while_enough_is_left(astronomer: Visitor, populated: PortalUnderTest) -> None:
    used_but_for(populated, 0.4)
    assert "of the award is used" not in text_of(astronomer.open().text)


def test_a_mark_is_told_with_what_is_left_now(astronomer: Visitor, populated: PortalUnderTest) -> None:
    used_but_for(populated, 0.2)
    told = "Your own account: 75 % of the award is used: 0.20 of 1.00 credits are left."
    assert told in text_of(astronomer.open().text)
    assert told in text_of(astronomer.open("accounts/astronomer").text)
    assert told not in text_of(astronomer.open("accounts/wide-field-demo").text)


def test_a_used_up_award_says_when_servers_stop(astronomer: Visitor, populated: PortalUnderTest) -> None:
    used_but_for(populated, 0.0)
    at = populated.clock() + timedelta(minutes=10)
    assert f"servers are stopped at {at:%H:%M} UTC unless credits come in" in text_of(astronomer.open().text)
