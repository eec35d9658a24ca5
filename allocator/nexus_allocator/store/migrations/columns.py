"""Columns added to tables that hold rows, where SQLite and PostgreSQL differ in how."""

import sqlalchemy as sa
from alembic import op


def add_reference(table: str, column: str, target: str) -> None:
    """Add an empty ``column`` that refers to ``target``'s id."""
    name = f"fk_{table}_{column}"
    if op.get_bind().dialect.name == "postgresql":
        op.add_column(table, sa.Column(column, sa.Uuid(), nullable=True))
        op.create_foreign_key(op.f(name), table, target, [column], ["id"])
        return
    # SQLite adds a constraint with its column or not at all; a copy of the table would lose its triggers.
    op.execute(
        sa.text(
            f"ALTER TABLE {table} ADD COLUMN {column} CHAR(32) CONSTRAINT {name} REFERENCES {target} (id)"
        )
    )
