"""The team's pages: the lead's, the manager's and the member's view, and what each may do there."""

from uuid import UUID, uuid4

import pytest
from tests.support.fake_hub import FakeHub
from tests.support.portal import JUSTIFICATION, TEAM, PortalUnderTest, Visitor, text_of

from nexus_allocator.domain.states import Role
from nexus_allocator.services import decisions, people, portal_lists, team_reading
from nexus_allocator.services.team_reading import TeamPage

MATE = f"teams/{TEAM}/members/teammate"


def team_of(portal: PortalUnderTest, viewer: str = "astronomer") -> TeamPage:
    with portal.database.reading_scope() as session:
        return team_reading.team_page(session, slug=TEAM, hub_name=viewer, now=portal.clock())


@pytest.fixture
def tomo(populated: PortalUnderTest, hub: FakeHub, address: str, browser: Visitor) -> Visitor:
    """A browser in which Tomo, a member of the team, has signed in."""
    hub.at_the_keyboard = "teammate"
    assert browser.sign_in("teams").status_code == 200
    return browser


def test_the_lead_sees_members_parts_and_spending(astronomer: Visitor, populated: PortalUnderTest) -> None:
    populated.ran("teammate", account=TEAM, size="large", hours=2)
    said = text_of(astronomer.open(f"teams/{TEAM}").text)
    assert "Team tier. You are here as: Lead." in said
    assert "Ada Astronomer Lead – – 0.00 –" in said
    assert "Tomo Teammate Member – – 2.40 –" in said
    assert "2.40 credits together" in said
    assert "Nobody is invited just now." in said
    assert "Tomo Teammate joined as member." in said


def test_a_person_is_invited_by_name_and_joins(
    astronomer: Visitor, populated: PortalUnderTest, hub: FakeHub, address: str
) -> None:
    astronomer.open(f"teams/{TEAM}")
    page = astronomer.follow(astronomer.post(f"teams/{TEAM}/invitations", whom="admin", role="manager"))
    assert "Alex Administrator, as manager; until 29 March 2027" in text_of(page.text)
    again = astronomer.post(f"teams/{TEAM}/invitations", whom="admin")
    assert (again.status_code, "has an open invitation" in text_of(again.text)) == (422, True)
    hub.at_the_keyboard = "admin"
    with Visitor(address) as alex:
        assert "You are invited to Wide Field Demo" in text_of(alex.sign_in("").text)
        [row] = team_of(populated).invitations
        page = alex.follow(alex.post(f"invitations/{row.id}/accept"))
        assert "You are in the team." in text_of(page.text)
        assert alex.post(f"invitations/{row.id}/accept").status_code == 409
    assert team_of(populated).member("admin").role is Role.MANAGER
    home = text_of(astronomer.open("").text)
    assert "admin joined Wide Field Demo." in home
    notice = astronomer.page.split("notices/")[1].split("/")[0]
    page = astronomer.follow(astronomer.post(f"notices/{notice}/put-away"))
    assert "admin joined" not in text_of(page.text)


@pytest.mark.parametrize(
    ("whom", "message"),
    [
        ("", "Write a hub name or an e-mail address."),
        ("nobody-here", "Nobody is known as nobody-here."),
        ("teammate", "teammate is in Wide Field Demo already."),
        ("not an address", "is neither a hub name nor an e-mail address"),
        ("<script>@x", "is neither a hub name nor an e-mail address"),
    ],
)
def test_a_wrong_invitation_is_sent_back_with_what_is_wrong(
    astronomer: Visitor, populated: PortalUnderTest, whom: str, message: str
) -> None:
    astronomer.open(f"teams/{TEAM}")
    answer = astronomer.post(f"teams/{TEAM}/invitations", whom=whom)
    assert answer.status_code == 422
    assert text_of(answer.text).count(message) == 2, "in the summary and at the field"
    assert "<script>@x" not in answer.text
    assert team_of(populated).invitations == ()


def test_a_member_s_part_is_set_changed_and_taken_away(
    astronomer: Visitor, populated: PortalUnderTest
) -> None:
    astronomer.open(MATE)
    page = astronomer.follow(astronomer.post(f"{MATE}/share", kind="cap", amount="1,200.5"))
    assert "Tomo Teammate Member – Cap of 1,200.5 0.00 1,200.5" in text_of(page.text)
    assert 'value="1200.5"' in astronomer.open(MATE).text
    for wrong in ("", "-1", "many", "NaN", "1e30", "0.0000001"):
        answer = astronomer.post(f"{MATE}/share", kind="cap", amount=wrong)
        assert (answer.status_code, "Give a number of credits" in text_of(answer.text)) == (422, True)
    assert astronomer.post(f"{MATE}/share", kind="more", amount="1").status_code == 422
    page = astronomer.follow(astronomer.post(f"{MATE}/share", kind="none", amount=""))
    assert "Tomo Teammate Member – – 0.00 –" in text_of(page.text)


