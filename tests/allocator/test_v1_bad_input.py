"""Every body and address of the API with values that are none: refused in the one shape, never our fault."""

from typing import Any

import pytest
from tests.allocator.test_v1_rights import EVERYBODY, PEOPLE, ROWS, Row, Scene, is_right, scene

from nexus_allocator.domain import rights

__all__ = ["scene"]

BAD: tuple[Any, ...] = (
    None, "", "x" * 30_000, "a\x00b", "<script>alert(1)</script>", -1, 10**30, 1.5, True, [], {},
    "0001-01-01T00:00:00+23:00", "9999-12-31T23:59:59-23:00", "2027-02-30T00:00:00Z",
)  # fmt: skip
BODIES = tuple(row for row in ROWS if row.body)


def somebody(scene: Scene, row: Row) -> str:
    """Return a token of somebody who may do it."""
    everything = frozenset(rights.Capacity)
    who = next(each for each in EVERYBODY[1:] if is_right(each, row, scene.deed(row), everything))
    return scene.api.token(PEOPLE[who])


@pytest.mark.parametrize("row", BODIES, ids=lambda row: f"{row.method} {row.route}")
def test_whatever_stands_in_a_body_is_taken_or_refused_in_one_shape(scene: Scene, row: Row) -> None:
    token, whole, wrong = somebody(scene, row), scene.filled(row.body or {}), []
    path = row.route.format(**scene.words)
    for name in (*whole, "no_such_field"):
        for bad in BAD:
            answer = scene.api.ask(row.method, path, token, json=whole | {name: bad})
            if answer.is_success:
                scene.api.restore(scene.file)
            elif answer.status_code >= 500 or set(answer.json()) != {"error", "message", "facts"}:
                wrong.append((name, str(bad)[:30], answer.status_code, answer.text[:80]))
    assert wrong == []


@pytest.mark.parametrize("sent", [b"", b"{", b"null", b"[]", b'"text"', b"\xff\xfe", b'{"a":' * 2_000])
def test_what_is_no_object_is_refused(scene: Scene, sent: bytes) -> None:
    for row in BODIES:
        path = row.route.format(**scene.words)
        answer = scene.api.ask(row.method, path, somebody(scene, row), content=sent)
        assert answer.status_code == 422, (row, answer.text[:80])
        assert answer.json()["error"] == "invalid_request", row
