"""A policy as it would be with some values changed, checked as the file itself is."""

from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

import yaml


class BadChange(ValueError):  # noqa: N818 - says what it is
    """A change that names nothing in the policy, or has no value."""


def changing(changes: Sequence[str]) -> Callable[[Any], Any]:
    """Return what makes the ``changes`` in a policy document.

    A change reads ``tiers.entry.credits=12.5``, or ``=x0.5`` for half of what it is; members of a list
    are named by their slug. Raises BadChange.
    """

    def change(document: Any) -> Any:
        for text in changes:
            path, sign, value = text.partition("=")
            if not sign or not value:
                raise BadChange(f"{text!r} does not read like tiers.entry.credits=12.5")
            *way, last = path.strip().split(".")
            place = _place(document, way, text)
            if not isinstance(place, dict) or last not in place:
                raise BadChange(f"{text!r}: the policy has no {path}")
            place[last] = _value(place[last], value.strip(), text)
        return document

    return change


def _place(document: Any, way: Sequence[str], text: str) -> Any:
    place = document
    for word in way:
        if isinstance(place, list):
            found = [each for each in place if isinstance(each, dict) and each.get("slug") == word]
            place = found[0] if found else None
        else:
            place = place.get(word) if isinstance(place, dict) else None
        if place is None:
            raise BadChange(f"{text!r}: the policy has no {word}")
    return place


def _value(before: Any, value: str, text: str) -> Any:
    if not value.startswith("x"):
        try:
            return yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise BadChange(f"{text!r}: its value can't be read") from error
    try:
        return str(Decimal(str(before)) * Decimal(value[1:]))
    except InvalidOperation as error:
        raise BadChange(f"{text!r}: {before!r} can't be multiplied") from error
