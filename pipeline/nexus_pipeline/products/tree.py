"""Between ``ExposureMeta`` and the ``meta`` tree that rad's schemas prescribe."""

import copy
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import astuple
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import Any

import numpy as np
from astropy.time import Time

from nexus_pipeline.errors import WrongProductError
from nexus_pipeline.instrument.ma_table import MATable
from nexus_pipeline.instrument.wfi import V3_IDEAL_Y_ANGLE_DEG
from nexus_pipeline.products.model import ExposureMeta, Pointing, Provenance
from nexus_pipeline.products.names import ExposureId

SOFTWARE = "nexus_pipeline"
OWN_KEY = "nexus"
"""The one key under ``meta`` that holds what rad's schemas have no place for."""
# What describes a file and not its exposure: never carried over from one product to the next.
FILE_KEYS = (
    "filename",
    "file_date",
    "model_type",
    "product_type",
    "wcs",
    "photometry",
    "cal_step",
    "cal_logs",
    "statistics",
)


def plain(node: Any) -> Any:
    """Return ``node`` of an ASDF tree as dicts, lists and scalars that outlive their file."""
    if isinstance(node, Mapping):
        return {str(key): plain(value) for key, value in node.items()}
    if isinstance(node, str):
        return str(node)
    if isinstance(node, Sequence):
        return [plain(value) for value in node]
    if isinstance(node, np.generic):
        return node.item()
    return np.array(node) if hasattr(node, "__array__") and not isinstance(node, Time) else node


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``base`` with the leaves of ``over`` in place of its own."""
    result = dict(base)
    for key, value in over.items():
        below = result.get(key)
        both = isinstance(below, Mapping) and isinstance(value, Mapping)
        result[key] = merged(below, value) if both and below is not None else copy.copy(value)
    return result


def write_meta(
    skeleton: Mapping[str, Any], meta: ExposureMeta, *, file_name: str, provenance: Provenance | None = None
) -> dict[str, Any]:
    """Return the ``meta`` tree of a product that will be called ``file_name``.

    ``skeleton`` is rad's own minimal tree: its sentinels ("?", -999999) stand where only the
    spacecraft or the archive could know. Over it lies what the exposure carried, then what we know.
    """
    carried = {key: value for key, value in meta.carried.items() if key not in FILE_KEYS}
    tree = merged(merged(skeleton, carried), _known(meta))
    tree["filename"] = file_name
    tree["file_date"] = Time(datetime.now(UTC).replace(tzinfo=None))
    tree["calibration_software_name"] = SOFTWARE
    tree["calibration_software_version"] = version("nexus-pipeline")
    if provenance is not None:
        _stamp(tree, provenance)
    return tree


def _known(meta: ExposureMeta) -> dict[str, Any]:
    return {
        "instrument": {"name": "WFI", "detector": meta.detector, "optical_element": meta.filter_name},
        "exposure": _exposure(meta),
        "observation": _observation(meta),
        "wcsinfo": _wcsinfo(meta.pointing),
        "pointing": {
            "target_ra": meta.pointing.ra_deg,
            "target_dec": meta.pointing.dec_deg,
            "pa_v3": meta.pointing.roll_deg,
            "pa_aperture": meta.pointing.roll_deg + V3_IDEAL_Y_ANGLE_DEG,
        },
        "velocity_aberration": {"scale_factor": meta.pointing.aberration_scale},
        "telescope": "ROMAN",
    }


def _exposure(meta: ExposureMeta) -> dict[str, Any]:
    table, start = meta.ma_table, meta.start_time.astimezone(UTC).replace(tzinfo=None)
    return {
        "type": meta.exposure_type,
        "start_time": Time(start),
        "end_time": Time(start + timedelta(seconds=table.exposure_time_s)),
        "nresultants": table.n_resultants,
        "frame_time": table.read_time_s,
        "exposure_time": table.exposure_time_s,
        "effective_exposure_time": table.effective_exposure_time_s,
        "ma_table_name": table.name,
        "ma_table_number": table.number,
        "read_pattern": [list(reads) for reads in table.read_pattern],
    }


def _observation(meta: ExposureMeta) -> dict[str, Any]:
    exposure_id = meta.exposure_id
    if min(astuple(exposure_id)) < 0:
        # rad's sentinels, as romanisim leaves them: nothing is known, nothing is added.
        return {}
    statement = {"visit_file_group": 1, "visit_file_sequence": 1, "visit_file_activity": "01"}
    statement |= {key: meta.carried["observation"][key] for key in statement if "observation" in meta.carried}
    visit_id, (group, sequence, activity) = exposure_id.visit_id, statement.values()
    return {
        **statement,
        "observation_id": f"{visit_id}{group:02d}{sequence:d}{activity}{exposure_id.exposure:04d}",
        "visit_id": visit_id,
        "program": exposure_id.program,
        "execution_plan": exposure_id.execution_plan,
        "pass": exposure_id.pass_number,
        "segment": exposure_id.segment,
        "observation": exposure_id.observation,
        "visit": exposure_id.visit,
        "exposure": exposure_id.exposure,
    }


def _wcsinfo(pointing: Pointing) -> dict[str, Any]:
    return {
        "ra_ref": pointing.ra_deg,
        "dec_ref": pointing.dec_deg,
        "roll_ref": pointing.roll_deg,
        "v2_ref": pointing.v2_ref_arcsec,
        "v3_ref": pointing.v3_ref_arcsec,
        "vparity": -1,
        "v3yangle": V3_IDEAL_Y_ANGLE_DEG,
    }


def _stamp(tree: MutableMapping[str, Any], provenance: Provenance) -> None:
    """Write references, context and the runner's records into ``tree``."""
    known = {kind: name for kind, name in provenance.references.items() if kind in tree["ref_file"]}
    tree["ref_file"] = merged(tree["ref_file"], known)
    if provenance.context is not None:
        tree["ref_file"]["crds"] = {"version": SOFTWARE, "context": provenance.context}
    tree[OWN_KEY] = merged(tree.get(OWN_KEY, {}), history(provenance))


