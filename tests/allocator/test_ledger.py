"""The ledger: append-only by the database itself, double-entry, summed, audited."""

from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DatabaseError, IntegrityError
from tests.support.allocator import START, World

from nexus_allocator.domain.credits import MICRO
from nexus_allocator.domain.errors import BadAmount, BadReason, UnknownAccount
from nexus_allocator.services import allocations
from nexus_allocator.services.audit import AuditReport, audit
from nexus_allocator.store import accounts, ledger
from nexus_allocator.store.forecasting import spent_by_day


def audited(world: World) -> AuditReport:
    with world.database.reading_scope() as session:
        return audit(session, meter_silence=timedelta(minutes=3), now=world.clock())


def statements(world: World) -> list[str]:
    changes = ["UPDATE entry SET amount_micro = 1", "DELETE FROM entry", "DELETE FROM taken_name"]
    if world.database.is_sqlite:
        return [*changes, "INSERT OR REPLACE INTO entry SELECT * FROM entry"]
    return [*changes, "TRUNCATE entry CASCADE"]


def test_the_database_itself_refuses_to_change_an_entry(world: World) -> None:
    world.astronomer()
    for statement in statements(world):
        with pytest.raises(DatabaseError, match="append-only"), world.database.session_scope() as session:
            session.execute(text(statement))
    assert world.figures("astronomer").balance == 25 * MICRO


def test_the_same_entry_is_refused_a_second_time(world: World) -> None:
    world.astronomer()
    with world.database.reading_scope() as session:
        found = accounts.by_slug(session, "astronomer")
        assert found is not None
    for _ in range(2):
        try:
            with world.database.session_scope() as session:
                allocations.award(
                    session, found.allocation.id, 5, key="twice", actor="test", reason="again", now=START
                )
        except IntegrityError:
            break
    else:
        pytest.fail("the second entry of one key was taken")
    assert world.figures("astronomer").balance == 25 * MICRO + 5


def test_grants_usage_and_corrections_add_up_and_platform_holds_the_other_side(world: World) -> None:
    world.astronomer()
    world.grant("astronomer", 10)
    world.correct("astronomer", -2.5)
    world.correct("astronomer", 0.5)
    admitted = world.launch()
    world.started(admitted.hold_id)
    world.clock.forward(hours=1)
    world.stopped(admitted.hold_id, stopped_at=world.clock(), alive_at_stop=True)
    with world.database.reading_scope() as session:
        found = accounts.by_slug(session, "astronomer")
        assert found is not None
        rows = ledger.entries(session, found.allocation.id, limit=10, offset=0)
        assert sorted(amount for _, amount in rows) == [-2_500_000, -125_000, 500_000, 10_000_000, 25_000_000]
        assert ledger.platform_total(session) == -ledger.balance(session, found.allocation.id)
        assert spent_by_day(session, [found.allocation.id], since=START) == {
            found.allocation.id: {START.date(): 125_000}
        }
    assert audited(world).drifts == []


@pytest.mark.parametrize("amount", [0, -1, 1e10])
def test_an_amount_that_is_no_grant_is_refused(world: World, amount: float) -> None:
    world.astronomer()
    with pytest.raises(BadAmount):
        world.grant("astronomer", amount)


def test_a_correction_needs_a_reason_and_an_account(world: World) -> None:
    world.astronomer()
    with world.database.session_scope() as session, pytest.raises(BadReason):
        allocations.correct(
            session, account="astronomer", amount_micro=1, reason="  ", actor="test", now=START
        )
    with pytest.raises(UnknownAccount):
        world.correct("nobody", 1)


def test_the_audit_finds_a_reading_that_was_tampered_with(world: World) -> None:
    world.astronomer()
    admitted = world.launch()
    world.started(admitted.hold_id)
    world.clock.forward(hours=1)
    world.stopped(admitted.hold_id, stopped_at=world.clock(), alive_at_stop=True)
    with world.database.session_scope() as session:
        session.execute(text("UPDATE hold SET posted_micro = 1, usage_micro = 2"))
    assert {drift.kind for drift in audited(world).drifts} == {"posted", "reading", "settled_short"}


def test_the_audit_finds_an_overspent_account_and_a_silent_meter(world: World) -> None:
    world.astronomer()
    world.launch()
    world.correct("astronomer", -26)
    assert {drift.kind for drift in audited(world).drifts} == {"overspent", "meter_silent"}


def test_work_that_fails_half_way_leaves_nothing(world: World) -> None:
    world.astronomer()

    def half() -> None:
        with world.database.session_scope() as session:
            allocations.grant(
                session, account="astronomer", amount_micro=5, reason="half", actor="test", now=START
            )
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError):
        half()
    assert world.figures("astronomer").balance == 25 * MICRO


def test_decisions_are_logged_once_committed_and_without_names(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="nexus_allocator.decisions")
    world.astronomer("veryspecialname")
    world.launch("veryspecialname")
    text_logged = caplog.text
    for event in ("person_created", "agreement_accepted", "granted", "admitted"):
        assert f'"event": "{event}"' in text_logged
    assert "veryspecialname" not in text_logged


def test_what_is_read_together_is_of_one_moment(world: World) -> None:
    world.astronomer()
    with world.database.reading_scope() as session:
        slugs = [row.id for row in accounts.every_allocation(session)]
        before = ledger.balance(session, slugs[0])
        world.grant("astronomer", 5)
        assert ledger.balance(session, slugs[0]) == before
        assert ledger.platform_total(session) == -before
    assert world.figures("astronomer").balance == before + 5_000_000
