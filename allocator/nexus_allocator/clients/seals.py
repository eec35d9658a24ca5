"""The folder that keeps the daily seals: one JSON file a day, on another disk or bucket than the database."""

import json
import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from nexus_allocator.domain.chain import Head, Seal


class SealFolder:
    def __init__(self, path: Path) -> None:
        self.path = path

    def read_all(self) -> list[Seal]:
        """Return the seals, oldest first; none when the folder is not there yet."""
        return [_seal(file) for file in sorted(self.path.glob("????-??-??.json"))]

    def write(self, seal: Seal) -> None:
        """Write one day's seal in whole or not at all. Raises FileExistsError when the day has one."""
        self.path.mkdir(parents=True, exist_ok=True)
        heads = [[str(head.book_id), head.number, head.hash] for head in seal.heads]
        document = {"at": seal.at.isoformat(), "previous": seal.previous, "heads": heads}
        with tempfile.NamedTemporaryFile("w", dir=self.path, suffix=".part", delete=False) as part:
            json.dump(document, part)
            part.flush()
            os.fsync(part.fileno())
        try:
            # A link, unlike a rename, never replaces what is there.
            os.link(part.name, self.path / f"{seal.at.astimezone(UTC):%Y-%m-%d}.json")
        finally:
            os.unlink(part.name)


def _seal(file: Path) -> Seal:
    document = json.loads(file.read_text())
    heads = tuple(Head(UUID(book_id), number, hash_) for book_id, number, hash_ in document["heads"])
    return Seal(datetime.fromisoformat(document["at"]), document["previous"], heads)
