"""What the hub granted and refused while the service was away is kept."""

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
