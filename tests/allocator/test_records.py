"""Every decision and change leaves a record in its transaction; nothing alters it, and it is found."""

import csv
import io
import json
from datetime import timedelta
from functools import cache
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from tests.support.allocator import START, World
from tests.support.recorded import Function, functions_of, package_functions, unrecorded

import nexus_allocator
from nexus_allocator.domain.errors import BadReason, UnknownPerson
from nexus_allocator.domain.records import ABOUT, About, Act, ActorKind
from nexus_allocator.services import allocations, record_reading, suspensions
from nexus_allocator.services.record_reading import Row, Wanted

# Functions that change rows without a record, each with what stands in its place.
HOLDS = "the hold keeps who, what, when and at which rate, and the ledger what it cost"
OUTBOX = "the outbox's row; what it tells, or what it is for, has a record"
UNRECORDED = {
    **dict.fromkeys(("admission._admit_to_read", "admission._place"), HOLDS),
    **dict.fromkeys(("clusters._place", "clusters.admit"), HOLDS),
    **dict.fromkeys(("holds._explain", "holds._keep", "holds._post", "holds._witness"), HOLDS),
    **dict.fromkeys(("holds.settle", "holds.witness_part", "clusters._witness"), HOLDS),
    **dict.fromkeys(("leases._collect_lease", "leases._end", "leases._remember"), HOLDS),
    "forecasts.keep_days": "sums derived from the ledger",
    "backups._bring_up_to_date": "a restored database, in which numbers are left out before anybody uses it",
    "notices.tell": "what somebody is told; what it is about has a record",
    "notices.put_away": "a notice that its reader has read",
    "web_sessions.open_session": "a browser's session",
    "web_sessions.close_session": "a browser's session",
    "events.note_try": "a try of a code",
    "questions._keep": "how far an answer is; the question has a record",
    **dict.fromkeys(("outbox.enqueue", "digests.gather"), OUTBOX),
    **dict.fromkeys(("delivery._claimed", "delivery._keep", "delivery.forget_old"), "how a row fared"),
    "webhooks.note_failure": "how an endpoint fares; switching it off has a record",
    **dict.fromkeys(("delivery._count", "delivery.deliver"), "no row: a sum"),
    "answers.forget_old": "what programs were answered days ago",
    **dict.fromkeys(("places.enforce", "storage_quotas.found"), "each look is kept; a limit follows from it"),
    "storage_charges._charge_day": "the ledger, and the place's days",
    "place_history.thin": "looks grown old, as README says; the last of each day stays",
    "snapshot_asks.keep_seen": "which snapshots a volume has; what is asked of one is in the outbox",
    "place_looks.look_at_all": "no row: a sum",
    "storage.notify": "who was told of a plan; the plan's signed log has it too",
    "purge_turns.turn": "dry runs of rules that are no more",
    "grants.read_list": "no row: a reader of CSV",
    "whatif.replay._start": "no row: a server in a simulation",
}  # fmt: skip


def rows(world: World, **wanted: object) -> list[Row]:
    with world.database.reading_scope() as session:
        return list(record_reading.page(session, Wanted(**wanted)).rows)  # type: ignore[arg-type]


@cache
def read() -> dict[str, Function]:
    """The package's functions, read once."""
    return package_functions(Path(nexus_allocator.__file__).parent)


def test_every_function_that_changes_something_records_it() -> None:
    functions = read()
    assert len(functions) > 300
    assert unrecorded(functions) == set(UNRECORDED)


@pytest.mark.parametrize(
    ("body", "is_found"),
    [
        ("    person.email = None\n", True),
        ("    session.delete(person)\n", True),
        ("    people.take_name(session, 'x', now=now)\n", True),
        ("    person.email = None\n    _kept(session)\n", False),
        ("    return people.by_id(session, person)\n", False),
    ],
)
def test_a_change_that_is_not_recorded_would_be_found(body: str, is_found: bool) -> None:
    source = (
        "from nexus_allocator.store import people\n"
        "from nexus_allocator.services.records import record\n"
        "def planted(session, person, now):\n" + body + "def _kept(session):\n    record(session)\n"
    )
    name = "nexus_allocator.services.new"
    functions = read() | {each.name: each for each in functions_of(name, source)}
    assert ("new.planted" in unrecorded(functions)) is is_found


def test_every_act_is_about_something() -> None:
    assert set(ABOUT) == set(Act)


def test_a_record_says_who_did_what_to_whom_when_and_why_by_ids(world: World) -> None:
    person, admin = world.astronomer(), world.administrator()
    with world.database.session_scope() as session:
        suspensions.suspend_as_administrator(
            session, administrator_id=admin, hub_name="astronomer", reason="A lost key.", now=START
        )
    row = rows(world, act=Act.PERSON_SUSPENDED)[0]
    assert (row.actor, row.actor_id, row.by) == (ActorKind.PERSON, admin, "admin")
    assert (row.about, row.about_id, row.what) == (About.PERSON, person, "astronomer")
    assert (row.reason, row.at, row.after) == ("A lost key.", START, {"servers": 0})