def test_a_sub_group_has_a_part_and_members_and_can_be_ended(
    astronomer: Visitor, populated: PortalUnderTest
) -> None:
    astronomer.open(f"teams/{TEAM}")
    astronomer.follow(astronomer.post(f"teams/{TEAM}/groups", label="Grism"))
    assert "is taken" in text_of(astronomer.post(f"teams/{TEAM}/groups", label=" grism ").text)
    [group] = team_of(populated).groups
    assert astronomer.post(f"{MATE}/group", subgroup=str(group.id)).status_code == 303
    path = f"teams/{TEAM}/groups/{group.id}"
    assert "Tomo Teammate." in text_of(astronomer.open(path).text)
    page = astronomer.follow(astronomer.post(f"{path}/share", kind="fair", amount="100"))
    assert "1 member; fair share of 100 credits, 0.00 taken" in text_of(page.text)
    assert astronomer.post(f"{path}/share", kind="fair", amount="x").status_code == 422
    assert astronomer.post(f"{MATE}/group", subgroup="x").status_code == 422
    assert astronomer.post(f"{MATE}/group", subgroup=str(uuid4())).status_code == 404
    page = astronomer.follow(astronomer.post(f"{path}/end"))
    assert "There are none: every member counts alone." in text_of(page.text)


def test_the_lead_is_handed_over(astronomer: Visitor, populated: PortalUnderTest) -> None:
    astronomer.open(MATE)
    assert astronomer.post(f"{MATE}/role", role="king").status_code == 422
    assert astronomer.post(f"{MATE}/role", role="manager").status_code == 303
    page = astronomer.follow(astronomer.post(f"{MATE}/role", role="lead"))
    assert "You are here as: Manager." in text_of(page.text)
    answer = astronomer.post(f"{MATE}/role", role="member")
    assert answer.status_code == 403
    assert "In Wide Field Demo this is for lead; you are manager." in text_of(answer.text)


def test_who_is_removed_reads_why_and_their_server_on_the_team_s_credits_stops(
    astronomer: Visitor, populated: PortalUnderTest, hub: FakeHub, address: str
) -> None:
    populated.launch("teammate", account=TEAM, server="mosaics")
    astronomer.open(MATE)
    assert astronomer.post(f"{MATE}/remove", reason="").status_code == 422
    assert astronomer.post(f"{MATE}/remove", reason="The project ended.").status_code == 303
    assert hub.stopped == ["teammate/servers/mosaics"]
    hub.at_the_keyboard = "teammate"
    with Visitor(address) as gone:
        said = text_of(gone.sign_in("").text)
        assert "You are no longer in Wide Field Demo. Reason given: The project ended." in said
        assert gone.open(f"teams/{TEAM}").status_code == 404


def test_a_member_sees_the_team_and_leaves_it_but_changes_nothing(
    tomo: Visitor, populated: PortalUnderTest, hub: FakeHub
) -> None:
    populated.launch("teammate", account=TEAM)
    page = tomo.open(f"teams/{TEAM}")
    said = text_of(page.text)
    assert "You are here as: Member." in said
    assert "Whom to invite" not in said
    assert "A new sub-group" not in said
    assert f"teams/{TEAM}/members/" not in page.text
    for path, form in (
        ("invitations", {"whom": "admin"}),
        ("groups", {"label": "Mine"}),
        ("members/teammate/share", {"kind": "cap", "amount": "9"}),
        ("members/astronomer/remove", {"reason": "because"}),
        ("members/teammate/role", {"role": "lead"}),
    ):
        tomo.open(f"teams/{TEAM}/leave")
        assert tomo.post(f"teams/{TEAM}/{path}", **form).status_code == 403, path
    assert "1 server of yours on the team's credits will be stopped" in text_of(tomo.page)
    page = tomo.follow(tomo.post(f"teams/{TEAM}/leave"))
    assert "You are in no team." in text_of(page.text)
    assert hub.stopped == ["teammate/server"]


def test_the_lead_is_told_to_hand_over_before_leaving(astronomer: Visitor) -> None:
    assert "hand it over to another member first" in text_of(astronomer.open(f"teams/{TEAM}/leave").text)
    assert astronomer.post(f"teams/{TEAM}/leave", csrf="").status_code == 403
    astronomer.open(f"teams/{TEAM}")
    assert astronomer.post(f"teams/{TEAM}/leave").status_code == 409


@pytest.mark.parametrize(
    "path", ["teams/none", f"teams/{TEAM}/members/admin", f"teams/{TEAM}/groups/{UUID(int=1)}"]
)
def test_what_is_not_there_is_not_found(astronomer: Visitor, path: str) -> None:
    assert astronomer.open(path).status_code == 404


def test_a_person_asks_for_a_new_team_and_leads_it_once_it_is_awarded(
    astronomer: Visitor, populated: PortalUnderTest
) -> None:
    astronomer.open("requests")
    ask = {"account": "astronomer", "tier": "team", "justification": JUSTIFICATION, "members": "teammate"}
    unnamed = astronomer.post("requests", **ask)
    assert (unnamed.status_code, "can't be a name" in text_of(unnamed.text)) == (422, True)
    assert astronomer.post("requests", **ask, team_label="x" * 81).status_code == 422
    assert astronomer.post("requests", **ask, team_label="Cosmic Shear").status_code == 303
    with populated.database.session_scope() as session:
        [row] = portal_lists.waiting_requests(session)
        decisions.award(
            session,
            policy=populated.policy,
            request_id=row.id,
            administrator_id=people.person_called(session, "admin").id,
            award=decisions.Award(bypass="for the test"),
            now=populated.clock(),
        )
    said = text_of(astronomer.open("teams").text)
    assert "Cosmic Shear 1 member; 5,000.0 credits available Lead" in said
    assert "Tomo Teammate, as member" in text_of(astronomer.open("teams/cosmic-shear").text)
