"""Backup and restore of the whole state, by the operator's two commands, on both databases."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import boto3
import pytest
from jupyterhub.orm import User, new_session_factory
from sqlalchemy import create_engine, text
from tests.support.allocator import Run, World
from tests.support.postgres import PostgresServer
from tests.support.s3 import s3_server

from nexus_allocator.domain.backups import DIGEST, MANIFEST
from nexus_allocator.services.audit import audit
from nexus_allocator.store import dumps, schema
from nexus_allocator.store.session import Database


@pytest.fixture
def new_url(request: pytest.FixtureRequest, database: Database, tmp_path: Path) -> Callable[[str], str]:
    """Make empty databases of the kind that this test's own is of."""
    if database.is_sqlite:
        return lambda name: f"sqlite:///{tmp_path / name}.sqlite"
    server: PostgresServer = request.getfixturevalue("postgres_server")
    return lambda _name: server.url(server.new_database())


@pytest.fixture
def hub_url(new_url: Callable[[str], str]) -> str:
    """A hub's own database with one person in it, as JupyterHub makes it."""
    url = new_url("hub")
    sessions = new_session_factory(url)
    with closing(sessions()) as session:
        session.add(User(name="astronomer"))
        session.commit()
        engine = session.get_bind()
    engine.dispose()
    return url


@pytest.fixture
def made(run: Run, hub_url: str, world: World, tmp_path: Path) -> Path:
    """The folder of a backup of a Nexus in which a server runs."""
    url = world.database.url.render_as_string(hide_password=False)
    world.astronomer()
    admitted = world.launch()
    started = world.started(admitted.hold_id)
    world.clock.forward(minutes=10)
    world.seen(admitted.hold_id, started)
    (tmp_path / "seals").mkdir()
    (tmp_path / "seals" / "2026-01-01.json").write_text("{}")
    words = ("backup", tmp_path / "kept", "--hub-database", hub_url, "--seals", tmp_path / "seals")
    code, out, error = run(url, *words)
    assert code == 0, out + error
    (folder,) = (tmp_path / "kept").iterdir()
    assert str(folder) in out
    assert "crypt key" in out
    return folder


def test_what_was_backed_up_comes_back_whole_and_moves_on(
    run: Run, made: Path, new_url: Callable[[str], str], world: World
) -> None:
    before, hub = world.figures("astronomer"), new_url("hub-again")
    target, seals = new_url("again"), made.parent / "seals-again"
    code, out, error = run(target, "restore", made, "--hub-database", hub, "--seals", seals)
    assert code == 0, out + error
    assert (seals / "2026-01-01.json").read_text() == "{}"
    database = Database(target, threads=2)
    again = World(database, clock=world.clock)
    assert again.figures("astronomer") == before
    with database.reading_scope() as session:
        report = audit(session, meter_silence=world.clock() - world.clock(), now=world.clock())
        assert {each.kind for each in report.drifts} <= {"meter_silent"}
        (hold,) = session.execute(text("SELECT state FROM hold")).scalars()
        assert hold == "running"
        # Whoever came after the backup has files under numbers of which nothing is known.
        (uid,) = session.execute(text("SELECT uid FROM person")).scalars()
    again.signed_in("newcomer")
    with database.reading_scope() as session:
        assert session.execute(text("SELECT max(uid) FROM person")).scalar_one() > uid + 1000
        # The ledger still refuses to be changed: its triggers came along.
    with pytest.raises(Exception, match="append-only"), database.session_scope() as session:
        session.execute(text("DELETE FROM entry"))
    database.dispose()
    engine = create_engine(hub)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT name FROM users")).scalars().all() == ["astronomer"]
    engine.dispose()


def test_a_backup_goes_into_what_is_empty_only(
    run: Run, made: Path, hub_url: str, new_url: Callable[[str], str]
) -> None:
    target = new_url("again")
    # The one that is empty is not filled while the other can't be.
    code, _, error = run(target, "restore", made, "--hub-database", hub_url)
    assert code == 1
    assert "is not empty" in error
    assert dumps.tables(target) == []
    assert len(dumps.tables(hub_url)) > 5


HARMS: dict[str, Callable[[Path, Path], object]] = {
    "cut": lambda _folder, dump: dump.write_bytes(dump.read_bytes()[:-100]),
    "changed": lambda _folder, dump: dump.write_bytes(dump.read_bytes()[:-100] + b"?" * 100),
    "missing": lambda _folder, dump: dump.unlink(),
    "added": lambda folder, _dump: (folder / "seals" / "2026-01-02.json").write_text("{}"),
    "unfinished": lambda folder, _dump: (folder / DIGEST).unlink(),
    "manifest": lambda folder, _dump: rewrite(folder, lambda said: said["dumps"].clear(), vouched=False),
}


def test_a_truncated_or_altered_backup_is_refused(
    run: Run, made: Path, new_url: Callable[[str], str], tmp_path: Path
) -> None:
    target, hub = new_url("again"), new_url("hub-again")
    for name, harm in HARMS.items():
        folder = tmp_path / "harmed" / name
        shutil.copytree(made, folder)
        harm(folder, next(folder.glob("allocator.*")))
        code, _, error = run(target, "restore", folder, "--hub-database", hub)
        assert (code, "This backup is not restored" in error) == (1, True), name
    # Whoever altered the manifest, too, does not know the digest that was printed.
    code, _, error = run(target, "restore", made, "--hub-database", hub, "--digest", "0" * 64)
    assert (code, "digest" in error) == (1, True)
    assert dumps.tables(target) == dumps.tables(hub) == []


