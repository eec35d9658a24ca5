"""The first thing that runs as the person: lay out their home, then become the notebook server.

Usage: python -m nexus_allocator.hub.start_lab COMMAND [ARGUMENT ...]
"""

import errno
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

# Caches that libraries would otherwise put beside themselves, where nobody may write.
CACHES = {
    "MPLCONFIGDIR": "matplotlib",
    "NUMBA_CACHE_DIR": "numba",
    "XDG_CACHE_HOME": "",
    "ASTROPY_CACHE_DIR": "astropy",
}

# What a starting server writes at least: Jupyter's runtime files and a kernel's.
ROOM_BYTES = 256 << 10
LOOK_S, MOST_NAMED = 5.0, 15
# A team's own server: people edit together, and what they wrote is kept step by step beside their folder.
TOGETHER = (
    "--YDocExtension.disable_rtc=False",
    "--SQLiteYStore.db_path={home}/history.db",
)
RESCUE_PAGE = "YOUR-HOME-IS-FULL.md"
RESCUE = """# Your home is full

Nothing more can be written in it, so this server started in a small folder of its own, which goes when the
server stops. Your files are all there, under `home` in the list at the left.

1. Delete what you no longer need, or move it to a team's folder or to scratch. The heaviest folders:

| folder | takes |
|---|---|
{rows}

2. Stop this server and start another: it is in your home again as soon as there is room.

More room comes with an award: ask for one in the portal. Its page *Storage* shows what your home is full of.
"""


def copy_missing(source: Path, target: Path) -> None:
    """Copy the curated notebooks that ``target`` does not have; what is there is never overwritten."""
    for path in sorted(source.rglob("*")):
        relative = path.relative_to(source)
        if path.is_dir() or any(part.startswith((".", "__")) for part in relative.parts):
            continue
        copy = target / relative
        if not os.path.lexists(copy):
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)


def link_teams(folder: Path, teams: list[Path]) -> None:
    """Make ``folder`` hold a link to each of the person's teams, and to no other."""
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        if old.is_symlink() and old.readlink() not in teams:
            old.unlink()
    for team in teams:
        if not os.path.lexists(folder / team.name):
            (folder / team.name).symlink_to(team)


def folders_in(variable: str) -> list[Path]:
    return [Path(folder) for folder in os.environ.get(variable, "").split(":") if folder]


def make_caches(home: Path) -> dict[str, str]:
    folders = {name: home / ".cache" / folder for name, folder in CACHES.items()}
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    return {name: str(folder) for name, folder in folders.items()}


