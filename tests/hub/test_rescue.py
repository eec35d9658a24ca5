"""A home that takes nothing more: a server starts beside it, with a page that says what takes most."""

import os
import time
from pathlib import Path

import pytest

from nexus_allocator.hub import start_lab
from nexus_allocator.hub.homes import Folders
from nexus_allocator.hub.service import Admission


def admission(**changes: object) -> Admission:
    plain = {
        "hold_id": "11112222", "cpu": 2, "memory_bytes": 1 << 30, "image": "nexus", "uid": os.getuid(),
        "gid": os.getgid(), "supplemental_gids": [], "umask": "0027", "home": "ada", "teams": [],
        "until": "2026-03-02T12:00:00+00:00", "account": "ada", "rate_micro_per_hour": 1,
    }  # fmt: skip
    return Admission.from_answer({**plain, **changes})


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    for name in ("homes", "teams", "store/accounts"):
        (tmp_path / name).mkdir(parents=True)
    return Folders(tmp_path / "homes", tmp_path / "teams", tmp_path / "store", separate=False)


def test_the_largest_folders_are_named_heaviest_first_and_links_lead_nowhere(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "runs" / "deep" / "deeper").mkdir(parents=True)
    (home / "runs" / "deep" / "deeper" / "image").write_bytes(b"x" * 300_000)
    (home / "notes").mkdir()
    (home / "notes" / "text").write_bytes(b"x" * 20_000)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "huge").write_bytes(b"x" * 900_000)
    (home / "link").symlink_to(tmp_path / "elsewhere")
    found = start_lab.heaviest(home, until=time.monotonic() + 60)
    assert [path for _, path in found] == ["runs/deep", "runs", "notes"]
    assert 300_000 <= found[0][0] < 320_000


def test_a_rescue_server_has_its_home_beside_the_full_one(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    rescued = admission(rescue=True)
    folders.prepare(rescued)
    home, spare = folders.home(rescued), folders.working(rescued)
    (home / "big").mkdir()
    (home / "big" / "file").write_bytes(b"x" * 100_000)
    monkeypatch.setenv("HOME", str(spare))
    monkeypatch.setenv("JUPYTERHUB_DEFAULT_URL", "/lab")
    start_lab.begin_rescue(spare, home)
    assert "`home/big`" in (spare / start_lab.RESCUE_PAGE).read_text()
    assert (spare / "home").resolve() == home
    assert os.environ["JUPYTERHUB_DEFAULT_URL"] == f"/lab/tree/{start_lab.RESCUE_PAGE}"
    folders.clear(rescued.hold_id)
    assert not spare.exists()
    assert (home / "big" / "file").exists()


def test_only_a_quota_or_a_full_disk_makes_a_home_full(tmp_path: Path) -> None:
    assert start_lab.has_room(tmp_path)
    assert list(tmp_path.iterdir()) == []
    # As a reader's home, or one of another person: not ours to rescue.
    assert start_lab.has_room(tmp_path / "missing")
