"""The page on which people choose their mail, and the outbox as administrators see it."""

from uuid import UUID, uuid4

import pytest
from tests.support.fake_hub import FakeHub
from tests.support.portal import PortalUnderTest, Visitor, text_of

from nexus_allocator.domain.mailing import LetterKind, MailKind, Timing
from nexus_allocator.domain.outbox import OutgoingState
from nexus_allocator.services import mail_choices, outbox
from nexus_allocator.store import outbox as rows
from nexus_allocator.store import people


def choices(portal: PortalUnderTest) -> dict[MailKind, Timing]:
    with portal.database.reading_scope() as session:
        found = mail_choices.of_person(session, hub_name="astronomer")
    return {row.kind: row.timing for row in found.rows}


def with_dead_rows(portal: PortalUnderTest, count: int = 1) -> list[UUID]:
    """Mail to Ada that was given up."""
    made = []
    with portal.database.session_scope() as session:
        ada = people.by_hub_name(session, "astronomer")
        assert ada is not None
        for number in range(count):
            key = f"dead/{number}"
            outbox.mail(session, ada.id, LetterKind.SUSPENDED, key=key, facts={}, now=portal.clock())
        for row, _ in rows.page(session, states=None, channel=None, limit=100, offset=0):
            row.state, row.problem, row.attempts = OutgoingState.DEAD, "550 <b>no</b> such mailbox", 1
            row.over_at = portal.clock()
            made.append(row.id)
    return made


def state_of(portal: PortalUnderTest, row_id: UUID) -> OutgoingState:
    with portal.database.reading_scope() as session:
        row = rows.by_id(session, row_id)
        assert row is not None
        return row.state


def test_people_choose_by_kind_and_find_what_they_chose(
    astronomer: Visitor, populated: PortalUnderTest
) -> None:
    page = astronomer.open("preferences")
    assert "astronomer@example.org" in text_of(page.text)
    assert "Always at once Your standing" in text_of(page.text)
    assert "The platform" not in text_of(page.text), "which is for administrators"
    said = astronomer.follow(astronomer.post("preferences", spending="digest", teams="never"))
    assert "Your choices are kept." in text_of(said.text)
    assert choices(populated)[MailKind.SPENDING] is Timing.DIGEST
    assert choices(populated)[MailKind.TEAMS] is Timing.NEVER
    assert choices(populated)[MailKind.ENDINGS] is Timing.AT_ONCE
    assert '<option value="digest" selected>' in said.text


def test_what_can_t_be_switched_off_is_not_switched_off(
    astronomer: Visitor, populated: PortalUnderTest
) -> None:
    astronomer.open("preferences")
    assert astronomer.post("preferences", standing="never", nonsense="x").status_code == 303
    assert choices(populated)[MailKind.STANDING] is Timing.AT_ONCE


@pytest.mark.parametrize("wrong", ["often", "", "x" * 5000, "<script>"])
def test_a_wrong_choice_is_told_and_keeps_nothing(
    astronomer: Visitor, populated: PortalUnderTest, wrong: str
) -> None:
    astronomer.open("preferences")
    answer = astronomer.post("preferences", teams="never", spending=wrong)
    assert answer.status_code == 422
    assert "Choose when to get mail about spending." in text_of(answer.text)
    assert "<script>" not in answer.text
    assert choices(populated)[MailKind.TEAMS] is Timing.AT_ONCE


def test_choices_need_a_session_and_a_form_of_it(
    astronomer: Visitor, populated: PortalUnderTest, address: str
) -> None:
    astronomer.open("preferences")
    assert astronomer.post("preferences", csrf="", teams="never").status_code == 403
    with Visitor(address) as nobody:
        assert nobody.open("preferences").status_code == 303
        assert nobody.post("preferences", csrf="x", teams="never").status_code == 401
    assert choices(populated)[MailKind.TEAMS] is Timing.AT_ONCE


def test_somebody_without_an_address_is_told_so(astronomer: Visitor, populated: PortalUnderTest) -> None:
    with populated.database.session_scope() as session:
        ada = people.by_hub_name(session, "astronomer")
        assert ada is not None
        ada.email = None
    assert "tells no address of yours" in text_of(astronomer.open("preferences").text)


def test_the_outbox_shows_what_was_given_up_and_tries_it_again(
    administrator: Visitor, populated: PortalUnderTest
) -> None:
    assert "Nothing was given up." in text_of(administrator.open("admin/outbox").text)
    row_id = with_dead_rows(populated)[0]
    page = administrator.open("admin/outbox")
    said = text_of(page.text)
    assert "Mail: Suspended Ada Astronomer Given up" in said
    assert "550 &lt;b&gt;no&lt;/b&gt; such mailbox" in page.text
    assert "Nothing waits." in text_of(administrator.open("admin/outbox", show="waiting").text)
    for _ in range(2):
        answer = administrator.post(f"admin/outbox/{row_id}/retry")
        assert "It is tried again now." in text_of(administrator.follow(answer).text)
    assert state_of(populated, row_id) is OutgoingState.WAITING
    assert "1 row waits, 0 were given up" in text_of(administrator.open("admin/outbox", show="all").text)


def test_all_that_was_given_up_is_tried_again_and_comes_in_pages(
    administrator: Visitor, populated: PortalUnderTest
) -> None:
    made = with_dead_rows(populated, 30)
    assert "Page 1 of 2" in text_of(administrator.open("admin/outbox").text)
    second = administrator.open("admin/outbox", page_number="2")
    assert "Page 2 of 2" in text_of(second.text)
    assert "Nothing is here yet." in text_of(administrator.open("admin/outbox", show="over").text)
    assert "Nothing was given up." in text_of(administrator.open("admin/outbox", channel="hub").text)
    administrator.open("admin/outbox")
    assert administrator.post("admin/outbox/retry").status_code == 303
    assert {state_of(populated, row_id) for row_id in made} == {OutgoingState.WAITING}


@pytest.mark.parametrize("query", [{"show": "x"}, {"channel": "pigeon"}, {"page_number": "0"}])
def test_a_wrong_filter_is_refused(administrator: Visitor, query: dict[str, str]) -> None:
    assert administrator.open("admin/outbox", **query).status_code == 422


def test_the_outbox_is_for_administrators_and_their_own_forms(
    astronomer: Visitor, populated: PortalUnderTest, hub: FakeHub, address: str
) -> None:
    row_id = with_dead_rows(populated)[0]
    astronomer.open("preferences")
    assert astronomer.open("admin/outbox").status_code == 403
    for path in ("admin/outbox/retry", f"admin/outbox/{row_id}/retry"):
        assert astronomer.post(path).status_code == 403
    hub.at_the_keyboard = "admin"
    with Visitor(address) as alex:
        alex.sign_in("admin/outbox")
        assert alex.post(f"admin/outbox/{row_id}/retry", csrf="wrong").status_code == 403
        assert alex.post(f"admin/outbox/{uuid4()}/retry").status_code == 404
        assert alex.post("admin/outbox/not-an-id/retry").status_code == 422
    assert state_of(populated, row_id) is OutgoingState.DEAD
