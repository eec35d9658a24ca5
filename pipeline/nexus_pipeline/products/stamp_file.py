"""A PSF's stamp as a file: one array, and what it is, as FITS or ASDF by the name's ending."""

import io
import re
from collections.abc import Mapping
from typing import IO, Any, Final

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from nexus_pipeline.errors import InputError
from nexus_pipeline.products import asdf_file, store

ENDINGS: Final = (".fits", ".asdf")
_KEYWORD: Final = re.compile("[^A-Z0-9_-]")


def require_known(url: str) -> None:
    """Raise InputError for a name that tells no format."""
    if not url.lower().endswith(ENDINGS):
        raise InputError(f"{url}: a stamp is written as {' or '.join(ENDINGS)}", url=url)


def write(url: str, values: NDArray[np.float64], facts: Mapping[str, Any]) -> None:
    """Put ``values`` and ``facts`` (plain values) at ``url``; InputError for a name that tells no format.

    FITS has the facts as keywords of up to eight letters and in its comments under their names.
    """
    require_known(url)
    if url.lower().endswith(".asdf"):
        asdf_file.write(url, {"psf": {"values": values, **facts}})
        return
    header = fits.Header()
    for name, fact in facts.items():
        header[_KEYWORD.sub("", name.upper())[:8]] = (_card(fact), name)
    content = io.BytesIO()
    fits.PrimaryHDU(values, header=header).writeto(content)

    def fill(handle: IO[bytes]) -> None:
        handle.write(content.getvalue())

    store.save(url, fill)


def _card(fact: Any) -> str | int | float | bool:
    return fact if isinstance(fact, str | int | float | bool) else str(fact)
