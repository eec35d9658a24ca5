"""The quickstart's calibration references: made once by the pipeline's own command, kept in the cache."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from nexus_allocator.embedded.children import die_with_parent
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


class Making:
    """References being made beside all else that starts. Raises BadSetting with the pipeline's own words."""

    def __init__(self, settings: Settings) -> None:
        self.target = kept_at(settings)
        self.draft = self.target.with_suffix(f".{os.getpid()}")
        self.process: subprocess.Popen[str] | None = None
        settings.cache.mkdir(parents=True, exist_ok=True)
        if not self.target.is_dir():
            wfi = Path(sys.executable).parent / "wfi"
            self.process = subprocess.Popen(  # noqa: S603
                [str(wfi), "references", "make", str(self.draft), "--detector", DETECTOR, "--filter", FILTER],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                preexec_fn=die_with_parent(),  # noqa: PLW1509
            )

    def finish(self) -> None:
        """Wait for them; the final name never holds half of them."""
        if self.process is None:
            return
        output, _ = self.process.communicate()
        try:
            if self.process.returncode != 0:
                raise BadSetting(f"The references could not be made:\n{output[-2000:]}")
            if not self.target.is_dir():  # another Nexus may have been faster
                self.draft.rename(self.target)
        finally:
            shutil.rmtree(self.draft, ignore_errors=True)


def expose(settings: Settings) -> None:
    """Show the kept references as the store's mission/references, in place of earlier ones."""
    link = settings.references
    draft = link.with_suffix(".new")
    draft.unlink(missing_ok=True)
    draft.symlink_to(kept_at(settings))
    os.replace(draft, link)
