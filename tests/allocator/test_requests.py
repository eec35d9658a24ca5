"""Asking for a larger tier: yes takes effect at the next launch, no comes with a reason."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from tests.support.allocator import START, World

from nexus_allocator.domain.credits import MICRO
from nexus_allocator.domain.errors import (
    AgreementRequired,
    BadAmount,
    BadDate,
    BadReason,
    NotAllowed,
    RequestDecided,
    RequestOpen,
    SizeNotAllowed,
    TierNotRequestable,
    UnknownAccount,
    UnknownRequest,
)
from nexus_allocator.domain.states import RequestState, TierSlug
from nexus_allocator.services import requests
from nexus_allocator.store.tables import TierRequest


def submit(world: World, hub_name: str = "astronomer", **changes: Any) -> UUID:
    wish = {"account": hub_name, "tier": "research", "justification": "Lensing in a hundred square degrees."}
    with world.database.session_scope() as session:
        request = requests.submit(
            session, policy=world.policy, hub_name=hub_name, now=world.clock(), **(wish | changes)
        )
        return request.id


def award(world: World, request_id: UUID, by: UUID, **changes: Any) -> TierRequest:
    with world.database.session_scope() as session:
        return requests.award(
            session, policy=world.policy, request_id=request_id, administrator_id=by, now=world.clock(),
            **changes,
        )  # fmt: skip


def deny(world: World, request_id: UUID, by: UUID, reason: str) -> TierRequest:
    with world.database.session_scope() as session:
        return requests.deny(
            session, request_id=request_id, administrator_id=by, reason=reason, now=world.clock()
        )


def test_an_award_grants_credits_and_larger_sizes_at_the_next_launch(world: World) -> None:
    world.astronomer()
    admin = world.administrator()
    with pytest.raises(SizeNotAllowed):
        world.launch(size="medium")
    award(world, submit(world), admin)
    assert world.figures("astronomer").balance == 525 * MICRO
    assert world.launch(size="medium").size.slug == "medium"


def test_an_award_may_be_partial_in_credits_tier_and_time(world: World) -> None:
    world.astronomer()
    admin = world.administrator()
    ends = world.clock() + timedelta(days=30)
    request = award(
        world, submit(world), admin, credits_micro=7 * MICRO, expires_at=ends, note="A pilot first."
    )
    assert (request.state, request.awarded_micro) == (RequestState.AWARDED, 7 * MICRO)
    assert world.figures("astronomer").balance == 32 * MICRO
    world.clock.forward(days=29)
    world.launch(size="medium")


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"credits_micro": 0}, BadAmount),
        ({"credits_micro": -5}, BadAmount),
        ({"tier": TierSlug.SPECIAL}, BadAmount),
        ({"expires_at": START}, BadDate),
        ({"expires_at": START + timedelta(days=9000)}, BadDate),
    ],
)
def test_an_award_that_makes_no_sense_is_refused(
    world: World, changes: dict[str, Any], refusal: type[Exception]
) -> None:
    world.astronomer()
    admin = world.administrator()
    request_id = submit(world)
    with pytest.raises(refusal):
        award(world, request_id, admin, **changes)


def test_a_denial_changes_nothing_and_lets_one_ask_again(world: World) -> None:
    world.astronomer()
    admin = world.administrator()
    request = deny(world, submit(world), admin, "Please say which area.")
    assert (request.state, request.decision_reason) == (RequestState.DENIED, "Please say which area.")
    assert world.figures("astronomer").balance == 25 * MICRO
    submit(world)


def test_a_denial_without_a_reason_is_refused(world: World) -> None:
    world.astronomer()
    admin = world.administrator()
    request_id = submit(world)
    with pytest.raises(BadReason):
        deny(world, request_id, admin, " ")


def test_a_decision_is_taken_once_and_by_an_administrator(world: World) -> None:
    person_id = world.astronomer()
    admin = world.administrator()
    request_id = submit(world)
    with pytest.raises(NotAllowed):
        award(world, request_id, person_id)
    award(world, request_id, admin)
    for decide in (lambda: award(world, request_id, admin), lambda: deny(world, request_id, admin, "late")):
        with pytest.raises(RequestDecided):
            decide()
    with pytest.raises(UnknownRequest):
        award(world, uuid4(), admin)
    assert world.figures("astronomer").balance == 525 * MICRO


def test_one_request_waits_at_a_time(world: World) -> None:
    world.astronomer()
    submit(world)
    with pytest.raises(RequestOpen):
        submit(world)


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"tier": "team"}, TierNotRequestable),
        ({"tier": "entry"}, TierNotRequestable),
        ({"tier": "emperor"}, TierNotRequestable),
        ({"justification": "x"}, BadReason),
        ({"justification": "x" * 2001}, BadReason),
        ({"account": "stranger"}, UnknownAccount),
        ({"account": "wide-field"}, UnknownAccount),
    ],
)
def test_a_request_one_may_not_make_is_refused(
    world: World, changes: dict[str, Any], refusal: type[Exception]
) -> None:
    world.astronomer()
    world.astronomer("stranger")
    world.team("wide-field", "stranger", "astronomer")
    with pytest.raises(refusal):
        submit(world, **changes)


def test_nobody_asks_before_the_agreement(world: World) -> None:
    world.signed_in("astronomer")
    with pytest.raises(AgreementRequired):
        submit(world)