def history(provenance: Provenance) -> dict[str, Any]:
    """Return how a product was made as plain values, for what is ours in its metadata."""
    return {
        **provenance.own,
        "references": dict(provenance.references),
        "context": provenance.context,
        "steps": [
            {
                "name": step.name,
                "status": step.status,
                "seconds": round(step.seconds, 3),
                "peak_memory_bytes": step.peak_memory_bytes,
                "reason": step.reason,
                "parameters": dict(step.parameters),
            }
            for step in provenance.steps
        ],
    }


def read_meta(tree: Mapping[str, Any], *, url: str) -> ExposureMeta:
    """Return what the plain ``meta`` tree of ``url`` says; WrongProductError if it lacks something."""
    try:
        return _exposure_meta(tree)
    except KeyError as error:
        raise WrongProductError(f"{url}: its metadata lack {error}", url=url) from error
    except (ValueError, TypeError) as error:
        raise WrongProductError(f"{url}: its metadata make no sense: {error}", url=url) from error


def _exposure_meta(tree: Mapping[str, Any]) -> ExposureMeta:
    exposure, instrument, observation = tree["exposure"], tree["instrument"], tree["observation"]
    table = MATable(
        str(exposure["ma_table_name"]),
        int(exposure["ma_table_number"]),
        tuple(tuple(int(read) for read in reads) for reads in exposure["read_pattern"]),
        float(exposure["frame_time"]),
    )
    if table.read_time_s <= 0:
        raise ValueError(f"a read takes {table.read_time_s} s (exposure.frame_time)")
    names = ("program", "execution_plan", "pass", "segment", "observation", "visit", "exposure")
    return ExposureMeta(
        detector=str(instrument["detector"]),
        filter_name=str(instrument["optical_element"]),
        start_time=Time(exposure["start_time"]).to_datetime(timezone=UTC),
        ma_table=table,
        pointing=_pointing(tree),
        exposure_id=ExposureId(*(int(observation[name]) for name in names)),
        exposure_type=str(exposure["type"]),
        file_name=str(tree["filename"]),
        carried=dict(tree),
    )


def _pointing(tree: Mapping[str, Any]) -> Pointing:
    info, scale = tree["wcsinfo"], float(tree["velocity_aberration"]["scale_factor"])
    return Pointing(
        ra_deg=float(info["ra_ref"]),
        dec_deg=float(info["dec_ref"]),
        roll_deg=float(info["roll_ref"]),
        v2_ref_arcsec=float(info["v2_ref"]),
        v3_ref_arcsec=float(info["v3_ref"]),
        # rad's sentinel for "not known" is negative; no correction is then what romancal does too.
        aberration_scale=scale if scale > 0 else 1.0,
    )
