"""The first thing that runs as the person: lay out their home, then become the notebook server.

Usage: python -m nexus_allocator.hub.start_lab COMMAND [ARGUMENT ...]
"""

import os
import shutil
import sys
from pathlib import Path

# Caches that libraries would otherwise put beside themselves, where nobody may write.
CACHES = {
    "MPLCONFIGDIR": "matplotlib",
    "NUMBA_CACHE_DIR": "numba",
    "XDG_CACHE_HOME": "",
    "ASTROPY_CACHE_DIR": "astropy",
}


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


def make_caches(home: Path) -> dict[str, str]:
    folders = {name: home / ".cache" / folder for name, folder in CACHES.items()}
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    return {name: str(folder) for name, folder in folders.items()}


def main(command: list[str]) -> None:
    home = Path(os.environ["HOME"])
    if umask := os.environ.get("NEXUS_UMASK"):
        # In a pod nobody sets it before this runs.
        os.umask(int(umask, 8))
    try:
        if reading := os.environ.get("NEXUS_READ_ONLY_HOME"):
            # HOME is a folder that goes with this server; the home is read at its usual place.
            (home / "home").symlink_to(reading)
        else:
            copy_missing(Path(os.environ["NEXUS_NOTEBOOKS"]), home / "notebooks")
            link_teams(home / "teams", [Path(team) for team in os.environ["NEXUS_TEAMS"].split(":") if team])
        os.environ.update(make_caches(home))
    except OSError as error:
        # A full disk must not keep people from the server with which they would clear it.
        print(f"the home could not be laid out fully: {error}", file=sys.stderr)  # noqa: T201
    os.chdir(home)
    os.execvp(command[0], command)  # noqa: S606


if __name__ == "__main__":
    main(sys.argv[1:])
