"""What sep finds, run in its own environment: ``python sep_script.py IN.npz OUT.npz``.

IN holds ``image`` (its noise 1), ``kernel``, ``threshold`` (σ), ``least_pixels`` and ``repeats``; OUT x, y,
flux and flags of the sources, the CPU seconds of each repeat and the peak memory in bytes.
"""

import resource
import sys
import time

import numpy as np
import sep


def main() -> None:
    given = np.load(sys.argv[1])
    sep.set_extract_pixstack(5_000_000)
    sep.set_sub_object_limit(100_000)
    image, error = given["image"], np.ones_like(given["image"])
    seconds = []
    for _ in range(int(given["repeats"])):
        start = time.process_time()
        found = sep.extract(
            image,
            float(given["threshold"]),
            err=error,
            filter_kernel=given["kernel"],
            filter_type="matched",
            minarea=int(given["least_pixels"]),
            deblend_nthresh=32,
            deblend_cont=0.005,
        )
        seconds.append(time.process_time() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    columns = {name: found[name] for name in ("x", "y", "flux", "flag", "npix")}
    np.savez(sys.argv[2], seconds=seconds, peak=peak, **columns)


if __name__ == "__main__":
    main()
