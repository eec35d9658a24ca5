"""What ``wfi catalog`` does with one file, whichever level it is of."""

import typer

from nexus_pipeline.account import account
from nexus_pipeline.errors import InputError
from nexus_pipeline.instrument.filters import IMAGING_FILTERS
from nexus_pipeline.products import asdf_file, l2, l3, l4, segm, store
from nexus_pipeline.recipes import catalog as recipe
from nexus_pipeline.recipes import multiband_product as product
from nexus_pipeline.references.store import ReferenceStore
from nexus_pipeline.scale import memory
from nexus_pipeline.told import print_step


def make(
    source: str,
    references: ReferenceStore,
    target: str,
    segments: str,
    *,
    ipc: bool | None,
    psf_detector: str | None,
) -> int:
    """Write the catalogue of ``source`` and its segmentation map; return how many sources there are."""
    memory.keep_freed()
    if asdf_file.kind(source) == "WfiMosaic":
        mosaic = l3.read_mosaic(source)
        made = recipe.mosaic_catalog(mosaic, references, detector=psf_detector, on_step=print_step)
        l4.write_mosaic_catalog(made, target)
        if made.segments is not None:
            segm.write_mosaic_segments(made, made.segments, segments)
        return len(made.table)
    found = recipe.catalog(l2.read_rate_image(source), references, ipc=ipc, on_step=print_step)
    l4.write_catalog(found, target)
    if found.segments is not None:
        segm.write_segments(found, found.segments, segments)
    return len(found.table)


def make_of_bands(
    mosaics: list[str], bands: str, references: ReferenceStore, output: str, *, psf_detector: str | None
) -> None:
    """Write one catalogue of ``mosaics`` in the filters of ``bands`` to ``output``, and say what it is.

    InputError unless there is a mosaic in each of the filters, and none in another.
    """
    wanted = _filters(bands)
    inputs = product.find_inputs(mosaics, wanted)
    typer.echo("\n".join(inputs.urls.values()))
    target = store.join(output, inputs.file_name("L4"))
    made = product.make(inputs, references, detector=psf_detector, account=account(), on_step=print_step)
    product.write(made, target, store.join(output, inputs.file_name("SEGM")))
    typer.echo(f"  {len(made.table)} sources in {', '.join(made.metas)}   {target}")


def _filters(text: str) -> list[str]:
    names = [name.strip().upper() for name in text.split(",") if name.strip()]
    strange = [name for name in names if name not in IMAGING_FILTERS]
    if strange or len(set(names)) < max(len(names), 2):
        raise InputError(f"--bands takes two different filters or more, like F106,F158, not {text!r}")
    return names
