"""References as files: rad's schemas on disk, our dataclasses in memory, one codec for each kind."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC
from typing import Any, Final, cast

import numpy as np
from astropy.time import Time
from numpy.typing import NDArray
from roman_datamodels import datamodels

from nexus_pipeline.bands import BAND_ROWS
from nexus_pipeline.instrument.wfi import CHANNEL_WIDTH, DETECTORS, N_PIXELS
from nexus_pipeline.products import asdf_file
from nexus_pipeline.products.rows_on_disk import on_disk
from nexus_pipeline.products.tree import OWN_KEY, plain
from nexus_pipeline.references import kinds
from nexus_pipeline.references.kinds import PhotomEntry, Reference

_FILTERS: Final = ("gamma", "zeta", "alpha")
_MA_TABLE: Final = "ma_table"
# A band of rows is a piece of the file: it is unpacked once and by itself.
_PIECE_BYTES: Final = BAND_ROWS * N_PIXELS * 4
# What a reference that holds for every filter says where rad's schema wants an element.
ANY_ELEMENT: Final = "DARK"


@dataclass(frozen=True)
class Codec:
    """How one kind lies in a file: the datamodel, the arrays by (field, key), what else is there."""

    model: type[datamodels.DataModel]
    arrays: Mapping[str, str]
    write_rest: Callable[[Any, dict[str, Any]], None] | None = None
    read_rest: Callable[[Any], dict[str, Any]] | None = None


def write_reference(reference: Reference, url: str) -> None:
    """Put ``reference`` at ``url`` in rad's schema of its kind, where romancal and romanisim read it."""
    codec = CODECS[reference.kind]
    node = codec.model.create_fake_data()._instance
    tree = plain(node["meta"])
    tree |= {"pedigree": "DUMMY", "author": "nexus_pipeline", "origin": "NEXUS"}
    tree["description"] = reference.description or f"{reference.kind} of {reference.detector}"
    tree["useafter"] = Time(reference.useafter.astimezone(UTC).replace(tzinfo=None))
    tree["instrument"]["detector"] = reference.detector
    if "optical_element" in tree["instrument"]:
        tree["instrument"]["optical_element"] = reference.filter_name or ANY_ELEMENT
    node["meta"] = tree
    for name, key in codec.arrays.items():
        node[key] = getattr(reference, name)
    if codec.write_rest is not None:
        codec.write_rest(reference, node)
    if reference.ma_table is not None:
        # rad 1.1 has no place for it any more, not even in a dark.
        node["meta"][OWN_KEY] = {**node["meta"].get(OWN_KEY, {}), _MA_TABLE: reference.ma_table}
    asdf_file.write(url, {"roman": node}, piece_bytes=_PIECE_BYTES)


def read_reference(kind: str, url: str, *, by_rows: bool = False) -> Reference:
    """Return the reference of ``kind`` at ``url``; refuses other files as ``asdf_file.opened`` does.

    ``by_rows`` leaves the planes on disk that can be read by rows from there.
    """
    codec = CODECS[kind]
    # What is missing or of another type is told when it is taken out.
    with asdf_file.opened(url, expected=_node_name(codec.model), validate=False) as node:
        meta = node["meta"]
        element = meta["instrument"].get("optical_element")
        fields: dict[str, Any] = dict(on_disk(url, codec.arrays)) if by_rows else {}
        for name in codec.arrays.keys() - fields.keys():
            fields[name] = _lean(asdf_file.array(node[codec.arrays[name]]))
        if codec.read_rest is not None:
            fields |= codec.read_rest(node)
        return kinds.KINDS[kind](
            detector=str(meta["instrument"]["detector"]),
            filter_name=None if element in (None, ANY_ELEMENT) else str(element),
            useafter=Time(meta["useafter"]).to_datetime(timezone=UTC),
            description=str(meta["description"]),
            ma_table=meta.get(OWN_KEY, {}).get(_MA_TABLE),
            **fields,
        )


def _lean(array: NDArray[Any]) -> NDArray[Any]:
    """Return ``array`` without its memory if it is all zero, as most planes of flags are (not to be written
    to).
    """
    return array if array.any() else np.broadcast_to(np.zeros((), array.dtype), array.shape)


def _node_name(model: type[datamodels.DataModel]) -> str:
    return str(model._node_type.__name__)


def _write_distortion(reference: kinds.DistortionReference, node: dict[str, Any]) -> None:
    node["coordinate_distortion_transform"] = reference.transform


def _read_distortion(node: Any) -> dict[str, Any]:
    return {"transform": node["coordinate_distortion_transform"]}


def _write_inl(reference: kinds.IntegralNonlinearityReference, node: dict[str, Any]) -> None:
    n_channels = len(reference.correction)
    node["meta"] |= {"n_channels": n_channels, "n_pixels_per_channel": CHANNEL_WIDTH * N_PIXELS}
    node["value"] = reference.value
    node["inl_table"] = {
        f"science_channel_{channel + 1:02d}": {"instrument_channel": channel, "correction": row}
        for channel, row in enumerate(reference.correction.astype(np.float64))
    }


def _read_inl(node: Any) -> dict[str, Any]:
    rows = node["inl_table"]
    return {"correction": np.stack([asdf_file.array(rows[name]["correction"]) for name in sorted(rows)])}


def _write_decay(reference: kinds.DarkDecayReference, node: dict[str, Any]) -> None:
    own = {"amplitude": reference.amplitude_dn, "time_constant": reference.time_constant_s}
    unknown = {"amplitude": None, "time_constant": None}
    node["decay_table"] = {name: own if name == reference.detector else unknown for name in DETECTORS}


def _read_decay(node: Any) -> dict[str, Any]:
    row = node["decay_table"][node["meta"]["instrument"]["detector"]]
    return {"amplitude_dn": _number(row["amplitude"]), "time_constant_s": _number(row["time_constant"])}


