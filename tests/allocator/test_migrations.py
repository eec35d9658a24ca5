"""Migrations and tables agree, on both databases, from an empty one."""

import importlib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations
from tests.support.allocator import START, World
from tests.support.postgres import PostgresServer

from nexus_allocator.domain.states import EntryKind
from nexus_allocator.services.audit import audit
from nexus_allocator.store import accounts, ledger, schema
from nexus_allocator.store.session import Database


def test_the_migrated_database_and_the_tables_agree(database: Database) -> None:
    assert schema.differences(database) == []


def test_migrating_again_changes_nothing(database: Database) -> None:
    before = schema.current(database)
    schema.upgrade(database)
    assert schema.current(database) == before is not None


def test_sqlite_waits_for_other_writers_and_keeps_its_promises(database: Database) -> None:
    if not database.is_sqlite:
        with database.engine.connect() as connection:
            assert connection.exec_driver_sql("SHOW timezone").scalar_one() == "UTC"
        return
    with database.engine.connect() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "busy_timeout", "foreign_keys")
        }
    assert pragmas["journal_mode"] == "wal"
    assert pragmas["busy_timeout"] >= 30_000
    assert pragmas["foreign_keys"] == 1


def test_checkpoints_of_before_count_what_storage_cost(world: World, database: Database) -> None:
    world.astronomer()
    with database.session_scope() as session:
        account = accounts.by_slug(session, "astronomer")
        assert account is not None
        for number in range(100):
            ledger.append(
                session, account.allocation.id, -1000, kind=EntryKind.STORAGE, key=f"storage/{number}",
                at=START, actor="nexus", reason="for the test",
            )  # fmt: skip
    with database.engine.begin() as connection:
        assert connection.execute(sa.text("UPDATE checkpoint SET used_micro = 0")).rowcount == 1
        migration = importlib.import_module("nexus_allocator.store.migrations.versions.0021_storage_is_use")
        with Operations.context(MigrationContext.configure(connection)):
            migration.upgrade()
    with database.reading_scope() as session:
        assert audit(session, meter_silence=timedelta(days=1), now=START).drifts == []
        assert (
            ledger.spent(session, [account.allocation.id])[account.allocation.id].used_since_grant == 100_000
        )


def test_a_populated_first_schema_is_chained_without_losing_a_row(first_schema: Database) -> None:
    before = {name: rows_of(first_schema, name) for name in POPULATED}
    assert len(before["entry"]) == 200
    schema.upgrade(first_schema)
    after = {name: rows_of(first_schema, name) for name in POPULATED}
    assert after == before
    assert schema.differences(first_schema) == []
    with first_schema.reading_scope() as session:
        report = audit(session, meter_silence=timedelta(days=1), now=START)
        account = accounts.by_slug(session, "astronomer")
        assert account is not None
        # A hundred grants of two credits, ninety-nine charges of a half and a refund of a quarter.
        assert ledger.balance(session, account.allocation.id) == 150_750_000
    assert report.drifts == []
    assert sorted(after for _, after in kept_moves(first_schema)) == ["denied", "submitted", "submitted"]
    assert sorted(roles_of(first_schema)) == ["lead", "manager", "member"]
    world = World(first_schema)
    world.grant("astronomer", 1)
    assert world.figures("astronomer").balance == 151_750_000


POPULATED = {
    "entry": "id, kind, key, from_book_id, to_book_id, amount_micro, at, hold_id, actor, reason",
    "hold": "id, allocation_id, person_id, server_name, state, size, cpu, memory_bytes, gpu, image, "
    "planned_minutes, grace_minutes, rate_micro_per_hour, rate_card_version, amount_micro, placed_at, until, "
    "process_started_at, last_seen_at, earlier_s, usage_micro, posted_micro, stop_reason",
    "book": "*",
    "person": "id, issuer, subject, hub_name, preferred_username, display_name, email, uid, suspended_at",
    "allocation": "id, account_id, tier, starts_at, expires_at, policy_version",
    "tier_request": "id, account_id, person_id, tier, justification, state, submitted_at",
}


def rows_of(database: Database, table: str) -> list[tuple[object, ...]]:
    with database.engine.connect() as connection:
        query = f"SELECT {POPULATED[table]} FROM {table} ORDER BY id"  # noqa: S608 - our own words
        return [tuple(map(str, row)) for row in connection.exec_driver_sql(query)]


def kept_moves(database: Database) -> list[tuple[str | None, str]]:
    with database.engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT before, after FROM request_move")
        return [(before, after) for before, after in rows]


