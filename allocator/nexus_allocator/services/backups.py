"""A backup of the whole state, and its return into what is empty.

The service's database goes first, then the hub's. What began or ended between the two is then known to the
hub, which says of each server how it ended: an ended one is settled to the second, and one whose hold only
the hub knows is stopped by the meter uncharged. The other way round the ledger would have holds for servers
of which the hub knows nothing. Seals go before the database, which then has all that they seal; logs of
purges after it, since they must reach as far as the database knows.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from nexus_allocator.clients.backup_folder import BackupFolder, empty_out
from nexus_allocator.clients.objects.bucket import Bucket, problems
from nexus_allocator.domain.backups import (
    ALLOCATOR,
    HUB,
    Dump,
    Manifest,
    StoredObject,
    object_path,
    require_known,
)
from nexus_allocator.domain.errors import BackupFailed, BadBackup, TargetNotEmpty
from nexus_allocator.store import dumps, people, schema
from nexus_allocator.store.session import Database

SEALS, RECORDS = "seals", "records"
# People and teams who came after the backup have numbers of which nothing is known, and files of theirs.
SKIPPED_NUMBERS = 1000


@dataclass(frozen=True)
class State:
    """Where the state lives, or goes: URLs of databases, folders. None: not part of it.

    ``buckets``: the bucket an object goes to, for each that the backup names.
    """

    allocator_url: str = field(repr=False)
    hub_url: str | None = field(default=None, repr=False)
    folders: Mapping[str, Path | None] = field(default_factory=dict)
    buckets: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Made:
    manifest: Manifest
    digest: str


@dataclass(frozen=True)
class Restored:
    """What came back; ``schema`` is the service's after migrations, ``left`` what was not wanted."""

    manifest: Manifest
    schema: str
    left: tuple[str, ...]


def make(
    folder: BackupFolder, state: State, *, prefixes: tuple[str, ...] = (), clock: Callable[[], datetime]
) -> Made:
    """Write a backup into a folder that is made for it, of ``prefixes`` (s3://BUCKET/PREFIX), too.

    Raises BackupFailed; then no folder is left.
    """
    made_at = clock().astimezone(UTC)
    try:
        folder.make()
    except OSError as error:
        raise BackupFailed(problem=f"{folder.path} can't be made: {error.strerror}") from error
    with ExitStack() as undo, _said():
        undo.callback(folder.remove)
        _copy(folder, state, SEALS)
        taken = [_dump(folder, state.allocator_url, ALLOCATOR)]
        if state.hub_url is not None:
            taken.append(_dump(folder, state.hub_url, HUB))
        _copy(folder, state, RECORDS)
        objects = tuple(each for prefix in prefixes for each in _objects(folder, prefix))
        there = tuple(name for name, path in state.folders.items() if path is not None)
        manifest = Manifest(made_at.isoformat(), tuple(taken), folder.files(), there, prefixes, objects)
        digest = folder.finish(manifest)
        undo.pop_all()
    return Made(manifest, digest)


def restore(folder: BackupFolder, state: State) -> Restored:
    """Bring a backup back into empty databases, folders and prefixes, then migrate.

    Everything is checked before anything is written, and taken out again where a part fails. Raises
    BadBackup, TargetNotEmpty, BackupFailed.
    """
    manifest = folder.read()
    urls = _targets(manifest, state)
    _require_empty(manifest, state, urls)
    with ExitStack() as undo, _said(BadBackup):
        for each in manifest.dumps:
            if (url := urls.get(each.database)) is not None:
                undo.callback(dumps.clear, url)
                dumps.load(url, folder.path / each.path)
        for name in manifest.folders:
            if (path := state.folders.get(name)) is not None:
                undo.callback(empty_out, path)
                folder.bring_back(name, path)
        stores = {source: Bucket(target) for source, target in state.buckets.items()}
        for stored in manifest.objects:
            if (store := stores.get(stored.bucket)) is not None:
                undo.callback(store.delete, stored.key)
                _bring_back(folder, stored, store)
        reached = _bring_up_to_date(state.allocator_url)
        undo.pop_all()
    return Restored(manifest, reached, tuple(_left(manifest, state, urls)))


def _bring_up_to_date(url: str) -> str:
    database = Database(url, threads=1)
    try:
        schema.upgrade(database)
        with database.session_scope() as session:
            people.skip_numbers(session, SKIPPED_NUMBERS)
        return schema.current(database) or ""
    finally:
        database.dispose()


