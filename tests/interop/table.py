"""Prints how our L2 differs from romancal's, made of the same L1 with the same references: ``make interop``.

Run it as ``python -m tests.interop.table``. Two ramps go through both: one of the mission's romanisim, one
of our own simulator. Ours runs with romancal's own settings where DECISIONS 8 chose others. The exit status
is the number of figures outside their limits.
"""

import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import asdf
import numpy as np
from numpy.typing import NDArray
from tests.support.own_ramp import own_ramp
from tests.support.romancal_run import romancal
from tests.support.romanisim_ramp import romanisim_ramp

from nexus_pipeline.instrument.dq import DQ
from nexus_pipeline.instrument.wfi import BORDER
from nexus_pipeline.products import l1, l2
from nexus_pipeline.products.model import RateImage
from nexus_pipeline.recipes import exposure as recipe
from nexus_pipeline.references.store import open_store
from nexus_pipeline.runner import Settings

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

AS_ROMANCAL: Final = {"saturation": {"grow_pixels": 0}, "ramp_fitting": {"jump_threshold_sigma": 4.5}}
UNUSABLE: Final = np.uint32(DQ.DO_NOT_USE | DQ.SATURATED)
N_WORST: Final = 20


@dataclass(frozen=True)
class Limit:
    """A figure and what it may be: at most ``most``, or at least ``least``."""

    name: str
    value: float
    most: float = np.inf
    least: float = -np.inf

    @property
    def good(self) -> bool:
        return self.least <= self.value <= self.most

    def line(self) -> str:
        bound = f"≤ {self.most:.3g}" if np.isfinite(self.most) else f"≥ {self.least:.6g}"
        return f"  {self.name:<60} {self.value:12.6g}  {bound:<12} {'good' if self.good else 'OUTSIDE'}"


def ours(ramp: Path, references: Path) -> RateImage:
    return recipe.calibrate(str(ramp), open_store(references.as_uri()), settings=Settings(AS_ROMANCAL))


def own_mean(ramp: Path) -> Flags:
    """Return the pixels (4088, 4088) that equal their own mean over the resultants in one of them.

    romancal's refpix takes such a zero for a missing value and leaves the channel's line in it.
    """
    read = l1.read_ramp(ramp.as_uri())
    if not read.amp33.any():
        return np.zeros(read.data[0, BORDER:-BORDER, BORDER:-BORDER].shape, dtype=bool)
    inner = read.data[:, BORDER:-BORDER, BORDER:-BORDER]
    total = inner.sum(axis=0, dtype=np.int64)
    equal: Flags = (inner.astype(np.int64) * len(inner) == total).any(axis=0)
    return equal


def slope_rows(mine: RateImage, theirs: RateImage, left_out: Flags) -> Iterator[Limit]:
    usable = ((mine.dq | theirs.dq) & (UNUSABLE | np.uint32(DQ.JUMP_DET))) == 0
    usable &= ~left_out
    apart = in_sigmas(mine, theirs)[usable]
    yield Limit("|Δ slope| / σ, median", float(np.median(apart)), most=1e-4)
    yield Limit("|Δ slope| / σ, 99.9 % of the pixels", float(np.percentile(apart, 99.9)), most=1e-3)
    errors = np.abs(mine.err[usable] / theirs.err[usable] - 1)
    # A unit in the last of the eleven bits of float16, which theirs were rounded to.
    yield Limit("|err / err - 1|, 99.9 % of the pixels", float(np.percentile(errors, 99.9)), most=2**-10)


def jump_rows(mine: Flags, theirs: Flags, what: str) -> Iterator[Limit]:
    both, either = int((mine & theirs).sum()), int((mine | theirs).sum())
    yield Limit(f"jumps by {what}: in both ({both}) over in either ({either})", both / either, least=0.999)


