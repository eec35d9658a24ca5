"""Files that the pipeline can make again: of what, by which commands, what it costs beside keeping them."""

import json
import math
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from nexus_allocator.domain.credits import charge_micro
from nexus_allocator.domain.policy import Policy
from nexus_allocator.domain.purges import Parts, readable

GB, MONTHS_A_YEAR = 10**9, 365 / 30
LEFT_OUT = "left out on request"
# What the pipeline's command line sets in other ways than by a table of parameters.
NOT_SET = frozenset({"read"})


@dataclass(frozen=True)
class Origin:
    """How a product was made, as it says itself; ``seconds`` are of wall clock on one core."""

    product: str
    seconds: float
    context: str | None = None
    parameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()

    @property
    def source(self) -> str:
        """The name of the ramp that it was made of."""
        return self.product.replace("_cal.asdf", "_uncal.asdf")


def remake_micro(origin: Origin, policy: Policy) -> int:
    """Return what it costs to make the product again: a share of the server that science is reckoned by."""
    size = policy.size(policy.science.size)
    return charge_micro(policy.rate_micro(size), origin.seconds / size.cpu)


def keep_micro_a_year(size_bytes: int, policy: Policy) -> int:
    return math.ceil(size_bytes / GB * policy.rate_card.gb_month_micro * MONTHS_A_YEAR)


def recipe(made: Iterable[tuple[Parts, Origin]], *, place: str) -> str:
    """Return a shell script that makes the products again where they were.

    Those made alike share a file of parameters. Names come from people's files: all of them are quoted.
    """
    lines = [
        "#!/bin/sh",
        f"# Makes again what was purged from {shlex.quote(place)}; to be run at its top. Set before:",
        "# L1, the folder or s3:// prefix of the ramps; REFERENCES, the store (or crds:CONTEXT) of then.",
        "set -e",
        ': "${L1:?}" "${REFERENCES:?}"',
    ]
    known: dict[str, str] = {}
    for path, origin in made:
        text = _toml(origin.parameters)
        if text and text not in known:
            known[text] = f"parameters-{len(known) + 1}.toml"
            lines += [f"cat > {known[text]} <<'TOML'", text.rstrip("\n"), "TOML"]
        lines.append(_command(path, origin, parameters=known.get(text)))
    return "\n".join(lines) + "\n"


def _command(path: Parts, origin: Origin, *, parameters: str | None) -> str:
    words = ["wfi", "calibrate", f'"$L1"/{shlex.quote(origin.source)}', "--references", '"$REFERENCES"']
    folder = "/".join(name.decode("utf-8", "replace") for name in path[:-1]) or "."
    words += ["--output", shlex.quote(folder)]
    if parameters:
        words += ["--parameters", parameters]
    for step in origin.left_out:
        words += ["--skip", shlex.quote(step)]
    made_with = f"  # made with {shlex.quote(readable((origin.context.encode(),)))}" if origin.context else ""
    return " ".join(words) + made_with


def _toml(parameters: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the tables of parameters; what TOML has no word for stays at its default."""
    tables = []
    for step, values in parameters.items():
        lines = [f"{name} = {json.dumps(value)}" for name, value in values.items() if _is_plain(value)]
        if lines and step not in NOT_SET:
            tables.append("\n".join([f"[{step}]", *lines]))
    return "\n".join(tables)


def _is_plain(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, bool | int | str) or (
        isinstance(value, list) and all(isinstance(each, str) for each in value)
    )
