"""Signing in through the hub, staying signed in, and being signed out."""

import sqlite3
from contextlib import closing
from urllib.parse import quote

import pytest
from tests.support.fake_hub import FakeHub
from tests.support.portal import PREFIX, PortalUnderTest, Visitor, query_of, text_of


def test_a_stranger_is_sent_to_the_hub_and_comes_back_to_the_page_they_wanted(
    populated: PortalUnderTest, hub: FakeHub, browser: Visitor
) -> None:
    page = browser.sign_in("requests?account=astronomer")
    assert page.status_code == 200
    assert "Ask for more" in text_of(page.text)
    assert str(page.url).endswith("/services/nexus/requests?account=astronomer")


def test_the_session_cookie_is_out_of_reach_for_scripts_and_other_sites(
    populated: PortalUnderTest, browser: Visitor
) -> None:
    to_hub = browser.client.get(PREFIX + "sign-in")
    back = browser.client.get(browser.at_the_hub(to_hub.headers["Location"]))
    cookies = [value for value in back.headers.get_list("set-cookie") if value.startswith("nexus-session=")]
    assert len(cookies) == 1
    for part in ("HttpOnly", "SameSite=lax", f"Path={PREFIX}"):
        assert part in cookies[0]


def test_the_database_holds_neither_the_session_id_nor_the_hub_token(
    astronomer: Visitor, populated: PortalUnderTest, hub: FakeHub
) -> None:
    with closing(sqlite3.connect(str(populated.database.url.database))) as database:
        row = " ".join(str(value) for value in database.execute("SELECT * FROM web_session").fetchone())
    [token] = hub.tokens
    assert astronomer.client.cookies["nexus-session"] not in row
    assert token not in row


def test_a_hub_logout_ends_the_portal_session_at_the_next_page(astronomer: Visitor, hub: FakeHub) -> None:
    assert astronomer.open().status_code == 200
    hub.sign_out()
    # The hub clears its own session cookie in the browser that signs out.
    del astronomer.client.cookies["jupyterhub-session-id"]
    answer = astronomer.open()
    assert answer.status_code == 303
    assert "/sign-in" in answer.headers["Location"]


def test_a_revoked_token_ends_the_session_within_thirty_seconds_in_any_browser(
    astronomer: Visitor, populated: PortalUnderTest, hub: FakeHub
) -> None:
    asked = hub.asked_who
    assert astronomer.open().status_code == 200
    assert hub.asked_who == asked, "the hub is not asked at each page"
    hub.sign_out()
    sign_in = populated.signed_in_by
    assert sign_in is not None
    assert 0 < sign_in.hub.cache.max_age <= 30
    for key in sign_in.hub.cache.timestamps:
        sign_in.hub.cache.timestamps[key] -= 31
    assert astronomer.open().status_code == 303


def test_the_next_person_in_the_same_browser_sees_their_own_pages(astronomer: Visitor, hub: FakeHub) -> None:
    hub.sign_out()
    del astronomer.client.cookies["jupyterhub-session-id"]
    hub.at_the_keyboard = "teammate"
    page = astronomer.sign_in()
    assert "Tomo Teammate" in text_of(page.text)
    assert "Ada Astronomer" not in text_of(page.text)


def test_an_expired_session_is_sent_to_sign_in_and_back(
    astronomer: Visitor, populated: PortalUnderTest
) -> None:
    populated.clock.forward(hours=12, seconds=1)
    answer = astronomer.open("requests")
    assert answer.status_code == 303
    assert query_of(answer.headers["Location"]) == {"next": PREFIX + "requests"}
    assert "Ask for more" in text_of(astronomer.sign_in("requests").text)


def test_a_form_sent_after_the_session_ended_changes_nothing_and_says_so(
    astronomer: Visitor, populated: PortalUnderTest
) -> None:
    astronomer.open("requests")
    populated.clock.forward(hours=13)
    answer = astronomer.post("requests", account="astronomer", tier="research", justification="x" * 60)
    assert answer.status_code == 401
    assert "Your session has ended" in text_of(answer.text)
    assert "Nothing was changed" in text_of(answer.text)


def test_a_made_up_session_cookie_opens_nothing(populated: PortalUnderTest, browser: Visitor) -> None:
    browser.client.cookies.set("nexus-session", "x" * 43)
    assert browser.open().status_code == 303


