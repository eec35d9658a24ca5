"""The operator's command line, called as the console script calls it; once as a process of its own."""

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.support.allocator import FakeHub, Run, World, service_environment
from tests.support.postgres import free_port


def test_an_operator_makes_a_team_grants_corrects_and_audits(run: Run, url: str, world: World) -> None:
    def told(*words: str, **more: str) -> str:
        code, out, error = run(url, *words, **more)
        assert code == 0, out + error
        return out

    told("migrate")
    assert "made" in told("seed-demo", NEXUS_ISSUER="https://provider.test")
    assert "already" in told("seed-demo", "--issuer", "https://provider.test")
    assert "gid 40001" in told("team", "create", "grism", "--label", "Grism", "--tier", "special")
    told("team", "add", "grism", "astronomer", "--role", "lead")
    told("grant", "grism", "12.5", "--reason", "Awarded by the panel")
    told("correct", "grism", "-2.25", "--reason", "Platform fault refunded twice")
    assert world.figures("grism").balance == 10_250_000
    assert "0 drifts" in told("audit")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("grant", "nobody", "1", "--reason", "for the test"), "no account nobody"),
        (("grant", "nobody", "many", "--reason", "for the test"), "six decimals"),
        (("correct", "nobody", "nan", "--reason", "for the test"), "six decimals"),
        (("grant", "nobody", "1", "--reason", " "), "no account nobody"),
        (("team", "create", "Bad Name", "--label", "X"), "can't be a name"),
        (("team", "add", "none", "astronomer"), "no team none"),
        (("suspend", "nobody", "--reason", "A lost key"), "Nobody is known"),
        (("reconcile",), "nothing was ended"),
    ],
)
def test_a_refused_command_says_why_and_ends_with_one(
    run: Run, url: str, words: tuple[str, ...], message: str
) -> None:
    code, _, error = run(url, *words, hub=f"http://127.0.0.1:{free_port()}/hub/api")
    assert code == 1
    assert message in error


def test_reconcile_reads_the_hub_once(run: Run, url: str, world: World, hub: FakeHub) -> None:
    world.astronomer()
    admitted = world.launch()
    hub.runs("astronomer", admitted.hold_id, world.clock())
    assert "witnessed 1" in run(url, "reconcile", hub=hub.api_url)[1]


