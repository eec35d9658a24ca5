"""Storage on the side of the service and of the command line: whose a place is, exemptions, a whole purge."""

import inspect
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from tests.support.allocator import World

from nexus_allocator import cli, cli_places, cli_purges, cli_snapshots, cli_storage, cli_storage_work
from nexus_allocator.clients.files.directory import DirectoryVolume
from nexus_allocator.domain.errors import BadDate, BadReason, UnknownExemption, UnknownPlace
from nexus_allocator.domain.places import QUARANTINE, Owner, Place, PlaceKind, Usage, mark_reached
from nexus_allocator.domain.purges import Parts
from nexus_allocator.services import purges, storage
from nexus_allocator.store import purges as purge_rows
from nexus_allocator.store.session import Database
from nexus_allocator.store.storage import in_force

HOME, SCRATCH = Place(PlaceKind.HOME, "astronomer"), Place(PlaceKind.SCRATCH, "astronomer")
STARS = Place(PlaceKind.TEAM, "stars")
Run = Callable[..., str]


def exempted(world: World, place: Place, path: Parts, *, days: int = 30, reason: str = "a thesis") -> None:
    until = world.clock() + timedelta(days=days)
    with world.database.session_scope() as session:
        storage.exempt(
            session, place, path, until=until, reason=reason, by="operator test", now=world.clock()
        )


def exempt(world: World, place: Place) -> list[tuple[Parts, str]]:
    with world.database.reading_scope() as session:
        found = storage.exemptions(session, place, now=world.clock())
    return [(each.path, each.reason) for _, each in found]


def test_an_exemption_holds_for_its_place_until_its_day(world: World) -> None:
    world.astronomer()
    exempted(world, HOME, (b"thesis", b"not-utf8-\xff", b"a/b"))
    exempted(world, SCRATCH, ())
    assert exempt(world, HOME) == [((b"thesis", b"not-utf8-\xff", b"a/b"), "a thesis")]
    assert exempt(world, SCRATCH) == [((), "a thesis")]
    world.clock.forward(days=30)
    assert exempt(world, HOME) == []


def test_an_exemption_is_ended_once_and_leaves_records(world: World) -> None:
    world.astronomer()
    exempted(world, HOME, (b"thesis",))
    with world.database.reading_scope() as session:
        ((number, _),) = storage.exemptions(session, HOME, now=world.clock())
    with world.database.session_scope() as session:
        storage.end_exemption(session, number, by="operator test", now=world.clock())
    assert exempt(world, HOME) == []
    with world.database.session_scope() as session, pytest.raises(UnknownExemption):
        storage.end_exemption(session, number, by="operator test", now=world.clock())


def test_exemptions_need_a_place_a_reason_and_a_day_to_come(world: World) -> None:
    world.astronomer()
    with pytest.raises(BadDate):
        exempted(world, HOME, (), days=0)
    for reason in ("", "  ", "x" * 501):
        with pytest.raises(BadReason):
            exempted(world, HOME, (), reason=reason)
    for place in (STARS, Place(PlaceKind.SCRATCH, "nobody"), Place(PlaceKind.HOME, "stars")):
        with pytest.raises(UnknownPlace):
            exempted(world, place, ())


def test_a_place_is_busy_while_somebody_who_may_write_there_has_a_server(world: World) -> None:
    for name in ("astronomer", "teammate", "stranger"):
        world.astronomer(name)
    world.team("stars", "astronomer", "teammate")

    def busy() -> list[bool]:
        with world.database.reading_scope() as session:
            return [storage.is_busy(session, place) for place in (HOME, SCRATCH, STARS)]

    world.launch("stranger")
    assert busy() == [False, False, False]
    world.launch("teammate")
    assert busy() == [False, False, True]
    world.launch("astronomer")
    assert busy() == [True, True, True]


def test_of_a_teams_folder_those_who_lead_it_are_told(world: World) -> None:
    lead = world.astronomer("astronomer")
    world.astronomer("teammate")
    world.team("stars", "astronomer", "teammate")
    with world.database.reading_scope() as session:
        assert list(storage.answerable(session, STARS)) == [lead]


