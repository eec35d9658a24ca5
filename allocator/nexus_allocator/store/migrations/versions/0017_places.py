"""Volumes, places with their limits, what was found in them, and what each day of theirs cost."""

import sqlalchemy as sa
from alembic import op

revision: str = "0017"
down_revision: str | None = "0016"

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "volume",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("driver", sa.Text(), nullable=False),
        sa.Column("enforces", sa.Boolean(), nullable=False),
        sa.Column("most_places", sa.BigInteger(), nullable=True),
        sa.Column("opened_at", MOMENT, nullable=False),
        sa.Column("closed_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_volume")),
    )
    op.create_table(
        "place",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("volume", sa.Text(), nullable=True),
        sa.Column("soft_bytes", sa.BigInteger(), nullable=True),
        sa.Column("hard_bytes", sa.BigInteger(), nullable=True),
        sa.Column("set_bytes", sa.BigInteger(), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("made_at", MOMENT, nullable=True),
        sa.Column("limit_bytes", sa.BigInteger(), nullable=True),
        sa.Column("applied_bytes", sa.BigInteger(), nullable=True),
        sa.Column("over_since", MOMENT, nullable=True),
        sa.Column("ends_at", MOMENT, nullable=True),
        sa.Column("told_days", sa.BigInteger(), nullable=True),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.CheckConstraint("soft_bytes IS NULL OR soft_bytes <= hard_bytes", name=op.f("ck_place_limits")),
        sa.CheckConstraint("(kind = 'scratch') = (ends_at IS NOT NULL)", name=op.f("ck_place_lease")),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_place_account_id")),
        sa.ForeignKeyConstraint(["volume"], ["volume.name"], name=op.f("fk_place_volume")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_place")),
        sa.UniqueConstraint("kind", "name", name=op.f("uq_place_kind_name")),
    )
    op.create_index("ix_place_account", "place", ["account_id"])
    op.create_index("ix_place_volume", "place", ["volume"])
    op.create_table(
        "place_usage",
        sa.Column("place_id", sa.Uuid(), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("used_bytes", sa.BigInteger(), nullable=False),
        sa.Column("quarantined_bytes", sa.BigInteger(), nullable=False),
        sa.Column("snapshot_bytes", sa.BigInteger(), nullable=False),
        sa.Column("limit_bytes", sa.BigInteger(), nullable=True),
        sa.Column("parts", sa.JSON(), nullable=True),
        sa.ForeignKeyConstraint(["place_id"], ["place.id"], name=op.f("fk_place_usage_place_id")),
        sa.PrimaryKeyConstraint("place_id", "at", name=op.f("pk_place_usage")),
    )
    op.create_table(
        "place_day",
        sa.Column("place_id", sa.Uuid(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("charged_bytes", sa.BigInteger(), nullable=False),
        sa.Column("paid_micro", sa.BigInteger(), nullable=False),
        sa.Column("unpaid_micro", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("paid_micro >= 0 AND unpaid_micro >= 0", name=op.f("ck_place_day_amounts")),
        sa.ForeignKeyConstraint(["place_id"], ["place.id"], name=op.f("fk_place_day_place_id")),
        sa.PrimaryKeyConstraint("place_id", "day", name=op.f("pk_place_day")),
    )
