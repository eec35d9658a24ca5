"""Exemptions from purges of files."""

import sqlalchemy as sa
from alembic import op

revision: str = "0014"
down_revision: str | None = "0013"

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "storage_exemption",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("place_kind", sa.Text(), nullable=False),
        sa.Column("place_name", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("made_at", MOMENT, nullable=False),
        sa.Column("until", MOMENT, nullable=False),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.CheckConstraint("made_at < until", name=op.f("ck_storage_exemption_dates")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_storage_exemption")),
    )
    op.create_index("ix_storage_exemption_place", "storage_exemption", ["place_kind", "place_name", "until"])