class Nexus:
    """The command line over a volume of its own, with a clock."""

    def __init__(self, folder: Path, world: World) -> None:
        self.folder, self.world = folder, world
        self.now = datetime.now(UTC) + timedelta(days=100)
        (folder / "volume").mkdir()
        volume = DirectoryVolume(folder / "volume")
        volume.prepare()
        owner = Owner(os.geteuid(), os.getegid(), 0o750)
        self.place = volume.create(SCRATCH, owner)
        (folder / "key").write_text("k" * 64)
        self.tiers = folder / "tiers.yaml"
        source = Path(cli.__file__).parent / "policy"
        (folder / "agreement.html").write_text((source / "agreement.html").read_text())
        self.document = yaml.safe_load((source / "tiers.yaml").read_text())
        self.switched(on=False)

    def switched(self, *, on: bool) -> None:
        self.document["purges"][0]["enabled"] = on
        self.tiers.write_text(yaml.safe_dump(self.document))

    def environment(self) -> dict[str, str]:
        return {
            "NEXUS_DATABASE_URL": self.world.database.url.render_as_string(hide_password=False),
            "NEXUS_TIERS_FILE": str(self.tiers),
            "NEXUS_STORAGE_ROOT": str(self.folder / "volume"),
            "NEXUS_STORAGE_RECORDS": str(self.folder / "records"),
            "NEXUS_STORAGE_KEY_FILE": str(self.folder / "key"),
        }

    def files(self) -> set[str]:
        found = (path.relative_to(self.place) for path in self.place.rglob("*") if path.is_file())
        return {path.as_posix() for path in found if path.parts[0] != QUARANTINE}


@pytest.fixture
def nexus(tmp_path: Path, world: World) -> Nexus:
    world.astronomer()
    return Nexus(tmp_path, world)


