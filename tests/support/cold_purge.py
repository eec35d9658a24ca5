"""Keeping cold and bringing back, killed by SIGKILL at a step. Prints whether the act came to its end.

Run as ``python -m tests.support.cold_purge FOLDER PLAN_ID chill|restore STEP``, with boto3's variables set.
"""

import os
import signal
import sys
from datetime import datetime
from pathlib import Path

from tests.support.purging import Purged

from nexus_allocator.clients.files import purging
from nexus_allocator.clients.files.chilling import Cold
from nexus_allocator.clients.files.purge_run import Outcome
from nexus_allocator.clients.objects.bucket import Bucket

BUCKET = "cold"


def cold(plan_id: str) -> Cold:
    return Cold(Bucket(BUCKET), f"astronomer/cold/{plan_id}")


def chill(purged: Purged) -> Outcome:
    return purging.chill(
        purged.ground, purged.plan_id, cold=cold(purged.plan_id), exempt=purged.exempt, now=purged.now
    )


def restore(purged: Purged, *under: bytes) -> Outcome:
    return purging.restore(
        purged.ground, purged.plan_id, under=under, by="anna", now=purged.now, cold=cold(purged.plan_id)
    )


def main() -> None:
    folder, plan_id, act, step = sys.argv[1:]
    left = [int(step)]

    def dies(_name: str) -> None:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    now = datetime.fromisoformat(os.environ["PURGED_NOW"])
    purged = Purged(Path(folder), now=now, step=dies, plan_id=plan_id)
    (chill if act == "chill" else restore)(purged)
    print("through")


if __name__ == "__main__":
    main()
