"""What administrators announce stands on everybody's pages, launch form and card, for its time only."""

from datetime import timedelta

import pytest
from tests.support.fake_hub import FakeHub
from tests.support.portal import PortalUnderTest, Visitor, text_of

from nexus_allocator.domain.care import Level
from nexus_allocator.services import announcements, lab_reading, launches

FORM = {"level": "warning", "text": "New disks <b>tonight</b>.", "starts": "2027-03-15T15:00",
        "ends": "2027-03-15T18:00"}  # fmt: skip


def announced(portal: PortalUnderTest, text: str, level: Level, **lasts: float) -> None:
    with portal.database.session_scope() as session:
        announcements.announce(
            session, level=level, text=text, starts_at=portal.clock(), actor="operator ops",
            ends_at=portal.clock() + timedelta(**lasts), now=portal.clock(),
        )  # fmt: skip


def test_everybody_reads_it_from_its_beginning_to_its_end(
    administrator: Visitor, populated: PortalUnderTest, hub: FakeHub, address: str
) -> None:
    assert "Nothing was announced yet." in administrator.open("admin/announcements").text
    page = administrator.follow(administrator.post("admin/announcements", **FORM))
    assert "Please note:" not in text_of(page.text), "it begins half an hour later"
    with Visitor(address) as ada:
        hub.at_the_keyboard = "astronomer"
        ada.sign_in()
        populated.clock.forward(minutes=31)
        for path in ("", "teams", "requests", "policy"):
            page = ada.open(path)
            assert "Please note: New disks <b>tonight</b>." in text_of(page.text)
            assert "New disks &lt;b&gt;" in page.text
        populated.clock.forward(hours=3)
        assert "New disks" not in ada.open().text


def test_it_is_withdrawn_before_its_end(administrator: Visitor, populated: PortalUnderTest) -> None:
    populated.clock.forward(hours=1)
    administrator.open("admin/announcements")
    page = administrator.follow(administrator.post("admin/announcements", **FORM))
    path = page.text.split("/withdraw")[0].rsplit('action="/services/nexus/', 1)[1]
    for _ in range(2):
        page = administrator.follow(administrator.post(f"{path}/withdraw"))
        assert "Withdrawn" in text_of(page.text)
        administrator.open("admin/people/teammate")
    assert "New disks" not in administrator.open().text
    unknown = "admin/announcements/00000000-0000-0000-0000-000000000000/withdraw"
    assert administrator.post(unknown).status_code == 404
    acts = administrator.open("admin/log/log.csv", q="announce").text
    assert acts.count("announcement_withdrawn") == 1


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"level": "loud"}, "level"),
        ({"text": ""}, "text"),
        ({"text": "x" * 501}, "text"),
        ({"starts": ""}, "starts"),
        ({"ends": "2027-03-15T14:00"}, "ends"),
        ({"ends": "2027-03-15T15:00"}, "ends"),
        ({"ends": "2029-03-15T15:00"}, "ends"),
        ({"ends": "later"}, "ends"),
    ],
)
def test_what_is_wrong_with_it_is_told_beside_its_field(
    administrator: Visitor, changes: dict[str, str], field: str
) -> None:
    administrator.open("admin/announcements")
    page = administrator.post("admin/announcements", **(FORM | changes))
    assert page.status_code == 422
    assert f'id="{field}-error"' in page.text
    assert "Nothing was announced yet." in page.text


def test_launch_page_and_card_show_the_loudest_first(populated: PortalUnderTest) -> None:
    announced(populated, "A talk at noon.", Level.INFO, days=1)
    announced(populated, "Save your work.", Level.URGENT, hours=2)
    hold_id = populated.launch("astronomer")
    with populated.database.reading_scope() as session:
        page = launches.launch_page(
            session, policy=populated.policy, hub_name="astronomer", now=populated.clock()
        )
        card = lab_reading.card(
            session, hold_id, terms=populated.policy.enforcement, storage=populated.policy.storage,
            now=populated.clock(),
        )  # fmt: skip
    assert [each.text for each in page.announced] == ["Save your work.", "A talk at noon."]
    assert card.announced == page.announced
