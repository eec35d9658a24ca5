"""Which effects are simulated and how strongly, as people ask for it: a TOML file, the command line.

[cosmic_rays]
skip = true

[electronics]
pink_dn = 5.0
"""

from collections.abc import Iterable
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

from nexus_pipeline.errors import InputError
from nexus_pipeline.products.settings import Tables, read_tables

Switches = TypeVar("Switches")


def read_effects(effects: Switches, url: str | None, skip: Iterable[str] = ()) -> Switches:
    """Return ``effects`` as the file at ``url`` wants them, and without those in ``skip``."""
    parameters, left_out = read_tables(url, part="effect") if url is not None else ({}, frozenset())
    return with_settings(effects, parameters, left_out | frozenset(skip))


def with_settings(effects: Switches, parameters: Tables, skip: Iterable[str]) -> Switches:
    """Return ``effects`` (a dataclass, a field per effect) with other parameters and without some effects.

    An effect is true or false, or a dataclass of its parameters that has an ``off()``. InputError for an
    effect or a parameter there is not, and a value of another type.
    """
    now = {field.name: getattr(effects, field.name) for field in fields(effects)}  # type: ignore[arg-type]
    for name in [*parameters, *skip]:
        if name not in now:
            raise InputError(f"no effect is called {name!r}; there are {', '.join(now)}", effect=name)
    for name, table in parameters.items():
        now[name] = _changed(name, now[name], table)
    for name in skip:
        now[name] = now[name].off() if hasattr(now[name], "off") else False
    return replace(effects, **now)  # type: ignore[type-var]


def _changed(name: str, effect: Any, table: dict[str, Any]) -> Any:
    known = (
        {field.name: getattr(effect, field.name) for field in fields(effect)} if is_dataclass(effect) else {}
    )
    for parameter, value in table.items():
        if parameter not in known:
            has = f"its parameters are {', '.join(known)}" if known else "it has no parameters"
            raise InputError(
                f"{name} has no parameter {parameter!r}; {has}", effect=name, parameter=parameter
            )
        number = isinstance(value, int | float) and not isinstance(value, bool)
        wanted = type(known[parameter])
        if not (isinstance(value, wanted) or (wanted is float and number)):
            raise InputError(f"{name}.{parameter} must be a {wanted.__name__}, not {value!r}", effect=name)
    return replace(effect, **table) if table else effect
