"""Statements: every credit shown once, per day and resource, and no cell that a spreadsheet runs."""

import csv
import io
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.allocator import START, World

from nexus_allocator.domain.errors import BadDate, UnknownAccount
from nexus_allocator.domain.policy import GIB, RateCard
from nexus_allocator.domain.statements import Reserved, Resource, by_resource, safe_cell
from nexus_allocator.services import allocations, rates, statements

CARD = RateCard(1, vcpu_hour_micro=50_000, gib_hour_micro=6_250, gpu_hour_micro=1_000_000)
TODAY = START.date()


def statement(world: World, first: date = TODAY, last: date = TODAY) -> statements.Statement:
    with world.database.reading_scope() as session:
        return statements.of_account(session, slug="astronomer", first=first, last=last)


def worked(world: World) -> None:
    """An account of two days: a grant and a correction, then two hours of a server."""
    world.astronomer()
    with world.database.session_scope() as session:
        rates.keep(session, world.policy.rate_card, now=world.clock())
    world.correct("astronomer", -1)
    world.clock.forward(days=1)
    admitted = world.launch()
    world.started(admitted.hold_id)
    world.clock.forward(hours=2)
    world.stopped(admitted.hold_id, stopped_at=world.clock(), alive_at_stop=True)


def test_a_statement_shares_usage_over_what_the_server_reserved(world: World) -> None:
    worked(world)
    tomorrow = TODAY + timedelta(days=1)
    found = statement(world, TODAY, tomorrow)
    # Two vCPU and 4 GiB for two hours: 0.2 and 0.05 credits.
    assert [(line.day, line.resource, line.amount_micro) for line in found.lines] == [
        (TODAY, Resource.CORRECTION, -1_000_000),
        (TODAY, Resource.GRANT, 25_000_000),
        (tomorrow, Resource.MEMORY, -50_000),
        (tomorrow, Resource.VCPU, -200_000),
    ]
    assert (found.opening_micro, found.closing_micro) == (0, 23_750_000)
    assert found.closing_micro == world.figures("astronomer").balance
    assert statement(world, tomorrow, tomorrow).opening_micro == 24_000_000


def test_a_change_of_rates_never_reprices_the_past(world: World) -> None:
    worked(world)
    before = statement(world, TODAY, TODAY + timedelta(days=1))
    with world.database.session_scope() as session:
        rates.keep(session, RateCard(2, 500_000, 0, 0), now=world.clock())
    assert statement(world, TODAY, TODAY + timedelta(days=1)) == before


def test_the_csv_runs_no_formula(world: World) -> None:
    world.astronomer()
    with world.database.session_scope() as session:
        allocations.grant(
            session, account="astronomer", amount_micro=5, reason='=HYPERLINK("http://evil")', actor="@admin",
            now=world.clock(),
        )  # fmt: skip
    with world.database.reading_scope() as session:
        text = statements.entries_csv(session, slug="astronomer", first=TODAY, last=TODAY)
    rows = list(csv.DictReader(io.StringIO(text)))
    assert rows[1]["reason"] == '\'=HYPERLINK("http://evil")'
    assert rows[1]["by"] == "'@admin"
    assert rows[1]["credits"] == "0.000005"


def test_opening_lines_and_closing_of_the_csv_add_up(world: World) -> None:
    worked(world)
    text = statements.as_csv(statement(world, TODAY, TODAY + timedelta(days=1)))
    rows = list(csv.DictReader(io.StringIO(text)))
    assert (rows[0]["what"], rows[-1]["what"]) == ("opening balance", "closing balance")
    assert sum(float(row["credits"]) for row in rows[:-1]) == pytest.approx(float(rows[-1]["credits"]))


def test_days_the_wrong_way_round_and_unknown_accounts_are_refused(world: World) -> None:
    world.astronomer()
    with pytest.raises(BadDate):
        statement(world, TODAY, TODAY - timedelta(days=1))
    with world.database.reading_scope() as session, pytest.raises(UnknownAccount):
        statements.of_account(session, slug="nobody", first=TODAY, last=TODAY)


@given(
    amount=st.integers(-(10**12), 10**12),
    cpu=st.integers(1, 128),
    memory_gib=st.integers(1, 1024),
    gpu=st.integers(0, 8),
)
def test_shares_always_add_up_to_the_amount(*, amount: int, cpu: int, memory_gib: int, gpu: int) -> None:
    shares = by_resource(amount, Reserved(cpu, memory_gib * GIB, gpu, 1), {1: CARD})
    assert sum(shares.values()) == amount
    assert (Resource.GPU in shares) == (gpu > 0)


def test_usage_under_a_card_nobody_kept_stands_under_the_server() -> None:
    assert by_resource(-7, Reserved(2, GIB, 0, 9), {1: CARD}) == {Resource.SERVER: -7}


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1"])
def test_what_could_be_a_formula_is_quoted(text: str) -> None:
    assert safe_cell(text) == f"'{text}"


def test_plain_text_stays_as_it_is() -> None:
    assert safe_cell("Awarded by the panel; 3 = three") == "Awarded by the panel; 3 = three"
