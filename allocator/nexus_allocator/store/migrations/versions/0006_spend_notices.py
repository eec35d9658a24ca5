"""Notices that an award is used up to a mark are kept, and what was spent of the platform's budget."""

import sqlalchemy as sa
from alembic import op

revision: str = "0006"
down_revision: str | None = "0005"

MOMENT = sa.DateTime(timezone=True)
STANDING = sa.text("cleared_at IS NULL")


def upgrade() -> None:
    op.create_table(
        "spend_notice",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("allocation_id", sa.Uuid(), nullable=False),
        sa.Column("percent", sa.BigInteger(), nullable=False),
        sa.Column("award_micro", sa.BigInteger(), nullable=False),
        sa.Column("left_micro", sa.BigInteger(), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("cleared_at", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(
            ["allocation_id"], ["allocation.id"], name=op.f("fk_spend_notice_allocation_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_spend_notice")),
    )
    op.create_table(
        "pool_reading",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("spent_micro", sa.BigInteger(), nullable=False),
        sa.Column("waits_until", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_pool_reading")),
    )
    op.create_index(
        "ix_spend_notice_standing", "spend_notice", ["allocation_id", "percent"], unique=True,
        sqlite_where=STANDING, postgresql_where=STANDING,
    )  # fmt: skip
