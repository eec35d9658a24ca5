"""``wfi register``: L2 images onto a table of stars; its text for people."""

from typing import TYPE_CHECKING

import typer

from nexus_pipeline.errors import PipelineError
from nexus_pipeline.products import names, store
from nexus_pipeline.references.store import open_store

if TYPE_CHECKING:
    from nexus_pipeline.recipes.registration import Outcome


def register(
    images: list[str], *, gaia: str, references: str, output: str | None, detector_fit: str
) -> list[PipelineError]:
    """Register ``images`` to the table ``gaia``, say how each went; return what reading and writing refused.

    Without ``output`` each image is replaced, whole, by its registered self.
    """
    # Compiles kernels when it is first imported; `wfi info` should not wait for that.
    from nexus_pipeline.recipes import registration  # noqa: PLC0415
    from nexus_pipeline.sky.star_table import read_star_table  # noqa: PLC0415
    from nexus_pipeline.steps.tweakreg import Settings  # noqa: PLC0415

    targets = {
        url: url
        if output is None
        else store.join(output, names.derived_name(store.file_name(url), level="L2"))
        for url in images
    }
    settings = Settings(detector_geometry=detector_fit)

    def told(outcome: registration.Outcome) -> None:
        if outcome.error is not None:
            typer.echo(f"wfi: {outcome.error}", err=True)
        else:
            typer.echo(f"{outcome.url}\n  {said(outcome)}")

    done = registration.register(
        targets, read_star_table(gaia), open_store(references), settings=settings, on_image=told
    )
    failed = [outcome.error for outcome in done if outcome.error is not None]
    if failed and len(images) > 1:
        typer.echo(f"wfi: {len(failed)} of {len(images)} images failed", err=True)
    return failed


def said(outcome: "Outcome") -> str:
    """Return one line on an image that was written."""
    done = outcome.registered
    if done is None or done.results is None:
        return f"tweakreg FAILED: {done.reason if done else 'not tried'}"
    scatter = done.results.get("rms", done.results["common_rms"])
    why = f" ({done.reason})" if done.reason else ""
    return (
        f"tweakreg {done.status}: {done.results['nmatches']} of {outcome.n_stars} stars matched, "
        f"{1000 * scatter:.1f} mas rms{why}   {outcome.target}"
    )
