"""Events with a join code; an allocation may be limited to some of its tier's sizes."""

import sqlalchemy as sa
from alembic import op

revision: str = "0013"
down_revision: str | None = "0012"

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("allocation", sa.Column("sizes", sa.JSON(), nullable=True))
    op.create_table(
        "event",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("team_id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("sizes", sa.JSON(), nullable=False),
        sa.Column("starts_at", MOMENT, nullable=False),
        sa.Column("ends_at", MOMENT, nullable=False),
        sa.Column("per_person_micro", sa.BigInteger(), nullable=True),
        sa.Column("pool_micro", sa.BigInteger(), nullable=True),
        sa.Column("most_people", sa.BigInteger(), nullable=False),
        sa.Column("made_at", MOMENT, nullable=False),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.Column("closed_at", MOMENT, nullable=True),
        sa.CheckConstraint(
            "(per_person_micro IS NULL) <> (pool_micro IS NULL)", name=op.f("ck_event_one_kind")
        ),
        sa.CheckConstraint("starts_at < ends_at", name=op.f("ck_event_dates")),
        sa.ForeignKeyConstraint(["team_id"], ["team.id"], name=op.f("fk_event_team_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event")),
        sa.UniqueConstraint("code", name=op.f("uq_event_code")),
        sa.UniqueConstraint("team_id", name=op.f("uq_event_team_id")),
    )
    op.create_index(op.f("ix_event_closed_at"), "event", ["closed_at"])
    op.create_table(
        "join_try",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_join_try_person_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_join_try")),
    )
    op.create_index("ix_join_try_person", "join_try", ["person_id", "at"])
