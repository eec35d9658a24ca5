"""Webhooks as administrators keep them in the portal."""

import re
from uuid import uuid4

import pytest
from tests.support.portal import VAULT, PortalUnderTest, Visitor, text_of

from nexus_allocator.services import webhook_reading
from nexus_allocator.services.webhook_reading import Endpoint
from nexus_allocator.store import webhooks as rows

URL = "https://hooks.example.org/nexus"


def endpoints(portal: PortalUnderTest) -> tuple[Endpoint, ...]:
    with portal.database.reading_scope() as session:
        return webhook_reading.endpoints(session)


def secret_in(html: str) -> str:
    found = re.search(r"<code>(nexus_[^<]+)</code>", html)
    assert found, "no secret is shown"
    return found.group(1)


def register(browser: Visitor, url: str = URL, events: str = "request.moved") -> str:
    browser.open("admin/webhooks")
    answer = browser.post("admin/webhooks", url=url, events=events)
    assert answer.status_code == 200, answer.text
    return answer.text


def test_an_endpoint_is_registered_and_its_secret_shown_once(
    administrator: Visitor, populated: PortalUnderTest
) -> None:
    assert "Nobody is told of events yet." in text_of(administrator.open("admin/webhooks").text)
    secret = secret_in(register(administrator))
    with populated.database.reading_scope() as session:
        row = rows.by_url(session, URL)
    assert row is not None
    assert VAULT.open(row.sealed_secret) == secret
    again = administrator.open("admin/webhooks")
    assert URL in again.text
    assert secret not in again.text
    assert again.headers["Cache-Control"] == "no-store"


def test_a_second_press_registers_nothing_more(administrator: Visitor, populated: PortalUnderTest) -> None:
    register(administrator)
    answer = administrator.post("admin/webhooks", url=URL, events="request.moved")
    assert answer.status_code == 422
    assert "is registered already" in text_of(answer.text)
    assert len(endpoints(populated)) == 1


@pytest.mark.parametrize(
    "url", ["", "ftp://x.example", "http://127.0.0.1:8000/", "https://x.example/" + "x" * 600, "<script>"]
)
def test_a_wrong_address_is_told_and_kept_in_the_form(
    administrator: Visitor, populated: PortalUnderTest, url: str
) -> None:
    administrator.open("admin/webhooks")
    answer = administrator.post("admin/webhooks", url=url, events="request.moved")
    assert answer.status_code == 422
    assert "be an endpoint: give" in text_of(answer.text)
    assert "<script>" not in answer.text.replace("<script src", "")
    assert endpoints(populated) == ()


def test_events_must_be_chosen(administrator: Visitor, populated: PortalUnderTest) -> None:
    administrator.open("admin/webhooks")
    assert administrator.post("admin/webhooks", url=URL).status_code == 422
    assert administrator.post("admin/webhooks", url=URL, events="nonsense").status_code == 422
    assert endpoints(populated) == ()


def test_a_secret_is_rotated_an_endpoint_switched_and_removed(
    administrator: Visitor, populated: PortalUnderTest
) -> None:
    first = secret_in(register(administrator))
    path = f"admin/webhooks/{endpoints(populated)[0].id}"
    assert secret_in(administrator.post(f"{path}/rotate").text) != first
    assert "The secret before signs too" in text_of(administrator.open("admin/webhooks").text)
    said = administrator.follow(administrator.post(f"{path}/switch", to="off"))
    assert "Off since" in text_of(said.text)
    assert administrator.post(f"{path}/switch", to="sideways").status_code == 422
    administrator.post(f"{path}/switch", to="on")
    assert endpoints(populated)[0].is_on
    assert "was removed" in text_of(administrator.follow(administrator.post(f"{path}/remove")).text)
    assert endpoints(populated) == ()
    assert administrator.post(f"{path}/remove").status_code == 404
    assert administrator.post(f"admin/webhooks/{uuid4()}/rotate").status_code == 404
    assert administrator.post("admin/webhooks/x/rotate").status_code == 422


def test_webhooks_are_for_administrators_and_their_own_forms(
    astronomer: Visitor, populated: PortalUnderTest
) -> None:
    assert astronomer.open("admin/webhooks").status_code == 403
    astronomer.open("preferences")
    for path in ("", f"/{uuid4()}/rotate", f"/{uuid4()}/remove", f"/{uuid4()}/switch"):
        assert astronomer.post(f"admin/webhooks{path}", url=URL, to="on").status_code == 403
    assert endpoints(populated) == ()


def test_a_form_of_another_session_registers_nothing(
    administrator: Visitor, populated: PortalUnderTest
) -> None:
    answer = administrator.post("admin/webhooks", csrf="wrong", url=URL, events="request.moved")
    assert answer.status_code == 403
    assert endpoints(populated) == ()
