"""The panel's pages: rounds and reviewers, a blind review, the workbench, a counter-offer, and bad input."""

from collections.abc import Iterator
from uuid import UUID, uuid4

import pytest
from tests.portal.test_requests import requests_of
from tests.support.fake_hub import FakeHub
from tests.support.portal import JUSTIFICATION, PortalUnderTest, Visitor, text_of

from nexus_allocator.services import panel_lists

ROUND = {"label": "Spring 2027", "opens_on": "2027-03-01", "closes_on": "2027-03-31",
         "due_on": "2027-04-15", "budget": "20000"}  # fmt: skip
ASK = {"account": "astronomer", "tier": "team", "justification": JUSTIFICATION, "team_label": "Shear",
       "title": "Shear of the deep field", "exposures": "4000"}  # fmt: skip
SCORES = ("merit", "need", "method", "benefit")


def review(score: int = 4, **said: str) -> dict[str, str]:
    return {f"score-{slug}": str(score) for slug in SCORES} | said


@pytest.fixture
def asked(populated: PortalUnderTest, hub: FakeHub, address: str) -> UUID:
    """A round is open, Rae and Ray review, and Ada has asked for a team's allocation."""
    for name in ("rae", "ray"):
        populated.person(name, f"{name.title()} Reviewer")
        populated.accept(name)
    with signed_in("admin", hub, address) as alex:
        alex.open("admin/panel")
        assert alex.post("admin/panel/rounds", **ROUND).status_code == 303
        for name in ("rae", "ray"):
            assert alex.post("admin/panel/reviewers", hub_name=name).status_code == 303
    with signed_in("astronomer", hub, address) as ada:
        ada.open("requests")
        assert ada.post("requests", **ASK).status_code == 303
    return requests_of(populated, "astronomer")[0].id


def signed_in(name: str, hub: FakeHub, address: str) -> Visitor:
    hub.at_the_keyboard = name
    visitor = Visitor(address)
    assert visitor.sign_in("requests").status_code == 200
    return visitor


@pytest.fixture
def rae(asked: UUID, hub: FakeHub, address: str) -> Iterator[Visitor]:
    with signed_in("rae", hub, address) as visitor:
        yield visitor


@pytest.fixture
def alex(asked: UUID, hub: FakeHub, address: str) -> Iterator[Visitor]:
    with signed_in("admin", hub, address) as visitor:
        yield visitor


def reviewed_by(name: str, asked: UUID, hub: FakeHub, address: str, **said: str) -> None:
    with signed_in(name, hub, address) as visitor:
        visitor.open(f"panel/{asked}")
        score = 5 if name == "ray" else 4
        assert visitor.post(f"panel/{asked}/review", **review(score, **said)).status_code == 303


def test_a_reviewer_finds_what_waits_and_weighs_it(rae: Visitor, asked: UUID) -> None:
    said = text_of(rae.open("panel").text)
    assert "Shear of the deep field Ada Astronomer Team" in said
    assert "Spring 2027, due 15 April 2027" in said
    page = text_of(rae.open(f"panel/{asked}").text)
    assert "4,000 exposures (1,124.0 sq deg)" in page
    assert "Reviews 0 of 2 needed for an award" in page
    assert "Ada Astronomer Entry 25 0.00 0.00" in page
    assert "20,000.0 of 20,000 credits" in page
    assert "You see what others say once you have given your own review." in page