@pytest.fixture
def run(nexus: Nexus, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `storage WORDS` and return what it says; ``ends`` is the exit code that is expected."""
    for name, value in nexus.environment().items():
        monkeypatch.setenv(name, value)
    for commands in (cli_places, cli_purges, cli_snapshots, cli_storage, cli_storage_work):
        monkeypatch.setattr(commands, "utc_now", lambda: nexus.now)

    def run(*words: str, ends: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["nexus-allocator", "storage", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        assert int(ended.value.code or 0) == ends, said
        return said.out + said.err

    return run


def days_pass(nexus: Nexus, run: Run, days: int) -> None:
    for _ in range(days):
        nexus.now += timedelta(days=1)
        run("purge", "look")


def test_a_purge_is_off_until_switched_on_and_shows_first_what_it_would_do(nexus: Nexus, run: Run) -> None:
    for name in ("a/old", "a/other", "thesis/data"):
        path = nexus.place / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x" * 1000)
    said = run("purge", "plan", "scratch", "scratch/astronomer")
    assert "3 files" in said
    assert "not switched on" in said
    assert "not switched on" in run("purge", "plan", "scratch", "scratch/astronomer", "--yes", ends=1)
    assert run("purge", "plans") == ""

    nexus.switched(on=True)
    until = f"{nexus.now + timedelta(days=300):%Y-%m-%d}"
    run("exempt", "scratch/astronomer", "thesis", "--until", until, "--reason", "Being written")
    assert "Being written" in run("exemptions", "scratch/astronomer")
    plan = run("purge", "plan", "scratch", "scratch/astronomer", "--yes").split()[-1]
    assert "told: astronomer" in run("purge", "notice", plan)
    (told,) = nexus.world.told("astronomer")
    assert "2 files" in told
    assert "14 days" in told
    assert "too soon" in run("purge", "take", plan, "--yes", ends=1)
    days_pass(nexus, run, 14)
    assert "a/old" in run("purge", "take", plan)
    assert nexus.files() == {"a/old", "a/other", "thesis/data"}

    assert "2 files" in run("purge", "take", plan, "--yes")
    assert nexus.files() == {"thesis/data"}
    assert len(nexus.world.told("astronomer")) == 2
    assert "1 files" in run("purge", "restore", plan, "a/other")
    assert nexus.files() == {"a/other", "thesis/data"}
    days_pass(nexus, run, 14)
    assert "1 files would be deleted for good" in run("purge", "delete", plan)
    assert "quarantined" in run("purge", "plans")
    run("purge", "delete", plan, "--yes")
    assert "finished" in run("purge", "plans")
    assert "deleted 1 files" in run("purge", "log", plan)
    assert nexus.files() == {"a/other", "thesis/data"}


def test_a_purge_waits_while_its_person_works(nexus: Nexus, run: Run) -> None:
    (nexus.place / "file").write_bytes(b"x")
    nexus.switched(on=True)
    plan = run("purge", "plan", "scratch", "scratch/astronomer", "--yes").split()[-1]
    run("purge", "notice", plan)
    days_pass(nexus, run, 14)
    nexus.world.launch("astronomer")
    assert "0 files" in run("purge", "take", plan, "--yes")
    assert nexus.files() == {"file"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("usage", "homes/nobody"), "no place homes/nobody"),
        (("usage", "elsewhere/astronomer"), "can't be a name"),
        (("usage", "scratch/../homes"), "can't be a name"),
        (("purge", "plan", "all", "scratch/astronomer"), "no purge rule all"),
        (("purge", "plan", "scratch", "homes/astronomer"), "scratch/"),
        (("purge", "take", "../../etc", "--yes"), "no purge plan"),
        (("purge", "delete", "0" * 32, "--yes"), "no purge plan"),
        (("purge", "log", "nothing"), "no purge plan"),
    ],
)
def test_what_is_not_there_is_refused_in_a_sentence(run: Run, words: tuple[str, ...], message: str) -> None:
    assert message in run(*words, ends=1)


def test_usage_quota_and_scan_are_printed(nexus: Nexus, run: Run) -> None:
    (nexus.place / "heavy").mkdir()
    (nexus.place / "heavy" / "file").write_bytes(b"x" * 5_000_000)
    run("quota", "scratch/astronomer", "1")
    assert "no limit" in run("usage", "scratch/astronomer")
    run("quota", "scratch/astronomer", "0.01", "--yes")
    said = run("usage", "scratch/astronomer")
    assert "0.005 GB" in said
    assert "50 % used" in said
    said = run("scan", str(nexus.place), str(nexus.folder / "index"))
    assert "1 files in 3 folders" in said
    assert "0.005 GB\theavy" in said


def test_people_are_told_at_each_mark_that_their_place_fills_once_a_month(nexus: Nexus, run: Run) -> None:
    run("quota", "scratch/astronomer", "0.01", "--yes")
    assert run("warn") == ""
    (nexus.place / "file").write_bytes(b"x" * 8_200_000)
    assert run("warn") == run("warn") == "scratch/astronomer: 82 % full\n"
    (told,) = nexus.world.told("astronomer")
    assert told == "scratch/astronomer is 82 % full: 0.0 of 0.0 GB. Please make room."
    (nexus.place / "more").write_bytes(b"x" * 2_000_000)
    run("warn")
    assert len(nexus.world.told("astronomer")) == 2
    nexus.now += timedelta(days=31)
    run("warn")
    assert len(nexus.world.told("astronomer")) == 3


@pytest.mark.parametrize(
    ("used", "limit", "mark"),
    [
        (79, 100, None),
        (80, 100, 80),
        (99, 100, 90),
        (100, 100, 100),
        (150, 100, 100),
        (5, None, None),
        (0, 0, 100),
    ],
)
def test_the_highest_mark_counts(used: int, limit: int | None, mark: int | None) -> None:
    assert mark_reached(Usage(used, 0, 0, limit)) == mark


def test_a_folder_that_is_nobodys_stops_no_other_warning(nexus: Nexus, run: Run) -> None:
    (nexus.folder / "volume" / "homes" / "gone").mkdir()
    run("quota", "homes/gone", "0", "--yes")
    run("quota", "scratch/astronomer", "0", "--yes")
    said = run("warn")
    assert "homes/gone: nobody's" in said
    assert "scratch/astronomer: 100 % full" in said


def test_every_database_has_the_table(database: Database) -> None:
    with database.reading_scope() as session:
        assert in_force(session, HOME, datetime.now(UTC)) == []


DESTRUCTIVE = {"turn", "plan", "take", "chill", "delete"}


def test_every_command_that_takes_files_away_shows_first_what_it_would_do(nexus: Nexus, run: Run) -> None:
    for name in ("a/old", "a/other", "b/new"):
        path = nexus.place / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x" * 1000)
    nexus.switched(on=True)
    early = run("purge", "plan", "scratch", "scratch/astronomer", "--yes").split()[-1]
    run("purge", "notice", early)
    days_pass(nexus, run, 14)
    untaken = everything(nexus)
    assert "3 files would be moved into quarantine" in run("purge", "take", early)
    assert "quarantine" in run("purge", "turn")
    assert everything(nexus) == untaken
    run("purge", "take", early, "--yes")
    before = everything(nexus)
    assert "0 files" in run("purge", "plan", "scratch", "scratch/astronomer")
    assert "3 files would be deleted for good" in run("purge", "delete", early)
    assert "3 files would be kept cold" in run("purge", "chill", early)
    assert "nothing was done" in run("purge", "turn")
    assert "nothing was done" in run("quota", "scratch/astronomer", "0.001")
    assert everything(nexus) == before


def everything(nexus: Nexus) -> tuple[object, ...]:
    """What lies on the volume, quarantine and all, in the records, and in the database's plans."""
    files = {
        str(path): path.read_bytes()
        for path in (*nexus.place.rglob("*"), *(nexus.folder / "records").rglob("*"))
        if path.is_file()
    }
    with nexus.world.database.reading_scope() as session:
        plans = [purges.row_of(row) for row in purge_rows.latest(session)]
    return files, plans, run_usage(nexus)


def run_usage(nexus: Nexus) -> Usage:
    return DirectoryVolume(nexus.folder / "volume").usage(SCRATCH)


def test_what_an_exemption_keeps_is_shown_before_it_is_ended(run: Run) -> None:
    run("exempt", "scratch/astronomer", "thesis", "--until", "2035-01-01", "--reason", "A thesis")
    (line,) = run("exemptions", "scratch/astronomer").splitlines()
    exemption = line.split("\t")[0]
    said = run("end-exemption", exemption)
    assert (
        said
        == "thesis in scratch/astronomer, kept until 2035-01-01: A thesis\nnothing was done (see --yes)\n"
    )
    assert line in run("exemptions", "scratch/astronomer")
    assert "ended" in run("end-exemption", exemption, "--yes")
    assert run("exemptions", "scratch/astronomer") == ""


# Without a --yes, and why: they read; or add, and take away from nobody; or keep what would be taken.
HARMLESS = {
    "list", "scratch", "growth", "usage", "scan", "exemptions", "purge plans", "purge log", "purge recipe",
    "purge report", "snapshot list", "measure", "warn", "exempt", "purge look", "purge restore",
    "snapshot restore", "purge cancel", "purge answer", "objects",
    # They do what was decided before, each with its own notice.
    "settle", "charge", "work",
    # Begins a plan's days of grace, in which nothing is touched.
    "purge notice",
    # Places on it stay; opening it again is the next start of who has it.
    "close-volume",
}  # fmt: skip


def test_every_command_of_storage_shows_what_it_would_do_first_or_takes_nothing_away() -> None:
    found: dict[str, bool] = {}
    tree = {
        "": cli_storage.storage_app,
        "purge ": cli_purges.purge_app,
        "snapshot ": cli_snapshots.snapshot_app,
    }
    for above, app in tree.items():
        flat = [group.typer_instance for group in app.registered_groups if not group.name]
        for each in (*app.registered_commands, *(each for part in flat for each in part.registered_commands)):
            assert each.callback is not None
            found[f"{above}{each.name}"] = "yes" in inspect.signature(each.callback).parameters
    asks = {name for name, asks in found.items() if asks}
    assert asks == {f"purge {name}" for name in DESTRUCTIVE} | {
        "quota", "size", "end-exemption", "snapshot turn",
    }  # fmt: skip
    assert set(found) - asks == HARMLESS
