"""Each journey of the portal in a real Chromium, by people who have a keyboard and nothing else.

On every page the skip link leads past the navigation; whatever has the focus shows it; after a form was sent
the focus is on what came of it: the notice, or the list of what is wrong, whose links lead to the fields.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from tests.support.browser import choose, chromium, fill_by_keyboard, tab_to, type_date, type_moment
from tests.support.fake_hub import running_hub
from tests.support.portal import JUSTIFICATION, PREFIX, TEAM, PortalUnderTest, database_file, portal_over
from tests.support.portal import with_people as with_three_people
from tests.support.site import with_an_outside, with_places

from nexus_allocator.services import events, requests

pytestmark = pytest.mark.browser

# What stands before a button on the longest page.
TABS = 120
RING = """() => {
    const ring = element => element && getComputedStyle(element).outlineStyle !== "none";
    const focused = document.activeElement;
    return Boolean(ring(focused) || ring(focused.closest(".nx-choice")));
}"""


@dataclass(frozen=True)
class Hands:
    """Somebody at a keyboard."""

    page: Page
    root: str

    def open(self, path: str = "") -> None:
        """Open a page and go past its navigation by the skip link."""
        self.page.goto(self.root + path)
        self.page.keyboard.press("Tab")
        skip = self.page.get_by_role("link", name="Skip to the content")
        assert skip.evaluate("element => element === document.activeElement"), path
        self.page.keyboard.press("Enter")
        assert self.page.evaluate("document.activeElement.id") == "content", path

    def to(self, target: Locator) -> None:
        tab_to(self.page, target, presses=TABS)
        assert self.page.evaluate(RING), f"the focus on {target} is not seen"

    def fill(self, label: str, text: str, *, exact: bool = False, within: str | None = None) -> None:
        field = self.place(within).get_by_label(label, exact=exact)
        kinds = {"date": type_date, "datetime-local": type_moment}
        typed = kinds.get(field.get_attribute("type") or "", fill_by_keyboard)
        typed(self.page, field, text, presses=TABS)

    def pick(self, label: str, option: str) -> None:
        """Choose in a list by typing how the option begins."""
        field = self.page.get_by_label(label, exact=True)
        self.to(field)
        self.page.keyboard.type(option)
        assert field.evaluate("element => element.selectedOptions[0].text").startswith(option)

    def choose(self, name: str, *, group: str) -> None:
        radios = self.page.get_by_role("group", name=group)
        choose(self.page, radios.get_by_role("radio", name=name), presses=TABS)

    def press(self, name: str, *, within: str | None = None, kind: str = "button") -> None:
        """Press Enter on a button or a link, and be led to where it leads."""
        target = self.place(within).get_by_role("link" if kind == "link" else "button", name=name).first
        self.to(target)
        with self.page.expect_navigation():
            self.page.keyboard.press("Enter")

    def send(self, name: str, *, told: str, within: str | None = None) -> None:
        """Send a form and find oneself on what it came to."""
        self.press(name, within=within)
        notice = self.page.locator("[role=status][data-focus]")
        expect(notice).to_contain_text(told)
        expect(notice).to_be_focused()

    def send_wrong(self, name: str, *, told: str, within: str | None = None) -> None:
        """Send a form with something wrong in it, and be led to the field by the list of what is."""
        self.press(name, within=within)
        alert = self.page.get_by_role("alert")
        expect(alert).to_be_focused()
        expect(alert).to_contain_text(told)
        link = alert.get_by_role("link").first
        self.to(link)
        self.page.keyboard.press("Enter")
        field = (link.get_attribute("href") or "")[1:]
        expect(self.page.locator(f"[id='{field}']")).to_be_focused()

    def download(self, name: str) -> str:
        """Press Enter on a link to a file, and return what is in it."""
        self.to(self.page.get_by_role("main").get_by_role("link", name=name).first)
        with self.page.expect_download() as file:
            self.page.keyboard.press("Enter")
        return Path(file.value.path()).read_text()

    def place(self, within: str | None) -> Locator:
        """Return the page's part of this name, or all of it."""
        if within is None:
            return self.page.get_by_role("main")
        return self.page.get_by_role("region", name=within, exact=True)

    def see(self, text: str) -> None:
        expect(self.page.get_by_role("main")).to_contain_text(text)


