"""Fills an empty PostgreSQL database with people, teams and a long ledger, fast: COPY, then sets.

The history is as the service would have left it but for two things: hashes of links are not the chain's
(nobody reads them here but the next append), and keys of foreign rows are not checked again.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql
from sqlalchemy import insert, text
from tests.support.postgres import PostgresServer

from nexus_allocator.domain.policy import Policy
from nexus_allocator.domain.states import AccountKind, BookKind, Role, TierSlug
from nexus_allocator.store.base import Base
from nexus_allocator.store.session import Database
from nexus_allocator.store.tables import (
    Acceptance,
    Account,
    Allocation,
    Book,
    Home,
    Membership,
    Person,
    Team,
)

MASS = ("hold", "entry", "link", "checkpoint")
POSTINGS_A_SERVER = 4
YEAR_S = 365 * 86_400
MEMBERS = 5
GRANT_MICRO = 10**13


@dataclass(frozen=True)
class Filled:
    """What was made; accounts have the slugs of their people (``p…``) and teams (``t…``)."""

    people: int
    teams: int
    entries: int
    largest: int

    @property
    def slugs(self) -> list[str]:
        return [f"p{n}" for n in range(self.people)] + [f"t{n}" for n in range(self.teams)]


def fill(
    database: Database, server: PostgresServer, *, policy: Policy, people: int, teams: int, entries: int
) -> Filled:
    """Fill a migrated, empty database; the same figures give the same history but for the ids.

    Account ``p0`` has by far the longest history: what accounts use falls as a power of their rank.
    """
    rng = np.random.default_rng(20261121)
    now = datetime.now(UTC)
    books = _people_and_accounts(database, policy, people=people, teams=teams, now=now)
    share = 1 / np.arange(5, len(books) + 5) ** 0.8
    counts = 1 + rng.multinomial(max(0, entries - len(books)), share / share.sum())
    assert database.url.database
    with server.connect(database.url.database) as connection:
        connection.execute("SET synchronous_commit = off")
        connection.execute("SET maintenance_work_mem = '512MB'")
        connection.execute("SET work_mem = '256MB'")
        _stage(connection, rng, books, counts, now=now)
        _history(connection)
    return Filled(people, teams, int(counts.sum()), int(counts.max()))


Books = list[tuple[UUID, UUID, UUID]]


def _people_and_accounts(
    database: Database, policy: Policy, *, people: int, teams: int, now: datetime
) -> Books:
    """Make people and teams with their accounts; return (book, allocation, person who launches)."""
    began = now - timedelta(days=366)
    persons = [uuid4() for _ in range(people)]
    team_ids = [uuid4() for _ in range(teams)]
    rows: dict[type[Base], list[dict[str, object]]] = {
        Person: [_person(number, id_, began) for number, id_ in enumerate(persons)],
        Acceptance: [
            {"person_id": id_, "version": policy.agreement.version, "accepted_at": began} for id_ in persons
        ],
        Home: [
            {"person_id": id_, "name": f"p{number}", "created_at": began}
            for number, id_ in enumerate(persons)
        ],
        Team: [
            {"id": id_, "slug": f"t{number}", "label": f"Team {number}", "gid": 40_000 + number,
             "created_at": began}
            for number, id_ in enumerate(team_ids)
        ],
        Membership: [
            {"team_id": id_, "person_id": persons[(number * MEMBERS + seat) % people],
             "role": Role.MEMBER if seat else Role.LEAD, "joined_at": began}
            for number, id_ in enumerate(team_ids)
            for seat in range(min(MEMBERS, people))
        ],
    }  # fmt: skip
    owners: list[tuple[UUID | None, UUID | None, UUID]] = [(id_, None, id_) for id_ in persons]
    owners += [(None, id_, persons[number * MEMBERS % people]) for number, id_ in enumerate(team_ids)]
    slugs = [f"p{number}" for number in range(people)] + [f"t{number}" for number in range(teams)]
    found: Books = []
    rows |= {Account: [], Allocation: [], Book: []}
    for slug, (person_id, team_id, launches) in zip(slugs, owners, strict=True):
        account, allocation, book = uuid4(), uuid4(), uuid4()
        kind = AccountKind.PERSONAL if person_id else AccountKind.TEAM
        rows[Account].append(
            {"id": account, "slug": slug, "label": slug, "kind": kind, "person_id": person_id,
             "team_id": team_id, "created_at": began}
        )  # fmt: skip
        rows[Allocation].append(
            {"id": allocation, "account_id": account, "tier": TierSlug.SPECIAL, "starts_at": began,
             "expires_at": now + timedelta(days=300), "policy_version": policy.version}
        )  # fmt: skip
        rows[Book].append({"id": book, "kind": BookKind.ALLOCATION, "allocation_id": allocation})
        found.append((book, allocation, launches))
    with database.session_scope() as session:
        for table, values in rows.items():
            session.execute(insert(table), values)
        session.execute(text("UPDATE counter SET next_value = next_value + 1000000"))
    return found


def _person(number: int, id_: UUID, began: datetime) -> dict[str, object]:
    name = f"p{number}"
    return {
        "id": id_, "issuer": "https://provider.test", "subject": name, "hub_name": name,
        "preferred_username": name, "display_name": f"Person {number}", "email": f"{name}@example.org",
        "uid": 20_000 + number, "is_administrator": number == 1, "suspended_at": None, "created_at": began,
        "signed_in_at": began,
    }  # fmt: skip


def _stage(
    connection: psycopg.Connection[tuple[object, ...]],
    rng: np.random.Generator,
    books: Books,
    counts: NDArray[np.int64],
    *,
    now: datetime,
) -> None:
    """COPY one narrow row for each link: its book, its place, what it took, and when."""
    connection.execute(
        "CREATE UNLOGGED TABLE staged_book (n int, book_id uuid, allocation_id uuid, person_id uuid)"
    )
    connection.execute("CREATE UNLOGGED TABLE staged (book int, number int, amount bigint, second int)")
    with connection.cursor() as cursor, cursor.copy("COPY staged_book FROM STDIN") as copy:
        for number, (book, allocation, person) in enumerate(books):
            copy.write_row((number, book, allocation, person))
    book = np.repeat(np.arange(len(counts)), counts)
    first = np.concatenate([[0], np.cumsum(counts)[:-1]])
    number = np.arange(len(book)) - first[book] + 1
    amount = np.where(number == 1, GRANT_MICRO, rng.integers(1_000, 1_200_000, len(book)))
    # In order within each book, over the whole year.
    second = ((number - 1) / counts[book] * YEAR_S).astype(np.int64)
    rows = np.column_stack([book, number, amount, second])
    with connection.cursor() as cursor, cursor.copy("COPY staged FROM STDIN") as copy:
        for start in range(0, len(rows), 50_000):
            part = rows[start : start + 50_000].tolist()
            copy.write("\n".join(f"{a}\t{b}\t{c}\t{d}" for a, b, c, d in part) + "\n")
    connection.execute("CREATE UNLOGGED TABLE staged_now AS SELECT %s::timestamptz AS at", (now,))
    connection.execute("ANALYZE staged")


HISTORY = (
    # A server posts some links; its id is made from its book and its place.
    """
    INSERT INTO hold (id, allocation_id, person_id, server_name, state, size, cpu, memory_bytes, gpu, image,
        planned_minutes, grace_minutes, rate_micro_per_hour, rate_card_version, amount_micro, placed_at,
        until, process_started_at, last_seen_at, earlier_s, usage_micro, posted_micro, posted_at, settled_at,
        stopped_at, stop_reason)
    SELECT md5(s.book || '/' || (s.number - 2) / {each})::uuid, min(b.allocation_id::text)::uuid,
        min(b.person_id::text)::uuid, '', 'settled', 'small', 2, 4294967296, 0, 'nexus', 240, 10, 125000, 2,
        sum(s.amount), began.at + min(s.second) * interval '1 second',
        began.at + (max(s.second) + 14400) * interval '1 second',
        began.at + min(s.second) * interval '1 second', began.at + max(s.second) * interval '1 second', 0,
        sum(s.amount), sum(s.amount), began.at + max(s.second) * interval '1 second',
        began.at + max(s.second) * interval '1 second', began.at + max(s.second) * interval '1 second',
        'own-hand'
    FROM staged s JOIN staged_book b ON b.n = s.book,
        (SELECT at - interval '365 days' AS at FROM staged_now) began
    WHERE s.number > 1
    GROUP BY s.book, (s.number - 2) / {each}, began.at
    """,
    """
    INSERT INTO entry (id, kind, key, from_book_id, to_book_id, amount_micro, at, hold_id, actor, reason,
        rate_card_version)
    SELECT md5(s.book || ':' || s.number)::uuid, CASE WHEN s.number = 1 THEN 'grant' ELSE 'usage' END,
        CASE WHEN s.number = 1 THEN 'grant/open/' ELSE 'usage/' END || md5(s.book || ':' || s.number),
        CASE WHEN s.number = 1 THEN granted.id ELSE b.book_id END,
        CASE WHEN s.number = 1 THEN b.book_id ELSE used.id END, s.amount,
        staged_now.at - interval '365 days' + s.second * interval '1 second',
        CASE WHEN s.number > 1 THEN md5(s.book || '/' || (s.number - 2) / {each})::uuid END, 'meter',
        'small server', 2
    FROM staged s JOIN staged_book b ON b.n = s.book, staged_now,
        (SELECT id FROM book WHERE kind = 'granted') granted, (SELECT id FROM book WHERE kind = 'used') used
    ORDER BY s.second
    """,
    """
    INSERT INTO link (book_id, number, entry_id, amount_micro, hash)
    SELECT b.book_id, s.number, md5(s.book || ':' || s.number)::uuid,
        CASE WHEN s.number = 1 THEN s.amount ELSE -s.amount END, md5(s.book::text) || md5(s.number::text)
    FROM staged s JOIN staged_book b ON b.n = s.book
    """,
    """
    INSERT INTO checkpoint (book_id, number, at, balance_micro, used_micro)
    SELECT b.book_id, s.number, staged_now.at - interval '365 days' + s.second * interval '1 second',
        {grant} - s.used, s.used
    FROM (
        SELECT book, number, second,
            sum(CASE WHEN number > 1 THEN amount ELSE 0 END) OVER (PARTITION BY book ORDER BY number) AS used
        FROM staged
    ) s JOIN staged_book b ON b.n = s.book, staged_now
    WHERE s.number % 64 = 0
    """,
)


def _history(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    """Write the mass tables without their indexes, and make these afterwards, which is much quicker."""
    again = _without_indexes(connection)
    connection.execute("SET session_replication_role = replica")
    for statement in HISTORY:
        connection.execute(statement.format(each=POSTINGS_A_SERVER, grant=GRANT_MICRO))  # type: ignore[arg-type]
    for statement in again:
        connection.execute(statement)
    connection.execute("RESET session_replication_role")
    connection.execute("DROP TABLE staged, staged_book, staged_now")
    connection.execute("VACUUM ANALYZE")


def _without_indexes(connection: psycopg.Connection[tuple[object, ...]]) -> list[sql.Composable]:
    """Drop keys and indexes of the mass tables; return the statements that make them again."""
    constraints = connection.execute(
        """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), contype FROM pg_constraint
        WHERE contype IN ('p', 'u', 'f')
            AND (conrelid::regclass::text = ANY(%(mass)s) OR confrelid::regclass::text = ANY(%(mass)s))
        ORDER BY contype <> 'f'
        """,
        {"mass": list(MASS)},
    ).fetchall()
    again: list[sql.Composable] = []
    for table, name, definition, kind in constraints:
        names = {"table": sql.SQL(str(table)), "name": sql.Identifier(str(name))}  # type: ignore[arg-type]
        connection.execute(sql.SQL("ALTER TABLE {table} DROP CONSTRAINT {name}").format(**names))
        rest = f"{definition} NOT VALID" if kind == "f" else str(definition)
        again.insert(
            0,
            sql.SQL("ALTER TABLE {table} ADD CONSTRAINT {name} ").format(**names) + sql.SQL(rest),  # type: ignore[arg-type]
        )
    indexes = connection.execute(
        "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = ANY(%s)", (list(MASS),)
    ).fetchall()
    for name, definition in indexes:
        connection.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(str(name))))
        again.insert(0, sql.SQL(str(definition)))  # type: ignore[arg-type]
    return again
