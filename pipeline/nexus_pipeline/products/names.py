"""The mission's identifiers and file names: ``rPPPPPCCAAASSSOOOVVV_EEEE_wfiNN_fNNN_<suffix>``."""

import re
from dataclasses import dataclass
from typing import Final

from nexus_pipeline.errors import InputError

SUFFIXES: Final = {"L1": "uncal", "L2": "cal", "L3": "coadd", "L4": "cat", "SEGM": "segm", "WCS": "wcs"}
_PATTERN: Final = re.compile(
    r"r(\d{5})(\d{2})(\d{3})(\d{3})(\d{3})(\d{3})_(\d{4})_(wfi\d{2})_(f\d{3}|grism|prism)_([a-z]+)"
)
_MOSAIC: Final = re.compile(r"r\d{5}_([a-z0-9]+)_(v\d{14}|p\d{5}|full)_")
_EXPOSURE: Final = re.compile(r"r\d{19}_\d{4}")


@dataclass(frozen=True)
class ExposureId:
    """Where an exposure stands in the programme: program → execution plan → pass → … → exposure."""

    program: int = 1
    execution_plan: int = 1
    pass_number: int = 1
    segment: int = 1
    observation: int = 1
    visit: int = 1
    exposure: int = 1

    @property
    def visit_id(self) -> str:
        """The 19 digits of the visit."""
        return (
            f"{self.program:05d}{self.execution_plan:02d}{self.pass_number:03d}"
            f"{self.segment:03d}{self.observation:03d}{self.visit:03d}"
        )


def stem(exposure_id: ExposureId, detector: str, filter_name: str) -> str:
    """Return the name of a product without suffix and ending."""
    return f"r{exposure_id.visit_id}_{exposure_id.exposure:04d}_{detector.lower()}_{filter_name.lower()}"


def file_name(exposure_id: ExposureId, detector: str, filter_name: str, *, level: str) -> str:
    """Return the mission's file name of the product of ``level`` (L1, L2, L4 or WCS)."""
    ending = "parquet" if level == "L4" else "asdf"
    return f"{stem(exposure_id, detector, filter_name)}_{SUFFIXES[level]}.{ending}"


def visit_grouping(exposure_id: ExposureId) -> str:
    """Return how the mission names the exposures of a visit in a mosaic of them."""
    return f"v{exposure_id.visit_id[5:]}"


def pass_grouping(exposure_id: ExposureId) -> str:
    """Return how the mission names the exposures of a pass in a mosaic of them."""
    return f"p{exposure_id.visit_id[5:10]}"


def mosaic_stem(
    program: int, grouping: str, filter_name: str, *, skycell: str | None = None, release: str = "p"
) -> str:
    """Return the name of a mosaic without suffix and ending; ``skycell`` None is none of the skymap's."""
    parts = [f"r{program:05d}", release, grouping, skycell, filter_name.lower()]
    return "_".join(part for part in parts if part is not None)


def mosaic_name(exposure_id: ExposureId, filter_name: str) -> str:
    """Return the file name of a prompt mosaic of a visit that is none of the skymap's skycells."""
    name = mosaic_stem(exposure_id.program, visit_grouping(exposure_id), filter_name)
    return f"{name}_{SUFFIXES['L3']}.asdf"


def parse_mosaic_stem(stem: str) -> tuple[str, str] | None:
    """Return the release and grouping in a mosaic's name; None if it is not one of the mission's."""
    match = _MOSAIC.match(stem)
    return (match[1], match[2]) if match else None


def parse_file_name(name: str) -> tuple[ExposureId, str, str, str]:
    """Return (id, detector, filter, suffix) of a product's file name; InputError if it isn't one."""
    match = _PATTERN.match(name)
    if match is None:
        raise InputError(
            f"{name!r} is not the name of a product (rPPPPPCCAAASSSOOOVVV_EEEE_wfiNN_fNNN_suffix)"
        )
    numbers = (int(part) for part in match.groups()[:7])
    return ExposureId(*numbers), match[8].upper(), match[9].upper(), match[10]


def is_exposure(name: str) -> bool:
    """Say whether ``name`` is the common beginning of the files of one exposure."""
    return _EXPOSURE.fullmatch(name) is not None


def level_ending(level: str) -> str:
    """Return how the names of the products of ``level`` end."""
    return f"_{SUFFIXES[level]}.{'parquet' if level == 'L4' else 'asdf'}"


def derived_name(name: str, *, level: str) -> str:
    """Return ``name`` with the suffix and ending of ``level`` in place of a product's own."""
    base = name.rsplit(".", 1)[0]
    for suffix in SUFFIXES.values():
        base = base.removesuffix(f"_{suffix}")
    ending = "parquet" if level == "L4" else "asdf"
    return f"{base}_{SUFFIXES[level]}.{ending}"