def dq_rows(mine: RateImage, theirs: RateImage) -> Iterator[Limit]:
    for flag in DQ:
        one, other = ((image.dq & np.uint32(flag)) != 0 for image in (mine, theirs))
        if one.any() or other.any():
            name = f"DQ {flag.name}: equal ({one.sum()} and {other.sum()} set)"
            yield Limit(name, float(np.mean(one == other)), least=0.9999)


def in_sigmas(mine: RateImage, theirs: RateImage) -> Floats:
    apart: Floats = np.abs(mine.rate - theirs.rate) / mine.err.astype(np.float64)
    return apart


def show_worst(mine: RateImage, theirs: RateImage, left_out: Flags) -> None:
    """Print the pixels of the largest differences in slope that neither image calls unusable."""
    usable = (((mine.dq | theirs.dq) & UNUSABLE) == 0) & ~left_out
    apart = np.where(usable, in_sigmas(mine, theirs), 0)
    print(
        f"  {'worst pixels (y, x)':<22} {'ours DN/s':>12} {'theirs':>12} {'Δ / σ':>9}  flags (ours; theirs)"
    )
    for index in np.argsort(apart, axis=None)[: -N_WORST - 1 : -1]:
        y, x = np.unravel_index(index, apart.shape)
        flags = "; ".join(str(DQ(int(image.dq[y, x])).name) for image in (mine, theirs))
        rates = f"{mine.rate[y, x]:12.4f} {theirs.rate[y, x]:12.4f}"
        print(f"  {f'({y}, {x})':<22} {rates} {apart[y, x]:9.3f}  {flags}")


def jump_indices(path: Path) -> NDArray[Any] | None:
    """Return (resultant, y, x) of each jump as the file tells, None if it does not."""
    with asdf.open(path) as tree:
        told = tree["roman"].get("jump_indices")
        return None if told is None else np.array(told)


def compare(name: str, ramp: Path, references: Path, folder: Path) -> int:
    """Print the rows of one ramp; return how many are outside."""
    told = romancal(ramp, references, "likely_patched", folder, repeats=0)
    steps = [step for step in told["first"] if step not in ("read", "write")]
    theirs_path, mine_path = folder / "romancal_cal.asdf", folder / "ours_cal.asdf"
    theirs = l2.read_rate_image(theirs_path.as_uri())
    mine = ours(ramp, references)
    l2.write_rate_image(mine, mine_path.as_uri())
    print(f"{name}; romancal's steps: {', '.join(steps)}")
    left_out = own_mean(ramp)
    print(
        f"  {left_out.sum()} pixels equal their own mean in a resultant and are left out of slopes and jumps"
    )
    hits = [((image.dq & np.uint32(DQ.JUMP_DET)) != 0) & ~left_out for image in (mine, theirs)]
    rows = [
        *slope_rows(mine, theirs, left_out), *jump_rows(hits[0], hits[1], "pixel"), *dq_rows(mine, theirs)
    ]  # fmt: skip
    indices = [jump_indices(path) for path in (mine_path, theirs_path)]
    if all(each is not None for each in indices):
        cubes = [as_cube(each, mine.rate.shape) & ~left_out for each in indices if each is not None]
        rows += jump_rows(cubes[0], cubes[1], "pixel and resultant")
    for row in rows:
        print(row.line())
    show_worst(mine, theirs, left_out)
    return sum(not row.good for row in rows)


def as_cube(indices: NDArray[Any], shape: tuple[int, ...]) -> Flags:
    cube = np.zeros((int(indices[:, 0].max(initial=0)) + 2, *shape), dtype=bool)
    cube[tuple(indices.T)] = True
    return cube


def main() -> None:
    source = romanisim_ramp()
    with tempfile.TemporaryDirectory(prefix="nexus-interop-") as name:
        folder = Path(name)
        outside = compare("romanisim's ramp", source.ramp, source.references, folder)
        mine = own_ramp(source.references, folder)
        outside += compare("our ramp", mine, source.references, folder)
    sys.exit(outside)


if __name__ == "__main__":
    main()