def _dump(folder: BackupFolder, url: str, database: str) -> Dump:
    kind, before = dumps.kind_of(url), dumps.revision(url)
    if before is None:
        raise BackupFailed(problem=f"{dumps.name_of(url)} has no schema; is it the database `{database}`?")
    path = f"{database}.{'pgdump' if kind == dumps.POSTGRESQL else 'sqlite'}"
    dumps.dump(url, folder.path / path)
    if dumps.revision(url) != before:
        raise BackupFailed(problem=f"the schema of {dumps.name_of(url)} changed meanwhile; try again")
    return Dump(database, kind, before, path)


def _copy(folder: BackupFolder, state: State, name: str) -> None:
    path = state.folders.get(name)
    if path is None:
        return
    if not path.is_dir():
        raise BackupFailed(problem=f"there is no folder {path} for {name}")
    folder.copy_folder(path, name)


def _objects(folder: BackupFolder, prefix: str) -> Iterator[StoredObject]:
    name, _, below = prefix.removeprefix("s3://").partition("/")
    bucket = Bucket(name)
    for key in bucket.keys_below(below):
        body, content_type, metadata = bucket.fetch(key)
        size, sha256 = folder.keep_object(body)
        yield StoredObject(name, key, size, sha256, content_type, metadata)


def _bring_back(folder: BackupFolder, stored: StoredObject, bucket: Bucket) -> None:
    with (folder.path / object_path(stored.sha256)).open("rb") as body:
        bucket.bring_back(stored.key, body, content_type=stored.content_type, metadata=stored.metadata)


def _targets(manifest: Manifest, state: State) -> dict[str, str]:
    """Return the URL for each dump that goes somewhere. Raises BadBackup for what can't go there."""
    given = {ALLOCATOR: state.allocator_url, HUB: state.hub_url}
    if manifest.dump_of(ALLOCATOR) is None:
        raise BadBackup(problem="it lacks the service's database")
    if state.hub_url is not None and manifest.dump_of(HUB) is None:
        raise BadBackup(problem="it was made without the hub's database")
    urls = {}
    for each in manifest.dumps:
        url = given.get(each.database)
        if url is None:
            continue
        with _said():
            kind = dumps.kind_of(url)
        if kind != each.kind:
            raise BadBackup(problem=f"its database `{each.database}` is of {each.kind}, the target of {kind}")
        require_known(each, schema.known() if each.database == ALLOCATOR else schema.known_to_hub())
        urls[each.database] = url
    return urls


def _require_empty(manifest: Manifest, state: State, urls: Mapping[str, str]) -> None:
    with _said():
        for url in urls.values():
            if found := dumps.tables(url):
                raise TargetNotEmpty(
                    target=dumps.name_of(url), found=f"{len(found)} tables, {found[0]} first"
                )
    for name in manifest.folders:
        path = state.folders.get(name)
        if path is not None and path.exists() and (inside := sorted(path.iterdir())):
            raise TargetNotEmpty(target=str(path), found=inside[0].name)
    for prefix in manifest.prefixes:
        source, _, below = prefix.removeprefix("s3://").partition("/")
        if (target := state.buckets.get(source)) is None:
            continue
        with _said():
            found_key = next(Bucket(target).keys_below(below), None)
        if found_key is not None:
            raise TargetNotEmpty(target=f"s3://{target}/{below}", found=found_key)


def _left(manifest: Manifest, state: State, urls: Mapping[str, str]) -> Iterator[str]:
    yield from (f"the database `{each.database}`" for each in manifest.dumps if each.database not in urls)
    yield from (name for name in manifest.folders if state.folders.get(name) is None)
    for prefix in manifest.prefixes:
        if prefix.removeprefix("s3://").partition("/")[0] not in state.buckets:
            yield prefix


OUTSIDE: tuple[type[Exception], ...] = (dumps.DumpFailed, OSError, *problems())


@contextmanager
def _said(refusal: type[BackupFailed | BadBackup] = BackupFailed) -> Iterator[None]:
    """Turn the faults of databases, files and the object store into a refusal for people."""
    try:
        yield
    except ImportError as error:
        raise refusal(problem=f"{error.name} is not installed (the extra `aws`)") from error
    except OUTSIDE as error:
        raise refusal(problem=str(error)) from error
