"""Teams are joined by invitation and share out their allocation; people are told things in the portal."""

import sqlalchemy as sa
from alembic import op

from nexus_allocator.store.migrations.append_only import forbid_changes
from nexus_allocator.store.migrations.columns import add_reference

revision: str = "0004"
down_revision: str | None = "0003"

MOMENT = sa.DateTime(timezone=True)
LIVING = sa.text("ended_at IS NULL")
ONE_LEAD = sa.text("role = 'lead'")


def upgrade() -> None:
    op.add_column("team", sa.Column("counted_from", MOMENT, nullable=True))
    op.add_column("tier_request", sa.Column("team_label", sa.Text(), nullable=True))
    _subgroup()
    add_reference("membership", "subgroup_id", "subgroup")
    add_reference("hold", "subgroup_id", "subgroup")
    op.create_index("ix_hold_allocation_person", "hold", ["allocation_id", "person_id", "placed_at"])
    op.create_index("ix_hold_subgroup", "hold", ["subgroup_id", "placed_at"])
    _one_lead()
    _share()
    _invitation()
    _team_move()
    _portal_notice()
    forbid_changes("team_move", key="team_id", second_key="number")


def _one_lead() -> None:
    """Let the lead who joined first stay it, and make the others of earlier days managers."""
    member = sa.table(
        "membership", sa.column("team_id"), sa.column("person_id"), sa.column("role", sa.Text),
        sa.column("joined_at"),
    )  # fmt: skip
    other = member.alias("other")
    earlier = sa.tuple_(other.c.joined_at, other.c.person_id) < sa.tuple_(
        member.c.joined_at, member.c.person_id
    )
    before = sa.select(sa.literal(1)).where(
        other.c.team_id == member.c.team_id, other.c.role == "lead", earlier
    )
    op.execute(
        sa.update(member)
        .where(member.c.role == "lead", before.correlate(member).exists())
        .values(role="manager")
    )
    op.create_index(
        "ix_membership_lead", "membership", ["team_id"], unique=True, sqlite_where=ONE_LEAD,
        postgresql_where=ONE_LEAD,
    )  # fmt: skip


def _subgroup() -> None:
    op.create_table(
        "subgroup",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("team_id", sa.Uuid(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(["team_id"], ["team.id"], name=op.f("fk_subgroup_team_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subgroup")),
    )
    op.create_index(
        "ix_subgroup_label", "subgroup", ["team_id", "label"], unique=True, sqlite_where=LIVING,
        postgresql_where=LIVING,
    )  # fmt: skip


def _share() -> None:
    op.create_table(
        "share",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("team_id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=True),
        sa.Column("subgroup_id", sa.Uuid(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("amount_micro", sa.BigInteger(), nullable=False),
        sa.Column("set_at", MOMENT, nullable=False),
        sa.CheckConstraint("(person_id IS NULL) <> (subgroup_id IS NULL)", name=op.f("ck_share_one_holder")),
        sa.CheckConstraint("amount_micro >= 0", name=op.f("ck_share_amount")),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_share_person_id")),
        sa.ForeignKeyConstraint(["subgroup_id"], ["subgroup.id"], name=op.f("fk_share_subgroup_id")),
        sa.ForeignKeyConstraint(["team_id"], ["team.id"], name=op.f("fk_share_team_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_share")),
        sa.UniqueConstraint("team_id", "person_id", name=op.f("uq_share_team_id_person_id")),
        sa.UniqueConstraint("subgroup_id", name=op.f("uq_share_subgroup_id")),
    )


def _invitation() -> None:
    op.create_table(
        "invitation",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("team_id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=True),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("invited_by", sa.Uuid(), nullable=True),
        sa.Column("invited_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.Column("answered_at", MOMENT, nullable=True),
        sa.CheckConstraint("(person_id IS NULL) <> (email IS NULL)", name=op.f("ck_invitation_one_way")),
        sa.ForeignKeyConstraint(["invited_by"], ["person.id"], name=op.f("fk_invitation_invited_by")),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_invitation_person_id")),
        sa.ForeignKeyConstraint(["team_id"], ["team.id"], name=op.f("fk_invitation_team_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invitation")),
    )
    op.create_index("ix_invitation_team", "invitation", ["team_id", "state"])
    op.create_index(op.f("ix_invitation_person_id"), "invitation", ["person_id"])
    op.create_index(op.f("ix_invitation_email"), "invitation", ["email"])


def _team_move() -> None:
    op.create_table(
        "team_move",
        sa.Column("team_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("actor_id", sa.Uuid(), nullable=True),
        sa.Column("subject_id", sa.Uuid(), nullable=True),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["actor_id"], ["person.id"], name=op.f("fk_team_move_actor_id")),
        sa.ForeignKeyConstraint(["subject_id"], ["person.id"], name=op.f("fk_team_move_subject_id")),
        sa.ForeignKeyConstraint(["team_id"], ["team.id"], name=op.f("fk_team_move_team_id")),
        sa.PrimaryKeyConstraint("team_id", "number", name=op.f("pk_team_move")),
    )


def _portal_notice() -> None:
    op.create_table(
        "portal_notice",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("read_at", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_portal_notice_person_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_portal_notice")),
        sa.UniqueConstraint("key", name=op.f("uq_portal_notice_key")),
    )
    op.create_index("ix_portal_notice_person", "portal_notice", ["person_id", "read_at"])
