"""Decisions and changes are recorded, append-only."""

import sqlalchemy as sa
from alembic import op

from nexus_allocator.store.migrations.append_only import forbid_changes

revision: str = "0009"
down_revision: str | None = "0008"

MOMENT = sa.DateTime(timezone=True)
NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "record",
        sa.Column("number", NUMBER, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("act", sa.Text(), nullable=False),
        sa.Column("about", sa.Text(), nullable=False),
        sa.Column("about_id", sa.Uuid(), nullable=True),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("actor_id", sa.Uuid(), nullable=True),
        sa.Column("actor_name", sa.Text(), nullable=True),
        sa.Column("person_id", sa.Uuid(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("before", sa.JSON(), nullable=True),
        sa.Column("after", sa.JSON(), nullable=True),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_record")),
    )
    op.create_index("ix_record_act", "record", ["act", "number"])
    op.create_index("ix_record_actor", "record", ["actor_id", "number"])
    op.create_index("ix_record_person", "record", ["person_id", "number"])
    op.create_index("ix_record_about", "record", ["about", "about_id", "number"])
    op.create_index(op.f("ix_record_at"), "record", ["at"])
    forbid_changes("record", key="number")
