"""The first spike, kept: what the kernel gives and the design rests on, with no code of ours between.

Two people with uids of their own write into a team's folder on btrfs until its hard limit refuses them
(EDQUOT); a file goes into the quarantine of its folder and comes back as it was; across subvolumes it can't.
"""

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.volumes import FILL, as_person, btrfs_volume

ANNA, BEN, TEAM = 20_001, 20_002, 50_001
LIMIT_BYTES = 24 << 20
# Blocks are reserved before they are written: the refusal comes some writes early.
SLACK_BYTES = 3 << 20


@pytest.fixture
def team() -> Iterator[Path]:
    with btrfs_volume() as mounted:
        run("quota", "enable", mounted)
        folder = mounted / "stars"
        run("subvolume", "create", folder)
        run("qgroup", "limit", LIMIT_BYTES, folder)
        os.chown(folder, 0, TEAM)
        folder.chmod(0o3770)
        yield folder


def run(*words: object) -> None:
    subprocess.run(["btrfs", *map(str, words)], check=True, capture_output=True)


def test_two_people_share_one_hard_limit_and_are_refused_with_edquot(team: Path) -> None:
    hers = as_person(ANNA, FILL.replace("1 << 30", "8 << 20"), team / "hers", gids=(ANNA, TEAM))
    assert (hers["errno"], hers["uid"], hers["written"]) == (None, ANNA, 8 << 20)
    his = as_person(BEN, FILL, team / "his", gids=(BEN, TEAM))
    assert (his["errno"], his["uid"]) == ("EDQUOT", BEN)
    assert isinstance(his["written"], int)
    assert LIMIT_BYTES - SLACK_BYTES <= 8 * 1024**2 + his["written"] <= LIMIT_BYTES
    # The folder is full for her too, and who is not of the team does not come in at all.
    assert as_person(ANNA, FILL, team / "more", gids=(ANNA, TEAM))["errno"] == "EDQUOT"
    assert as_person(ANNA, FILL, team / "stranger", gids=(ANNA,))["errno"] == "EACCES"
    assert ((team / "hers").stat().st_uid, (team / "hers").stat().st_gid) == (ANNA, TEAM)


def test_a_file_goes_into_the_quarantine_of_its_folder_and_comes_back_as_it_was(team: Path) -> None:
    as_person(ANNA, FILL.replace("1 << 30", "1 << 20"), team / "hers", gids=(ANNA, TEAM))
    os.setxattr(team / "hers", "user.origin", b"telescope")
    before, content = (team / "hers").stat(), (team / "hers").read_bytes()
    quarantine = team / ".nexus-quarantine"
    quarantine.mkdir(mode=0o700)
    (team / "hers").rename(quarantine / "0")
    assert as_person(ANNA, FILL, quarantine / "0", gids=(ANNA, TEAM))["errno"] == "EACCES"
    (quarantine / "0").rename(team / "hers")
    after = (team / "hers").stat()
    for name in ("st_ino", "st_mode", "st_uid", "st_gid", "st_size", "st_mtime_ns"):
        assert getattr(after, name) == getattr(before, name), name
    assert (team / "hers").read_bytes() == content
    assert os.getxattr(team / "hers", "user.origin") == b"telescope"


def test_a_quarantine_outside_the_folders_own_subvolume_could_not_be_reached_by_a_rename(team: Path) -> None:
    (team / "file").write_bytes(b"x")
    outside = team.parent / "quarantine"
    run("subvolume", "create", outside)
    with pytest.raises(OSError) as refused:  # noqa: PT011 - the errno is asked for below
        (team / "file").rename(outside / "0")
    assert refused.value.errno == errno.EXDEV
