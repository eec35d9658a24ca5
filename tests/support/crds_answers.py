"""Run in an environment of CRDS's by ``test_crds``: what the adapter makes of its rules, as JSON.

Takes a ramp, a flat of one's own, and the L2 to write.
"""

import json
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import crds

from nexus_pipeline.errors import PipelineError
from nexus_pipeline.products import l2
from nexus_pipeline.recipes.exposure import calibrate
from nexus_pipeline.references import kinds
from nexus_pipeline.references.store import open_store

WHO: dict[str, Any] = {
    "detector": "WFI07",
    "filter_name": "F158",
    "date": datetime(2027, 3, 1, 12, tzinfo=UTC),
}
LATER = datetime(2029, 1, 1, tzinfo=UTC)


def answers(ramp: str, flat: str, image: str) -> dict[str, object]:
    store = open_store("crds")
    l2.write_rate_image(calibrate(ramp, store), image)
    mine = store.with_files({"flat": flat})
    before = datetime(2019, 1, 1, tzinfo=UTC)
    return {
        "contexts": [store.context, open_store("crds:roman_0007.pmap").context],
        "context with a file": mine.context,
        "flat of one's own": mine.find("flat", **WHO).file,
        "dark beside it": mine.find("dark", **WHO).file,
        "gains": [store.find("gain", **{**WHO, "date": date}).file for date in (WHO["date"], LATER)],
        "read noises": [store.find("readnoise", **WHO, ma_table=number).file for number in (3, 4)],
        "gain": float(store.load(kinds.GainReference, **WHO).gain[0, 0]),
        "of another detector": said(lambda: store.find("gain", **{**WHO, "detector": "WFI01"})),
        "before all": said(lambda: store.find("gain", **{**WHO, "date": before})),
        "of no kind there": said(lambda: store.find("epsf", **WHO)),
        "not for this": said(lambda: store.find("ipc", **WHO)),
        "file not there": said(lambda: store.load(kinds.GainReference, **{**WHO, "date": LATER})),
        "no context": said(lambda: open_store("crds:roman_0008.pmap").find("gain", **WHO)),
        "added": said(lambda: store.add([])),
        "no cache": without_cache(lambda: open_store("crds")),
    }


def without_cache(question: Callable[[], object]) -> str:
    """Return what is said where the client finds no folder of its own; it remembers the one it had."""
    os.environ["CRDS_PATH"] += "/empty"
    crds.utils.clear_function_caches()
    return said(question)


def said(question: Callable[[], object]) -> str:
    try:
        return f"nothing: {question()}"
    except PipelineError as error:
        return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    told = answers(*sys.argv[1:])
    print(json.dumps(told))
