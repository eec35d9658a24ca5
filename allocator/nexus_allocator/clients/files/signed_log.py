"""An append-only log of what was done, one JSON object a line, each signed over the one before.

A line holds an HMAC-SHA256 of the previous line's HMAC and its own text: without the key none can be changed,
dropped from the middle or put in. That lines are missing *at the end* no chain can tell; keep the last HMAC
(`head`) elsewhere for that. What was appended is on the disk when `append` returns.
"""

import hashlib
import hmac
import json
import os
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

FIRST = "0" * 64
LEAST_KEY_BYTES = 32

Event = dict[str, Any]


class LogBroken(RuntimeError):  # noqa: N818 - says what it is
    """A line does not carry the signature that it should; nothing may be done on the strength of this log."""


class SignedLog:
    """The log in one file. One process writes at a time: who appends holds the plan's lock."""

    def __init__(self, path: Path, key: bytes) -> None:
        if len(key) < LEAST_KEY_BYTES:
            raise ValueError(f"the key has {len(key)} bytes, fewer than {LEAST_KEY_BYTES}")
        self.path = path
        self._key = key
        self._head: str | None = None

    @property
    def head(self) -> str:
        """The HMAC of the last line."""
        if self._head is None:
            self.read()
        return self._head or FIRST

    def read(self) -> list[Event]:
        """Return what was logged, oldest first. Raises LogBroken.

        A last line without its end was being written as the machine stopped, so nobody relied on it: it is
        cut off.
        """
        events, head, whole = [], FIRST, 0
        data = self.path.read_bytes() if self.path.exists() else b""
        for line in data.splitlines(keepends=True):
            if not line.endswith(b"\n"):
                break
            event, head = self._verified(line, head)
            events.append(event)
            whole += len(line)
        if whole < len(data):
            os.truncate(self.path, whole)
        self._head = head
        return events

    def require_reaches(self, kept_head: str) -> None:
        """Raises LogBroken when no line bears the signature that was kept elsewhere: its end was cut off."""
        lines = self.path.read_bytes().splitlines() if self.path.exists() else []
        if kept_head != FIRST and not any(json.loads(line)[1] == kept_head for line in lines):
            raise LogBroken(f"{self.path}: the log ends before the line that was kept of it")

    def append(self, what: str, now: datetime, **facts: Any) -> Event:
        """Log that ``what`` happened at ``now``, and return it as it will be read."""
        event = {"what": what, "at": now.isoformat(), **facts}
        text = json.dumps(event, ensure_ascii=True, separators=(",", ":"))
        head = self._sign(self.head, text)
        line = json.dumps([text, head], ensure_ascii=True).encode() + b"\n"
        file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            _write_all(file, line)
            os.fsync(file)
        finally:
            os.close(file)
        self._head = head
        return event

    def _verified(self, line: bytes, previous: str) -> tuple[Event, str]:
        try:
            text, head = json.loads(line)
            expected = self._sign(previous, text)
            event: Event = json.loads(text)
        except (ValueError, TypeError, AttributeError) as error:
            raise LogBroken(f"{self.path}: a line can't be read") from error
        if not hmac.compare_digest(expected, head):
            raise LogBroken(f"{self.path}: a line is not signed as it should be")
        return event, head

    def _sign(self, previous: str, text: str) -> str:
        return hmac.new(self._key, f"{previous}\n{text}".encode(), hashlib.sha256).hexdigest()


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def sync_folder(folder: Path) -> None:
    """Bring the folder's entries to the disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def digest(lines: Iterable[bytes]) -> str:
    """Return the SHA-256 of the lines in hexadecimal."""
    total = hashlib.sha256()
    for line in lines:
        total.update(line)
    return total.hexdigest()