def rewrite(folder: Path, change: Callable[[dict[str, Any]], object], *, vouched: bool = True) -> None:
    """Change the manifest as another version would have written it."""
    said = json.loads((folder / MANIFEST).read_text())
    change(said)
    (folder / MANIFEST).write_text(json.dumps(said))
    digest = hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()
    if vouched:
        (folder / DIGEST).write_text(digest)


def test_a_newer_versions_backup_is_refused(run: Run, made: Path, new_url: Callable[[str], str]) -> None:
    rewrite(made, lambda said: said["dumps"][0].update(revision="9999"))
    target = new_url("again")
    code, _, error = run(target, "restore", made)
    assert code == 1
    assert "a newer version" in error
    assert dumps.tables(target) == []


def test_an_older_versions_backup_is_migrated(
    run: Run, new_url: Callable[[str], str], tmp_path: Path
) -> None:
    old = Database(new_url("old"), threads=1)
    schema.upgrade(old, "0020")
    url = old.url.render_as_string(hide_password=False)
    code, out, error = run(url, "backup", tmp_path / "kept")
    assert code == 0, error
    assert "hub's database is NOT in it" in out
    old.dispose()
    (folder,) = (tmp_path / "kept").iterdir()
    target = new_url("again")
    assert run(target, "restore", folder)[0] == 0
    database = Database(target, threads=1)
    assert schema.is_ready(database)
    assert schema.differences(database) == []
    database.dispose()


def test_what_fails_half_way_is_taken_out_again(
    run: Run, made: Path, new_url: Callable[[str], str], database: Database
) -> None:
    """A hub's dump that its checksum vouches for and yet can't be loaded, after the service's was."""
    dump = next(made.glob("hub.*"))
    if database.is_sqlite:
        pytest.skip("SQLite's file is renamed into place: there is nothing to load")
    dump.write_bytes(dump.read_bytes()[:-2000])
    content = dump.read_bytes()
    digest = hashlib.sha256(content).hexdigest()

    def vouch(said: dict[str, Any]) -> None:
        for file in said["files"]:
            if file["path"] == dump.name:
                file.update(size_bytes=len(content), sha256=digest)

    rewrite(made, vouch)
    target, hub = new_url("again"), new_url("hub-again")
    code, _, error = run(target, "restore", made, "--hub-database", hub)
    assert code == 1
    assert "pg_restore failed" in error
    assert dumps.tables(target) == dumps.tables(hub) == []
    # And so it can be filled after all.
    assert run(target, "restore", made)[0] == 0


def test_only_the_last_backups_are_kept(run: Run, url: str, tmp_path: Path) -> None:
    for name in ("2025-01-01T00-00-00Z", "2025-01-02T00-00-00Z", "not-a-backup"):
        (tmp_path / "kept" / name).mkdir(parents=True)
    for folder in sorted((tmp_path / "kept").iterdir())[:2]:
        (folder / DIGEST).write_text("")
    code, _, error = run(url, "backup", tmp_path / "kept", "--keep", "1")
    assert code == 0, error
    left = sorted(each.name for each in (tmp_path / "kept").iterdir())
    assert left[1:] == ["not-a-backup"]
    assert not left[0].startswith("2025")


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An object store of three buckets, of which `empty` is empty, and boto's client for it."""
    with s3_server("nexus", "empty", "full") as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        client = boto3.client("s3")
        yield client
        # moto keeps buckets for as long as the process lasts.
        for key in ("accounts/ada/odd/../name", "accounts/ada/odd"):
            client.delete_object(Bucket="empty", Key=key)
        client.close()


def test_objects_come_back_with_what_is_noted_of_them(
    run: Run, made: Path, new_url: Callable[[str], str], store: Any
) -> None:
    for key in ("accounts/ada/odd/../name", "accounts/ada/odd", "elsewhere"):
        store.put_object(Bucket="nexus", Key=key, Body=b"stars", Metadata={"sha256": "x"})
    store.put_object(Bucket="full", Key="accounts/bob/x", Body=b"")
    url, kept = new_url("source"), made.parent.parent / "with-objects"
    assert run(url, "restore", made)[0] == 0
    code, out, error = run(url, "backup", kept, "--objects", "s3://nexus/accounts/")
    assert code == 0, error
    assert "2 objects" in out
    (folder,) = kept.iterdir()
    code, _, error = run(new_url("one"), "restore", folder, "--bucket", "nexus=full")
    assert (code, "is not empty" in error) == (1, True)
    code, _, error = run(new_url("two"), "restore", folder, "--bucket", "nexus=empty")
    assert code == 0, error
    listed = store.list_objects_v2(Bucket="empty")["Contents"]
    assert [each["Key"] for each in listed] == ["accounts/ada/odd", "accounts/ada/odd/../name"]
    found = store.get_object(Bucket="empty", Key="accounts/ada/odd")
    assert (found["Body"].read(), found["Metadata"]) == (b"stars", {"sha256": "x"})


def test_a_database_of_another_kind_is_no_target(
    run: Run, made: Path, database: Database, postgres_server: PostgresServer
) -> None:
    elsewhere = f"sqlite:///{made.parent / 'other.sqlite'}"
    other = postgres_server.url(postgres_server.new_database()) if database.is_sqlite else elsewhere
    code, _, error = run(other, "restore", made)
    assert code == 1
    assert "the target of" in error


def test_a_backup_that_fails_leaves_nothing(run: Run, url: str, tmp_path: Path) -> None:
    code, _, error = run(url, "backup", tmp_path / "kept", "--seals", tmp_path / "nowhere")
    assert code == 1
    assert "there is no folder" in error
    assert list((tmp_path / "kept").iterdir()) == []
