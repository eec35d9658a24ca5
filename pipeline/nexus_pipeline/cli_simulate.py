"""``wfi simulate`` of one detector or many, and ``wfi make-field``; their text for people."""

from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
import typer

from nexus_pipeline.errors import InputError
from nexus_pipeline.instrument.wfi import DETECTORS

if TYPE_CHECKING:
    from nexus_pipeline.scale.simulation import Outcome, Plan
    from nexus_pipeline.simulate.mosaic import Stack


def chosen(detectors: str) -> list[str]:
    """Return the detectors that ``all`` or a list (``WFI01,WFI02``) names; InputError for a strange one."""
    if detectors.strip().lower() == "all":
        return list(DETECTORS)
    found = [name.strip().upper() for name in detectors.split(",")]
    if not set(found) <= set(DETECTORS) or len(set(found)) < len(found):
        raise InputError(f"--detectors takes all or a list like WFI01,WFI02, not {detectors!r}")
    return found


def stack(
    level: int, detectors: str | None, centre: tuple[float, float], *, size: int, exposures: int
) -> "Stack | None":
    """Return what mosaic is wanted, None for other levels; InputError for one of many detectors."""
    if level != 3:
        return None
    if detectors is not None:
        raise InputError("a mosaic is not a detector's: give one --detector, whose PSF and noise it has")
    from nexus_pipeline.simulate.mosaic import Stack  # noqa: PLC0415 - needs GalSim
    from nexus_pipeline.sky.mosaic_wcs import MosaicGrid  # noqa: PLC0415

    return Stack(MosaicGrid(*centre, size), exposures)


def one(detector: str, plan: "Plan", output: str, *, seed: int) -> None:
    """Simulate one detector in this process; what goes wrong is raised."""
    from nexus_pipeline.scale import simulation  # noqa: PLC0415 - compiles kernels

    task = simulation.Task(detector, simulation.target(detector, plan, output), seed)
    say(simulation.made(task, plan))


def many(detectors: list[str], plan: "Plan", output: str, *, seed: int, jobs: int | None) -> int:
    """Simulate the detectors of an exposure and return the exit status; one that fails stops no other."""
    from nexus_pipeline.scale import batch, simulation  # noqa: PLC0415 - compiles kernels

    todo, failed = simulation.tasks(detectors, plan, output, seed=seed), []
    for outcome in simulation.simulate(todo, plan, jobs=jobs or batch.default_jobs(len(todo))):
        if outcome.error is None:
            say(outcome)
        else:
            failed.append(outcome.error)
            typer.echo(
                f"wfi: {outcome.task.source}: {outcome.error}\n{outcome.trace or ''}".rstrip(), err=True
            )
    if failed:
        typer.echo(f"wfi: {len(failed)} of {len(todo)} detectors failed", err=True)
    return max((error.exit_status for error in failed), default=0)


def say(outcome: "Outcome") -> None:
    """Tell where a detector's product and its truth lie."""
    typer.echo(f"{outcome.task.target}\n{outcome.truth}")
    typer.echo(f"  {outcome.n_sources} sources in {outcome.seconds:.1f} s")


def make_field(
    url: str,
    centre: tuple[float, float],
    *,
    radius_deg: float,
    per_arcmin2: tuple[float, float],
    filter_name: str,
    seed: int,
    gaia: str | None,
    when: datetime,
) -> None:
    """Write a field of stars and galaxies, and its reference stars if ``gaia`` says where to."""
    from nexus_pipeline.simulate import catalog, field  # noqa: PLC0415 - needs GalSim
    from nexus_pipeline.simulate.gaia import reference_stars  # noqa: PLC0415

    rng = np.random.default_rng(seed)
    n_stars, n_galaxies = (field.number_within(radius_deg, density) for density in per_arcmin2)
    table = field.make_field(
        *centre,
        n_stars=n_stars,
        n_galaxies=n_galaxies,
        rng=rng,
        filter_name=filter_name,
        radius_deg=radius_deg,
    )
    catalog.write_table(table, url)
    typer.echo(f"{url}\n  {n_stars} stars, {n_galaxies} galaxies")
    if gaia is not None:
        stars = reference_stars(table, filter_name, when, rng=rng)
        catalog.write_table(stars, gaia)
        typer.echo(f"{gaia}\n  {len(stars)} reference stars, as Gaia would have them in 2016")
