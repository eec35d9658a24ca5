"""World coordinates of a detector: pixels through V2, V3 to ICRS, as the mission builds them.

Takes a distortion transform and where the reference aperture looks; leaves a gwcs object with
the frames detector, v2v3, v2v3vacorr (without velocity aberration) and world, named as romancal names them.
"""

import gwcs
import numpy as np
from astropy import coordinates, units
from astropy.modeling import Model, models
from gwcs import coordinate_frames as frames
from gwcs.geometry import CartesianToSpherical, SphericalToCartesian
from numpy.typing import NDArray

from nexus_pipeline.instrument.wfi import N_ACTIVE
from nexus_pipeline.products.model import Pointing


def build(distortion: Model, pointing: Pointing, *, size: int = N_ACTIVE) -> gwcs.WCS:
    """Return the WCS of a size² detector; pixel (0, 0) is the centre of the first active pixel."""
    pixel = frames.Frame2D(name="detector", axes_order=(0, 1), unit=(units.pix, units.pix))
    telescope, at_rest = (telescope_frame(name) for name in ("v2v3", "v2v3vacorr"))
    world = frames.CelestialFrame(name="world", reference_frame=coordinates.ICRS())
    pipeline = [
        (pixel, distortion.copy()),
        (telescope, aberration(pointing)),
        (at_rest, v2v3_to_sky(pointing)),
        (world, None),
    ]
    wcs = gwcs.WCS(pipeline)
    wcs.bounding_box = ((-0.5, size - 0.5), (-0.5, size - 0.5))
    return wcs


def telescope_frame(name: str) -> frames.Frame2D:
    """Return a frame of V2, V3 in arcsec."""
    return frames.Frame2D(
        name=name, axes_order=(0, 1), axes_names=("v2", "v3"), unit=(units.arcsec, units.arcsec)
    )


def aberration(pointing: Pointing) -> Model:
    """Return the stretch of V2, V3 about the reference point by velocity aberration (identity at scale 1)."""
    scale = pointing.aberration_scale
    stretch = models.Scale(scale) & models.Scale(scale)
    back = models.Shift((1 - scale) * pointing.v2_ref_arcsec) & models.Shift(
        (1 - scale) * pointing.v3_ref_arcsec
    )
    return stretch | back


def v2v3_to_sky(pointing: Pointing) -> Model:
    """Return (V2, V3) arcsec → (RA, Dec) deg: the five rotations romancal's assign_wcs uses."""
    angles = [
        pointing.v2_ref_arcsec / 3600,
        -pointing.v3_ref_arcsec / 3600,
        pointing.roll_deg,
        pointing.dec_deg,
        -pointing.ra_deg,
    ]
    rotation = models.RotationSequence3D(angles, axes_order="zyxyz")
    to_degrees = models.Scale(1 / 3600) & models.Scale(1 / 3600)
    model = (
        to_degrees | SphericalToCartesian(wrap_lon_at=180) | rotation | CartesianToSpherical(wrap_lon_at=360)
    )
    model.name = "v23tosky"
    return model


def aim(
    distortion: Model, ra_deg: float, dec_deg: float, *, roll_deg: float, size: int = N_ACTIVE
) -> Pointing:
    """Return the pointing that puts (ra, dec) on the middle of the detector, V3 at ``roll_deg`` there."""
    middle = (size - 1) / 2
    v2, v3 = distortion(middle, middle)
    return Pointing(ra_deg, dec_deg, roll_deg, float(v2), float(v3))


def s_region(wcs: gwcs.WCS, *, size: int = N_ACTIVE) -> str:
    """Return the footprint as the archive's polygon string, corners of the corner pixels in order."""
    low, high = -0.5, size - 0.5
    ra, dec = wcs([low, high, high, low], [low, low, high, high], with_bounding_box=False)
    corners = " ".join(f"{a:.9f} {d:.9f}" for a, d in zip(ra, dec, strict=True))
    return f"POLYGON ICRS {corners}"


def to_pixels(
    wcs: gwcs.WCS, ra_deg: NDArray[np.float64], dec_deg: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return x, y of world positions, on or off the detector (no bounding box)."""
    x, y = wcs.backward_transform(ra_deg, dec_deg)
    return np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