def test_an_unmigrated_database_and_a_misspelt_setting_are_told(run: Run, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/empty.sqlite"
    assert "migrated?" in run(url, "audit")[2]
    code, _, error = run(url, "reconcile", NEXUS_METERING_INTERVALL_S="60")
    assert (code, "NEXUS_METERING_INTERVALL_S" in error) == (1, True)


def test_waiting_for_the_schema_ends_when_another_has_made_it_and_a_newer_one_is_left_alone(
    run: Run, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/empty.sqlite"
    environment = service_environment(url, "http://127.0.0.1:9/hub/api")
    waiting = subprocess.Popen(
        [sys.executable, "-m", "nexus_allocator", "migrate", "--wait"], env=environment, text=True,
        stdout=subprocess.PIPE,
    )  # fmt: skip
    with pytest.raises(subprocess.TimeoutExpired):
        waiting.wait(5)
    assert "empty →" in run(url, "migrate")[1]
    assert "schema" in waiting.communicate(timeout=60)[0]
    assert waiting.returncode == 0
    with closing(sqlite3.connect(tmp_path / "empty.sqlite")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    assert run(url, "migrate")[:2] == (0, "schema 9999\n")


def test_it_runs_as_a_process_of_its_own_and_shows_no_traceback(migrated_sqlite: Path) -> None:
    environment = service_environment(f"sqlite:///{migrated_sqlite}", "http://127.0.0.1:9/hub/api")
    result = subprocess.run(
        [sys.executable, "-m", "nexus_allocator", "reinstate", "nobody"], env=environment,
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (result.returncode, result.stderr) == (1, "Nobody is known as nobody.\n")


def test_an_operator_seals_audits_against_the_seals_moves_credits_and_prints_a_statement(
    run: Run, url: str, world: World, tmp_path: Path
) -> None:
    world.astronomer()
    world.team("survey", "astronomer")
    code, out, _ = run(url, "transfer", "survey", "astronomer", "2.5", "--reason", "For the pilot")
    assert (code, out) == (0, "2.5 credits moved from survey to astronomer\n")
    assert "sealed 2 heads" in run(url, "seal", str(tmp_path / "seals"))[1]
    assert "sealed already" in run(url, "seal", str(tmp_path / "seals"))[1]
    assert "0 drifts" in run(url, "audit", "--seals", str(tmp_path / "seals"))[1]
    span = ["--from", "2026-01-01", "--to", "2027-12-31"]
    assert "astronomer,2027-12-31,closing balance,27.500000" in run(url, "statement", "astronomer", *span)[1]
    assert "For the pilot" in run(url, "statement", "astronomer", *span, "--entries")[1]


def test_an_audit_that_cannot_ask_the_hub_says_so(run: Run, url: str) -> None:
    code, _, error = run(url, "audit", "--hub")
    assert code == 1
    assert "The hub did not answer" in error


def test_an_operator_imports_approved_grants_whole_or_not_at_all_and_turns_requests(
    run: Run, url: str, tmp_path: Path
) -> None:
    file = tmp_path / "grants.csv"
    assert "can't be read" in run(url, "import-grants", str(file))[2]
    file.write_text("\ufeffnumber,email,ends_on\nA-1,a@b.org,2030-01-01\nA-2,nobody,2030-01-01\n")
    code, _, error = run(url, "import-grants", str(file))
    assert (code, error) == (1, "Nothing was imported. Line 3: 'nobody' is no e-mail address.\n")
    file.write_text("number,email,ends_on\nA-1,a@b.org,2030-01-01\n")
    assert run(url, "import-grants", str(file))[:2] == (0, "1 grants kept\n")
    assert run(url, "turn")[:2] == (0, "0 moves, 0 allocations told of, renewed or lapsed\n")


def test_an_operator_invites_divides_and_removes(run: Run, url: str, world: World) -> None:
    for name in ("ann", "mia", "zoe"):
        world.astronomer(name)
    world.team("survey", "ann", "mia")
    done = [
        ("team", "group", "survey", "Grism", "mia"),
        ("team", "share", "survey", "--group", "grism", "--fair", "100"),
        ("team", "share", "survey", "--member", "mia", "--cap", "12.5"),
        ("team", "invite", "survey", "zoe"),
    ]
    for words in done:
        assert run(url, *words)[0] == 0, words
    told = run(url, "team", "show", "survey")[1]
    assert "mia\tmember\tGrism\tcap 12.50\ttook 0.00\n" in told
    assert "Grism\tsub-group of 1\tfair 100.00\n" in told
    assert "Zoe\tinvited as member" in told
    assert run(url, "team", "lead", "survey", "mia")[:2] == (0, "mia leads survey\n")
    assert run(url, "team", "share", "survey", "--member", "mia")[:2] == (0, "mia: no part\n")
    assert run(url, "team", "remove", "survey", "ann", "--reason", "Moved on")[0] == 0
    assert run(url, "team", "share", "survey", "--cap", "1")[0] == 1
    assert run(url, "team", "show", "none")[2] == "There is no team none.\n"


def test_an_operator_holds_launches_suspends_and_reinstates(run: Run, url: str, world: World) -> None:
    world.astronomer()
    assert "until lifted" in run(url, "hold-launches", "New disks.")[1]
    assert "are held until 20" in run(url, "hold-launches", "New disks.", "--minutes", "30")[1]
    assert run(url, "let-launches")[:2] == (0, "launches go through\n")
    told = run(url, "suspend", "astronomer", "--reason", "A lost key")[1]
    assert told == "astronomer is suspended; 0 servers to stop\n"
    assert run(url, "reinstate", "astronomer")[0] == 0
    assert world.launch()


def test_an_operator_makes_an_event_and_ends_it_and_the_log_tells(run: Run, url: str, world: World) -> None:
    world.astronomer()
    made = run(
        url, "event", "create", "Summer School", "--ends", "2099-01-01T12:00", "--starts", "2098-12-30",
        "--size", "small", "--people", "3", "--per-person", "2.5",
    )  # fmt: skip
    assert made[0] == 0, made
    code = made[1].strip().rsplit(" ", 1)[1]
    assert (
        f"{code}\tSummer School\t2098-12-30 00:00 to 2099-01-01 12:00 UTC\t0 of 3\t2.50 each"
        in run(url, "event", "list")[1]
    )
    assert run(url, "event", "end", "nonsense", "--reason", "The speaker is ill")[0] == 1
    assert run(url, "event", "end", code, "--reason", "The speaker is ill")[0] == 0
    sheet = run(url, "log", "--act", "event_ended")[1].splitlines()
    assert len(sheet) == 2
    assert "operator " in sheet[1]
    assert "The speaker is ill" in sheet[1]
    lines = run(url, "log", "--who", "astronomer", "--form", "json")[1].splitlines()
    assert {json.loads(line)["act"] for line in lines} >= {"person_created", "account_opened"}
    assert run(url, "log", "--text", "no such words")[1].count("\n") == 1


def test_an_operator_changes_merges_and_erases_after_reading_the_plan(
    run: Run, url: str, world: World
) -> None:
    for name in ("ada", "ada2"):
        world.astronomer(name)
    done = run(url, "person", "change", "ada", "--to", "countess", "--reason", "Asked for")
    assert done[:2] == (0, "countess is called so from now on\n")
    merged = run(url, "person", "merge", "countess", "ada2", "--reason", "One person")
    assert merged[0] == 0
    assert merged[1].splitlines() == [
        "ada2 is countess from now on; 25.00 credits went over",
        "the files of the home ada2 are still where they were",
    ]
    plan = run(url, "person", "erase", "countess")[1]
    assert "nothing was changed" in plan
    assert "remove the folder of the home ada\n" in plan
    wrong = run(url, "person", "erase", "countess", "--confirm", "ada", "--reason", "Asked for")
    assert wrong[::2] == (1, "Nothing was erased: type the name countess exactly.\n")
    assert run(url, "person", "erase", "countess", "--confirm", "countess", "--reason", "Asked")[0] == 0
    assert run(url, "person", "erase", "countess")[0] == 1


def test_an_operator_announces_and_withdraws(run: Run, url: str) -> None:
    tomorrow = (datetime.now(UTC) + timedelta(days=2)).date().isoformat()
    made = run(url, "announce", "add", "New disks.", "--until", tomorrow, "--level", "warning")[1]
    assert run(url, "announce", "withdraw", made.strip())[:2] == (0, "withdrawn\n")
    assert run(url, "announce", "add", "New disks.", "--until", "2020-01-01")[0] == 1
    assert run(url, "announce", "add", "New disks.", "--until", "2099-01-01")[0] == 1


def test_an_operator_keeps_the_panel_s_rounds_and_reviewers(run: Run, url: str, world: World) -> None:
    world.astronomer("rae")
    days = ("--from", "2026-03-01", "--to", "2026-03-31", "--due", "2026-04-15")
    code, made, _ = run(url, "panel", "open", "Spring", *days, "--budget", "20000")
    assert (code, made.split("\t")[1]) == (0, "Spring\n")
    round_id = made.split("\t")[0]
    assert run(url, "panel", "change", round_id, "Spring 2026", *days)[0] == 0
    assert run(url, "panel", "rounds")[1] == (
        f"{round_id}\tSpring 2026\t2026-03-01 2026-03-31 2026-04-15\t0 requests\tno budget\n"
    )
    assert run(url, "panel", "appoint", "rae")[:2] == (0, "rae is a reviewer\n")
    assert "0 requests reviewed" in run(url, "panel", "reviewers")[1]
    assert run(url, "panel", "appoint", "rae")[2] == "rae is a reviewer already.\n"
    assert run(url, "panel", "dismiss", "rae")[0] == 0
    assert run(url, "panel", "reviewers")[1] == ""
    late = ("--from", "2026-03-01", "--to", "2026-02-01", "--due", "2026-04-15")
    assert "opened before it closes" in run(url, "panel", "open", "Spring", *late)[2]
    assert "a number of credits" in run(url, "panel", "open", "Spring", *days, "--budget", "much")[2]
