"""What a backup is made of, and whether it may be restored here: plain values and their rules."""

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Any

from nexus_allocator.domain.errors import BadBackup

FORMAT = 1
MANIFEST, DIGEST = "manifest.json", "manifest.sha256"
ALLOCATOR, HUB = "allocator", "hub"
# What no database holds. The command prints it after each backup, and README lists it.
KEPT_ELSEWHERE = (
    "the hub's crypt key (JUPYTERHUB_CRYPT_KEY; in z2jh's Secret `hub`): without it every auth_state "
    "is lost, and everybody signs in anew",
    "the hub's cookie secret (z2jh's Secret `hub`): without it every browser is signed out",
    "the sign-in provider's client secret, and `culler-token` and `db-password` (Secret `nexus-hub`)",
    "the service's `hub-token`, `internal-token`, `webhook-key` (without it webhooks need new secrets), "
    "`storage-key` (without it logs of purges can't be checked), `database-url`, `mail-password`, "
    "`metrics-token` (Secret `nexus-allocator`)",
    "tiers.yaml and the charts' values; with `make up` the folder `.nexus/secrets`",
    "files of homes, teams and scratch: their volume's snapshots",
)


@dataclass(frozen=True)
class File:
    """One file of a backup; ``path`` is below its folder."""

    path: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Dump:
    """One database: ``kind`` is postgresql or sqlite, ``revision`` its schema's."""

    database: str
    kind: str
    revision: str
    path: str


@dataclass(frozen=True)
class StoredObject:
    """One object of a bucket; its content is the backup's file named by its SHA-256."""

    bucket: str
    key: str
    size_bytes: int
    sha256: str
    content_type: str
    metadata: dict[str, str]


@dataclass(frozen=True)
class Manifest:
    """All of a backup: ``folders`` names those that were copied, ``prefixes`` what of which bucket."""

    made_at: str
    dumps: tuple[Dump, ...]
    files: tuple[File, ...]
    folders: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    objects: tuple[StoredObject, ...] = ()
    format: int = FORMAT

    def as_json(self) -> str:
        return json.dumps(asdict(self), indent=1)

    def dump_of(self, database: str) -> Dump | None:
        return next((each for each in self.dumps if each.database == database), None)


def read_manifest(text: str) -> Manifest:
    """Return the manifest. Raises BadBackup for one that can't be read, or of a format not known yet."""
    try:
        said: dict[str, Any] = json.loads(text)
        if said["format"] != FORMAT:
            raise BadBackup(problem=f"its format is {said['format']}, this version reads {FORMAT}")
        files = tuple(File(**each) for each in said["files"])
        for each in files:
            path = PurePosixPath(each.path)
            if path.is_absolute() or ".." in path.parts:
                raise BadBackup(problem=f"its manifest names {each.path}")
        return Manifest(
            made_at=said["made_at"], dumps=tuple(Dump(**each) for each in said["dumps"]), files=files,
            folders=tuple(said["folders"]), prefixes=tuple(said["prefixes"]),
            objects=tuple(StoredObject(**each) for each in said["objects"]),
        )  # fmt: skip
    except (ValueError, KeyError, TypeError) as error:
        raise BadBackup(problem="its manifest can't be read") from error


def require_known(dump: Dump, known: Collection[str]) -> None:
    """Raise BadBackup for a schema that this version does not know: a newer one's."""
    if dump.revision not in known:
        raise BadBackup(
            problem=f"its database `{dump.database}` has the schema {dump.revision}, which a newer version "
            "made; restore with that one"
        )


def object_path(sha256: str) -> str:
    """Return where a backup keeps an object's content; equal contents are kept once."""
    return f"objects/{sha256[:2]}/{sha256}"
