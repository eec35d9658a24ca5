"""Asking for a larger tier: yes takes effect at the next launch, no comes with a reason."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DatabaseError
from tests.support.allocator import START, World

from nexus_allocator.domain import requests as rules
from nexus_allocator.domain import science, wording
from nexus_allocator.domain.credits import MICRO
from nexus_allocator.domain.errors import (
    AgreementRequired,
    BadAmount,
    BadDate,
    BadGrantList,
    BadName,
    BadReason,
    IllegalMove,
    NotAllowed,
    RequestOpen,
    SizeNotAllowed,
    TierNotRequestable,
    UnknownAccount,
    UnknownRequest,
)
from nexus_allocator.domain.states import Mover, RequestState, TierSlug
from nexus_allocator.services import decisions, grants, requests, rights
from nexus_allocator.services.request_moves import turn_all
from nexus_allocator.store import requests as request_rows
from nexus_allocator.store.tables import TierRequest


def submit(world: World, hub_name: str = "astronomer", **changes: Any) -> UUID:
    wish = {"account": hub_name, "tier": "research", "justification": "Lensing in a hundred square degrees."}
    with world.database.session_scope() as session:
        ask = requests.Ask(**(wish | changes))
        return requests.submit(session, ask, policy=world.policy, hub_name=hub_name, now=world.clock()).id


def award(world: World, request_id: UUID, by: UUID, **changes: Any) -> TierRequest:
    with world.database.session_scope() as session:
        return decisions.award(
            session, policy=world.policy, request_id=request_id, administrator_id=by, now=world.clock(),
            # The panel has tests of its own; where one is needed, this stands in for it.
            award=decisions.Award(**{"bypass": "for the test"} | changes),
        )  # fmt: skip


def deny(world: World, request_id: UUID, by: UUID, reason: str) -> TierRequest:
    with world.database.session_scope() as session:
        return decisions.deny(
            session, request_id=request_id, administrator_id=by, reason=reason, now=world.clock()
        )


def moves(world: World, request_id: UUID) -> list[tuple[str | None, str, str | None, str | None]]:
    """From what, to what, by whom (None is the platform) and why."""
    with world.database.reading_scope() as session:
        kept = request_rows.moves_of(session, [request_id])[request_id]
        return [(move.before, move.after, by, move.reason) for move, by in kept]


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
    assert (request.state, request.awarded_micro) == (RequestState.ACTIVE, 7 * MICRO)
    assert moves(world, request.id) == [
        (None, "draft", "Astronomer", None),
        ("draft", "submitted", "Astronomer", None),
        ("submitted", "awarded-in-part", "Admin", "A pilot first."),
        ("awarded-in-part", "active", None, None),
    ]
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
        with pytest.raises(IllegalMove):
            decide()
    with pytest.raises(UnknownRequest):
        award(world, uuid4(), admin)
    assert world.figures("astronomer").balance == 525 * MICRO


def test_of_answers_given_at_the_same_moment_one_counts(world: World) -> None:
    world.astronomer()
    admin = world.administrator()
    request_id = submit(world)

    def withdraw() -> None:
        with world.database.session_scope() as session:
            requests.withdraw(session, request_id, hub_name="astronomer", now=world.clock())

    acts = [
        lambda: award(world, request_id, admin),
        lambda: deny(world, request_id, admin, "Please use the team."),
        withdraw,
    ] * 2
    with ThreadPoolExecutor(len(acts)) as pool:
        ends = [pool.submit(act) for act in acts]
    refusals = [end.exception() for end in ends if end.exception() is not None]
    assert len(refusals) == len(acts) - 1
    assert all(isinstance(refusal, IllegalMove) for refusal in refusals)
    kept = [after for _, after, _, _ in moves(world, request_id)]
    assert kept[2:] in (["awarded", "active"], ["denied"], ["withdrawn"])
    assert world.figures("astronomer").balance == (525 if "active" in kept else 25) * MICRO


def test_one_request_waits_at_a_time(world: World) -> None:
    world.astronomer()
    submit(world)
    with pytest.raises(RequestOpen):
        submit(world)


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"tier": "special"}, TierNotRequestable),
        ({"tier": "team"}, BadName),
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


def put(world: World, act: Any, **changes: Any) -> TierRequest:
    """Write or send a request with everything in it."""
    wish = {
        "account": "astronomer", "tier": "research", "justification": "Lensing in a hundred square degrees.",
        "title": "Shear", "exposures": 356, "grant_number": " rgo-26 01 ", "members": ("colleague",),
    }  # fmt: skip
    with world.database.session_scope() as session:
        ask = requests.Ask(**(wish | changes))
        return act(session, ask, policy=world.policy, hub_name="astronomer", now=world.clock())


def turned(world: World) -> int:
    return turn_all(world.database, policy=world.policy, now=world.clock())


def test_a_draft_is_continued_sent_reviewed_returned_and_sent_again(world: World) -> None:
    world.astronomer()
    admin = world.administrator()
    request = put(world, requests.draft, justification="")
    assert put(world, requests.draft, title="Shear again").id == request.id
    assert put(world, requests.submit).id == request.id
    with pytest.raises(RequestOpen):
        put(world, requests.draft)
    with world.database.session_scope() as session:
        decisions.review(session, request_id=request.id, administrator_id=admin, now=world.clock())
    with world.database.session_scope() as session:
        decisions.send_back(
            session, request_id=request.id, administrator_id=admin, reason="Which field?", now=world.clock()
        )
    assert put(world, requests.submit).id == request.id
    assert [(before, after, why) for before, after, _, why in moves(world, request.id)] == [
        (None, "draft", None),
        ("draft", "submitted", None),
        ("submitted", "in-review", None),
        ("in-review", "returned", "Which field?"),
        ("returned", "submitted", None),
    ]
    kept = award(world, request.id, admin)
    assert (kept.title, kept.grant_number, kept.members) == ("Shear", "RGO-2601", ["colleague"])
    assert kept.asked_micro == 356 * science.exposure_micro(world.policy)


def test_who_withdrew_asks_anew_and_another_person_s_request_is_as_unknown_as_none(world: World) -> None:
    world.astronomer()
    world.astronomer("stranger")
    request_id = submit(world)
    with world.database.session_scope() as session, pytest.raises(UnknownRequest):
        requests.withdraw(session, request_id, hub_name="stranger", now=world.clock())
    with world.database.session_scope() as session:
        requests.withdraw(session, request_id, hub_name="astronomer", now=world.clock())
    assert submit(world) != request_id
    with world.database.session_scope() as session, pytest.raises(IllegalMove) as caught:
        requests.withdraw(session, request_id, hub_name="astronomer", now=world.clock())
    assert wording.sentence(caught.value) == (
        "This request is withdrawn and can't become withdrawn; nothing more can be done to it."
    )


def test_the_clock_leads_an_award_through_its_end_and_a_renewal_takes_its_place(world: World) -> None:
    world.astronomer()
    admin = world.administrator()
    first = award(world, submit(world), admin).id
    world.clock.forward(days=334)
    assert turned(world) == 0
    with pytest.raises(TierNotRequestable):
        submit(world)
    world.clock.forward(days=1)
    assert (turned(world), turned(world)) == (1, 0)
    world.clock.forward(days=61)
    assert turned(world) == 2
    assert [after for _, after, _, _ in moves(world, first)][-4:] == [
        "active",
        "expiring",
        "grace",
        "expired",
    ]
    second = award(world, submit(world, papers="None yet."), admin).id
    assert moves(world, first)[-1][:2] == ("expired", "renewed")
    assert moves(world, second)[-1][:3] == ("awarded", "active", None)
    assert world.figures("astronomer").balance == 1025 * MICRO


@pytest.mark.parametrize("before", list(RequestState))
@pytest.mark.parametrize("mover", list(Mover))
def test_every_move_that_is_not_in_the_table_is_refused_with_those_that_are(
    before: RequestState, mover: Mover
) -> None:
    allowed = rules.may_move_to(before, mover)
    for after in RequestState:
        if after in allowed:
            rules.require_move(before, after, mover)
            continue
        with pytest.raises(IllegalMove) as caught:
            rules.require_move(before, after, mover)
        assert caught.value.facts["may"] == allowed
        assert wording.sentence(caught.value).startswith("This request is ")


def test_an_applicant_decides_nothing_and_an_administrator_withdraws_nothing() -> None:
    decided = {RequestState.AWARDED, RequestState.AWARDED_IN_PART, RequestState.DENIED, RequestState.ACTIVE}
    for state in RequestState:
        assert not decided & set(rules.may_move_to(state, Mover.APPLICANT))
        assert RequestState.WITHDRAWN not in rules.may_move_to(state, Mover.ADMINISTRATOR)


def test_a_kept_move_can_not_be_changed(world: World) -> None:
    world.astronomer()
    submit(world)
    with world.database.session_scope() as session, pytest.raises(DatabaseError, match="append-only"):
        session.execute(text("UPDATE request_move SET reason = 'another'"))


GRANTS = """number,email,ends_on,credits
RGO-2601,Astronomer@example.org,2026-12-31,
RGO-2602,x@y.org,2026-12-31,7.5
"""


def imported(world: World, listed: str) -> int:
    with world.database.session_scope() as session:
        return grants.import_list(session, grants.read_list(listed), actor="test", now=world.clock())


def with_mail(world: World, mail: str) -> None:
    world.astronomer()
    with world.database.session_scope() as session:
        rights.person_called(session, "astronomer").email = mail


def test_a_listed_grant_of_one_s_own_is_awarded_at_once_and_once(world: World) -> None:
    with_mail(world, "astronomer@EXAMPLE.org")
    assert imported(world, GRANTS) == 2
    request = put(world, requests.submit)
    assert (request.state, request.awarded_micro, request.decided_by) == ("active", 500 * MICRO, None)
    assert moves(world, request.id)[2] == ("submitted", "awarded", None, "Approved grant RGO-2601")
    assert imported(world, GRANTS) == 1, "a used grant keeps its words"
    world.clock.forward(days=360)
    turned(world)
    again = put(world, requests.submit, papers="None yet.")
    assert again.state == "submitted", "the grant was used"


@pytest.mark.parametrize(
    ("mail", "number", "days"),
    [("another@example.org", "RGO-2601", 0), ("astronomer@example.org", "RGO-2699", 0),
     ("astronomer@example.org", None, 0), ("astronomer@example.org", "RGO-2601", 305)],
)  # fmt: skip
def test_a_grant_of_another_or_none_or_an_ended_one_waits_for_an_administrator(
    world: World, mail: str, number: str | None, days: int
) -> None:
    with_mail(world, mail)
    imported(world, GRANTS)
    world.clock.forward(days=days)
    assert put(world, requests.submit, grant_number=number).state == "submitted"
    assert world.figures("astronomer").balance == 25 * MICRO


def test_a_grant_with_fewer_credits_than_the_tier_is_an_award_in_part(world: World) -> None:
    with_mail(world, "x@y.org")
    imported(world, GRANTS)
    request = put(world, requests.submit, grant_number="rgo-2602")
    assert request.awarded_micro == 7_500_000
    assert moves(world, request.id)[2][1] == "awarded-in-part"


@pytest.mark.parametrize(
    ("listed", "line", "problem"),
    [
        ("", 1, "columns"),
        ("number,email\n", 1, "columns"),
        ("number,email,ends_on,colour\n", 1, "columns"),
        ("number,email,ends_on\n,a@b,2026-12-31\n", 2, "missing"),
        ("number,email,ends_on\nA,a@b,2026-12-31\na ,a@b,2026-12-31\n", 3, "there twice"),
        ("number,email,ends_on\nA,nobody,2026-12-31\n", 2, "no e-mail"),
        ("number,email,ends_on\nA,a@b,31.12.2026\n", 2, "no day"),
        ("number,email,ends_on\nA,a@b,9999-12-31\n", 2, "no day"),
        ("number,email,ends_on\nA,a@b\n", 2, "no day"),
        ("number,email,ends_on\nA,a@b,2026-12-31,1,2\n", 2, "more cells"),
        ("number,email,ends_on,credits\nA,a@b,2026-12-31,-5\n", 2, "above zero"),
        ("number,email,ends_on,credits\nA,a@b,2026-12-31,many\n", 2, "no number"),
    ],
)
def test_a_list_with_one_wrong_line_imports_nothing_and_names_it(
    listed: str, line: int, problem: str
) -> None:
    with pytest.raises(BadGrantList) as caught:
        grants.read_list(listed)
    assert caught.value.facts["line"] == line
    assert problem in wording.sentence(caught.value)


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"title": "x" * 201}, BadReason),
        ({"justification": "x" * 2001}, BadReason),
        ({"exposures": 0}, BadAmount),
        ({"exposures": 10**9}, BadAmount),
        ({"members": ("Not A Name",)}, BadName),
        ({"members": tuple(f"m{n}" for n in range(51))}, BadName),
    ],
)
def test_not_even_a_draft_keeps_nonsense(
    world: World, changes: dict[str, Any], refusal: type[Exception]
) -> None:
    world.astronomer()
    with pytest.raises(refusal):
        put(world, requests.draft, **changes)
