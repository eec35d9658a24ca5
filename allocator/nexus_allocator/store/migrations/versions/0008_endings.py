"""Allocations end by notice, grace and lapse; renewals tell results; agreements keep their words.

Suspensions keep their reason, and launches can be held for maintenance.
"""

import sqlalchemy as sa
from alembic import op

revision: str = "0008"
down_revision: str | None = "0007"

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("allocation", sa.Column("told_days", sa.BigInteger(), nullable=True))
    op.add_column("allocation", sa.Column("closed_at", MOMENT, nullable=True))
    op.create_index("ix_allocation_expires_at", "allocation", ["expires_at"])
    op.add_column("hold", sa.Column("read_only", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("tier_request", sa.Column("results", sa.JSON(), nullable=True))
    op.add_column("person", sa.Column("suspension_reason", sa.Text(), nullable=True))
    op.create_table(
        "maintenance",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("since", MOMENT, nullable=False),
        sa.Column("until", MOMENT, nullable=True),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_maintenance")),
    )
    op.create_table(
        "agreement_text",
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("text_html", sa.Text(), nullable=False),
        sa.Column("first_used_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_agreement_text")),
    )
