"""A panel reviews requests in rounds, and other terms can be offered than those asked for."""

import sqlalchemy as sa
from alembic import op

from nexus_allocator.store.migrations.append_only import forbid_changes

revision: str = "0015"
down_revision: str | None = "0014"

MOMENT = sa.DateTime(timezone=True)
SERVING = sa.text("ended_at IS NULL")
OPEN = sa.text("state IN ('draft', 'submitted', 'in-review', 'returned', 'offered', 'accepted')")


def upgrade() -> None:
    op.drop_index("ix_tier_request_open", "tier_request")
    op.create_index(
        "ix_tier_request_open", "tier_request", ["account_id"], unique=True, sqlite_where=OPEN,
        postgresql_where=OPEN,
    )  # fmt: skip
    _round()
    _term()
    _case()
    _said("panel_conflict", "person_id", sa.Column("reason", sa.Text(), nullable=False))
    _said(
        "panel_review", "number",
        sa.Column("sending", sa.BigInteger(), nullable=False), sa.Column("scores", sa.JSON(), nullable=False),
        sa.Column("for_panel", sa.Text(), nullable=False),
        sa.Column("for_applicant", sa.Text(), nullable=False),
    )  # fmt: skip
    op.create_index(op.f("ix_panel_review_person_id"), "panel_review", ["person_id"])
    _said(
        "panel_bypass", "number",
        sa.Column("reviews", sa.BigInteger(), nullable=False), sa.Column("reason", sa.Text(), nullable=False),
    )  # fmt: skip
    _said(
        "request_offer", "number",
        sa.Column("credits_micro", sa.BigInteger(), nullable=False),
        sa.Column("ends_at", MOMENT, nullable=False), sa.Column("note", sa.Text(), nullable=True),
    )  # fmt: skip
    _bring_in_what_waits()


def _round() -> None:
    op.create_table(
        "panel_round",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("opens_at", MOMENT, nullable=False),
        sa.Column("closes_at", MOMENT, nullable=False),
        sa.Column("due_at", MOMENT, nullable=False),
        sa.Column("budget_micro", sa.BigInteger(), nullable=True),
        sa.Column("made_by", sa.Uuid(), nullable=True),
        sa.Column("made_at", MOMENT, nullable=False),
        sa.CheckConstraint("opens_at < closes_at AND closes_at <= due_at", name=op.f("ck_panel_round_dates")),
        _person("panel_round", "made_by"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_panel_round")),
    )


def _term() -> None:
    op.create_table(
        "panel_term",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("appointed_by", sa.Uuid(), nullable=True),
        sa.Column("appointed_at", MOMENT, nullable=False),
        sa.Column("ended_by", sa.Uuid(), nullable=True),
        sa.Column("ended_at", MOMENT, nullable=True),
        _person("panel_term", "person_id"),
        _person("panel_term", "appointed_by"),
        _person("panel_term", "ended_by"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_panel_term")),
    )
    op.create_index(
        "ix_panel_term_serving", "panel_term", ["person_id"], unique=True, sqlite_where=SERVING,
        postgresql_where=SERVING,
    )  # fmt: skip


def _case() -> None:
    op.create_table(
        "panel_case",
        sa.Column("request_id", sa.Uuid(), nullable=False),
        sa.Column("round_id", sa.Uuid(), nullable=True),
        sa.Column("came_at", MOMENT, nullable=False),
        sa.Column("referred_by", sa.Uuid(), nullable=True),
        sa.Column("referral_reason", sa.Text(), nullable=True),
        sa.Column("placed_by", sa.Uuid(), nullable=True),
        sa.Column("placed_at", MOMENT, nullable=True),
        _request("panel_case"),
        sa.ForeignKeyConstraint(["round_id"], ["panel_round.id"], name=op.f("fk_panel_case_round_id")),
        _person("panel_case", "referred_by"),
        _person("panel_case", "placed_by"),
        sa.PrimaryKeyConstraint("request_id", name=op.f("pk_panel_case")),
    )
    op.create_index(op.f("ix_panel_case_round_id"), "panel_case", ["round_id"])


def _said(table: str, second_key: str, *columns: sa.Column[object]) -> None:
    """Make an append-only table of what a person said of a request."""
    numbered = [sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False)]
    op.create_table(
        table,
        sa.Column("request_id", sa.Uuid(), nullable=False),
        *(numbered if second_key == "number" else []),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        *columns,
        sa.Column("at", MOMENT, nullable=False),
        _request(table),
        _person(table, "person_id"),
        sa.PrimaryKeyConstraint("request_id", second_key, name=op.f(f"pk_{table}")),
    )
    forbid_changes(table, key="request_id", second_key=second_key)


def _request(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["request_id"], ["tier_request.id"], name=op.f(f"fk_{table}_request_id"))


def _person(table: str, column: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], ["person.id"], name=op.f(f"fk_{table}_{column}"))


def _bring_in_what_waits() -> None:
    """A Team request that waits now is for the panel, as it would be if it were sent today."""
    op.execute(
        sa.text(
            "INSERT INTO panel_case (request_id, came_at) SELECT id, submitted_at FROM tier_request "
            "WHERE tier = 'team' AND state IN ('submitted', 'in-review')"
        )
    )