class Desk:
    """One browser for each person, at one portal."""

    def __init__(self, portal: PortalUnderTest, browser: Browser, root: str) -> None:
        self.portal, self.browser, self.root = portal, browser, root
        self.people: dict[str, Hands] = {}

    def at(self, hub_name: str, path: str = "") -> Hands:
        """Let somebody open a page in their browser; the first time they sign in."""
        if hub_name not in self.people:
            self.portal.hub.at_the_keyboard = hub_name
            page = self.browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
            page.set_default_timeout(15_000)
            page.goto(self.root)
            self.people[hub_name] = Hands(page, self.root)
        self.people[hub_name].open(path)
        return self.people[hub_name]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    file = database_file(tmp_path_factory.mktemp("desk"))
    with chromium() as browser, running_hub() as hub, portal_over(file, hub) as portal:
        with_three_people(portal)
        for name in ("sam", "rae", "double", "gone", "twin", "other"):
            portal.person(name, name.title())
            portal.accept(name)
        portal.launch("teammate", account=TEAM)
        with_an_outside(portal)
        with_places(portal)
        with portal.served() as address:
            desk = Desk(portal, browser, address + PREFIX)
            yield desk
            for hands in desk.people.values():
                hands.page.context.close()


def test_a_request_is_reckoned_drafted_sent_returned_revised_and_withdrawn(desk: Desk) -> None:
    ada = desk.at("astronomer", "requests")
    ada.send_wrong("Send the request", told="Choose a tier.")
    ada.choose("Research", group="Which tier")
    ada.fill("What is it for?", JUSTIFICATION)
    ada.fill("Area in square degrees", "100")
    ada.send("Reckon the credits", told="356 exposures (100.0 sq deg) cost")
    ada.send("Keep as a draft", told="Your draft was kept.")
    ada.send("Send the request", told="Your request was sent.")
    alex = desk.at("admin", "admin/requests")
    alex.fill("Person, account or title", "ada")
    alex.press("Search")
    alex.press("Research for Ada Astronomer", kind="link")
    alex.send("Take into review", told="The request is in review")
    alex.send_wrong("Return for revision", told="Write a reason of at least 3 characters.")
    alex.fill("Reason", "Which field, and how deep?")
    alex.send("Return for revision", told="returned to be revised")
    ada = desk.at("astronomer", "requests")
    ada.see("It was returned to you: Which field, and how deep?")
    ada.fill("Title", "The deep field")
    ada.send("Send the request", told="Your request was sent.")
    ada.send("Withdraw", told="Your request was withdrawn.")


def test_a_team_invites_divides_is_handed_over_and_left(desk: Desk) -> None:
    ada = desk.at("astronomer", f"teams/{TEAM}")
    ada.send_wrong("Invite", told="Write a hub name or an e-mail address.")
    ada.fill("Whom to invite", "sam")
    ada.send("Invite", told="Invited:", within="Invitations")
    ada.fill("Whom to invite", "rae")
    ada.send("Invite", told="Invited:", within="Invitations")
    ada.send("Withdraw the invitation of Rae", told="The invitation was withdrawn.")
    desk.at("sam", "teams").send("Join", told="You are in the team.")
    ada.fill("A new sub-group", "Grism")
    ada.send("Make the sub-group", told="The sub-group was made.")
    ada.press("Grism", kind="link")
    ada.choose("Fair share", group="Kind")
    ada.send_wrong("Change the part", told="Give a number of credits")
    ada.fill("Credits", "100", exact=True)
    ada.send("Change the part", told="The part was changed")
    ada.press("Sam", kind="link")
    ada.pick("Launches count for", "Grism")
    ada.send("Change the sub-group", told="The sub-group was changed")
    ada.press("Sam", kind="link")
    ada.choose("Cap", group="Kind")
    ada.fill("Credits", "12.5", exact=True)
    ada.send("Change the part", told="The part was changed")
    ada.press("Sam", kind="link")
    ada.pick("Role in the team", "Manager")
    ada.send("Change the role", told="The role was changed.")
    ada.press("Sam", kind="link")
    ada.pick("Role in the team", "Lead")
    ada.send("Change the role", told="The team has a new lead")
    sam = desk.at("sam", f"teams/{TEAM}")
    sam.press("Grism", kind="link")
    sam.send("End it", told="The sub-group was ended")
    sam.press("Tomo Teammate", kind="link")
    sam.send_wrong("Remove", told="Write a reason")
    ada = desk.at("astronomer", f"teams/{TEAM}")
    ada.press("Leave the team", kind="link")
    ada.send("Leave the team", told="You left the team.")


