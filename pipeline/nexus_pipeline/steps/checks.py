"""What every step asks of a reference before it uses it."""

from typing import Any

from numpy.typing import NDArray

from nexus_pipeline.errors import MismatchedReferenceError
from nexus_pipeline.references.kinds import Reference


def require_shape(plane: NDArray[Any], shape: tuple[int, ...], reference: Reference) -> None:
    """Raise MismatchedReferenceError unless ``plane`` of ``reference`` has the frame's ``shape``."""
    if plane.shape[-2:] != shape[-2:]:
        raise MismatchedReferenceError(
            f"the {reference.kind} reference of {reference.detector} has frames of {plane.shape[-2:]}, "
            f"the exposure of {shape[-2:]}",
            kind=reference.kind,
        )


def require_detector(reference: Reference, detector: str) -> None:
    """Raise MismatchedReferenceError unless ``reference`` was made for ``detector``."""
    if reference.detector != detector:
        raise MismatchedReferenceError(
            f"the {reference.kind} reference is of {reference.detector}, the exposure of {detector}",
            kind=reference.kind,
        )