def test_a_state_from_another_browser_is_refused(populated: PortalUnderTest, browser: Visitor) -> None:
    to_hub = browser.client.get(PREFIX + "sign-in")
    location = browser.at_the_hub(to_hub.headers["Location"])
    with Visitor(browser.address) as victim:
        answer = victim.client.get(location)
    assert answer.status_code == 400
    assert "not started in this browser" in text_of(answer.text)
    assert "nexus-session" not in answer.headers.get("set-cookie", "")


def test_a_state_with_a_slip_is_refused(populated: PortalUnderTest, browser: Visitor) -> None:
    to_hub = browser.client.get(PREFIX + "sign-in")
    location = browser.at_the_hub(to_hub.headers["Location"])
    assert browser.client.get(f"{location}x").status_code == 400
    assert browser.client.get(PREFIX + "oauth_callback?state=%C3%A9&code=1").status_code == 400
    assert browser.client.get(PREFIX + "oauth_callback").status_code == 400


def test_a_code_works_once(populated: PortalUnderTest, browser: Visitor) -> None:
    to_hub = browser.client.get(PREFIX + "sign-in")
    location = browser.at_the_hub(to_hub.headers["Location"])
    cookies = dict(browser.client.cookies)
    assert browser.client.get(location).status_code == 303
    browser.client.cookies.update(cookies)
    again = browser.client.get(location)
    assert again.status_code == 400
    assert "used already" in text_of(again.text)


def test_a_sign_in_the_hub_denies_is_told_plainly(
    populated: PortalUnderTest, hub: FakeHub, browser: Visitor
) -> None:
    hub.denies = True
    to_hub = browser.client.get(PREFIX + "sign-in")
    answer = browser.client.get(browser.at_the_hub(to_hub.headers["Location"]))
    assert answer.status_code == 403
    assert "did not allow the portal" in text_of(answer.text)


def test_a_token_without_the_services_scope_may_not_enter(
    populated: PortalUnderTest, hub: FakeHub, browser: Visitor
) -> None:
    hub.scopes = ["access:services!service=another", "self"]
    to_hub = browser.client.get(PREFIX + "sign-in")
    answer = browser.client.get(browser.at_the_hub(to_hub.headers["Location"]))
    assert answer.status_code == 403
    assert "not allowed to use the portal" in text_of(answer.text)


def test_a_hub_user_the_service_never_met_is_told_where_to_begin(
    populated: PortalUnderTest, hub: FakeHub, browser: Visitor
) -> None:
    hub.at_the_keyboard = "nobody"
    to_hub = browser.client.get(PREFIX + "sign-in")
    answer = browser.client.get(browser.at_the_hub(to_hub.headers["Location"]))
    assert answer.status_code == 403
    assert "does not know you yet" in text_of(answer.text)


def test_a_silent_hub_is_a_page_and_not_a_sign_out(astronomer: Visitor, hub: FakeHub) -> None:
    hub.is_down = True
    del astronomer.client.cookies["jupyterhub-session-id"]
    answer = astronomer.open()
    assert answer.status_code == 503
    assert "The hub does not answer" in text_of(answer.text)
    hub.is_down = False
    assert astronomer.open().status_code == 200


@pytest.mark.parametrize(
    "elsewhere",
    ["https://evil.example/", "//evil.example/", "/\\evil.example", "/hub/home", "/services/nexus/\r\nX: y",
     "/services/nexus/../../hub", "javascript:alert(1)", "/services/nexus/" + "a" * 600],
)  # fmt: skip
def test_nobody_is_sent_elsewhere_after_signing_in(
    populated: PortalUnderTest, browser: Visitor, elsewhere: str
) -> None:
    to_hub = browser.client.get(f"{PREFIX}sign-in?next={quote(elsewhere, safe='')}")
    back = browser.client.get(browser.at_the_hub(to_hub.headers["Location"]))
    assert back.headers["Location"] == PREFIX


def test_the_sign_out_link_ends_everything_at_the_hub(astronomer: Visitor, hub: FakeHub) -> None:
    assert f'href="{hub.url}/hub/logout"' in astronomer.open().text


def test_health_needs_no_sign_in(populated: PortalUnderTest, browser: Visitor) -> None:
    answer = browser.open("health")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