def has_room(home: Path) -> bool:
    """Say whether a little can be written in the home; only a quota or a full disk says no."""
    probe = home / f".nexus-room-{os.getpid()}"
    try:
        with probe.open("wb") as file:
            file.write(bytes(ROOM_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error.errno not in (errno.EDQUOT, errno.ENOSPC)
    finally:
        probe.unlink(missing_ok=True)
    return True


def heaviest(home: Path, *, until: float) -> list[tuple[int, str]]:
    """Return the folders at the home's top and right below it by what they take, the heaviest first.

    Links are not followed; what was not seen by ``until`` (of `time.monotonic`) is not counted.
    """
    sums: dict[str, int] = {}
    for folder, _, files in os.walk(home, onerror=None):
        within = Path(folder).relative_to(home).parts[:2]
        size = 0
        for name in files:
            with suppress(OSError):
                size += os.lstat(os.path.join(folder, name)).st_blocks * 512
        for depth in range(1, len(within) + 1):
            path = "/".join(within[:depth])
            sums[path] = sums.get(path, 0) + size
        if time.monotonic() > until:
            break
    return sorted(((size, path) for path, size in sums.items()), reverse=True)[:MOST_NAMED]


def begin_rescue(spare: Path, home: Path) -> None:
    """Lay out a folder beside a home that takes nothing more, with a page that says what takes most."""
    (spare / "home").symlink_to(home)
    found = heaviest(home, until=time.monotonic() + LOOK_S)
    rows = "\n".join(f"| `home/{path}` | {size / 10**9:.3f} GB |" for size, path in found)
    (spare / RESCUE_PAGE).write_text(RESCUE.format(rows=rows))
    os.environ["HOME"] = str(spare)
    os.environ["JUPYTERHUB_DEFAULT_URL"] = f"/lab/tree/{RESCUE_PAGE}"


def store_access(environment: Mapping[str, str]) -> dict[str, str]:
    """Return where AWS's clients find this server's credentials for the object store, nothing without one.

    They ask the notebook server on its own address (`lab_card`), again and again before what they have ends.
    """
    lab, token = environment.get("JUPYTERHUB_SERVICE_URL"), environment.get("NEXUS_LAB_TOKEN")
    if not (lab and token and environment.get("NEXUS_STORE_URL", "").startswith("s3://")):
        return {}
    # It listens on every address of a pod; they ask none but this one without TLS.
    own = urlsplit(lab)
    url = f"http://127.0.0.1:{own.port}{own.path.rstrip('/')}/nexus/credentials"
    return {"AWS_CONTAINER_CREDENTIALS_FULL_URI": url, "AWS_CONTAINER_AUTHORIZATION_TOKEN": token}


def begin_team(folder: Path, home: Path, command: list[str]) -> None:
    """Become a team's own server in its folder; where that takes nothing more, people may read and delete."""
    history = home
    try:
        home.mkdir(exist_ok=True)
        os.environ.update(make_caches(home))
    except OSError as error:
        print(f"the team's folder takes nothing more: {error}", file=sys.stderr)  # noqa: T201
        history = Path(os.environ.get("NEXUS_SPARE_HOME") or tempfile.mkdtemp(prefix="nexus-home-"))
        os.environ["HOME"] = str(history)
        os.environ.update(make_caches(history))
    os.environ.update(store_access(os.environ))
    os.chdir(folder)
    together = [option.format(home=history) for option in TOGETHER]
    os.execvp(command[0], [*command, *together])  # noqa: S606


def main(command: list[str]) -> None:
    home = Path(os.environ["HOME"])
    if umask := os.environ.get("NEXUS_UMASK"):
        # In a pod nobody sets it before this runs.
        os.umask(int(umask, 8))
    rescue = os.environ.get("NEXUS_RESCUE_HOME") or ""
    if team := os.environ.get("NEXUS_TEAM_FOLDER"):
        begin_team(Path(team), home, command)
    try:
        if reading := os.environ.get("NEXUS_READ_ONLY_HOME"):
            # HOME is a folder that goes with this server; the home is read at its usual place.
            (home / "home").symlink_to(reading)
        elif rescue or not has_room(home):
            # A pod's own disk goes with it; on one machine the hub made a folder that does.
            spare = Path(os.environ.get("NEXUS_SPARE_HOME") or tempfile.mkdtemp(prefix="nexus-home-"))
            begin_rescue(spare, Path(rescue) if rescue else home)
            home = spare
        else:
            copy_missing(Path(os.environ["NEXUS_NOTEBOOKS"]), home / "notebooks")
            link_teams(home / "teams", folders_in("NEXUS_TEAMS"))
            if folders_in("NEXUS_SCRATCH") or (home / "scratch").is_dir():
                link_teams(home / "scratch", folders_in("NEXUS_SCRATCH"))
        os.environ.update(make_caches(home))
    except OSError as error:
        # A full disk must not keep people from the server with which they would clear it.
        print(f"the home could not be laid out fully: {error}", file=sys.stderr)  # noqa: T201
    os.environ.update(store_access(os.environ))
    os.chdir(home)
    os.execvp(command[0], command)  # noqa: S606


if __name__ == "__main__":
    main(sys.argv[1:])