def test_a_panel_is_run_weighed_and_its_offers_answered(desk: Desk) -> None:
    alex = desk.at("admin", "admin/panel")
    alex.send_wrong("Make the round", told="Give the round a name")
    for label, text in {"Name": "Spring 2027", "First day": "2027-03-01", "Last day": "2027-04-01",
                        "Reviews due": "2027-05-01"}.items():  # fmt: skip
        alex.fill(label, text, exact=label == "Name")
    alex.send("Make the round", told="The round was made.")
    alex.send_wrong("Appoint", told="Write the hub name", within="Reviewers")
    alex.fill("Appoint", "rae")
    alex.send("Appoint", told="Appointed:", within="Reviewers")
    ids = {name: asked_for_a_team(desk.portal, name) for name in ("double", "gone")}
    rae = desk.at("rae", f"panel/{ids['gone']}")
    rae.send_wrong("Declare a conflict", told="Write a reason")
    rae.fill("What it is", "A student of mine.")
    rae.send("Declare a conflict", told="Your conflict of interest was kept")
    rae.press("Survey of double", kind="link")
    rae.send_wrong("Give the review", told="Choose a score for")
    for criterion in desk.portal.policy.panel.criteria:
        rae.choose("4 Very good", group=criterion.label)
    rae.fill("For the applicant", "Say which fields.")
    rae.send("Give the review", told="Your review was kept.")
    for name, answer in (("double", "Accept the offer"), ("gone", "Decline the offer")):
        alex = desk.at("admin", f"admin/requests/{ids[name]}")
        alex.fill("Credits to grant", "60")
        alex.send_wrong("Offer these terms", told="review")
        alex.fill("Why without the panel", "One field only, and urgent.")
        alex.send("Offer these terms", told="The offer was made.")
        person = desk.at(name, "requests")
        if answer.startswith("Decline"):
            person.send_wrong(answer, told="Write a reason")
            person.fill("Or decline it: why?", "Too little for the survey.")
        person.send(answer, told="Accepted and awarded" if name == "double" else "Declined:")
    alex = desk.at("admin", "admin/panel")
    alex.press("Spring 2027", kind="link")
    assert "Survey of double" in alex.download("Export the requests as CSV")
    assert "Say which fields." in alex.download("Export the reviews as CSV")


def asked_for_a_team(portal: PortalUnderTest, name: str) -> str:
    ask = requests.Ask(name, "team", JUSTIFICATION, f"Survey of {name}", team_label=f"Survey {name}")
    with portal.database.session_scope() as session:
        return str(requests.submit(session, ask, policy=portal.policy, hub_name=name, now=portal.clock()).id)


def test_mail_is_chosen_and_what_leaves_the_nexus_is_kept(desk: Desk) -> None:
    ada = desk.at("astronomer", "preferences")
    ada.pick("Spending", "Once a day")
    ada.send("Keep these choices", told="Your choices are kept.")
    alex = desk.at("admin", "admin/outbox")
    alex.send("Try again", told="It is tried again now.")
    alex = desk.at("admin", "admin/webhooks")
    alex.send_wrong("Register", told="address")
    alex.fill("Address", "https://hooks.example/nexus")
    alex.send("Register", told="Copy it now: it is never shown again.")
    alex.send("New secret for https://hooks.example/nexus", told="Copy it now")
    alex.send("Send a test to https://hooks.example/nexus", told="A test is on its way")
    alex.send("Switch off https://hooks.example/nexus", told="told nothing for now")
    alex.send("Remove https://hooks.example/nexus", told="The endpoint was removed.")


def test_an_event_is_made_joined_by_its_code_and_ended(desk: Desk) -> None:
    alex = desk.at("admin", "admin/events")
    alex.send_wrong("Make the event", told="Give a name of 1 to 80 characters.")
    alex.fill("Name", "Summer School", exact=True)
    alex.fill("Begins (UTC)", "2027-03-15T09:00")
    alex.fill("Credits", "5", exact=True)
    alex.fill("People at most", "60")
    alex.send("Make the event", told="The event was made.")
    with desk.portal.database.reading_scope() as session:
        code = events.listing(session)[0].code
    sam = desk.at("sam", "events/join")
    sam.send_wrong("Join", told="Type the code that you were given")
    sam.fill("Code", code, exact=True)
    sam.send("Join", told="You are in.")
    alex.send_wrong("End the event", told="Write a reason")
    alex.fill("Reason", "The speaker is ill.")
    alex.send("End the event", told="The event has ended")


def test_everybody_is_told_and_nobody_any_more(desk: Desk) -> None:
    alex = desk.at("admin", "admin/announcements")
    alex.send_wrong("Announce", told="Write a message")
    alex.fill("Message", "The archive is slow today.")
    alex.pick("Level", "Warning")
    alex.send("Announce", told="Announced:")
    desk.at("sam").see("The archive is slow today.")
    alex.send("Withdraw", told="Withdrawn: nobody reads it any more.")
    alex = desk.at("admin", "admin/maintenance")
    alex.send_wrong("Hold launches", told="Write a message")
    alex.fill("Message", "The file system is being moved.")
    alex.send("Hold launches", told="New launches are held.")
    alex.send("Let launches through", told="New launches go through.")


