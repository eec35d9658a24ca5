"""Registration of L2 images onto a table of stars, alone or after ``wfi calibrate``; its text for people."""

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

import typer

from nexus_pipeline.errors import PipelineError
from nexus_pipeline.products import names, store
from nexus_pipeline.references.store import ReferenceStore, open_store
from nexus_pipeline.sky.star_table import ReferenceStars, read_star_table

__all__ = ["onto", "read_star_table", "register"]

if TYPE_CHECKING:
    from nexus_pipeline.recipes.registration import Outcome
    from nexus_pipeline.steps.tweakreg import Settings


def register(
    images: list[str], *, gaia: str, references: str, output: str | None, detector_fit: str
) -> list[PipelineError]:
    """Register ``images`` to the table ``gaia``, say how each went; return what reading and writing refused.

    Without ``output`` each image is replaced, whole, by its registered self.
    """
    from nexus_pipeline.steps.tweakreg import Settings  # noqa: PLC0415

    targets = {
        url: url
        if output is None
        else store.join(output, names.derived_name(store.file_name(url), level="L2"))
        for url in images
    }
    settings = Settings(detector_geometry=detector_fit)
    return onto(read_star_table(gaia), targets, open_store(references), settings)


def onto(
    table: ReferenceStars, targets: Mapping[str, str], references: ReferenceStore, settings: "Settings"
) -> list[PipelineError]:
    """Register the images ``targets`` names and write each to its target; say how each went, and all."""
    # Compiles kernels when it is first imported; `wfi info` should not wait for that.
    from nexus_pipeline.recipes import registration  # noqa: PLC0415

    def told(outcome: registration.Outcome) -> None:
        if outcome.error is not None:
            typer.echo(f"wfi: {outcome.error}", err=True)
        else:
            typer.echo(f"{outcome.url}\n  {said(outcome)}")

    done = registration.register(targets, table, references, settings=settings, on_image=told)
    failed = [outcome.error for outcome in done if outcome.error is not None]
    if failed and len(targets) > 1:
        typer.echo(f"wfi: {len(failed)} of {len(targets)} images failed", err=True)
    typer.echo(f"tweakreg: {summary(done)}")
    return failed


def summary(done: "list[Outcome]") -> str:
    """Return how many images went how, one line for all."""
    counts = Counter(
        outcome.registered.status for outcome in done if outcome.registered and not outcome.error
    )
    return ", ".join(f"{counts[status]} {status}" for status in ("COMPLETE", "FAILED", "SKIPPED"))


def said(outcome: "Outcome") -> str:
    """Return one line on an image that was written."""
    done = outcome.registered
    if done is None or done.results is None:
        return f"tweakreg {done.status}: {done.reason}" if done else "tweakreg FAILED: not tried"
    scatter = done.results.get("rms", done.results["common_rms"])
    why = f" ({done.reason})" if done.reason else ""
    return (
        f"tweakreg {done.status}: {done.results['nmatches']} of {outcome.n_stars} stars matched, "
        f"{1000 * scatter:.1f} mas rms{why}   {outcome.target}"
    )
