"""Products as FITS: an image extension per plane, and the whole tree as ASDF in one more.

The tree's arrays point to the extensions (``source: fits:DATA,1``), as in files that JWST's software writes
and ``stdatamodels.asdf_in_fits`` reads. FITS knows no half precision: such planes become single.
"""

import io
import os
import warnings
from collections.abc import Mapping
from typing import IO, Any, Final

import asdf
import numpy as np
from asdf.tagged import TaggedDict
from astropy.io import fits
from astropy.time import Time
from numpy.typing import NDArray

from nexus_pipeline.errors import WrongProductError
from nexus_pipeline.products import asdf_file, store, tree

_KINDS: Final = ("WfiImage", "WfiMosaic")
_NDARRAY: Final = "tag:stsci.edu:asdf/core/ndarray-1.1.0"
_UNITS: Final = {"WfiImage": "DN/s", "WfiMosaic": "MJy/sr"}
_ON_THE_SKY: Final = (
    "data", "err", "dq", "weight", "var_rnoise", "var_poisson", "var_flat", "chisq", "dumo",
)  # fmt: skip
_SIP_ERROR_PIXELS: Final = 0.01
_DEGREES: Final = tuple(range(1, 7))


def export(source: str, target: str) -> None:
    """Put the L2 or L3 product at ``source`` at ``target`` as FITS, whole or not at all.

    WrongProductError for other products; otherwise as ``asdf_file.opened`` and ``store.save``.
    """
    kind = asdf_file.kind(source)
    if kind not in _KINDS:
        what = asdf_file.KINDS.get(kind, kind)
        raise WrongProductError(f"{source}: {what}; L2 images and L3 mosaics go into FITS", url=source)
    with asdf_file.opened(source, expected=kind) as node:
        planes = {name: _plane(value) for name, value in node.items() if _is_plane(value)}
        rest = {name: _rest(value) for name, value in node.items() if name not in planes}
        header = _wcs_header(kind, node["meta"])
        hdus = fits.HDUList([fits.PrimaryHDU(header=_header(kind, rest["meta"]))])
        hdus += [_hdu(kind, name, plane, header) for name, plane in planes.items()]
        hdus.append(_tree_hdu({**rest, **{name: _link(name, plane) for name, plane in planes.items()}}))
        store.save(target, lambda handle: _write(handle, hdus))


def _write(handle: IO[bytes], hdus: fits.HDUList) -> None:
    # astropy wants a file opened for writing alone.
    with os.fdopen(os.dup(handle.fileno()), "wb") as plain:
        hdus.writeto(plain)
    handle.seek(0, os.SEEK_END)


def _hdu(kind: str, name: str, plane: NDArray[Any], wcs: fits.Header) -> fits.ImageHDU:
    hdu = fits.ImageHDU(plane, name=name.upper(), header=wcs if name in _ON_THE_SKY else None)
    if name in ("data", "err", "dumo"):
        hdu.header["BUNIT"] = _UNITS[kind]
    elif name.startswith("var_"):
        hdu.header["BUNIT"] = f"({_UNITS[kind]})2"
    return hdu


def _tree_hdu(roman: Mapping[str, Any]) -> fits.BinTableHDU:
    content = io.BytesIO()
    asdf.AsdfFile({"roman": dict(roman)}).write_to(content)
    data = np.frombuffer(content.getvalue(), np.uint8)[None, :]
    column = fits.Column(array=data, format=f"{data.size}B", name="ASDF_METADATA")
    return fits.BinTableHDU.from_columns([column], name="ASDF")


def _is_plane(value: Any) -> bool:
    return getattr(value, "ndim", 0) >= 2 and hasattr(value, "dtype") and 0 not in value.shape


def _plane(value: Any) -> NDArray[Any]:
    plane = np.ascontiguousarray(asdf_file.array(value))
    return plane.astype(np.float32) if plane.dtype == np.float16 else plane


def _rest(value: Any) -> Any:
    """Return ``value`` without the mission's classes, so that any reader of ASDF can take it."""
    if isinstance(value, Mapping):
        return {str(key): _rest(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_rest(each) for each in value]
    keep = type(value).__module__.split(".")[0] in ("gwcs", "astropy") or isinstance(value, Time)
    return value if keep else tree.plain(value)


def _link(name: str, plane: NDArray[Any]) -> TaggedDict:
    return TaggedDict(
        {
            "source": f"fits:{name.upper()},1",
            "shape": list(plane.shape),
            "datatype": plane.dtype.name,
            "byteorder": "big",
        },
        _NDARRAY,
    )


def _header(kind: str, meta: Mapping[str, Any]) -> fits.Header:
    """Return what people look for in a primary header."""
    header = fits.Header({"TELESCOP": "ROMAN", "INSTRUME": "WFI"})
    header["FILTER"] = str(meta["instrument"]["optical_element"])
    header["FILENAME"] = str(meta["filename"])
    if kind == "WfiImage":
        header["DETECTOR"] = str(meta["instrument"]["detector"])
        header["DATE-OBS"] = Time(meta["exposure"]["start_time"]).isot
        header["EXPTIME"] = (float(meta["exposure"]["exposure_time"]), "s")
    else:
        header["DATE-OBS"] = Time(meta["coadd_info"]["time_first"]).isot
        header["EXPTIME"] = (float(meta["coadd_info"]["exposure_time"]), "s, mean of the pixels")
    return header


def _wcs_header(kind: str, meta: Mapping[str, Any]) -> fits.Header:
    """Return FITS's own WCS: exact for a mosaic, SIP polynomials to a hundredth of a pixel for an image."""
    if kind == "WfiMosaic":
        return _tangent_header(meta["wcsinfo"])
    wcs = meta.get("wcs")
    if wcs is None:
        return fits.Header()
    with warnings.catch_warnings():
        # gwcs 1.0 solves in extended precision, which SciPy 1.18 warns of.
        warnings.simplefilter("ignore", DeprecationWarning)
        header = wcs.to_fits_sip(
            max_pix_error=_SIP_ERROR_PIXELS, degree=_DEGREES, max_inv_pix_error=None, npoints=32
        )
    return fits.Header(
        {key: value for key, value in header.items() if key not in ("NAXIS", "NAXIS1", "NAXIS2")}
    )


def _tangent_header(info: Mapping[str, Any]) -> fits.Header:
    scale, matrix = float(info["pixel_scale_ref"]), np.asarray(info["rotation_matrix"], np.float64)
    numbers = {"CRPIX1": info["x_ref"] + 1, "CRPIX2": info["y_ref"] + 1}
    numbers |= {"CRVAL1": info["ra_ref"], "CRVAL2": info["dec_ref"], "CDELT1": scale, "CDELT2": scale}
    numbers |= {f"PC{i + 1}_{j + 1}": matrix[i, j] for i in (0, 1) for j in (0, 1)}
    words = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CUNIT1": "deg", "CUNIT2": "deg", "RADESYS": "ICRS"}
    return fits.Header({**words, **{key: float(value) for key, value in numbers.items()}})
