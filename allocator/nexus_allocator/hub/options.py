"""The four choices of a launch (account, size, image, hours), as a form or the API brings them."""

from decimal import Decimal, InvalidOperation
from typing import Any

TEXTS = ("account", "size", "image")
MISSING = "Choose what to start: account, size, image and hours are needed (missing: {})."


def read_form(form_data: dict[str, list[Any]]) -> dict[str, Any]:
    """Return {account, size, image, hours} as posted; anything else in the form is dropped.

    The size arrives as ``size`` or, from the launch page, as ``size-<account>`` of the chosen account.
    """
    options = {
        name: values[-1] for name, values in form_data.items() if values and isinstance(values[-1], str)
    }
    size = options.get(f"size-{options.get('account')}", options.get("size"))
    chosen = {**options, "size": size}
    return {name: chosen[name] for name in (*TEXTS, "hours") if chosen.get(name)}


def read_options(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options in the types the service takes; raise ValueError with what is missing or wrong."""
    missing = [name for name in (*TEXTS, "hours") if name not in options]
    if missing:
        raise ValueError(MISSING.format(", ".join(missing)))
    for name in TEXTS:
        if not isinstance(options[name], str):
            raise ValueError(f"The {name} must be a name, not {options[name]!r}.")  # noqa: TRY004
    return {**{name: options[name] for name in TEXTS}, "hours": read_hours(options["hours"])}


def read_hours(value: Any) -> float:
    """Return planned hours; bounds and steps are the service's to judge."""
    try:
        hours = Decimal(str(value))
    except InvalidOperation:
        hours = Decimal("NaN")
    if isinstance(value, bool) or not hours.is_finite():
        raise ValueError(f"The planned hours must be a number such as 1.5, not {value!r}.")
    return float(hours)
