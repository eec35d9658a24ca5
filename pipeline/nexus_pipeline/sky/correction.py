"""What registration changes in a WCS: a linear map of the tangent plane, in a frame of its own.

The form is tweakwcs' for Roman, names and all, so that the mission's software can read and refine it:
V2, V3 (arcsec) to the plane about the reference point, an affine map there (radians), and back, between the
frames v2v3vacorr and v2v3corr.
"""

from dataclasses import dataclass
from typing import Any, Final

import gwcs
import numpy as np
from astropy.modeling import Model, models
from gwcs.geometry import CartesianToSpherical, SphericalToCartesian
from numpy.typing import NDArray

from nexus_pipeline.products.model import Pointing
from nexus_pipeline.sky.plane_fit import IDENTITY, PlaneMap, fit
from nexus_pipeline.sky.tangent import TangentPlane, degrees_of, directions_of
from nexus_pipeline.sky.wcs import telescope_frame

Floats = NDArray[np.float64]

FRAME: Final = "v2v3corr"
NAME: Final = "Roman V2-V3 tangent-plane linear correction. v1"
_NODES: Final = 9


@dataclass(frozen=True)
class SkyShift:
    """A correction of the sky: ``change`` (arcsec) in the plane ``plane``."""

    plane: TangentPlane
    change: PlaneMap

    def __call__(self, ra_deg: Floats, dec_deg: Floats) -> tuple[Floats, Floats]:
        moved = self.change(self.plane.project(directions_of(ra_deg, dec_deg)))
        return degrees_of(self.plane.raise_to_sky(moved))


def corrected(wcs: gwcs.WCS, pointing: Pointing, shift: SkyShift, *, name: str) -> gwcs.WCS:
    """Return ``wcs`` followed by ``shift``, called ``name``; a correction it has is replaced by both.

    A map that is linear in one plane of the sky is so in that of the detector to 0.1 mas, for shifts of
    arcsec and turns of an arcmin.
    """
    frame, existing = wcs.pipeline[-2].frame.name, IDENTITY
    if frame == FRAME:
        existing = _affine_of(wcs.get_transform("v2v3vacorr", FRAME))
    steps = [(step.frame, step.transform) for step in wcs.pipeline]
    change = _in_own_plane(wcs, pointing, frame, shift).after(existing)
    at = -3 if frame == FRAME else -2
    before, after = steps[:at], steps[-1:]
    middle = [
        (steps[at][0], tangent_correction(pointing, change)),
        (telescope_frame(FRAME), steps[-2][1]),
    ]
    result = gwcs.WCS([*before, *middle, *after], name=name)
    result.bounding_box = wcs.bounding_box
    return result


def _affine_of(correction: Model) -> PlaneMap:
    affine = correction["tp_affine"]
    return PlaneMap(np.array(affine.matrix.value), np.array(affine.translation.value))


def _in_own_plane(wcs: gwcs.WCS, pointing: Pointing, frame: str, shift: SkyShift) -> PlaneMap:
    """Return ``shift`` as a map of the plane about the reference point (radians)."""
    box = wcs.bounding_box
    along = [np.linspace(float(low), float(high), _NODES) for low, high in (box[0], box[1])]
    x, y = (axis.ravel() for axis in np.meshgrid(*along))
    to_plane = _to_plane(pointing)
    to_frame = wcs.get_transform("world", frame)
    ra, dec = wcs(x, y, with_bounding_box=False)
    start = np.column_stack(to_plane(*to_frame(ra, dec)))
    end = np.column_stack(to_plane(*to_frame(*shift(ra, dec))))
    return fit(start, end, np.ones(len(start)), geometry="general")


def tangent_correction(pointing: Pointing, change: PlaneMap) -> Model:
    """Return the correction of V2, V3 that makes ``change`` (radians), its inverse set."""
    affine = models.AffineTransformation2D(change.matrix, change.shift, name="tp_affine")
    matrix = np.linalg.inv(change.matrix)
    inverse = models.AffineTransformation2D(matrix, -matrix @ change.shift, name="tp_affine_inv")
    forward, backward = (_through_plane(pointing, each) for each in (affine, inverse))
    forward.name, backward.name = NAME, f"Inverse {NAME}"
    forward.inverse = backward
    return forward


def _through_plane(pointing: Pointing, affine: Model) -> Model:
    # Each a model of its own: two compound models may not share a part that has a name.
    return _to_plane(pointing) | affine | _from_plane(pointing)


def _rotation(pointing: Pointing) -> Any:
    angles = [pointing.v2_ref_arcsec / 3600, -pointing.v3_ref_arcsec / 3600, pointing.roll_deg]
    return models.RotationSequence3D(angles, axes_order="zyx", name="det_to_optic_axis")


def _to_plane(pointing: Pointing) -> Model:
    degrees = models.Scale(1 / 3600, name="arcsec_to_deg_1D")
    divide = (
        models.Mapping((0, 1, 2), name="xyz") / models.Mapping((0, 0, 0), n_inputs=3, name="xxx")
    ) | models.Mapping((1, 2), name="xtyt")
    return (
        (degrees & degrees.copy())
        | SphericalToCartesian(name="s2c", wrap_lon_at=180)
        | _rotation(pointing)
        | divide
    )


def _from_plane(pointing: Pointing) -> Model:
    arcsec = models.Scale(3600.0, name="deg_to_arcsec_1D")
    lift = models.Mapping((0, 0, 1), n_inputs=2, name="xtyt2xyz") | (
        models.Const1D(1, name="one") & models.Identity(2, name="I(2D)")
    )
    back = _rotation(pointing).inverse
    back.name = "optic_axis_to_det"
    return lift | back | CartesianToSpherical(name="c2s", wrap_lon_at=180) | (arcsec & arcsec.copy())
