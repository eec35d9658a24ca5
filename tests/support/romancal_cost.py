"""What romancal takes from L1 to L2, run in the peers' environment with our reference files.

``python romancal_cost.py STORE L1 OUT ALGORITHM REPEATS`` prints one line of JSON: CPU seconds by step of the
first run and of each after it, and the peak memory in bytes. Left out are the catalogue and tweakreg.
"""

import json
import logging
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def main() -> None:
    store, source, out = (Path(argument) for argument in sys.argv[1:4])
    algorithm, repeats = sys.argv[4], int(sys.argv[5])
    files = local_references(store)
    answer_crds(files)
    logging.disable(logging.INFO)
    if algorithm == "likely_patched":
        patch_likely()
    runs = [one_run(source, out, algorithm.removesuffix("_patched")) for _ in range(repeats + 1)]
    print(json.dumps({"runs": runs[1:], "first": runs[0], "peak": peak_bytes()}))


def local_references(store: Path) -> dict[str, Path]:
    """Return our files by romancal's name of the type."""
    rules = json.loads((store / "rules.json").read_text())["rules"]
    return {rule["kind"]: store / rule["file"] for rule in rules}


def answer_crds(files: dict[str, Path]) -> None:
    """Let every look-up of a reference end in ``files``."""
    import crds  # noqa: PLC0415
    from stpipe import crds_client  # noqa: PLC0415

    def getreferences(_parameters: Any, reftypes: list[str], **_options: Any) -> dict[str, str]:
        return {kind: str(files.get(kind, "NOT FOUND n/a")) for kind in reftypes}

    crds.getreferences = getreferences
    crds.core.heavy_client.getreferences = getreferences
    crds_client.get_context_used = lambda _observatory: "local_0001.pmap"


def patch_likely() -> None:
    """Mend what stcal's pull request 580 mended after 1.20: a frame of ones for every row."""
    import numpy as np  # noqa: PLC0415
    from stcal.ramp_fitting import likely_fit  # noqa: PLC0415

    def determine_diffs2use(row: int, _diffs: Any, flags: Any) -> Any:
        bad = flags[:, row] != 0
        return (~(bad[1:] | bad[:-1])).astype(np.uint8)

    likely_fit.determine_diffs2use = determine_diffs2use


def steps(algorithm: str) -> list[tuple[str, Callable[[Any], Any]]]:
    from romancal.assign_wcs import AssignWcsStep  # noqa: PLC0415
    from romancal.dark_current import DarkCurrentStep  # noqa: PLC0415
    from romancal.dark_decay import DarkDecayStep  # noqa: PLC0415
    from romancal.dq_init import DQInitStep  # noqa: PLC0415
    from romancal.flatfield import FlatFieldStep  # noqa: PLC0415
    from romancal.linearity import LinearityStep  # noqa: PLC0415
    from romancal.photom import PhotomStep  # noqa: PLC0415
    from romancal.ramp_fitting import RampFitStep  # noqa: PLC0415
    from romancal.refpix import RefPixStep  # noqa: PLC0415
    from romancal.saturation import SaturationStep  # noqa: PLC0415

    chosen: list[tuple[str, Any, dict[str, Any]]] = [
        ("dq_init", DQInitStep, {}),
        ("saturation", SaturationStep, {}),
        ("refpix", RefPixStep, {}),
        ("dark_decay", DarkDecayStep, {}),
        ("linearity", LinearityStep, {}),
        ("ramp_fitting", RampFitStep, {"algorithm": algorithm}),
        ("dark_current", DarkCurrentStep, {}),
        ("assign_wcs", AssignWcsStep, {}),
        ("photom", PhotomStep, {}),
        ("flatfield", FlatFieldStep, {}),
    ]
    return [
        (name, lambda model, cls=cls, options=options: cls(**options).run(model))
        for name, cls, options in chosen
    ]


def one_run(source: Path, out: Path, algorithm: str) -> dict[str, float]:
    """Return CPU seconds by step, "read" and "write" among them."""
    import roman_datamodels.datamodels as rdm  # noqa: PLC0415

    seconds = {}
    start = time.process_time()
    model = rdm.open(source)
    seconds["read"] = time.process_time() - start
    for name, step in steps(algorithm):
        start = time.process_time()
        model = step(model)
        seconds[name] = time.process_time() - start
    start = time.process_time()
    model.save(out / "romancal_cal.asdf")
    seconds["write"] = time.process_time() - start
    return seconds


def peak_bytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    os.environ.setdefault("STPIPE_DISABLE_CRDS_STEPPARS", "true")
    main()
