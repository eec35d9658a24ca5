"""What of a purge's plan is kept cold, what can be made again, and what it costs to keep."""

import sqlalchemy as sa
from alembic import op

revision: str = "0020"
down_revision: str | None = "0019"


def upgrade() -> None:
    for name in ("cold", "remakable", "remakable_bytes", "remake_micro", "keep_micro_a_year"):
        op.add_column("purge", sa.Column(name, sa.BigInteger(), nullable=False, server_default="0"))
