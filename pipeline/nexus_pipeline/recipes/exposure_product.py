"""exposure_product: from an L1 ramp's file to its L2 product, which says how it was made."""

from dataclasses import replace
from typing import Final

from nexus_pipeline.products import fingerprint, store
from nexus_pipeline.products.model import RateImage
from nexus_pipeline.recipes import exposure
from nexus_pipeline.recipes.mosaic import Listener
from nexus_pipeline.references.store import ReferenceStore
from nexus_pipeline.runner import Settings, resolved

RECIPE: Final = ("exposure", 1)
"""The number goes up with each change that changes pixels: products of an older one are made again."""


def fingerprint_of(sha256: str, references: ReferenceStore, settings: Settings) -> str:
    """Return what tells one image from another: its ramp's bytes, the references, all parameters."""
    told = {
        "input": sha256,
        "context": references.context,
        "parameters": resolved(exposure.STEPS, settings),
        "skip": sorted(settings.skip),
    }
    return fingerprint.fingerprint(RECIPE, told)


def is_made(url: str, print_: str) -> bool:
    """Say whether the image at ``url`` is there and bears the fingerprint."""
    return fingerprint.borne_by(url, expected="WfiImage") == print_


def make(
    url: str,
    references: ReferenceStore,
    *,
    settings: Settings,
    account: str | None = None,
    on_step: Listener | None = None,
) -> RateImage:
    """Return the L2 image of the ramp at ``url``; ``account`` is who pays. Raises what the recipe raises."""
    image = exposure.calibrate(url, references, settings=settings, on_step=on_step)
    digest = fingerprint.sha256(url)
    own = fingerprint.provenance(
        RECIPE,
        fingerprint_of(digest, references, settings),
        inputs={store.file_name(url): digest},
        account=account,
    )
    return replace(image, provenance=replace(image.provenance, own=own))
