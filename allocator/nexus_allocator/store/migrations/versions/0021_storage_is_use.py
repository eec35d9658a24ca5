"""What storage cost counts as used, as what servers cost: the checkpoints' sums say so, too."""

from alembic import op

revision: str = "0021"
down_revision: str | None = "0020"


def upgrade() -> None:
    op.execute(
        """
        UPDATE checkpoint SET used_micro = used_micro + (
            SELECT COALESCE(SUM(-link.amount_micro), 0) FROM link JOIN entry ON entry.id = link.entry_id
            WHERE entry.kind = 'storage' AND link.book_id = checkpoint.book_id
                AND link.number <= checkpoint.number
        )
        WHERE book_id IN (
            SELECT link.book_id FROM link JOIN entry ON entry.id = link.entry_id WHERE entry.kind = 'storage'
        )
        """
    )
