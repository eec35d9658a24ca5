"""The one place that opens and writes ASDF: clear refusals in, complete validated files out."""

import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any, Final

import asdf
import numpy as np
import yaml
from lz4.block import LZ4BlockError  # type: ignore[import-untyped]
from numpy.typing import NDArray

from nexus_pipeline.errors import InvalidProductError, UnreadableProductError, WrongProductError
from nexus_pipeline.products import store

# Small blocks let a reader take a part of an array; they cost 0.25 % of size (measured on L1 ramps).
COMPRESSION_BLOCK_BYTES: Final = 327_680
# At once; asdf's own 4 KiB cost a second of CPU time for the references of one detector.
_READ_BYTES: Final = 1 << 20
KINDS: Final = {
    "WfiScienceRaw": "an L1 ramp",
    "WfiImage": "an L2 image",
    "WfiMosaic": "an L3 mosaic",
    "Ramp": "an intermediate ramp",
    "ImageSourceCatalog": "an L4 catalogue",
    "SegmentationMap": "an L4 segmentation map",
    "MosaicSegmentationMap": "an L4 segmentation map of a mosaic",
    "MultibandSegmentationMap": "an L4 segmentation map of mosaics in several filters",
}
# What asdf, yaml, numpy and lz4 raise on bytes that are not what they seemed.
_BROKEN: Final = (
    ValueError, KeyError, TypeError, IndexError, EOFError, RuntimeError, struct.error, yaml.YAMLError,
    asdf.exceptions.ValidationError, LZ4BlockError,
)  # fmt: skip


@contextmanager
def opened(url: str, *, expected: str, validate: bool = True) -> Iterator[Any]:
    """Give the ``roman`` node of ``url`` while the file is open.

    ``expected`` is the node's class in roman_datamodels; ``validate`` compares the tree with its schemas,
    which takes 60 ms. Raises UnreadableProductError for a file that
    is absent, truncated or no ASDF, WrongProductError for one that holds something else. What is taken
    out of it must go through ``array`` or ``plain``: lazy nodes die with the file.
    """
    with _opened_file(url, validate=validate) as file:
        if "roman" not in file.tree:
            raise WrongProductError(
                f"{url}: an ASDF file, but not one of the Roman mission (no 'roman' tree)", url=url
            )
        node = file.tree["roman"]
        found = type(node).__name__
        if found != expected:
            what = KINDS.get(found, f"{found!r}")
            raise WrongProductError(
                f"{url}: holds {what}, not {KINDS.get(expected, expected)}", url=url, found=found
            )
        with reading(url):
            yield node


def kind(url: str) -> str:
    """Return the class of the ``roman`` node of ``url``, a key of ``KINDS`` if it is a product we know."""
    with _opened_file(url) as file:
        return type(file.tree.get("roman")).__name__


@contextmanager
def _opened_file(url: str, *, validate: bool = True) -> Iterator[asdf.AsdfFile]:
    with store.open_for_reading(url) as handle:
        with reading(url), asdf.config_context() as config:
            config.io_block_size, config.validate_on_read = _READ_BYTES, validate
            file = asdf.open(handle, lazy_load=True, memmap=False)
        with file:
            yield file


@contextmanager
def reading(url: str) -> Iterator[None]:
    """Turn what broken bytes raise into UnreadableProductError."""
    try:
        yield
    except _BROKEN as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UnreadableProductError(
            f"{url}: not an ASDF file, or a truncated or corrupt one ({reason})", url=url
        ) from error
    except OSError as error:
        raise UnreadableProductError(f"{url}: truncated or unreadable ({error})", url=url) from error


def array(node: Any) -> NDArray[Any]:
    """Return the array behind ``node`` in native byte order; without memory mapping it outlives its file."""
    loaded = np.asarray(node)
    return loaded.astype(loaded.dtype.newbyteorder("="), copy=False)


def write(
    url: str,
    tree: Mapping[str, Any],
    *,
    compression: str | None = "lz4",
    piece_bytes: int = COMPRESSION_BLOCK_BYTES,
) -> None:
    """Validate ``tree`` against its schemas and put it at ``url``, whole or not at all.

    Arrays are packed in pieces of ``piece_bytes``.

    Raises InvalidProductError (our fault) and StorageError.
    """

    def fill(handle: IO[bytes]) -> None:
        arguments = {"compression_block_size": piece_bytes} if compression else {}
        try:
            asdf.AsdfFile(dict(tree)).write_to(
                handle, all_array_compression=compression, compression_kwargs=arguments
            )
        except asdf.exceptions.ValidationError as error:
            raise InvalidProductError(f"{url}: would break its schema: {error.message}", url=url) from error

    store.save(url, fill)