def test_a_question_is_asked_of_the_policy_and_answered(desk: Desk) -> None:
    desk.at("sam", "policy").to(desk.people["sam"].page.get_by_role("link", name="User agreement"))
    alex = desk.at("admin", "admin/what-if")
    alex.fill("People of the model", "10")
    alex.send_wrong("Find out", told="give 1 to 40 changes")
    alex.fill("Entry: credits", "x0.5")
    alex.send("Find out", told="It is being computed")
    expect(alex.page.get_by_role("heading", name="Month by month")).to_be_visible(timeout=30_000)
    alex.to(alex.page.get_by_role("region", name="Chart, scrolls sideways where it is narrow"))
    assert alex.download("Export as CSV").startswith("figure,unit,now,changed,difference")


def test_people_are_suspended_reinstated_renamed_merged_and_erased(desk: Desk) -> None:
    alex = desk.at("admin", "admin/people/twin")
    alex.send_wrong("Suspend", told="Write a reason")
    alex.fill("Reason", "Mined coins.")
    alex.send("Suspend", told="Suspended.")
    alex.send("Reinstate", told="Reinstated:")
    alex.press("Change the name, merge with another, erase", kind="link")
    name = "Another name or address"
    alex.send_wrong("Change", told="Give another hub name", within=name)
    alex.fill("New hub name", "gemini")
    alex.fill("Reason", "Asked for by mail.", within=name)
    alex.send("Change", told="Changed. The person signs in again.", within=name)
    alex.press("Change the name, merge with another, erase", kind="link")
    alex.send_wrong("Make them one", told="Give the hub name of the other person.")
    alex.fill("Hub name of the other", "other")
    alex.fill("Reason", "One person.", within="Two people who are one")
    alex.send("Make them one", told="The two are one person now.")
    alex.press("Change the name, merge with another, erase", kind="link")
    alex.fill("Reason", "Asked for.", within="Erase personal data")
    alex.send_wrong("Erase", told="gemini", within="Erase personal data")
    alex.fill("Type the hub name to confirm", "gemini")
    alex.send("Erase", told="Erased:", within="Erase personal data")


def test_a_server_is_entered_with_a_reason_left_and_stopped(desk: Desk) -> None:
    alex = desk.at("admin", "admin/servers")
    alex.press("Enter", kind="link")
    alex.send_wrong("Tell the person, and enter", told="Write a reason")
    alex.fill("Reason", "The kernel does not start.")
    alex.pick("For", "1 hour")
    alex.send("Tell the person, and enter", told="You may enter the server now.")
    alex.send("I am done", told="You may no longer enter the server.")
    tomo = desk.at("teammate")
    tomo.see("The kernel does not start.")
    tomo.send("Put away", told="Put away.")
    alex = desk.at("admin", "admin/servers")
    alex.press("Stop", kind="link")
    alex.send_wrong("Stop the server", told="Write a reason")
    alex.fill("Reason", "The node is going away.")
    alex.send("Stop the server", told="The server is being stopped.")


def test_room_for_files_is_reckoned_taken_and_sized(desk: Desk) -> None:
    tomo = desk.at("teammate", "storage")
    tomo.see("Home teammate")
    tomo = desk.at("teammate", "accounts/teammate/storage")
    tomo.send_wrong("What would it cost?", told="Give a size above zero")
    tomo.fill("Size in GB", "1")
    tomo.fill("Days", "2")
    tomo.send("What would it cost?", told="cost at most")
    tomo.send("Take it", told="scratch")
    tomo.send("Look again", told="look")
    alex = desk.at("admin", "admin/storage")
    alex.send_wrong("Set the size", told="Name a place")
    alex.fill("Place", "homes/teammate", exact=True)
    alex.fill("Size in GB", "12")
    alex.fill("Why", "A long run.")
    alex.send("Set the size", told="size")


def test_what_was_decided_and_spent_is_found_and_taken_along(desk: Desk) -> None:
    alex = desk.at("admin", "admin/log")
    alex.fill("Text or id", "the node is going")
    alex.press("Search")
    alex.see("1 record")
    assert "The node is going away." in alex.download("Export as CSV")
    sam = desk.at("sam", "accounts/sam")
    sam.press("90 days", kind="link")
    assert sam.download("credits per day and resource").startswith("account,")


def test_the_last_thing_is_to_sign_out(desk: Desk) -> None:
    rae = desk.at("rae").page
    tab_to(rae, rae.get_by_role("link", name="Sign out"), presses=TABS)
    rae.keyboard.press("Enter")
    rae.wait_for_url("**/hub/signed-out")