def test_others_are_read_only_after_one_s_own_review(
    rae: Visitor, asked: UUID, hub: FakeHub, address: str
) -> None:
    reviewed_by("ray", asked, hub, address, for_panel="Overstated <b>a bit</b>.")
    page = rae.open(f"panel/{asked}")
    assert "Overstated" not in page.text
    page = rae.follow(rae.post(f"panel/{asked}/review", **review(3, for_applicant="Say how deep.")))
    said = text_of(page.text)
    assert "Scientific merit 4.0 (3 to 5)" in said
    assert "Together 4.0 (3 to 5)" in said
    assert "For the panel only: Overstated <b>a bit</b>." in said
    assert "<b>a bit" not in page.text
    page = rae.follow(rae.post(f"panel/{asked}/review", **review(5)))
    assert "Together 5.0 (5 to 5)" in text_of(page.text)
    assert "Revised later" in text_of(page.text)


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (review() | {"score-merit": ""}, "Choose a score for Scientific merit."),
        (review() | {"score-need": "6"}, "Choose a score for Need for the Nexus."),
        (review() | {"score-need": "4.5"}, "Choose a score for Need for the Nexus."),
        (review() | {"score-benefit": "<i>"}, "Choose a score for Benefit to others."),
        (review(4, for_panel="x" * 4001), "Write at most 4,000 characters."),
        (review(4, for_applicant="x" * 4001), "Write at most 4,000 characters."),
    ],
)
def test_a_wrong_review_comes_back_with_what_is_wrong(
    rae: Visitor, asked: UUID, form: dict[str, str], message: str
) -> None:
    rae.open(f"panel/{asked}")
    answer = rae.post(f"panel/{asked}/review", **form)
    assert (answer.status_code, text_of(answer.text).count(message)) == (422, 2)
    assert "<i>" not in answer.text
    assert "Reviews 0 of 2" in text_of(rae.open(f"panel/{asked}").text)


def test_a_score_that_nobody_asked_for_is_refused(rae: Visitor, asked: UUID) -> None:
    rae.open(f"panel/{asked}")
    assert rae.post(f"panel/{asked}/review", **review(), **{"score-taste": "5"}).status_code == 422


def test_a_conflict_is_declared_and_others_review_it(rae: Visitor, asked: UUID) -> None:
    rae.open(f"panel/{asked}")
    assert rae.post(f"panel/{asked}/conflict", reason=" ").status_code == 422
    page = rae.follow(rae.post(f"panel/{asked}/conflict", reason="My former student."))
    assert "You declared a conflict of interest" in text_of(page.text)
    said = text_of(rae.open(f"panel/{asked}").text)
    assert "others review this request" in said
    assert "What the applicant really uses" not in said
    refused = rae.post(f"panel/{asked}/review", **review())
    assert (refused.status_code, "declared a conflict" in text_of(refused.text)) == (403, True)


def test_only_reviewers_and_administrators_come_near(
    asked: UUID, populated: PortalUnderTest, hub: FakeHub, address: str
) -> None:
    with signed_in("teammate", hub, address) as tomo:
        tomo.open("requests")
        assert "Panel" not in text_of(tomo.open("").text)
        for path in ("panel", f"panel/{asked}", "admin/panel"):
            assert tomo.open(path).status_code == 403, path
        tomo.open("teams")
        assert tomo.post(f"panel/{asked}/review", csrf="", **review()).status_code == 403
    with signed_in("rae", hub, address) as rae:
        rae.open(f"panel/{asked}")
        assert rae.open("admin/panel").status_code == 403
        assert rae.post(f"panel/{asked}/review", csrf="another's", **review()).status_code == 403
        assert rae.open(f"panel/{uuid4()}").status_code == 404
        assert rae.open("panel/not-an-id").status_code == 422
        assert rae.post(f"panel/{uuid4()}/review", **review()).status_code == 404


def test_an_award_waits_for_the_panel_or_for_a_reason_that_is_kept(
    alex: Visitor, asked: UUID, populated: PortalUnderTest
) -> None:
    page = text_of(alex.open(f"admin/requests/{asked}").text)
    assert "Only 0 of 2 reviews are in." in page
    award = {"amount": "800", "ends_on": "2027-12-31"}
    early = alex.post(f"admin/requests/{asked}/approve", **award)
    assert (early.status_code, "The panel has not been heard" in text_of(early.text)) == (422, True)
    assert alex.post(f"admin/requests/{asked}/approve", **award, bypass="x" * 501).status_code == 422
    why = "First light can't wait for the round."
    assert alex.post(f"admin/requests/{asked}/approve", **award, bypass=why).status_code == 303
    said = text_of(alex.open(f"admin/requests/{asked}").text)
    assert "by Alex Administrator with 0 reviews: First light can't wait" in said
    assert alex.post(f"admin/requests/{asked}/approve", **award).status_code == 409, "a stale page"


