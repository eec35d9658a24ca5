"""Where the telescope really looks, when that is not where its metadata say.

Takes the pointing that the products tell; leaves the one the sky is drawn with: registration has something to
find then. The exposure's error is the same for all detectors, each detector's own comes from its seed.
"""

from dataclasses import dataclass, replace

import numpy as np

from nexus_pipeline.products.model import Pointing
from nexus_pipeline.simulate.random import Effect, generator
from nexus_pipeline.sky.tangent import degrees_of, directions_of, plane_about


@dataclass(frozen=True)
class PointingError:
    """How far from the told pointing the sky is drawn; 0 turns one off.

    ``jitter_mas`` is the rms along an axis by which each detector is elsewhere on its own.
    """

    east_arcsec: float = 0.0
    north_arcsec: float = 0.0
    roll_arcsec: float = 0.0
    jitter_mas: float = 0.0

    def off(self) -> "PointingError":
        """Return the same without any."""
        return PointingError()


def true_pointing(told: Pointing, error: PointingError, *, seed: int) -> Pointing:
    """Return where the telescope looks when its metadata say ``told``; ``told`` itself without an error."""
    if error == error.off():
        return told
    own = generator(seed, Effect.POINTING).normal(0, 1, 2) * error.jitter_mas / 1000
    plane = plane_about(directions_of(np.array([told.ra_deg]), np.array([told.dec_deg])))
    offset = np.array([[error.east_arcsec, error.north_arcsec]]) + own
    ra, dec = degrees_of(plane.raise_to_sky(offset))
    roll = told.roll_deg + error.roll_arcsec / 3600
    return replace(told, ra_deg=float(ra[0]), dec_deg=float(dec[0]), roll_deg=roll)
