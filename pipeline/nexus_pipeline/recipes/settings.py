"""Settings of a recipe from a TOML file: a table per step, its parameters, ``skip = true`` to leave it out.

[refpix]
skip = true

[ramp_fitting]
algorithm = "casertano"
jump_threshold_sigma = 4.5
"""

from collections.abc import Iterable, Mapping
from typing import Any

from nexus_pipeline.products.settings import read_tables
from nexus_pipeline.runner import Settings


def read_settings(url: str) -> Settings:
    """Return the settings in the file at ``url``; InputError for what is no TOML or no table per step.

    Whether there are such steps and parameters is for the recipe to say.
    """
    return Settings(*read_tables(url, part="step"))


def with_changes(
    settings: Settings, *, skip: Iterable[str] = (), parameters: Mapping[str, Mapping[str, Any]] | None = None
) -> Settings:
    """Return ``settings`` with more steps left out and with ``parameters`` in place of its own."""
    merged = {step: dict(table) for step, table in settings.parameters.items()}
    for step, table in (parameters or {}).items():
        merged[step] = {**merged.get(step, {}), **table}
    return Settings(merged, settings.skip | frozenset(skip))
