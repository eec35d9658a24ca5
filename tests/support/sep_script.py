"""What sep finds, run in its own environment: ``python sep_script.py IN.npz OUT.npz``.

IN holds ``image`` (its noise 1), ``kernel``, ``threshold`` (σ), ``least_pixels``, ``repeats``, and ``radii``
of circles in pixels; OUT x, y, flux and flags of the sources, ``circles`` (n, radii) without the pixels of
other sources, the CPU seconds of each repeat and the peak memory in bytes. With radii, sky, Kron's ellipses,
windowed centroids and radii of half the light are measured too, as far as costs go.
"""

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import sep


def main() -> None:
    given = np.load(sys.argv[1])
    sep.set_extract_pixstack(5_000_000)
    sep.set_sub_object_limit(100_000)
    seconds, radii = [], given["radii"]
    for _ in range(int(given["repeats"])):
        image = given["image"]
        start = time.process_time()
        if radii.size:
            image = image - sep.Background(image, bw=128, bh=128).back()
        if radii.size:
            found, labels = extracted(given, image, segmentation_map=True)
            circles = measured(image, found, labels, radii)
        else:
            found = extracted(given, image)
            circles = np.empty((len(found), 0))
        seconds.append(time.process_time() - start)
    # Not what getrusage says: that begins with the memory of the process that started this one.
    lines = Path("/proc/self/status").read_text().splitlines()
    peak = next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    columns = {name: found[name] for name in ("x", "y", "flux", "flag", "npix")}
    np.savez(sys.argv[2], seconds=seconds, peak=peak, circles=circles, **columns)


def extracted(given: Any, image: Any, **more: Any) -> Any:
    return sep.extract(
        image,
        float(given["threshold"]),
        err=np.ones_like(image),
        filter_kernel=given["kernel"],
        filter_type="matched",
        minarea=int(given["least_pixels"]),
        deblend_nthresh=32,
        deblend_cont=0.005,
        **more,
    )


def measured(image: Any, found: Any, labels: Any, radii: Any) -> Any:
    """Return fluxes in circles; the rest is measured for what it costs."""
    x, y, label = found["x"], found["y"], np.arange(1, len(found) + 1, dtype=np.int32)
    # Of single pixels there is no ellipse, and some angles are a digit beyond a right one.
    short = np.maximum(np.nan_to_num(found["b"]), 0.3)
    size = np.maximum(np.nan_to_num(found["a"]), short)
    ellipse = (x, y, size, short, np.clip(np.nan_to_num(found["theta"]), -1.57, 1.57))
    own = {"segmap": labels, "seg_id": label}
    kron, _ = sep.kron_radius(image, *ellipse, 6.0, **own)
    kron = np.clip(np.nan_to_num(kron, nan=1.4), 1.4, 6.0)
    sep.sum_ellipse(image, *ellipse, 2.5 * kron, err=1.0, subpix=1, **own)
    half, _ = sep.flux_radius(image, x, y, 6.0 * size, 0.5, subpix=5, **own)
    sep.winpos(image, x, y, np.maximum(half, 0.5) * 0.8493)
    return np.column_stack([sep.sum_circle(image, x, y, r, err=1.0, **own)[0] for r in radii])


if __name__ == "__main__":
    main()