def test_an_offer_is_made_and_accepted_once(alex: Visitor, asked: UUID, hub: FakeHub, address: str) -> None:
    for name in ("rae", "ray"):
        reviewed_by(name, asked, hub, address, for_applicant=f"A word from {name}.")
    alex.open(f"admin/requests/{asked}")
    path = f"admin/panel/requests/{asked}/offer"
    assert alex.post(path, amount="-1", ends_on="2027-12-31").status_code == 422
    page = alex.follow(alex.post(path, amount="900", ends_on="2027-12-31", note="One field first."))
    assert "Offered other terms" in text_of(page.text)
    assert "Take the offer back" in text_of(page.text)
    with signed_in("astronomer", hub, address) as ada:
        said = text_of(ada.open("requests").text)
        assert "An offer: 900 credits until" in said
        assert "Declined, or not answered by " in said
        assert "What the panel's reviewers say to you A word from rae. A word from ray." in said
        assert "Taken into review, by the panel" in said
        assert "Reviewer" not in said, "no name is told"
        accept = f"requests/{asked}/offer/accept"
        assert ada.post(accept, number="2").status_code == 409
        assert ada.post(accept, number="first").status_code == 422
        assert ada.post(accept, number="1", csrf="").status_code == 403
        page = ada.follow(ada.post(accept, number="1"))
        assert "Accepted and awarded" in text_of(page.text)
        assert "Awarded: 900 credits." in text_of(page.text)
        assert ada.post(accept, number="1").status_code == 409, "pressed twice"
        assert "Shear" in text_of(ada.open("teams").text)


def test_an_offer_is_declined_taken_back_and_nobody_else_s_to_answer(
    alex: Visitor, asked: UUID, hub: FakeHub, address: str
) -> None:
    alex.open(f"admin/requests/{asked}")
    path = f"admin/panel/requests/{asked}"
    offer = {"amount": "900", "ends_on": "2027-12-31", "bypass": "Summer break."}
    assert alex.post(f"{path}/take-back", reason="A slip.").status_code == 409
    assert alex.post(f"{path}/offer", **offer).status_code == 303
    assert alex.post(f"{path}/take-back", reason="").status_code == 422
    assert alex.post(f"{path}/take-back", reason="A slip.").status_code == 303
    assert alex.post(f"{path}/offer", **offer).status_code == 303
    with signed_in("teammate", hub, address) as tomo:
        assert tomo.post(f"requests/{asked}/offer/accept", number="2").status_code == 404
    with signed_in("astronomer", hub, address) as ada:
        decline = f"requests/{asked}/offer/decline"
        assert ada.post(decline, number="2", reason=" ").status_code == 422
        page = ada.follow(ada.post(decline, number="2", reason="Too little."))
        assert "Declined: your request as you sent it is decided again." in text_of(page.text)
    assert "Reason: Too little." in text_of(alex.open(f"admin/requests/{asked}").text)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"label": ""}, "Give the round a name"),
        ({"label": "x" * 81}, "Give the round a name"),
        ({"opens_on": "soon"}, "Give the first day"),
        ({"closes_on": "2027-02-01"}, "The last day can't lie before the first."),
        ({"due_on": "2027-03-01"}, "Reviews can't be due before"),
        ({"due_on": "9999-12-31"}, "Give the day when reviews are due"),
        ({"due_on": "2029-12-31"}, "over, reviews and all, within 366 days"),
        ({"budget": "much"}, "Leave it empty, or give a number"),
        ({"budget": "-1"}, "Leave it empty, or give a number"),
    ],
)
def test_a_wrong_round_comes_back_with_what_is_wrong(
    administrator: Visitor, populated: PortalUnderTest, wrong: dict[str, str], field: str
) -> None:
    administrator.open("admin/panel")
    answer = administrator.post("admin/panel/rounds", **(ROUND | wrong))
    assert (answer.status_code, field in text_of(answer.text)) == (422, True)
    with populated.database.reading_scope() as session:
        assert panel_lists.rounds(session) == []


