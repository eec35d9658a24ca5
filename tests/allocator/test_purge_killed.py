"""SIGKILL at every step of taking, restoring and deleting: called again, each ends as it should."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def killed(*words: str) -> dict[str, object]:
    command = [sys.executable, "-m", "tests.support.killed_purge", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    said: dict[str, object] = json.loads(done.stdout)
    return said


def test_killed_at_each_step_a_purge_called_again_ends_as_it_should() -> None:
    said = killed("every", "4")
    assert said["problems"] == []
    # Three acts on four files, each with several steps a file and two a line of the log.
    assert isinstance(said["kills"], int)
    assert said["kills"] > 40


def test_killed_every_few_steps_a_purge_of_many_files_gets_through() -> None:
    said = killed("many", "60", "1", "8")
    assert said["problems"] == []
    assert isinstance(said["kills"], int)
    assert said["kills"] > 100
