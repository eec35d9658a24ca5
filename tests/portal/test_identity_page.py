"""An administrator changes a name, makes two people one, and erases somebody after reading the plan."""

import pytest
from tests.support.fake_hub import FakeHub
from tests.support.portal import PortalUnderTest, Visitor, text_of

IDENTITY = "admin/people/teammate/identity"


def test_a_person_is_called_otherwise(administrator: Visitor) -> None:
    administrator.open(IDENTITY)
    changed = administrator.post(IDENTITY, to="tomoko", email="", reason="Asked for by mail.")
    page = administrator.follow(changed)
    assert "Hub name tomoko" in text_of(page.text)
    assert administrator.open(IDENTITY).status_code == 404
    assert "identity_changed" in administrator.open("admin/log/log.csv", who="tomoko").text


@pytest.mark.parametrize(
    ("form", "field"),
    [
        ({"to": "", "email": "", "reason": "Asked for."}, "to"),
        ({"to": "Upper Case", "reason": "Asked for."}, "to"),
        ({"to": "astronomer", "reason": "Asked for."}, "to"),
        ({"email": "no address", "reason": "Asked for."}, "email"),
        ({"to": "tomoko", "reason": ""}, "reason"),
        ({"to": "tomoko", "reason": "x" * 501}, "reason"),
    ],
)
def test_what_is_wrong_with_a_name_is_told_beside_its_field(
    administrator: Visitor, form: dict[str, str], field: str
) -> None:
    administrator.open(IDENTITY)
    page = administrator.post(IDENTITY, **form)
    assert page.status_code == 422
    assert f'id="{field}-error"' in page.text


def test_two_people_are_made_one(administrator: Visitor, populated: PortalUnderTest) -> None:
    populated.person("double", "Tomo Again")
    administrator.open(IDENTITY)
    merge = "admin/people/teammate/merge"
    for gone in ("", "nobody", "teammate"):
        page = administrator.post(merge, gone=gone, merge_reason="One person.")
        assert (page.status_code, 'id="gone-error"' in page.text) == (422, True)
    page = administrator.follow(administrator.post(merge, gone="double", merge_reason="One person."))
    assert "The two are one person now." in text_of(page.text)
    assert "Nobody matches" in administrator.open("admin/people", q="double").text


def test_an_erasure_shows_its_plan_and_waits_for_the_name(
    administrator: Visitor, populated: PortalUnderTest, hub: FakeHub
) -> None:
    said = text_of(administrator.open(IDENTITY).text)
    assert "25.00 credits left on the own account lapse" in said
    assert "Teams left: Wide Field Demo." in said
    erase = "admin/people/teammate/erase"
    for name in ("", "astronomer"):
        page = administrator.post(erase, name=name, erase_reason="Asked for.")
        assert (page.status_code, 'id="name-error"' in page.text) == (422, True)
    page = administrator.follow(administrator.post(erase, name="teammate", erase_reason="Asked for."))
    assert "Tomo" not in page.text
    assert "Erased" in text_of(page.text)
    assert "Tomo" not in administrator.open("teams/wide-field-demo").text
    name = page.text.split("admin/people/erased-")[1].split('"')[0]
    gone = f"admin/people/erased-{name}"
    assert "The personal data of this person were erased." in administrator.open(f"{gone}/identity").text
    again = administrator.post(f"{gone}/erase", name=f"erased-{name}", erase_reason="Asked for.")
    assert again.status_code == 422
    assert 'action="/services/nexus/admin/people' not in administrator.open(gone).text


def test_running_servers_hold_it_up(administrator: Visitor, populated: PortalUnderTest) -> None:
    populated.launch("teammate")
    assert "1 server runs: nothing here can be done" in text_of(administrator.open(IDENTITY).text)
    page = administrator.post("admin/people/teammate/erase", name="teammate", erase_reason="Asked for.")
    assert "runs 1 server; stop them first" in text_of(page.text)


def test_nobody_does_it_to_themselves_or_without_the_right(
    administrator: Visitor, populated: PortalUnderTest, hub: FakeHub, address: str
) -> None:
    mine = administrator.open("admin/people/admin/identity").text
    assert "Another administrator changes who you are." in mine
    administrator.open(IDENTITY)
    forms = {
        "identity": {"to": "boss", "reason": "Mine."},
        "merge": {"gone": "teammate", "merge_reason": "Mine."},
        "erase": {"name": "admin", "erase_reason": "Mine."},
    }
    for act, form in forms.items():
        assert administrator.post(f"admin/people/admin/{act}", **form).status_code == 403, act
        forged = administrator.post(f"admin/people/teammate/{act}", csrf="none", **form)
        assert forged.status_code == 403, act
    with Visitor(address) as ada:
        hub.at_the_keyboard = "astronomer"
        ada.sign_in("requests")
        for act, form in forms.items():
            assert ada.post(f"admin/people/teammate/{act}", **form).status_code == 403, act
