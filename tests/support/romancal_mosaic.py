"""What romancal makes of an association's images, run in the peers' environment on our files.

``python romancal_mosaic.py ASSOCIATION SKYMAP OUT`` prints one line of JSON: CPU seconds by step, reading and
writing among them, and the peak memory in bytes; the mosaic's planes go to OUT (npz).
"""

import json
import logging
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np


def main() -> None:
    association, skymap_file, out = (Path(argument) for argument in sys.argv[1:])
    answer_crds(skymap_file)
    logging.disable(logging.INFO)
    from romancal.skycell import skymap  # noqa: PLC0415

    skymap.SKYMAP.path = skymap_file
    seconds: dict[str, float] = {}
    start = time.process_time()
    library = opened(association)
    seconds["read"] = time.process_time() - start
    for name, step in steps():
        start = time.process_time()
        library = step.run(library)
        seconds[name] = time.process_time() - start
    planes = {name: np.asarray(library[name]) for name in ("data", "err", "weight", "var_rnoise", "context")}
    np.savez(out, **planes, max_time=library.meta.coadd_info.max_exposure_time)
    print(json.dumps({"seconds": seconds, "peak": peak_bytes()}))


def answer_crds(skymap_file: Path) -> None:
    import crds  # noqa: PLC0415
    from stpipe import crds_client  # noqa: PLC0415

    def getreferences(_parameters: Any, reftypes: list[str], **_options: Any) -> dict[str, str]:
        return {kind: str(skymap_file) if kind == "skycells" else "NOT FOUND n/a" for kind in reftypes}

    crds.getreferences = getreferences
    crds.core.heavy_client.getreferences = getreferences
    crds_client.get_context_used = lambda _observatory: "local_0001.pmap"


def opened(association: Path) -> Any:
    """Return the library with every array in memory."""
    from romancal.datamodels import ModelLibrary  # noqa: PLC0415

    library = ModelLibrary(association)
    with library:
        for index, model in enumerate(library):
            for name in ("data", "dq", "err", "var_poisson", "var_rnoise", "var_flat"):
                if name in model:
                    model[name] = np.array(model[name])
            library.shelve(model, index)
    return library


def steps() -> list[tuple[str, Any]]:
    from romancal.flux import FluxStep  # noqa: PLC0415
    from romancal.outlier_detection import OutlierDetectionStep  # noqa: PLC0415
    from romancal.resample import ResampleStep  # noqa: PLC0415
    from romancal.skymatch import SkyMatchStep  # noqa: PLC0415

    return [
        ("flux", FluxStep()),
        ("skymatch", SkyMatchStep()),
        ("outlier_detection", OutlierDetectionStep()),
        ("resample", ResampleStep()),
    ]


def peak_bytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


if __name__ == "__main__":
    main()
