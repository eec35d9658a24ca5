"""Prints wall clock and memory of ``wfi survey`` on twelve full exposures: four dithers in three filters.

Run it as ``python -m tests.bench.survey [FOLDER]``; ramps and references are made in FOLDER first (6 CPU
minutes) and found there the next time, products go beside them and are taken away before. One detector
looks at where four skycells meet and covers parts of them. Wall clock is that of the command, imports and
all; memory the highest sum of the resident memory of its processes, looked at twice a second. The run is
killed once it has made its third mosaic, and the same command started again.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
import psutil
from astropy.table import Table
from tests.bench.colours import matching, show_colours
from tests.support.pipeline import wfi

from nexus_pipeline.products import hats, parquet_table, selection
from nexus_pipeline.simulate import catalog
from nexus_pipeline.simulate.field import make_field
from nexus_pipeline.sky import tessellation
from nexus_pipeline.sky.skymap import Skymap

RA, DEC, ROLL = 150.1, 2.2, 20.0
DETECTOR: Final = "WFI07"
FILTERS: Final = ("F106", "F129", "F158")
DITHERS_ARCSEC: Final = ((0.0, 0.0), (11.0, -7.0), (-6.0, 13.0), (8.0, 9.0))
N_STARS, N_GALAXIES, SEED = 1500, 1500, 13
N_INJECTED: Final = 30
MUST_MINUTES, MUST_GB = 25, 15
_LOOK_S: Final = 0.5


def meeting(sky: Skymap) -> tuple[float, float]:
    """Return where four skycells of one region meet, near (RA, DEC)."""
    cells = sky.skycells
    away = np.hypot((cells["ra_center"] - RA) * np.cos(np.deg2rad(DEC)), cells["dec_center"] - DEC)
    cell = cells[int(np.argmin(away))]
    return float(cell["ra_corn3"]), float(cell["dec_corn3"])


def ramps(folder: Path) -> Path:
    """Return the folder of the twelve ramps, made where they lack."""
    sky = tessellation.skymap(tessellation.regions_near(RA, DEC, 0.1)[:1])
    ra, dec = meeting(sky)
    if not (folder / "references" / "rules.json").exists():
        bands = [word for name in FILTERS for word in ("--filter", name)]
        run("references", "make", folder / "references", "--detector", DETECTOR, *bands)
    catalog.write_table(field(ra, dec), str(folder / "field.parquet"))
    exposure = 0
    for name in FILTERS:
        for east, north in DITHERS_ARCSEC:
            exposure += 1
            if list((folder / "ramps").glob(f"*_{exposure:04d}_*_uncal.asdf")):
                continue
            at = ("--ra", ra + east / 3600 / np.cos(np.deg2rad(dec)), "--dec", dec + north / 3600)
            run(
                "simulate", folder / "field.parquet", "--references", folder / "references",
                "--output", folder / "ramps", "--detector", DETECTOR, "--filter", name, *at,
                "--roll", ROLL, "--exposure", exposure, "--seed", SEED + exposure,
            )  # fmt: skip
    return folder / "ramps"


def field(ra: float, dec: float) -> Table:
    """Return stars and galaxies of the usual colours: F129 lies between the others."""
    made = make_field(
        ra, dec, n_stars=N_STARS, n_galaxies=N_GALAXIES, rng=np.random.default_rng(SEED), filter_name="F158"
    )
    rng = np.random.default_rng(SEED + 1)
    redder = rng.uniform(-0.2, 0.6, len(made))
    made["mag_F106"] = made["mag_F158"] + redder
    made["mag_F129"] = made["mag_F158"] + redder * rng.uniform(0.35, 0.55, len(made))
    return made


def run(*words: object) -> None:
    told = wfi(*words)
    if told.status:
        raise SystemExit(told.err)


def timed(command: list[str], stop_after: str | None = None, n: int = 0) -> tuple[float, float, list[str]]:
    """Return minutes, GB and lines of ``command``; killed when ``n`` lines begin with ``stop_after``."""
    start, peak = time.perf_counter(), 0
    with tempfile.NamedTemporaryFile("w") as said:
        process = subprocess.Popen(command, stdout=said)
        while process.poll() is None:
            peak = max(peak, resident(process.pid))
            time.sleep(_LOOK_S)
            # Read by a handle of its own: where the writer stands in the file is shared by who writes.
            lines = Path(said.name).read_text().splitlines()
            if stop_after and sum(line.startswith(stop_after) for line in lines) >= n:
                process.kill()
        lines = Path(said.name).read_text().splitlines()
    if process.returncode and stop_after is None:
        raise SystemExit("the survey failed")
    return (time.perf_counter() - start) / 60, peak / 1e9, lines


def resident(pid: int) -> int:
    try:
        whole: list[Any] = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        return sum(each.memory_info().rss for each in whole)
    except psutil.Error:
        return 0


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp(prefix="nexus-survey-"))
    folder.mkdir(parents=True, exist_ok=True)
    source, out = ramps(folder), folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    command = [
        sys.executable, "-u", "-m", "nexus_pipeline.cli", "survey", str(source),
        "-r", str(folder / "references"), "-o", str(out), "--inject", str(N_INJECTED),
    ]  # fmt: skip
    first, first_gb, _ = timed(command, "mosaic", 3)
    second, second_gb, lines = timed(command)
    for line in lines:
        print("  ", line)
    there = sum("there already" in line for line in lines)
    print(f"killed after {first:.1f} min, {first_gb:.1f} GB; then {there} products were there already")
    print(f"the rest in {second:.1f} min, {second_gb:.1f} GB")
    minutes, gb = first + second, max(first_gb, second_gb)
    print(f"in all {minutes:.1f} min (must {MUST_MINUTES}), {gb:.1f} GB (must {MUST_GB})")
    rows = parquet_table.columns_of(hats.read_rows(str(out / "survey")))
    print(f"{len(rows)} sources in the release; colours of those that are alone, of seed {SEED}:")
    show_colours(*matching(rows, catalog.read_table(str(folder / "field.parquet"))))
    for name in FILTERS:
        share = selection.load(str(out / f"selection_{name.lower()}.asdf"))
        print(f"{name}: {share.found.sum()} of {share.injected.sum()} injected sources were found")


if __name__ == "__main__":
    main()
