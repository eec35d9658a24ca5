"""Chains, checkpoints and rate cards; every entry there is gets its link, and no row is touched or lost."""

import sqlalchemy as sa
from alembic import op

from nexus_allocator.store.migrations.append_only import forbid_changes
from nexus_allocator.store.migrations.chaining import chain_all_entries

revision: str = "0002"
down_revision: str | None = "0001"

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("entry", sa.Column("rate_card_version", sa.BigInteger(), nullable=True))
    _tables()
    chain_all_entries(op.get_bind())
    forbid_changes("link", key="book_id", second_key="number")
    forbid_changes("rate_card", key="version")


def _tables() -> None:
    op.create_table(
        "link",
        sa.Column("book_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("entry_id", sa.Uuid(), nullable=False),
        sa.Column("amount_micro", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["book_id"], ["book.id"], name=op.f("fk_link_book_id")),
        sa.ForeignKeyConstraint(["entry_id"], ["entry.id"], name=op.f("fk_link_entry_id")),
        sa.PrimaryKeyConstraint("book_id", "number", name=op.f("pk_link")),
        sa.UniqueConstraint("entry_id", "book_id", name=op.f("uq_link_entry_id_book_id")),
    )
    op.create_table(
        "checkpoint",
        sa.Column("book_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("balance_micro", sa.BigInteger(), nullable=False),
        sa.Column("used_micro", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["book_id"], ["book.id"], name=op.f("fk_checkpoint_book_id")),
        sa.PrimaryKeyConstraint("book_id", "number", name=op.f("pk_checkpoint")),
    )
    op.create_table(
        "rate_card",
        sa.Column("version", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("first_used_at", MOMENT, nullable=False),
        sa.Column("rates", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_rate_card")),
    )
