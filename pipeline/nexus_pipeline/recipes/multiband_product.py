"""multiband_product: from mosaics of one skycell to their catalogue's files, which say how they were made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from nexus_pipeline.errors import InputError, UnreadableProductError, WrongProductError
from nexus_pipeline.instrument.filters import IMAGING_FILTERS
from nexus_pipeline.products import asdf_file, fingerprint, l3, l4, names, segm, store
from nexus_pipeline.products.model import MultibandCatalog
from nexus_pipeline.recipes import multiband
from nexus_pipeline.recipes.multiband import Listener
from nexus_pipeline.references.store import ReferenceStore

RECIPE: Final = ("multiband", 1)


@dataclass(frozen=True)
class Inputs:
    """Where the mosaics of each filter lie, in order of wavelength; the SHA-256 of their files by name."""

    urls: Mapping[str, str]
    hashes: Mapping[str, str]

    def file_name(self, level: str) -> str:
        """Return the name of what is made of the mosaics."""
        stems = [store.file_name(url).removesuffix(names.level_ending("L3")) for url in self.urls.values()]
        return file_name(stems, level)


def file_name(mosaics: Sequence[str], level: str) -> str:
    """Return the name of what is made of ``mosaics`` (names without suffix): theirs without the filter."""
    stem, _, last = mosaics[0].rpartition("_")
    known = last.upper() in IMAGING_FILTERS
    return (stem if known else mosaics[0]) + names.level_ending(level)


def find_inputs(mosaics: Sequence[str], bands: Sequence[str] | None = None) -> Inputs:
    """Return what ``mosaics`` are; InputError unless they are one of each of ``bands``, if these are said."""
    found: dict[str, str] = {}
    for url in mosaics:
        with asdf_file.opened(url, expected="WfiMosaic", validate=False) as node:
            band = str(node["meta"]["instrument"]["optical_element"])
        if band in found:
            raise InputError(f"{found[band]} and {url} are both of {band}", url=url)
        found[band] = url
    wanted = found if bands is None else bands
    lacking, strange = [each for each in wanted if each not in found], sorted(set(found) - set(wanted))
    if lacking:
        raise InputError(f"there is no mosaic of {', '.join(lacking)} (only of {', '.join(found) or 'none'})")
    if strange:
        raise InputError(f"{found[strange[0]]} is of {strange[0]}, which is none of the bands asked for")
    ordered = {band: found[band] for band in IMAGING_FILTERS if band in found}
    hashes = {store.file_name(url): fingerprint.sha256(url) for url in ordered.values()}
    return Inputs(ordered, hashes)


def fingerprint_of(inputs: Inputs, references: ReferenceStore, *, detector: str | None = None) -> str:
    """Return what tells one catalogue from another: its mosaics' bytes, the references, whose PSF."""
    told = {"inputs": dict(inputs.hashes), "context": references.context, "detector": detector}
    return fingerprint.fingerprint(RECIPE, told)


def is_made(url: str, print_: str) -> bool:
    """Say whether the catalogue at ``url`` is there and bears the fingerprint; a broken one is not."""
    if not store.exists(url):
        return False
    try:
        return bool(l4.read_own(url).get("fingerprint") == print_)
    except (UnreadableProductError, WrongProductError):
        return False


def make(
    inputs: Inputs,
    references: ReferenceStore,
    *,
    detector: str | None = None,
    account: str | None = None,
    on_step: Listener | None = None,
) -> MultibandCatalog:
    """Return the catalogue of the mosaics; ``account`` is who pays."""
    loads = [partial(l3.read_mosaic, url) for url in inputs.urls.values()]
    made = multiband.multiband_catalog(loads, references, detector=detector, on_step=on_step)
    print_ = fingerprint_of(inputs, references, detector=detector)
    own = fingerprint.provenance(RECIPE, print_, inputs=inputs.hashes, account=account)
    return replace(made, own=own)


def write(made: MultibandCatalog, url: str, segments: str) -> None:
    """Put the map of labels at ``segments`` and then the catalogue at ``url``: where this is, both are."""
    if made.segments is not None:
        segm.write_multiband_segments(made, made.segments, segments)
    l4.write_multiband_catalog(made, url)
