"""The quickstart's calibration references: made once by the pipeline's own command, kept in the cache."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from nexus_allocator.embedded.settings import ROOT, BadSetting, Settings

DETECTOR, FILTER = "WFI07", "F158"
PIPELINE = ROOT / "pipeline" / "nexus_pipeline"
# What decides how references come out; other parts of the pipeline only use them.
MAKERS = ("instrument", "references", "psf", "sky", "simulate")


def version() -> str:
    """Return a name that changes whenever the code that makes references does."""
    digest = hashlib.sha256(f"{DETECTOR} {FILTER}".encode())
    for maker in MAKERS:
        for path in sorted((PIPELINE / maker).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def kept_at(settings: Settings) -> Path:
    return settings.cache / f"references-{version()}"


def make(settings: Settings) -> None:
    """Make the references unless they are there; a second caller waits for the first.

    Raises BadSetting with the pipeline's own words when it fails; the final name never holds half of them.
    """
    target = kept_at(settings)
    settings.cache.mkdir(parents=True, exist_ok=True)
    with (settings.cache / "references.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if target.is_dir():
            return
        draft = target.with_suffix(".part")
        shutil.rmtree(draft, ignore_errors=True)
        wfi = Path(sys.executable).parent / "wfi"
        arguments = [str(wfi), "references", "make", str(draft), "--detector", DETECTOR, "--filter", FILTER]
        result = subprocess.run(arguments, capture_output=True, text=True, check=False)  # noqa: S603
        if result.returncode != 0:
            shutil.rmtree(draft, ignore_errors=True)
            raise BadSetting(f"The references could not be made:\n{(result.stdout + result.stderr)[-2000:]}")
        draft.rename(target)


def expose(settings: Settings) -> None:
    """Show the kept references as the store's mission/references, in place of earlier ones."""
    link = settings.references
    draft = link.with_suffix(".new")
    draft.unlink(missing_ok=True)
    draft.symlink_to(kept_at(settings))
    os.replace(draft, link)
