"""Settings in a TOML file: a table per part (a step, an effect), where ``skip = true`` leaves it out."""

import tomllib
from typing import Any

from nexus_pipeline.errors import InputError
from nexus_pipeline.products import store

Tables = dict[str, dict[str, Any]]


def read_tables(url: str, *, part: str) -> tuple[Tables, frozenset[str]]:
    """Return the parameters by part, and the parts to leave out; ``part`` is what people call one.

    InputError for what is no TOML or stands in no part's table. Whether there are such parts and parameters
    is for the caller to say.
    """
    with store.open_for_reading(url) as handle:
        try:
            tables = tomllib.load(handle)
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InputError(f"{url}: not a TOML file: {error}", url=url) from error
    parameters, skip = {}, set()
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise InputError(
                f"{url}: {name} = {table!r} stands in no {part}'s table; write [{part}] above it"
            )
        wanted = table.pop("skip", False)
        if not isinstance(wanted, bool):
            raise InputError(f"{url}: {name}.skip must be true or false, not {wanted!r}")
        if wanted:
            skip.add(name)
        parameters[name] = table
    return parameters, frozenset(skip)
