"""selection_product: from a mosaic to the selection function of its catalogue, not made again where it is."""

from dataclasses import dataclass
from typing import Final

from nexus_pipeline.errors import UnreadableProductError, WrongProductError
from nexus_pipeline.products import fingerprint, l3, selection, store
from nexus_pipeline.products.selection import Selection
from nexus_pipeline.recipes import injection_trial
from nexus_pipeline.recipes.inject import Renderer
from nexus_pipeline.recipes.injections import NoPlaceError
from nexus_pipeline.references.store import ReferenceStore

RECIPE: Final = ("selection", 1)


@dataclass(frozen=True)
class Injections:
    """How many sources are put into each mosaic (None: under 1 % of its own), and the seed of the first."""

    number: int | None = None
    seed: int = 1


def fingerprint_of(sha256: str, references: ReferenceStore, wanted: Injections) -> str:
    """Return what tells one selection function from another: the mosaic, the references, what is put in."""
    told = {
        "input": sha256,
        "context": references.context,
        "number": wanted.number,
        "seed": wanted.seed,
    }
    return fingerprint.fingerprint(RECIPE, told)


def is_made(url: str, print_: str) -> bool:
    """Say whether the selection function at ``url`` is there and bears the fingerprint."""
    if not store.exists(url):
        return False
    try:
        return bool(selection.load(url).told.get("fingerprint") == print_)
    except (UnreadableProductError, WrongProductError):
        return False


def make(
    url: str,
    references: ReferenceStore,
    renderer: Renderer,
    *,
    wanted: Injections,
    account: str | None = None,
) -> Selection:
    """Return the selection function of the mosaic at ``url``; ``account`` is who pays.

    A mosaic with a corner of light too small for any source tells of none put in.
    """
    ground = injection_trial.ground_of_mosaic(l3.read_mosaic(url), references)
    digest = fingerprint.sha256(url)
    own = fingerprint.provenance(
        RECIPE,
        fingerprint_of(digest, references, wanted),
        inputs={store.file_name(url): digest},
        account=account,
    )
    own |= {"context": references.context, "references": dict(ground.references)}
    try:
        trial = injection_trial.trial(ground, renderer, seed=wanted.seed, number=wanted.number, own=own)
    except NoPlaceError:
        return injection_trial.selection_of_none(ground.filter_name, {"seed": wanted.seed, **own})
    return trial.selection