def test_a_round_is_changed_and_ranks_its_requests(
    *, alex: Visitor, asked: UUID, populated: PortalUnderTest, hub: FakeHub, address: str
) -> None:
    reviewed_by("ray", asked, hub, address)
    with populated.database.reading_scope() as session:
        [(row, requests)] = panel_lists.rounds(session)
    assert requests == 1
    page = alex.open(f"admin/panel/rounds/{row.id}")
    assert "5.0 (one review)" in text_of(page.text)
    assert 'value="2027-03-31"' in page.text
    path = f"admin/panel/rounds/{row.id}"
    assert alex.post(path, **(ROUND | {"label": ""})).status_code == 422
    assert "Spring, late" in text_of(alex.follow(alex.post(path, **(ROUND | {"label": "Spring, late"}))).text)
    assert alex.open(f"admin/panel/rounds/{uuid4()}").status_code == 404


def test_reviewers_are_appointed_by_name_and_told(
    alex: Visitor, populated: PortalUnderTest, hub: FakeHub, address: str
) -> None:
    alex.open("admin/panel")
    for name, message in (("", "Write the hub name"), ("nobody", "Nobody is known as nobody."),
                          ("rae", "rae is a reviewer already."), ("<b>", "Nobody is known as")):  # fmt: skip
        answer = alex.post("admin/panel/reviewers", hub_name=name)
        assert (answer.status_code, message in text_of(answer.text)) == (422, True), name
    with signed_in("rae", hub, address) as rae:
        assert "You are a reviewer of the panel now." in text_of(rae.open("").text)
    page = alex.follow(alex.post("admin/panel/reviewers/rae/end"))
    assert "The person reviews no longer" in text_of(page.text)
    assert alex.post("admin/panel/reviewers/rae/end").status_code == 404
    with signed_in("rae", hub, address) as rae:
        assert rae.open("panel").status_code == 403


def test_a_research_request_is_referred_and_placed(
    alex: Visitor, populated: PortalUnderTest, hub: FakeHub, address: str
) -> None:
    populated.clock.forward(days=60)
    other = populated.ask("teammate", "research")
    page = alex.sign_in(f"admin/requests/{other}")
    assert "Refer it to the panel" in text_of(page.text)
    assert alex.post(f"admin/panel/requests/{other}/refer", referral="").status_code == 422
    said = text_of(alex.follow(alex.post(f"admin/panel/requests/{other}/refer", referral="Very large.")).text)
    assert "Round none yet" in said
    assert alex.post(f"admin/panel/requests/{other}/refer", referral="Again.").status_code == 409
    with populated.database.reading_scope() as session:
        [(row, _)] = panel_lists.rounds(session)
    place = f"admin/panel/requests/{other}/place"
    assert alex.post(place, round_id=str(uuid4())).status_code == 404
    assert alex.post(place, round_id="spring").status_code == 422
    assert "Spring 2027, reviews due" in text_of(alex.follow(alex.post(place, round_id=str(row.id))).text)


def test_the_queue_tells_how_long_requests_have_waited(
    alex: Visitor, asked: UUID, populated: PortalUnderTest
) -> None:
    populated.clock.forward(days=9)
    said = text_of(alex.sign_in("admin/panel").text)
    assert "Waiting now, median 9 days" in said
    assert "the median has waited 9 days" in text_of(alex.open("admin/requests").text)


def test_who_is_asked_for_reviews_is_told_in_the_portal(rae: Visitor, asked: UUID) -> None:
    told = "“Shear of the deep field” came into the round Spring 2027: please review it by 2027-04-15"
    assert told in text_of(rae.open("").text)