def test_records_hold_no_names(world: World) -> None:
    world.astronomer("zebedee")
    world.astronomer("dougal")
    world.team("survey", "dougal")
    world.invite("survey", "zebedee", by="dougal")
    world.share("survey", "dougal", 5)
    with world.database.reading_scope() as session:
        kept = [str(tuple(row)) for row in session.execute(text("SELECT * FROM record"))]
    assert len(kept) > 8
    assert not [row for row in kept if "zebedee" in row.lower() or "dougal" in row.lower()]


def test_what_is_undone_leaves_no_record(world: World) -> None:
    world.astronomer()
    before = len(rows(world))
    with pytest.raises(BadReason), world.database.session_scope() as session:
        suspensions.suspend(session, hub_name="astronomer", reason="", actor="operator ops", now=START)
    with pytest.raises(UnknownPerson), world.database.session_scope() as session:
        suspensions.suspend(session, hub_name="nobody", reason="A lost key.", actor="operator ops", now=START)
    assert len(rows(world)) == before


@pytest.mark.parametrize(
    "statement", ["UPDATE record SET reason = 'other'", "DELETE FROM record", "UPDATE record SET at = at"]
)
def test_the_database_itself_refuses_to_alter_a_record(world: World, statement: str) -> None:
    world.astronomer()
    with pytest.raises(DBAPIError, match="append-only"), world.database.session_scope() as session:
        session.execute(text(statement))


def test_the_log_is_searched_by_person_act_kind_day_and_text(world: World) -> None:
    world.astronomer()
    world.astronomer("other")
    world.team("survey", "astronomer", "other")
    world.clock.forward(days=2)
    with world.database.session_scope() as session:
        allocations.grant(
            session, account="survey", amount_micro=7_000_000, reason="100% of the pilot",
            actor="operator ops", now=world.clock(),
        )  # fmt: skip
    assert {row.act for row in rows(world, who="other")} >= {Act.MEMBER_SEATED, Act.AGREEMENT_ACCEPTED}
    assert all("other" in (row.by, row.what, row.person) for row in rows(world, who="other"))
    assert [row.by for row in rows(world, actor=ActorKind.OPERATOR, act=Act.GRANTED)] == ["operator ops"]
    assert [row.what for row in rows(world, text="100%")] == ["survey"]
    assert rows(world, text="1_0") == []
    assert [row.act for row in rows(world, since=START + timedelta(days=1))] == [Act.GRANTED]
    assert Act.GRANTED in {row.act for row in rows(world, until=START + timedelta(days=1))}
    team = rows(world, about=About.TEAM)[0]
    assert {row.act for row in rows(world, text=str(team.about_id))} >= {Act.TEAM_CREATED, Act.MEMBER_SEATED}


def test_the_log_is_paged_with_the_latest_first_and_exported_whole_in_order(world: World) -> None:
    world.astronomer()
    for number in range(60):
        world.clock.forward(seconds=1)
        world.grant("astronomer", number + 1)
    with world.database.reading_scope() as session:
        first = record_reading.page(session, Wanted(act=Act.GRANTED))
        second = record_reading.page(session, Wanted(act=Act.GRANTED), number=2)
        lines = "".join(record_reading.as_json_lines(session, Wanted(act=Act.GRANTED))).splitlines()
    # Entry's own grant is the first of all.
    assert (first.total, first.last, len(first.rows), len(second.rows)) == (61, 2, 50, 11)
    assert first.rows[0].after["amount_micro"] == 60_000_000
    amounts = [json.loads(line)["after"]["amount_micro"] for line in lines]
    assert amounts[1:] == [(number + 1) * 1_000_000 for number in range(60)]


def test_an_export_holds_no_formula_that_a_spreadsheet_runs(world: World) -> None:
    world.astronomer()
    with world.database.session_scope() as session:
        suspensions.suspend(
            session, hub_name="astronomer", reason='=HYPERLINK("x")', actor="operator ops", now=START
        )
    with world.database.reading_scope() as session:
        sheet = "".join(record_reading.as_csv(session, Wanted(act=Act.PERSON_SUSPENDED)))
    row = next(csv.DictReader(io.StringIO(sheet)))
    assert (row["reason"], row["by"], row["what"]) == ('\'=HYPERLINK("x")', "operator ops", "astronomer")


def test_an_administrator_s_right_that_comes_and_goes_is_recorded(world: World) -> None:
    world.administrator()
    world.signed_in("admin")
    changes = [(row.before, row.after) for row in rows(world, act=Act.ADMINISTRATOR_CHANGED)]
    lost, given = ({"is_administrator": True}, {"is_administrator": False})
    assert changes == [(lost, given), (given, lost)]
