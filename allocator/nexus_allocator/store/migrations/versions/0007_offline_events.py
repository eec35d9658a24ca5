"""What the hub granted and refused while the service was away is kept; Dask clusters beside their holds."""

import sqlalchemy as sa
from alembic import op

revision: str = "0007"
down_revision: str | None = "0006"

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "offline_event",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("size", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=True),
        sa.Column("collected_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_offline_event_person_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_offline_event")),
    )
    op.create_index(op.f("ix_offline_event_person_id"), "offline_event", ["person_id"])
    op.create_index(op.f("ix_offline_event_at"), "offline_event", ["at"])
    op.create_table(
        "dask_cluster",
        sa.Column("hold_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("scheduler_micro_per_hour", sa.BigInteger(), nullable=False),
        sa.Column("worker_micro_per_hour", sa.BigInteger(), nullable=False),
        sa.Column("worker_cpu", sa.BigInteger(), nullable=False),
        sa.Column("workers_max", sa.BigInteger(), nullable=False),
        sa.Column("workers", sa.BigInteger(), nullable=False),
        sa.Column("reported_at", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(["hold_id"], ["hold.id"], name=op.f("fk_dask_cluster_hold_id")),
        sa.PrimaryKeyConstraint("hold_id", name=op.f("pk_dask_cluster")),
    )
