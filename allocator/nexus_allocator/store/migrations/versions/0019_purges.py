"""Purges as the service knows them, and exemptions that people ask for."""

import sqlalchemy as sa
from alembic import op

from nexus_allocator.store.migrations.columns import add_reference

revision: str = "0019"
down_revision: str | None = "0018"

MOMENT = sa.DateTime(timezone=True)
OPEN = sa.text("over_at IS NULL")


def upgrade() -> None:
    _add_purges()
    _add_parts()
    op.create_table(
        "purge_report",
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("place_kind", sa.Text(), nullable=False),
        sa.Column("place_name", sa.Text(), nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("files", sa.BigInteger(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("since", MOMENT, nullable=False),
        sa.Column("made_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("rule", "place_kind", "place_name", name=op.f("pk_purge_report")),
    )
    add_reference("storage_exemption", "asked_by", "person")
    op.add_column("storage_exemption", sa.Column("granted_at", MOMENT, nullable=True))
    op.add_column("storage_exemption", sa.Column("answer", sa.Text(), nullable=True))
    # Those of before were made by operators, who need nobody's consent.
    op.execute(sa.text("UPDATE storage_exemption SET granted_at = made_at"))


def _add_purges() -> None:
    counts = ("files", "size_bytes", "waiting", "restored", "deleted", "left")
    op.create_table(
        "purge",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("place_kind", sa.Text(), nullable=False),
        sa.Column("place_name", sa.Text(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("grace_days", sa.BigInteger(), nullable=False),
        sa.Column("window_days", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in counts),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("log_head", sa.Text(), nullable=False),
        sa.Column("planned_at", MOMENT, nullable=False),
        *(
            sa.Column(name, MOMENT, nullable=True)
            for name in ("announced_at", "quarantined_at", "next_at", "over_at")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_purge")),
    )
    op.create_index("ix_purge_place", "purge", ["place_kind", "place_name", "planned_at"])
    op.create_index(
        "ix_purge_open", "purge", ["place_kind", "place_name", "rule"], unique=True, postgresql_where=OPEN,
        sqlite_where=OPEN,
    )  # fmt: skip


def _add_parts() -> None:
    op.create_table(
        "purge_folder",
        sa.Column("purge_id", sa.Uuid(), nullable=False),
        sa.Column("first", sa.BigInteger(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("files", sa.BigInteger(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("list_offset", sa.BigInteger(), nullable=False),
        sa.Column("fates", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["purge_id"], ["purge.id"], name=op.f("fk_purge_folder_purge_id")),
        sa.PrimaryKeyConstraint("purge_id", "first", name=op.f("pk_purge_folder")),
    )
    op.create_table(
        "purge_told",
        sa.Column("purge_id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["purge_id"], ["purge.id"], name=op.f("fk_purge_told_purge_id")),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_purge_told_person_id")),
        sa.PrimaryKeyConstraint("purge_id", "person_id", "kind", name=op.f("pk_purge_told")),
    )
