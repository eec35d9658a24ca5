"""Pages of long lists: each answer says where the next begins."""

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Generic, TypeVar
from uuid import UUID

from fastapi import Query
from pydantic import BaseModel

from nexus_allocator.domain.errors import InvalidRequest

Item = TypeVar("Item")
Row = TypeVar("Row")
Model = TypeVar("Model", bound=BaseModel)
FOREIGN = "the cursor is not one of ours"
Limit = Annotated[int, Query(ge=1, le=200, description="At most so many items.")]
Cursor = Annotated[
    str | None, Query(max_length=500, description="Where to go on: `next` of the page before.")
]


class Page(BaseModel, Generic[Item]):
    """``next`` is the cursor of the page that follows, null on the last."""

    items: list[Item]
    next: str | None


def after(cursor: str | None) -> tuple[str, ...] | None:
    """Return the key of the last item of the page before. Raises InvalidRequest."""
    if cursor is None:
        return None
    try:
        words = json.loads(base64.urlsafe_b64decode(cursor.encode("ascii")))
    except (binascii.Error, ValueError, RecursionError) as error:
        raise InvalidRequest(problem=FOREIGN) from error
    if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
        raise InvalidRequest(problem=FOREIGN)
    return tuple(word.replace("\x00", "") for word in words)


def cursor(key: tuple[str, ...]) -> str:
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode()


def page(
    rows: Sequence[Row], limit: int, *, model: type[Model], key: Callable[[Row], tuple[str, ...]]
) -> Page[Model]:
    """Return a page of the first ``limit`` rows; one row more says that there is another page."""
    kept, more = rows[:limit], len(rows) > limit
    items = [model.model_validate(row) for row in kept]
    return Page[Model](items=items, next=cursor(key(kept[-1])) if more else None)


def following(rows: Sequence[Row], cursor: str | None, *, key: Callable[[Row], tuple[str, ...]]) -> list[Row]:
    """Return the rows that come after the cursor, of a list read whole, in the order of their keys."""
    last = after(cursor)
    return [row for row in sorted(rows, key=key) if last is None or key(row) > last]


def number(key: tuple[str, ...] | None) -> int | None:
    """Return the number that a list went up to. Raises InvalidRequest."""
    if key is None:
        return None
    if not key[0].isdecimal() or len(key[0]) > 18:
        raise InvalidRequest(problem=FOREIGN)
    return int(key[0])


def moment_and_id(key: tuple[str, ...] | None) -> tuple[datetime, UUID] | None:
    """Return the moment and the id that a list went up to. Raises InvalidRequest."""
    if key is None:
        return None
    try:
        moment, row_id = datetime.fromisoformat(key[0]), UUID(key[1])
    except (ValueError, IndexError) as error:
        raise InvalidRequest(problem=FOREIGN) from error
    if moment.tzinfo is None:
        raise InvalidRequest(problem=FOREIGN)
    return moment, row_id


def word(key: tuple[str, ...] | None) -> str | None:
    return None if key is None else key[0]
