"""The panel: rounds, reviewers without conflicts, enough reviews before an award, offers, the queue."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import count
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test
from sqlalchemy import text
from sqlalchemy.exc import DatabaseError
from tests.allocator.test_requests import moves
from tests.support.allocator import START, World
from tests.support.panel import PanelWorld

from nexus_allocator.domain import panel as rules
from nexus_allocator.domain import wording
from nexus_allocator.domain.credits import MICRO
from nexus_allocator.domain.errors import (
    AllocatorError,
    AlreadyReviewer,
    AlreadyWithPanel,
    BadComment,
    BadReason,
    BadRound,
    BadScores,
    Conflicted,
    IllegalMove,
    NotAllowed,
    NotReviewer,
    OfferOver,
    PanelNotHeard,
    ReviewClosed,
    Suspended,
    UnknownPerson,
    UnknownRequest,
    UnknownRound,
)
from nexus_allocator.domain.panel import ConflictKind, Opinion, Window
from nexus_allocator.domain.records import Act
from nexus_allocator.domain.states import RequestState
from nexus_allocator.policy import load_policy
from nexus_allocator.services import panels, record_reading, suspensions
from nexus_allocator.services.audit import audit
from nexus_allocator.store.records import Wanted
from nexus_allocator.store.session import Database
from nexus_allocator.store.tables import TierRequest


@pytest.fixture
def panel(world: World) -> PanelWorld:
    """A world with an administrator, an applicant called Ann, and two reviewers."""
    made = PanelWorld(world, world.administrator())
    world.astronomer("ann")
    made.reviewers("rae", "ray")
    return made


def person(panel: PanelWorld, name: str) -> UUID:
    return panel.world.signed_in(name)


def test_a_team_request_is_awarded_once_two_reviewers_were_heard(panel: PanelWorld) -> None:
    panel.round()
    request_id = panel.ask()
    assert any("please review it by 2026-04-15" in told for told in panel.world.told("rae"))
    for heard, name in enumerate(("rae", "ray")):
        with pytest.raises(PanelNotHeard) as refusal:
            panel.award(request_id)
        assert refusal.value.facts == {"reviews": heard, "needed": 2}
        panel.review(name, request_id)
    panel.award(request_id, credits_micro=3000 * MICRO)
    assert panel.world.figures("shapes").balance == 3000 * MICRO
    assert [move[1:3] for move in moves(panel.world, request_id)] == [
        ("draft", "Ann"), ("submitted", "Ann"), ("in-review", "Rae"), ("awarded-in-part", "Admin"),
        ("active", None),
    ]  # fmt: skip


def test_two_reviews_of_one_person_are_one_review_and_the_last_counts(panel: PanelWorld) -> None:
    panel.round()
    request_id = panel.ask()
    panel.review("rae", request_id, 1)
    panel.review("rae", request_id, 5)
    with pytest.raises(PanelNotHeard):
        panel.award(request_id)
    found = panel.bench(request_id, panel.admin).heard
    assert [(row.counts, row.revised, row.opinion.mean) for row in found.rows] == [
        (False, True, 1),
        (True, False, 5),
    ]
    assert found.overall == rules.Tally(5, 5, 5, 1)


def test_a_declared_conflict_takes_the_review_away_even_afterwards(panel: PanelWorld) -> None:
    panel.round()
    request_id = panel.ask()
    panel.review("rae", request_id)
    panel.review("ray", request_id)
    panel.declare("ray", request_id)
    panel.declare("ray", request_id)
    with pytest.raises(PanelNotHeard):
        panel.award(request_id)
    with pytest.raises(Conflicted) as refusal:
        panel.review("ray", request_id)
    assert "you declared a conflict" in wording.sentence(refusal.value)


@pytest.mark.parametrize(
    ("asks", "reviewer", "kind"),
    [
        ({"hub_name": "rae"}, "rae", ConflictKind.APPLICANT),
        ({"members": ("rae",)}, "rae", ConflictKind.NAMED),
        ({"account": "survey", "tier": "team"}, "ray", ConflictKind.IN_TEAM),
    ],
)
def test_whom_a_request_is_about_can_not_review_it_nor_is_asked_to(
    panel: PanelWorld, asks: dict[str, Any], reviewer: str, kind: ConflictKind
) -> None:
    panel.round()
    panel.world.team("survey", "ann", "ray")
    if asks.get("account") == "survey":
        panel.world.ends("survey", panel.world.clock() + timedelta(days=5))
        renewable(panel.world, "survey")
    request_id = panel.ask(**{"papers": "None yet."} | asks)
    with pytest.raises(Conflicted) as refusal:
        panel.review(reviewer, request_id)
    assert refusal.value.facts["kind"] == kind
    assert not any("please review" in told for told in panel.world.told(reviewer))
    assert panel.bench(request_id, person(panel, reviewer)).heard.hidden


def renewable(world: World, account: str) -> None:
    """Let the account have an award that is about to end, as if it had asked before."""
    allocation, ann = world.allocation(account), world.signed_in("ann")
    with world.database.session_scope() as session:
        session.add(
            TierRequest(
                account_id=allocation.account_id, person_id=ann, tier=allocation.tier,
                tier_before=allocation.tier, justification="Earlier", state=RequestState.EXPIRING,
                submitted_at=START, decided_at=START, ends_at=allocation.expires_at,
            )
        )  # fmt: skip


def test_who_joins_the_team_after_the_review_is_heard_no_more(panel: PanelWorld) -> None:
    panel.round()
    panel.world.team("survey", "ann")
    renewable(panel.world, "survey")
    request_id = panel.ask(account="survey", papers="None yet.", team_label=None)
    panel.review("rae", request_id)
    panel.review("ray", request_id)
    panel.world.answers("ray", panel.world.invite("survey", "ray"))
    with pytest.raises(PanelNotHeard):
        panel.award(request_id)


def test_a_reviewer_sees_no_other_review_before_giving_their_own(panel: PanelWorld) -> None:
    panel.round()
    request_id = panel.ask()
    panel.review("rae", request_id, 2, for_panel="Overstated.", for_applicant="Say how deep.")
    before = panel.bench(request_id, person(panel, "ray"))
    assert (before.heard.hidden, before.heard.rows, before.heard.overall) == (True, (), None)
    assert before.heard.count == 1, "how many there are is no secret"
    panel.review("ray", request_id, 5)
    after = panel.bench(request_id, person(panel, "ray")).heard
    assert [row.opinion.for_panel for row in after.rows] == ["Overstated.", ""]
    assert after.overall == rules.Tally(3.5, 2, 5, 2)
    assert panel.bench(request_id, panel.admin).heard.overall == after.overall


def test_an_administrator_who_reviews_gives_their_own_before_they_see_any(panel: PanelWorld) -> None:
    panel.round()
    with panel.world.database.session_scope() as session:
        panels.appoint(session, "admin", by=panel.admin, now=panel.world.clock())
    request_id = panel.ask()
    panel.review("rae", request_id, 2)
    assert panel.bench(request_id, panel.admin).heard.hidden
    assert panel.queue().cases[0].mean is None
    panel.review("admin", request_id, 4)
    assert panel.queue().cases[0].mean == rules.Tally(3, 2, 4, 2)


def test_reviews_of_a_text_that_was_revised_since_count_no_more(panel: PanelWorld) -> None:
    first = panel.round()
    request_id = panel.ask()
    for name in ("rae", "ray"):
        panel.review(name, request_id, for_applicant=f"From {name}.")
    assert panel.to_applicant(request_id).comments == (), "not while the panel has it"
    panel.send_back(request_id)
    assert panel.to_applicant(request_id).comments == ("From rae.", "From ray.")
    panel.world.clock.forward(days=40)
    assert panel.ask(justification=CASE_AGAIN) == request_id
    assert panel.round_of(request_id) == first, "no other round is open"
    with pytest.raises(PanelNotHeard):
        panel.award(request_id)
    for name in ("rae", "ray"):
        panel.review(name, request_id)
    panel.award(request_id)


CASE_AGAIN = "Shapes of galaxies over two thousand square degrees: the medium tier, twice."


def test_the_panel_is_bypassed_by_an_administrator_with_a_reason_that_is_kept(panel: PanelWorld) -> None:
    request_id = panel.ask()
    with pytest.raises(BadReason):
        panel.award(request_id, bypass=" ")
    panel.award(request_id, bypass="The director's discretion, for the first light.")
    [kept] = panel.bench(request_id, panel.admin).bypasses
    assert (kept.by, kept.reviews, kept.reason) == (
        "Admin", 0, "The director's discretion, for the first light.",
    )  # fmt: skip


def test_a_reason_that_is_not_needed_is_no_bypass(panel: PanelWorld) -> None:
    panel.round()
    request_id = panel.ask()
    for name in ("rae", "ray"):
        panel.review(name, request_id)
    panel.award(request_id, bypass="Just in case.")
    assert panel.bench(request_id, panel.admin).bypasses == ()


def test_nobody_decides_on_a_panel_s_request_of_their_own(panel: PanelWorld) -> None:
    panel.world.accepts("admin")
    request_id = panel.ask("admin")
    acts: list[Callable[[], Any]] = [
        lambda: panel.award(request_id, bypass="Trust me."),
        lambda: panel.offer(request_id, bypass="Trust me."),
        lambda: panel.send_back(request_id),
    ]
    for act in acts:
        with pytest.raises(Conflicted):
            act()
    other = panel.world.administrator("another")
    panel.award(request_id, by=other, bypass="One of ours, looked at by hand.")


def test_rounds_take_in_what_is_sent_while_they_are_open(panel: PanelWorld) -> None:
    late = panel.round("Late", days=60)
    soon = panel.round("Soon", days=10)
    autumn = panel.round("Autumn", opens_in=100)
    assert panel.round_of(panel.ask()) == soon, "the one that closes first"
    panel.world.clock.forward(days=10)
    panel.world.astronomer("bob")
    assert panel.round_of(panel.ask("bob", team_label="Bobs")) == late
    panel.world.clock.forward(days=50)
    panel.world.astronomer("cleo")
    request_id = panel.ask("cleo", team_label="Cleos")
    assert panel.round_of(request_id) is None
    with pytest.raises(UnknownRequest):
        panel.review("rae", request_id)
    with panel.world.database.session_scope() as session:
        panels.place(session, request_id, autumn, administrator_id=panel.admin, now=panel.world.clock())
    panel.review("rae", request_id)
    with panel.world.database.session_scope() as session, pytest.raises(UnknownRound):
        panels.place(session, request_id, uuid4(), administrator_id=panel.admin, now=panel.world.clock())


@pytest.mark.parametrize(
    ("label", "opens", "closes", "due"),
    [
        ("", 0, 1, 2),
        ("x" * 81, 0, 1, 2),
        ("R", 1, 1, 2),
        ("R", 0, 2, 1),
        ("R", 0, 300, 400),
        ("R\x00", 0, 1, 2),
    ],
)
def test_a_round_without_sense_is_refused(label: str, opens: int, closes: int, due: int) -> None:
    days = [START + timedelta(days=each) for each in (opens, closes, due)]
    with pytest.raises(BadRound) as refusal:
        rules.require_window(label, Window(*days))
    assert wording.sentence(refusal.value).startswith("A round must be ")


def test_another_tier_s_request_comes_before_the_panel_when_an_administrator_refers_it(
    panel: PanelWorld,
) -> None:
    panel.round()
    request_id = panel.ask(tier="research")
    with pytest.raises(UnknownRequest):
        panel.review("rae", request_id)
    refer(panel, request_id)
    with pytest.raises(AlreadyWithPanel):
        refer(panel, request_id)
    with pytest.raises(PanelNotHeard):
        panel.award(request_id)
    for name in ("rae", "ray"):
        panel.review(name, request_id)
    panel.award(request_id)


def test_a_special_request_is_referred_too(panel: PanelWorld) -> None:
    def by_anybody(document: Any) -> Any:
        document["tiers"][3]["requestable_by"] = ["personal"]
        return document

    panel.world.policy = load_policy(change=by_anybody)
    request_id = panel.ask(tier="special", team_label=None)
    refer(panel, request_id)
    with pytest.raises(PanelNotHeard):
        panel.award(request_id, credits_micro=90_000 * MICRO)


def refer(panel: PanelWorld, request_id: UUID) -> None:
    with panel.world.database.session_scope() as session:
        panels.refer(
            session, request_id, administrator_id=panel.admin, reason="Ten times the usual.",
            now=panel.world.clock(),
        )  # fmt: skip


def test_an_offer_is_accepted_by_its_applicant_and_awarded_on_its_terms(panel: PanelWorld) -> None:
    panel.round()
    request_id = panel.ask()
    with pytest.raises(PanelNotHeard):
        panel.offer(request_id)
    for name in ("rae", "ray"):
        panel.review(name, request_id, for_applicant=f"From {name}.")
    ends = panel.world.clock() + timedelta(days=200)
    number = panel.offer(request_id, 1200, expires_at=ends, note="A pilot of one field.")
    assert any("You are offered 1200.00 credits" in told for told in panel.world.told("ann"))
    shown = panel.to_applicant(request_id)
    assert shown.offer is not None
    assert (shown.offer.credits_micro, shown.offer.note) == (1200 * MICRO, "A pilot of one field.")
    assert shown.comments == ("From rae.", "From ray.")
    with pytest.raises(UnknownRequest):
        panel.accepts("rae", request_id, number)
    kept = panel.accepts("ann", request_id, number)
    assert (kept.state, kept.awarded_micro, kept.ends_at) == (RequestState.ACTIVE, 1200 * MICRO, ends)
    assert kept.decided_by == panel.admin
    assert panel.world.figures("shapes").balance == 1200 * MICRO
    assert [move[:3] for move in moves(panel.world, request_id)][-4:] == [
        ("in-review", "offered", "Admin"), ("offered", "accepted", "Ann"),
        ("accepted", "awarded-in-part", None), ("awarded-in-part", "active", None),
    ]  # fmt: skip
    assert any("ann accepted your offer" in told for told in panel.world.told("admin"))
    with pytest.raises(OfferOver):
        panel.accepts("ann", request_id, number)


def test_an_offer_stands_until_its_day_and_is_then_decided_again_by_itself(panel: PanelWorld) -> None:
    world, request_id = panel.world, panel.ask()
    number = panel.offer(request_id, 100, bypass="Nobody reviews this summer.")
    shown = panel.to_applicant(request_id).offer
    assert shown is not None
    assert shown.answer_by == world.clock() + world.policy.answers.offer
    assert any("to accept or to decline, until 2026-04-01." in told for told in world.told("ann"))
    world.clock.forward(days=30, seconds=-1)
    world.turn()
    assert moves(world, request_id)[-1][1] == "offered"
    world.clock.forward(seconds=1)
    with pytest.raises(OfferOver):
        panel.accepts("ann", request_id, number)
    for _ in range(2):
        world.turn()
    assert moves(world, request_id)[-1] == (
        "offered", "in-review", None, "The offer was not answered by 2026-04-01."
    )  # fmt: skip
    for name in ("ann", "admin"):
        assert sum("was not answered by 2026-04-01" in told for told in world.told(name)) == 1
    with world.database.reading_scope() as session:
        assert len(record_reading.page(session, Wanted(act=Act.OFFER_EXPIRED)).rows) == 1
    again = panel.offer(request_id, 200, bypass="Nobody reviews this summer.")
    assert panel.accepts("ann", request_id, again).awarded_micro == 200 * MICRO


def test_a_declined_offer_is_decided_again_and_an_old_one_can_not_be_accepted(panel: PanelWorld) -> None:
    request_id = panel.ask()
    panel.offer(request_id, 100, bypass="Nobody reviews this summer.")
    panel.declines("ann", request_id)
    second = panel.offer(request_id, 200, bypass="Nobody reviews this summer.")
    with pytest.raises(OfferOver):
        panel.accepts("ann", request_id, 1)
    assert panel.accepts("ann", request_id, second).awarded_micro == 200 * MICRO
    assert moves(panel.world, request_id)[3] == ("offered", "in-review", "Ann", "Too little for the survey.")


def test_an_offered_request_is_open_and_nothing_else_can_be_done_to_it(panel: PanelWorld) -> None:
    request_id = panel.ask()
    panel.offer(request_id, bypass="Nobody reviews this summer.")
    for act in (
        lambda: panel.award(request_id, bypass="Now."),
        lambda: panel.offer(request_id, bypass="Now."),
    ):
        with pytest.raises(IllegalMove):
            act()
    with pytest.raises(ReviewClosed):
        panel.review("rae", request_id)
    with pytest.raises(AllocatorError, match="request_open"):
        panel.ask(team_label="Another")


def test_how_long_requests_wait_is_told_without_the_time_their_applicants_had_them(panel: PanelWorld) -> None:
    panel.round()
    request_id = panel.ask()
    panel.world.clock.forward(days=4)
    panel.send_back(request_id)
    panel.world.clock.forward(days=10)
    panel.ask(justification=CASE_AGAIN)
    panel.world.clock.forward(days=2)
    panel.world.astronomer("bob")
    panel.ask("bob", team_label="Bobs")
    panel.world.clock.forward(days=2)
    found = panel.queue()
    assert [row.waited for row in found.cases] == [timedelta(days=8), timedelta(days=2)]
    assert (found.median_waiting, found.median_decided) == (timedelta(days=5), None)
    panel.award(request_id, bypass="Too long ago.")
    panel.world.clock.forward(days=100)
    found = panel.queue()
    assert (found.median_decided, found.decided) == (timedelta(days=8), 1)


def test_the_workbench_has_real_usage_similar_awards_and_what_is_left(panel: PanelWorld) -> None:
    panel.round()
    for name, exposures, credits_micro in (("bob", 5_000, 900 * MICRO), ("cleo", 90_000, 4000 * MICRO)):
        panel.world.astronomer(name)
        earlier = panel.ask(name, team_label=f"{name}s", exposures=exposures)
        panel.award(earlier, credits_micro=credits_micro, bypass="Before the panel.")
    admitted = panel.world.launch("ann", hours=1)
    began = panel.world.started(admitted.hold_id)
    panel.world.clock.forward(hours=1)
    panel.world.seen(admitted.hold_id, began)
    panel.world.stopped(admitted.hold_id, stopped_at=panel.world.clock(), alive_at_stop=True)
    request_id = panel.ask(exposures=80_000)
    found = panel.bench(request_id, panel.admin)
    assert [(each.account_label, each.awarded_micro) for each in found.similar] == [
        ("cleos", 4000 * MICRO), ("bobs", 900 * MICRO),
    ]  # fmt: skip
    [own] = found.usage
    assert (own.slug, sum(day.micro for day in own.spend)) == ("ann", 125_000)
    assert found.round_awarded_micro == 4900 * MICRO
    assert found.pool.pool.credits_micro == 20_000 * MICRO
    # Everybody's Entry, the two awards, less the hour.
    assert found.promised_micro == (5 * 25 + 4900) * MICRO - 125_000


@pytest.mark.parametrize(
    ("scores", "said", "refusal"),
    [
        ({}, "", BadScores),
        ({"merit": 6}, "", BadScores),
        ({"merit": 0}, "", BadScores),
        ({"merit": "4"}, "", BadScores),
        ({"merit": True}, "", BadScores),
        ({"merit": 3, "taste": 3}, "", BadScores),
        ({"merit": 3}, "x" * 4001, BadComment),
        ({"merit": 3}, "\x00", BadComment),
    ],
)
def test_a_review_without_sense_is_refused(
    scores: dict[str, Any], said: str, refusal: type[AllocatorError]
) -> None:
    terms = rules.Panel(2, (rules.Criterion("merit", "Merit", "How much?"),))
    with pytest.raises(refusal) as caught:
        rules.require_opinion(terms, Opinion(scores, said))
    assert wording.sentence(caught.value)


def test_reviewers_are_appointed_and_dismissed_by_administrators_only(panel: PanelWorld) -> None:
    panel.round()
    request_id = panel.ask()
    now = panel.world.clock()
    ann = person(panel, "ann")
    with panel.world.database.session_scope() as session:
        for act in (panels.appoint, panels.dismiss):
            with pytest.raises(NotAllowed):
                act(session, "rae", by=ann, now=now)
        with pytest.raises(AlreadyReviewer):
            panels.appoint(session, "rae", by=panel.admin, now=now)
        with pytest.raises(UnknownPerson):
            panels.appoint(session, "nobody", by=panel.admin, now=now)
        panels.dismiss(session, "rae", by=panel.admin, now=now)
        with pytest.raises(UnknownPerson):
            panels.dismiss(session, "rae", by=panel.admin, now=now)
        suspensions.suspend(session, hub_name="ray", reason="A lost key.", actor="test", now=now)
    with pytest.raises(NotReviewer):
        panel.review("rae", request_id)
    with pytest.raises(Suspended):
        panel.review("ray", request_id)
    ended = "You are no longer a reviewer of the panel. Thank you for your work."
    assert ended in panel.world.told("rae")
    with panel.world.database.session_scope() as session:
        panels.appoint(session, "rae", by=panel.admin, now=now)
    panel.review("rae", request_id)


@pytest.mark.parametrize("table", ["panel_review", "panel_conflict", "panel_bypass", "request_offer"])
def test_what_was_said_of_a_request_can_not_be_changed(panel: PanelWorld, table: str) -> None:
    panel.round()
    request_id = panel.ask()
    panel.review("rae", request_id)
    panel.declare("ray", request_id)
    panel.offer(request_id, bypass="Before the second one.")
    with panel.world.database.session_scope() as session, pytest.raises(DatabaseError, match="append-only"):
        session.execute(text(f"DELETE FROM {table}"))  # noqa: S608 - our own words


class PanelMachine(RuleBasedStateMachine):
    """Any order of reviews, conflicts, revisions and attempts to award, beside a model that only counts."""

    database: Database
    numbers = count()

    def __init__(self) -> None:
        super().__init__()
        name = f"p{next(self.numbers)}"
        world = World(self.database)
        self.panel = PanelWorld(world, world.administrator(f"{name}-admin"))
        self.panel.round()
        self.names = [f"{name}-{letter}" for letter in "abc"]
        self.panel.reviewers(*self.names)
        self.applicant = f"{name}-ann"
        world.astronomer(self.applicant)
        self.request_id = self.panel.ask(self.applicant, team_label=name)
        self.heard: set[str] = set()
        self.conflicted: set[str] = set()
        self.state = "waiting"
        self.offered = self.given = 0

    who = st.integers(0, 2)
    # What begins anew must be rare, or nothing is ever decided.
    seldom = st.integers(0, 5).map(lambda number: number == 5)

    @rule(who=who, score=st.integers(1, 5))
    def review(self, who: int, score: int) -> None:
        name = self.names[who]
        if self.state != "waiting":
            with pytest.raises(ReviewClosed):
                self.panel.review(name, self.request_id, score)
        elif name in self.conflicted:
            with pytest.raises(Conflicted):
                self.panel.review(name, self.request_id, score)
        else:
            self.panel.review(name, self.request_id, score)
            self.heard.add(name)

    @precondition(lambda self: self.state == "waiting")
    @rule(who=who, seldom=seldom)
    def declare(self, who: int, seldom: bool) -> None:
        if not seldom:
            return
        self.panel.declare(self.names[who], self.request_id)
        self.conflicted.add(self.names[who])

    @precondition(lambda self: self.state == "waiting")
    @rule(seldom=seldom)
    def send_back(self, seldom: bool) -> None:
        if not seldom:
            return
        self.panel.send_back(self.request_id)
        self.state = "returned"

    @precondition(lambda self: self.state == "returned")
    @rule()
    def send_again(self) -> None:
        assert self.panel.ask(self.applicant, team_label=self.applicant) == self.request_id
        self.heard, self.state = set(), "waiting"

    @precondition(lambda self: self.state == "waiting")
    @rule(offer=st.booleans(), credits_given=st.integers(1, 90))
    def decide(self, offer: bool, credits_given: int) -> None:
        given = credits_given * MICRO
        heard = len(self.heard - self.conflicted)
        if heard < self.panel.world.policy.panel.least_reviews:
            with pytest.raises(PanelNotHeard) as refusal:
                self.panel.award(self.request_id, credits_micro=given)
            assert refusal.value.facts["reviews"] == heard
        elif offer:
            self.offered, self.state = self.panel.offer(self.request_id, credits_given), "offered"
            self.given = given
        else:
            self.panel.award(self.request_id, credits_micro=given)
            self.given, self.state = given, "awarded"

    @precondition(lambda self: self.state == "offered")
    @rule(yes=st.booleans(), stale=st.booleans())
    def answer(self, yes: bool, stale: bool) -> None:
        act = self.panel.accepts if yes else self.panel.declines
        if stale:
            with pytest.raises(OfferOver):
                act(self.applicant, self.request_id, self.offered + 1)
            return
        act(self.applicant, self.request_id, self.offered)
        self.state = "awarded" if yes else "waiting"

    def teardown(self) -> None:
        """What was granted is what was awarded, and the ledger is whole."""
        found = self.panel.bench(self.request_id, self.panel.admin)
        awarded = self.given if self.state == "awarded" else None
        assert found.request.awarded_micro == awarded
        if awarded is not None:
            assert self.panel.world.figures(found.request.account).balance == awarded
        with self.database.reading_scope() as session:
            assert audit(session, meter_silence=timedelta(days=999), now=START).drifts == []


def test_no_order_of_events_leads_to_an_award_without_enough_unconflicted_reviews(database: Database) -> None:
    run_state_machine_as_test(
        type("Bound", (PanelMachine,), {"database": database}),
        settings=settings(
            max_examples=8, stateful_step_count=25, deadline=None, derandomize=True, database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip


def test_of_an_award_and_a_conflict_at_the_same_moment_one_counts(panel: PanelWorld) -> None:
    panel.round()
    request_id = panel.ask()
    for name in ("rae", "ray"):
        panel.review(name, request_id)
    with ThreadPoolExecutor(2) as pool:
        awarded = pool.submit(panel.award, request_id)
        declared = pool.submit(panel.declare, "ray", request_id)
    refused = [type(each.exception()) for each in (awarded, declared)]
    assert refused in ([type(None), ReviewClosed], [PanelNotHeard, type(None)])
