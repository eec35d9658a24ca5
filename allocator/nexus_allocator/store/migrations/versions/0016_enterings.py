"""Administrators' entries into people's servers."""

import sqlalchemy as sa
from alembic import op

revision: str = "0016"
down_revision: str | None = "0015"

MOMENT = sa.DateTime(timezone=True)
OPEN = sa.text("ended_at IS NULL")


def upgrade() -> None:
    op.create_table(
        "entering",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("hold_id", sa.Uuid(), nullable=False),
        sa.Column("administrator_id", sa.Uuid(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("until", MOMENT, nullable=False),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(["hold_id"], ["hold.id"], name=op.f("fk_entering_hold_id")),
        sa.ForeignKeyConstraint(
            ["administrator_id"], ["person.id"], name=op.f("fk_entering_administrator_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_entering")),
    )
    op.create_index(
        "ix_entering_open", "entering", ["hold_id", "administrator_id"], unique=True, postgresql_where=OPEN,
        sqlite_where=OPEN,
    )  # fmt: skip
    op.create_index("ix_entering_hold_id", "entering", ["hold_id"])
