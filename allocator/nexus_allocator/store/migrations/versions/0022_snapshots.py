"""Which snapshots places were seen to have."""

import sqlalchemy as sa
from alembic import op

revision: str = "0022"
down_revision: str | None = "0021"


def upgrade() -> None:
    op.create_table(
        "place_snapshot",
        sa.Column("place_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["place_id"], ["place.id"], name=op.f("fk_place_snapshot_place_id")),
        sa.PrimaryKeyConstraint("place_id", "name", name=op.f("pk_place_snapshot")),
    )
