"""Requests move through more states, each move is kept, and grants approved elsewhere can be listed."""

from uuid import UUID

import sqlalchemy as sa
from alembic import op

from nexus_allocator.store.base import Moment
from nexus_allocator.store.migrations.append_only import forbid_changes

revision: str = "0003"
down_revision: str | None = "0002"

MOMENT = sa.DateTime(timezone=True)
OPEN = sa.text("state IN ('draft', 'submitted', 'in-review', 'returned')")
NEW_COLUMNS = (
    ("title", sa.Text()), ("exposures", sa.BigInteger()), ("grant_number", sa.Text()), ("members", sa.JSON()),
    ("asked_micro", sa.BigInteger()), ("ends_at", MOMENT),
)  # fmt: skip


def upgrade() -> None:
    for name, kind in NEW_COLUMNS:
        op.add_column("tier_request", sa.Column(name, kind, nullable=True))
    op.drop_index("ix_tier_request_open", "tier_request")
    op.create_index(
        "ix_tier_request_open", "tier_request", ["account_id"], unique=True, sqlite_where=OPEN,
        postgresql_where=OPEN,
    )  # fmt: skip
    _tables()
    _remember_moves(op.get_bind())
    forbid_changes("request_move", key="request_id", second_key="number")


def _tables() -> None:
    op.create_table(
        "request_move",
        sa.Column("request_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("before", sa.Text(), nullable=True),
        sa.Column("after", sa.Text(), nullable=False),
        sa.Column("actor_id", sa.Uuid(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["actor_id"], ["person.id"], name=op.f("fk_request_move_actor_id")),
        sa.ForeignKeyConstraint(["request_id"], ["tier_request.id"], name=op.f("fk_request_move_request_id")),
        sa.PrimaryKeyConstraint("request_id", "number", name=op.f("pk_request_move")),
    )
    op.create_table(
        "approved_grant",
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("holder_email", sa.Text(), nullable=False),
        sa.Column("credits_micro", sa.BigInteger(), nullable=True),
        sa.Column("ends_at", MOMENT, nullable=False),
        sa.Column("imported_at", MOMENT, nullable=False),
        sa.Column("request_id", sa.Uuid(), nullable=True),
        sa.ForeignKeyConstraint(
            ["request_id"], ["tier_request.id"], name=op.f("fk_approved_grant_request_id")
        ),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_approved_grant")),
    )


def _remember_moves(connection: sa.Connection) -> None:
    """Write the moves that rows from before tell of: sent, and decided."""
    request = sa.table(
        "tier_request", sa.column("id", sa.Uuid), sa.column("person_id", sa.Uuid),
        sa.column("state", sa.Text), sa.column("submitted_at", Moment),
        sa.column("decided_at", Moment), sa.column("decided_by", sa.Uuid),
        sa.column("decision_reason", sa.Text),
    )  # fmt: skip
    move = sa.table(
        "request_move", sa.column("request_id", sa.Uuid), sa.column("number", sa.BigInteger),
        sa.column("before", sa.Text), sa.column("after", sa.Text), sa.column("actor_id", sa.Uuid),
        sa.column("reason", sa.Text), sa.column("at", Moment),
    )  # fmt: skip
    for row in connection.execute(sa.select(request)).all():
        connection.execute(sa.insert(move), _moves(row))


def _moves(row: sa.Row[tuple[UUID, ...]]) -> list[dict[str, object]]:
    sent = {
        "request_id": row.id, "number": 1, "before": None, "after": "submitted", "actor_id": row.person_id,
        "reason": None, "at": row.submitted_at,
    }  # fmt: skip
    if row.decided_at is None:
        return [sent]
    decided = {
        "request_id": row.id, "number": 2, "before": "submitted", "after": row.state,
        "actor_id": row.decided_by, "reason": row.decision_reason, "at": row.decided_at,
    }  # fmt: skip
    return [sent, decided]
