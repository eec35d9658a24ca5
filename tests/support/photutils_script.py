"""What photutils finds and fits, run in the peers' environment.

``python photutils_script.py WHAT IN.npz OUT.npz``, where WHAT is one of two.

``catalog``: IN holds ``image`` (its noise 1), ``kernel`` and ``threshold`` (σ of the filtered image); sky,
detection, deblending (32 levels, contrast 0.005), circles, Kron's ellipses and moments. ``fits``: IN holds
``image`` and ``error``, ``psf`` sampled ``oversampling`` times a pixel, ``x``, ``y`` and ``flux`` to begin
with; stars are fitted in groups with their neighbours, as romancal does. OUT tells ``flux``, ``x``, ``y`` and
the CPU ``seconds``.
"""

import sys
import time
import warnings
from typing import Any

import numpy as np
from astropy.convolution import convolve
from astropy.table import QTable
from photutils.background import Background2D, MedianBackground
from photutils.psf import ImagePSF, PSFPhotometry, SourceGrouper
from photutils.segmentation import SourceCatalog, deblend_sources, detect_sources

GROUP_PIXELS = 8.0
FIT_PIXELS = 9
RADII = (2.0, 4.0, 7.0, 15.0, 29.0)


def main() -> None:
    warnings.simplefilter("ignore")
    given = dict(np.load(sys.argv[2]))
    start = time.process_time()
    made = {"catalog": catalog, "fits": fits}[sys.argv[1]](given)
    np.savez(sys.argv[3], seconds=time.process_time() - start, **made)


def catalog(given: Any) -> dict[str, Any]:
    image, kernel = given["image"], given["kernel"].astype(float)
    sky = Background2D(image, 128, filter_size=3, bkg_estimator=MedianBackground()).background
    image = image - sky
    smooth = convolve(image, kernel, normalize_kernel=True)
    sigma = np.sqrt(np.sum(kernel**2)) / kernel.sum()
    labels = detect_sources(smooth, float(given["threshold"]) * sigma, 1)
    labels = deblend_sources(smooth, labels, 1, n_levels=32, contrast=0.005, progress_bar=False)
    found = SourceCatalog(image, labels, convolved_data=smooth, error=np.ones_like(image))
    for radius in RADII:
        found.circular_photometry(radius)
    wanted = ("x_centroid", "y_centroid", "segment_flux", "kron_flux", "semimajor_axis", "orientation")
    table = found.to_table(columns=wanted)
    found.flux_radius(0.5)
    return {"x": table["x_centroid"], "y": table["y_centroid"], "flux": table["kron_flux"]}


def fits(given: Any) -> dict[str, Any]:
    model = ImagePSF(given["psf"], oversampling=int(given["oversampling"]))
    work = PSFPhotometry(
        model, (FIT_PIXELS, FIT_PIXELS), grouper=SourceGrouper(GROUP_PIXELS), aperture_radius=4
    )
    start = QTable({"x_init": given["x"], "y_init": given["y"], "flux_init": given["flux"]})
    made = work(given["image"], error=given["error"], init_params=start)
    return {"x": made["x_fit"], "y": made["y_fit"], "flux": made["flux_fit"]}


if __name__ == "__main__":
    main()
