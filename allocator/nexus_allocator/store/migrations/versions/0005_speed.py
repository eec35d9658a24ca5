"""Indexes for the newest servers and grants of one account, and kept days of the whole platform."""

import sqlalchemy as sa
from alembic import op

revision: str = "0005"
down_revision: str | None = "0004"

HOLD_INDEXES = {
    "ix_hold_allocation_placed": ["allocation_id", "placed_at"],
    "ix_hold_person_placed": ["person_id", "placed_at"],
    "ix_hold_person_settled": ["person_id", "settled_at"],
}
WITHOUT_HOLD = sa.text("hold_id IS NULL")


def upgrade() -> None:
    for name, columns in HOLD_INDEXES.items():
        op.create_index(name, "hold", columns, unique=False)
    for side in ("from", "to"):
        op.create_index(
            f"ix_entry_{side}_without_hold", "entry", [f"{side}_book_id", "at"], unique=False,
            sqlite_where=WITHOUT_HOLD, postgresql_where=WITHOUT_HOLD,
        )  # fmt: skip
    op.create_table(
        "platform_day",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("spent_micro", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("running", sa.BigInteger(), nullable=True),
        sa.Column("left_micro", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("day", name=op.f("pk_platform_day")),
    )
