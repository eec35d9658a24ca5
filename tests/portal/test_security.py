"""Forms that are not ours, headers, escaping at the edges, and pages that are not there."""

import pytest
from tests.support.fake_hub import FakeHub
from tests.support.portal import PREFIX, PortalUnderTest, Visitor, text_of

from nexus_allocator.web import sessions

FORMS = [
    ("servers/-/stop", {}),
    ("servers/-/keep-alive", {"keep": "yes"}),
    ("teams/wide-field-demo/invitations", {"whom": "admin"}),
    ("teams/wide-field-demo/members/teammate/remove", {"reason": "because"}),
    ("requests", {"account": "astronomer", "tier": "research", "justification": "x" * 60}),
]


@pytest.mark.parametrize(("path", "form"), FORMS)
@pytest.mark.parametrize("csrf", ["", "wrong", "é"])
def test_a_form_without_the_sessions_proof_changes_nothing(
    *,
    astronomer: Visitor,
    populated: PortalUnderTest,
    hub: FakeHub,
    path: str,
    form: dict[str, str],
    csrf: str,
) -> None:
    populated.launch("astronomer")
    answer = astronomer.post(path, csrf=csrf, **form)
    assert answer.status_code == 403
    assert "was not made for your present session" in text_of(answer.text)
    assert hub.stopped == []
    assert "Waiting" not in text_of(astronomer.open("requests").text)


def test_the_proof_of_another_session_does_not_serve(
    astronomer: Visitor, populated: PortalUnderTest, hub: FakeHub, address: str
) -> None:
    populated.launch("astronomer")
    hub.at_the_keyboard = "teammate"
    with Visitor(address) as tomo:
        tomo.sign_in("requests")
        assert astronomer.post("servers/-/stop", csrf=tomo.csrf).status_code == 403
    assert hub.stopped == []


def test_an_administrators_forms_need_the_proof_too(
    administrator: Visitor, populated: PortalUnderTest, hub: FakeHub
) -> None:
    request_id = populated.ask("astronomer", "research")
    populated.launch("astronomer")
    for path in (f"admin/requests/{request_id}/approve", f"admin/requests/{request_id}/deny",
                 "admin/servers/astronomer/-/stop"):  # fmt: skip
        answer = administrator.post(path, csrf="wrong", amount="5", ends_on="2027-12-01", reason="because")
        assert answer.status_code == 403
    assert hub.stopped == []
    assert "1 request," in text_of(administrator.open("admin/requests").text)


@pytest.mark.parametrize(
    "path", ["", "policy", "sign-in", "nowhere", "static/nexus.css", "health", "oauth_callback"]
)
def test_every_answer_tells_browsers_what_pages_never_do(astronomer: Visitor, path: str) -> None:
    headers = astronomer.open(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cache-control"] == ("no-cache" if path.startswith("static") else "no-store")


def test_no_page_has_a_script_or_style_of_its_own(astronomer: Visitor) -> None:
    for path in ("", "requests", "policy", "accounts/astronomer"):
        page = astronomer.open(path).text
        assert page.count("<script") == 1
        assert "<style" not in page
        assert ' style="' not in page
        assert " onclick" not in page


def test_a_name_is_text_wherever_it_is_shown(portal: PortalUnderTest, hub: FakeHub, browser: Visitor) -> None:
    portal.person("mallory", "<b>Mallory</b> & 'co' \"x\"", administrator=True)
    portal.accept("mallory")
    hub.at_the_keyboard = "mallory"
    browser.sign_in()
    for path in ("", "requests", "admin/people", "admin/accounts", "accounts/mallory"):
        page = browser.open(path).text
        assert "<b>Mallory" not in page, path
        assert "&lt;b&gt;Mallory" in page, path


def test_a_page_that_is_not_there_is_a_page(astronomer: Visitor) -> None:
    answer = astronomer.open("nowhere")
    assert answer.status_code == 404
    assert "There is no such page" in text_of(answer.text)


def test_a_get_where_only_a_post_serves_is_refused(astronomer: Visitor) -> None:
    answer = astronomer.open("servers/-/stop")
    assert answer.status_code == 405
    assert "Nothing was changed" in text_of(answer.text)


def test_our_own_fault_is_a_page_without_its_secrets(astronomer: Visitor, populated: PortalUnderTest) -> None:
    with populated.database.session_scope() as session:
        session.connection().exec_driver_sql("ALTER TABLE hold RENAME TO hold_away")
    answer = astronomer.open()
    assert answer.status_code == 500
    assert "The fault is ours" in text_of(answer.text)
    assert "hold_away" not in answer.text
    assert "Traceback" not in answer.text
    assert answer.headers["content-security-policy"]


def test_a_notice_can_not_be_planted(astronomer: Visitor) -> None:
    astronomer.client.cookies.set("nexus-notice", "You have won", path=PREFIX)
    assert "won" not in text_of(astronomer.open().text)


def test_a_cut_session_cookie_opens_nothing(astronomer: Visitor) -> None:
    whole = astronomer.client.cookies[sessions.COOKIE]
    del astronomer.client.cookies[sessions.COOKIE]
    astronomer.client.cookies.set(sessions.COOKIE, whole[:-2], path=PREFIX)
    assert astronomer.open().status_code == 303
