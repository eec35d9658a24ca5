"""injected_product: what products with injections say of their making, and whether they are made."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from nexus_pipeline.products import fingerprint as prints
from nexus_pipeline.products import store
from nexus_pipeline.recipes import inject, selection_product
from nexus_pipeline.recipes.injections import Ranges
from nexus_pipeline.references.store import ReferenceStore

RECIPE: Final = (inject.RECIPE, 1)
"""The number goes up with each change that changes what is put in, or what is found of it."""


@dataclass(frozen=True)
class Wanted:
    """What is put into an image: ``number`` (None: under 1 % of its own sources) from ``ranges``, or a list.

    ``sources`` is the address of that list, ``ramp`` that of the L1 that photons go into, ``detector`` whose
    PSF a mosaic has, where one is named.
    """

    number: int | None = None
    ranges: Ranges = field(default_factory=Ranges)
    seed: int = 1
    noisy: bool = True
    sources: str | None = None
    ramp: str | None = None
    detector: str | None = None


def hashes_of(url: str, wanted: Wanted) -> dict[str, str]:
    """Return the SHA-256 of all that is read for the image at ``url``, by file name."""
    read = [each for each in (url, wanted.sources, wanted.ramp) if each is not None]
    return {store.file_name(each): prints.sha256(each) for each in read}


def fingerprint_of(hashes: Mapping[str, str], references: ReferenceStore, wanted: Wanted) -> str:
    """Return what tells one set of injections from another."""
    told = {
        "inputs": dict(hashes),
        "context": references.context,
        "number": wanted.number,
        "ranges": asdict(wanted.ranges),
        "seed": wanted.seed,
        "noisy": wanted.noisy,
        "listed": wanted.sources is not None,
        "into_ramp": wanted.ramp is not None,
        "detector": wanted.detector,
    }
    return prints.fingerprint(RECIPE, told)


def provenance(
    hashes: Mapping[str, str],
    references: ReferenceStore,
    wanted: Wanted,
    *,
    files: Mapping[str, str],
    account: str | None,
) -> dict[str, Any]:
    """Return how products with injections were made; ``files`` are the references, by kind."""
    print_ = fingerprint_of(hashes, references, wanted)
    told = prints.provenance(RECIPE, print_, inputs=hashes, account=account)
    return {**told, "context": references.context, "references": dict(files)}


def is_made(targets: Mapping[str, str], print_: str) -> bool:
    """Say whether all of ``targets`` are there; "selection", put there last, bears the fingerprint."""
    made = selection_product.is_made(targets["selection"], print_)
    return made and all(map(store.exists, targets.values()))
