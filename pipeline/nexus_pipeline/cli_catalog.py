"""What ``wfi catalog`` does with one file, whichever level it is of."""

from nexus_pipeline.products import asdf_file, l2, l3, l4, segm
from nexus_pipeline.recipes import catalog as recipe
from nexus_pipeline.references.store import ReferenceStore
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
