"""Events with a join code, announcements, what-if questions; people who change, are one, or are erased.

An allocation may be limited to some of its tier's sizes.
"""

import sqlalchemy as sa
from alembic import op

from nexus_allocator.store.migrations.columns import add_reference

revision: str = "0010"
down_revision: str | None = "0009"

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("allocation", sa.Column("sizes", sa.JSON(), nullable=True))
    op.add_column("person", sa.Column("home_name", sa.Text(), nullable=True))
    op.add_column("person", sa.Column("erased_at", MOMENT, nullable=True))
    add_reference("person", "merged_into_id", "person")
    _events()
    _announcements()
    _questions()


def _announcements() -> None:
    op.create_table(
        "announcement",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("starts_at", MOMENT, nullable=False),
        sa.Column("ends_at", MOMENT, nullable=False),
        sa.Column("made_at", MOMENT, nullable=False),
        sa.Column("withdrawn_at", MOMENT, nullable=True),
        sa.CheckConstraint("starts_at < ends_at", name=op.f("ck_announcement_dates")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_announcement")),
    )
    op.create_index(op.f("ix_announcement_ends_at"), "announcement", ["ends_at"])


def _questions() -> None:
    op.create_table(
        "question",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("asked_by", sa.Uuid(), nullable=False),
        sa.Column("asked_at", MOMENT, nullable=False),
        sa.Column("changes", sa.JSON(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("percent", sa.BigInteger(), nullable=False),
        sa.Column("heard_at", MOMENT, nullable=False),
        sa.Column("answer", sa.JSON(), nullable=True),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["asked_by"], ["person.id"], name=op.f("fk_question_asked_by")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_question")),
    )
    op.create_index(op.f("ix_question_asked_at"), "question", ["asked_at"])


def _events() -> None:
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
