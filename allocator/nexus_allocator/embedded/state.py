"""The state directory: its folders, and its secrets, made once and kept."""

import hashlib
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from nexus_allocator.embedded.settings import Settings

CODE = Path(__file__).parents[1]
PRIVATE = ("secrets", "db", "log", "run", "purges")
# Each person may pass through, and enter only what is theirs.
PASSABLE = ("homes", "teams", "scratch", "store", "store/accounts")
READABLE = ("store/mission",)


@dataclass(frozen=True)
class Secrets:
    """Each read from a file of its name in secrets/, and made there where it is missing."""

    hub_cookie: str
    auth_state: str
    proxy: str
    service: str
    culler: str
    parent: str
    internal: str
    client: str
    storage_log: str


def make_folders(settings: Settings) -> None:
    settings.state.mkdir(parents=True, exist_ok=True)
    os.chmod(settings.state, 0o711)  # noqa: S103 -- people's servers pass through, but cannot list
    for names, mode in ((PRIVATE, 0o700), (PASSABLE, 0o711), (READABLE, 0o755)):
        for name in names:
            folder = settings.folder(name)
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(mode)


def fingerprint(settings: Settings) -> str:
    """Return what changes when tables or demo people may need work: code, people, database."""
    files = [
        path
        for path in CODE.rglob("*.*")
        if path.suffix in {".py", ".yaml", ".html"} and "node" not in path.parts
    ]
    stamps = [(str(path), path.stat().st_mtime_ns) for path in sorted([*files, settings.people_file])]
    database = settings.folder("db") / "allocator.sqlite"
    made = database.stat().st_ino if database.exists() else 0
    return hashlib.sha256(repr((stamps, made, settings.issuer)).encode()).hexdigest()


def read_secrets(settings: Settings) -> Secrets:
    folder = settings.folder("secrets")
    return Secrets(
        **{name: read_secret(folder / name.replace("_", "-")) for name in Secrets.__dataclass_fields__}
    )


def read_secret(path: Path) -> str:
    if not path.exists():
        draft = path.with_suffix(".new")
        draft.touch(mode=0o600)
        draft.write_text(secrets.token_hex(32))
        draft.rename(path)
    return path.read_text()
