"""Settings of a recipe from a TOML file: a table per step, its parameters, ``skip = true`` to leave it out.

[refpix]
skip = true

[ramp_fitting]
algorithm = "casertano"
jump_threshold_sigma = 4.5
"""

import tomllib
from collections.abc import Iterable, Mapping
from typing import Any

from nexus_pipeline.errors import InputError
from nexus_pipeline.products import store
from nexus_pipeline.runner import Settings


def read_settings(url: str) -> Settings:
    """Return the settings in the file at ``url``; InputError for what is no TOML or no table per step.

    Whether there are such steps and parameters is for the recipe to say.
    """
    with store.open_for_reading(url) as handle:
        try:
            tables = tomllib.load(handle)
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InputError(f"{url}: not a TOML file: {error}", url=url) from error
    parameters, skip = {}, set()
    for step, table in tables.items():
        if not isinstance(table, dict):
            raise InputError(f"{url}: {step} = {table!r} stands in no step's table; write [step] above it")
        wanted = table.pop("skip", False)
        if not isinstance(wanted, bool):
            raise InputError(f"{url}: {step}.skip must be true or false, not {wanted!r}")
        if wanted:
            skip.add(step)
        parameters[step] = table
    return Settings(parameters, frozenset(skip))


def with_changes(
    settings: Settings, *, skip: Iterable[str] = (), parameters: Mapping[str, Mapping[str, Any]] | None = None
) -> Settings:
    """Return ``settings`` with more steps left out and with ``parameters`` in place of its own."""
    merged = {step: dict(table) for step, table in settings.parameters.items()}
    for step, table in (parameters or {}).items():
        merged[step] = {**merged.get(step, {}), **table}
    return Settings(merged, settings.skip | frozenset(skip))
