"""By when a counter-offer is to be answered; those made before stand until they are."""

import sqlalchemy as sa
from alembic import op

revision: str = "0018"
down_revision: str | None = "0017"


def upgrade() -> None:
    op.add_column("request_offer", sa.Column("answer_by", sa.DateTime(timezone=True), nullable=True))