def _write_refpix(reference: kinds.RefpixReference, node: dict[str, Any]) -> None:
    for name in _FILTERS:
        given = getattr(reference, name)
        node[name] = np.zeros((len(given), reference.n_frequencies), np.complex128)
        node[name][:, : given.shape[1]] = given


def _read_refpix(node: Any) -> dict[str, Any]:
    """One filter at a time: in the file they are twice as wide, and mostly zeros."""
    whole = {name: asdf_file.array(node[name]).astype(np.complex64) for name in _FILTERS}
    used = max(_last_used(each) for each in whole.values())
    filters = {name: np.ascontiguousarray(each[:, :used]) for name, each in whole.items()}
    return {"n_frequencies": whole["alpha"].shape[1], **filters}


def _last_used(coefficients: NDArray[np.complex64]) -> int:
    """Return how many frequencies there are up to the last that is not zero in all channels."""
    used = np.flatnonzero(coefficients.any(axis=0))
    return int(used[-1]) + 1 if used.size else 0


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _write_photom(reference: kinds.PhotomReference, node: dict[str, Any]) -> None:
    node["phot_table"] = {
        name: {
            "photmjsr": entry.conversion_megajanskys,
            "uncertainty": entry.uncertainty,
            "pixelareasr": entry.pixel_area_sr,
            "collecting_area": entry.collecting_area_m2,
            "wavelength": entry.wavelength_um,
            "effective_area": entry.effective_area_m2,
        }
        for name, entry in reference.table.items()
    }


def _read_photom(node: Any) -> dict[str, Any]:
    rows = {name: row for name, row in node["phot_table"].items() if row["photmjsr"] is not None}
    return {"table": {str(name): _photom_entry(row) for name, row in rows.items()}}


def _photom_entry(row: Mapping[str, Any]) -> PhotomEntry:
    return PhotomEntry(
        conversion_megajanskys=float(row["photmjsr"]),
        uncertainty=float(row["uncertainty"]),
        pixel_area_sr=float(row["pixelareasr"]),
        collecting_area_m2=float(row["collecting_area"]),
        wavelength_um=asdf_file.array(row["wavelength"]),
        effective_area_m2=asdf_file.array(row["effective_area"]),
    )


def _write_epsf(reference: kinds.EpsfReference, node: dict[str, Any]) -> None:
    node["meta"] |= {
        "oversample": reference.oversample,
        "spectral_type": list(reference.spectral_types),
        "defocus": list(reference.defocus),
        "pixel_x": list(reference.pixel_x),
        "pixel_y": list(reference.pixel_y),
        "jitter_major": reference.jitter_major_mas,
        "jitter_minor": reference.jitter_minor_mas,
        "jitter_position_angle": reference.jitter_angle_deg,
        OWN_KEY: {"includes": list(reference.includes), "total": reference.total},
    }


def _read_epsf(node: Any) -> dict[str, Any]:
    meta = plain(node["meta"])
    # The mission's files carry no such block: their stamps are effective PSFs that sum to oversample².
    own = meta.get(OWN_KEY, {"includes": ["pixel"], "total": meta["oversample"] ** 2})
    return {
        "oversample": meta["oversample"],
        "spectral_types": tuple(meta["spectral_type"]),
        "defocus": tuple(meta["defocus"]),
        "pixel_x": tuple(float(x) for x in meta["pixel_x"]),
        "pixel_y": tuple(float(y) for y in meta["pixel_y"]),
        "jitter_major_mas": meta["jitter_major"],
        "jitter_minor_mas": meta["jitter_minor"],
        "jitter_angle_deg": meta["jitter_position_angle"],
        "includes": tuple(own["includes"]),
        "total": float(own["total"]),
    }


_PLANE_DQ: Final = {"dq": "dq"}
_POLYNOMIAL: Final = {"coefficients": "coeffs", "dq": "dq"}
CODECS: Final[Mapping[str, Codec]] = {
    "mask": Codec(datamodels.MaskRefModel, _PLANE_DQ),
    "saturation": Codec(datamodels.SaturationRefModel, {"threshold": "data", "dq": "dq"}),
    "linearity": Codec(datamodels.LinearityRefModel, _POLYNOMIAL),
    "inverselinearity": Codec(datamodels.InverselinearityRefModel, _POLYNOMIAL),
    "integralnonlinearity": Codec(
        datamodels.IntegralnonlinearityRefModel, {"value": "value"}, cast("Any", _write_inl), _read_inl
    ),
    "refpix": Codec(datamodels.RefpixRefModel, {}, cast("Any", _write_refpix), _read_refpix),
    "ipc": Codec(datamodels.IpcRefModel, {"kernel": "data"}),
    "darkdecaysignal": Codec(datamodels.DarkdecaysignalRefModel, {}, cast("Any", _write_decay), _read_decay),
    "readnoise": Codec(datamodels.ReadnoiseRefModel, {"read_noise": "data"}),
    "gain": Codec(datamodels.GainRefModel, {"gain": "data"}),
    "dark": Codec(
        datamodels.DarkRefModel, {"rate": "dark_slope", "rate_error": "dark_slope_error", "dq": "dq"}
    ),
    "flat": Codec(datamodels.FlatRefModel, {"flat": "data", "error": "err", "dq": "dq"}),
    "distortion": Codec(datamodels.DistortionRefModel, {}, cast("Any", _write_distortion), _read_distortion),
    "photom": Codec(datamodels.WfiImgPhotomRefModel, {}, cast("Any", _write_photom), _read_photom),
    "epsf": Codec(datamodels.EpsfRefModel, {"psf": "psf"}, cast("Any", _write_epsf), _read_epsf),
}
