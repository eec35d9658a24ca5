"""What the first migration adds to its tables: rows that must exist, and triggers that forbid changes."""

from uuid import uuid4

import sqlalchemy as sa
from alembic import op

FIRST_NUMBERS = {"uid": 20_000, "team_gid": 40_000}
PLATFORM_BOOKS = ("granted", "used", "corrected")

POSTGRESQL = (
    """
    CREATE FUNCTION {table}_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION '{table} is append-only: % refused', TG_OP;
    END $$
    """,
    """
    CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION {table}_is_append_only()
    """,
)
SQLITE = (
    """
    CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table}
    BEGIN SELECT RAISE(ABORT, '{table} is append-only: UPDATE refused'); END
    """,
    """
    CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table}
    BEGIN SELECT RAISE(ABORT, '{table} is append-only: DELETE refused'); END
    """,
    # INSERT OR REPLACE removes the old row without firing its DELETE trigger.
    """
    CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table}
    WHEN EXISTS (SELECT 1 FROM {table} WHERE {same_row})
    BEGIN SELECT RAISE(ABORT, '{table} is append-only: REPLACE refused'); END
    """,
)


def forbid_changes(table: str, *, key: str, second_key: str | None = None) -> None:
    """Let the database itself refuse UPDATE and DELETE (and TRUNCATE where there is one) on ``table``."""
    statements = POSTGRESQL if op.get_bind().dialect.name == "postgresql" else SQLITE
    same_row = " AND ".join(f"{name} = NEW.{name}" for name in (key, second_key) if name)
    for statement in statements:
        op.execute(sa.text(statement.format(table=table, same_row=same_row)))


def open_platform_books() -> None:
    """Add the platform's side of every entry, and the first numbers to give."""
    book = sa.table("book", sa.column("id", sa.Uuid), sa.column("kind", sa.Text))
    op.bulk_insert(book, [{"id": uuid4(), "kind": kind} for kind in PLATFORM_BOOKS])
    counter = sa.table("counter", sa.column("name", sa.Text), sa.column("next_value", sa.BigInteger))
    op.bulk_insert(counter, [{"name": name, "next_value": first} for name, first in FIRST_NUMBERS.items()])
