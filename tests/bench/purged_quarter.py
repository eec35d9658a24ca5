"""Prints what a quarter of purges costs over 200,000 files: daily jobs, a click in a browser, manifests, log.

Run it as ``python -m tests.bench.purged_quarter [N_FILES]``.
"""

import resource
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.support.quarter import figures, lived, played

N_FILES: Final = 200_000


def main() -> None:
    n_files = int(sys.argv[1]) if len(sys.argv) > 1 else N_FILES
    folder = Path(tempfile.mkdtemp(prefix="nexus-quarter-"))
    try:
        play(folder, n_files)
    finally:
        shutil.rmtree(folder)


def play(folder: Path, n_files: int) -> None:
    with lived(folder) as quarter:
        found = played(quarter, n_files)
    stays = {
        path: entry
        for path, entry in found.before.items()
        if path not in found.deleted and b"/in-hand/" not in path
    }
    wrong = sum(found.after.get(path) != entry for path, entry in stays.items())
    gone = found.before.keys() - found.after.keys()
    print(figures(quarter))
    print(
        f"{len(found.planned):,} planned, {found.restored:,} restored, {len(found.deleted):,} deleted by the "
        f"log, {len(gone):,} gone ({len(gone ^ found.deleted)} otherwise); {wrong} of {len(stays):,} that "
        f"were to stay differ; told {found.told}; log, list and database agree: {found.heads_agree}; "
        f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB at most"
    )


if __name__ == "__main__":
    main()
