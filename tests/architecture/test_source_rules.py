"""Commits, queries, the clock and blocking clients stand only where the design allows them."""

import re
import subprocess
from pathlib import Path

import pytest
from tests.support.source_rules import breaches

ROOT = Path(__file__).parents[2]
# In two parts, so that this file does not find itself.
HOSTS = [("pypi", "org"), ("pythonhosted", "org"), ("npmjs", "org"), ("npmjs", "com"), ("deb.debian", "org")]


def package_files() -> list[tuple[str, str]]:
    return [
        (path.relative_to(ROOT / "allocator").as_posix(), path.read_text())
        for path in sorted((ROOT / "allocator").glob("nexus_allocator/**/*.py"))
        if "node_modules" not in path.parts
    ]


def test_the_allocator_breaks_no_source_rule() -> None:
    files = package_files()
    assert files
    assert [breach for path, source in files for breach in breaches(path, source)] == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("nexus_allocator/services/x.py", "session.commit()"),
        ("nexus_allocator/store/x.py", "session.commit()"),
        ("nexus_allocator/services/x.py", "session.scalars(select(Hold))"),
        ("nexus_allocator/services/x.py", "session.scalars(sa.select(Hold))"),
        ("nexus_allocator/services/x.py", "from datetime import datetime\ndatetime.now()"),
        ("nexus_allocator/domain/x.py", "from datetime import date\ndate.today()"),
        ("nexus_allocator/hub/x.py", "import httpx"),
        ("nexus_allocator/hub/x.py", "from urllib import request"),
    ],
)
def test_a_planted_breach_is_found(path: str, source: str) -> None:
    assert len(list(breaches(path, source))) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("nexus_allocator/store/session.py", "session.commit()"),
        ("nexus_allocator/store/holds.py", "session.scalars(select(Hold))"),
        ("nexus_allocator/api/x.py", "from datetime import datetime, UTC\ndatetime.now(UTC)"),
        ("nexus_pipeline/steps/x.py", "select(1)"),
    ],
)
def test_what_is_allowed_is_let_through(path: str, source: str) -> None:
    assert list(breaches(path, source)) == []


def test_no_tracked_file_names_a_registry_or_a_secret() -> None:
    hosts = [
        "pypi" + ".org",
        "python" + "hosted.org",
        "npmjs" + ".org",
        "npmjs" + ".com",
        "deb.debian" + ".org",
    ]
    pattern = re.compile("|".join(re.escape(host) for host in hosts) + "|BEGIN [A-Z ]*PRIVATE KEY")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    names = [name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]
    found = [name for name in names if pattern.search((ROOT / name).read_text(errors="replace"))]
    assert names
    assert found == []