def roles_of(database: Database) -> list[str]:
    """A team of earlier days may have had two leads; the later one manages it now."""
    with database.engine.connect() as connection:
        return [str(role) for (role,) in connection.exec_driver_sql("SELECT role FROM membership")]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def first_schema(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database of the first schema with people, a settled server, a request and 200 entries."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/first.sqlite"
    else:
        server: PostgresServer = request.getfixturevalue("postgres_server")
        url = server.url(server.new_database())
    database = Database(url, threads=2)
    schema.upgrade(database, "0001")
    with database.session_scope() as session:
        populate(session.connection())
    yield database
    database.dispose()


def populate(connection: sa.Connection) -> None:
    """Write rows as the first schema had them: tables as the database tells them, not today's code."""
    old = sa.MetaData()
    old.reflect(connection)
    ids = {name: uuid4() for name in ("person", "account", "allocation", "book", "hold", "request")}

    def add(table: str, *rows: dict[str, object]) -> None:
        columns = old.tables[table].c
        plain = [{name: as_stored(columns[name], value) for name, value in row.items()} for row in rows]
        connection.execute(old.tables[table].insert(), plain)

    add("person", {
        "id": ids["person"], "issuer": "i", "subject": "s", "hub_name": "astronomer",
        "preferred_username": "a",
        "display_name": "A", "uid": 1, "is_administrator": False, "created_at": START,
    })  # fmt: skip
    add("account", {
        "id": ids["account"], "slug": "astronomer", "label": "Own", "kind": "personal",
        "person_id": ids["person"], "created_at": START,
    })  # fmt: skip
    add("allocation", {
        "id": ids["allocation"], "account_id": ids["account"], "tier": "entry", "starts_at": START,
        "expires_at": START + timedelta(days=365), "policy_version": 1,
    })  # fmt: skip
    team_id = uuid4()
    add("team", {"id": team_id, "slug": "t", "label": "T", "gid": 1, "created_at": START})
    for number, role in enumerate(("lead", "lead", "member")):
        member_id = uuid4()
        add("person", {
            "id": member_id, "issuer": "i", "subject": f"m{number}", "hub_name": f"member-{number}",
            "preferred_username": "m", "display_name": "M", "uid": 10 + number, "is_administrator": False,
            "created_at": START,
        })  # fmt: skip
        add("membership", {
            "team_id": team_id, "person_id": member_id, "role": role,
            "joined_at": START + timedelta(minutes=number),
        })  # fmt: skip
    add("tier_request", {
        "id": ids["request"], "account_id": ids["account"], "person_id": ids["person"], "tier": "research",
        "tier_before": "entry", "justification": "More", "state": "submitted", "submitted_at": START,
    })  # fmt: skip
    add("tier_request", {
        "id": uuid4(), "account_id": ids["account"], "person_id": ids["person"], "tier": "research",
        "tier_before": "entry", "justification": "Less", "state": "denied", "submitted_at": START,
        "decided_at": START + timedelta(days=1), "decided_by": ids["person"], "decision_reason": "No.",
    })  # fmt: skip
    add("book", {"id": ids["book"], "kind": "allocation", "allocation_id": ids["allocation"]})
    add("hold", {
        "id": ids["hold"], "allocation_id": ids["allocation"], "person_id": ids["person"], "server_name": "",
        "state": "settled", "size": "small", "cpu": 2, "memory_bytes": 4 * 1024**3, "gpu": 0, "image": "old",
        "planned_minutes": 60, "grace_minutes": 10, "rate_micro_per_hour": 500_000, "rate_card_version": 1,
        "amount_micro": 60_000_000, "placed_at": START, "until": START + timedelta(hours=120),
        "process_started_at": START, "last_seen_at": START + timedelta(hours=98.5), "earlier_s": 0.0,
        "usage_micro": 49_250_000, "posted_micro": 49_250_000,
    })  # fmt: skip
    books = {row.kind: row.id for row in connection.execute(sa.select(old.tables["book"]))}
    add("entry", *entries(ids, {kind: UUID(str(book_id)) for kind, book_id in books.items()}))


def entries(ids: dict[str, UUID], books: dict[str, UUID]) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for number in range(200):
        grant, refund = number % 2 == 0, number == 199
        kind = "grant" if grant else "correction" if refund else "usage"
        platform = books[{"grant": "granted", "correction": "corrected", "usage": "used"}[kind]]
        into = grant or refund
        rows.append({
            "id": uuid4(), "kind": kind, "key": f"k{number}", "hold_id": None if grant else ids["hold"],
            "from_book_id": platform if into else ids["book"],
            "to_book_id": ids["book"] if into else platform,
            "amount_micro": 2_000_000 if grant else 250_000 if refund else 500_000,
            # Ten entries to a moment: their order must not matter to what the database can tell.
            "at": START + timedelta(minutes=number // 10, microseconds=7), "actor": "t", "reason": "ünïcode",
        })  # fmt: skip
    return rows


def as_stored(column: sa.Column[object], value: object) -> object:
    # A reflected SQLite column is CHAR(32) and has no idea of what it holds.
    if isinstance(value, UUID) and not isinstance(column.type, sa.Uuid):
        return value.hex
    return value
