"""A refused launch says why, changes nothing, and is not a failure; a real failure still is one."""

import time

import pytest
from tests.support.hub import SMALL, TOO_LONG, HubUnderTest, running_hub, until

ARITHMETIC = "This server needs 3.0 credits, 2.0 left; nothing would fit."


def test_twelve_refusals_leave_the_hub_up_and_the_next_launch_works(hub: HubUnderTest) -> None:
    person = hub.sign_in()
    for _ in range(6):
        page = person.launch_by_form(TOO_LONG)
        assert (page.status_code, ARITHMETIC in page.text) == (402, True)
        assert "Who pays?" in page.text, "the form is there to try again"
    for _ in range(6):
        answer = person.launch_by_api(TOO_LONG)
        assert (answer.status_code, answer.json()["message"]) == (402, ARITHMETIC)
    # A hub that counted them as failures exits two seconds after the fifth.
    time.sleep(5)
    assert hub.children["hub"].exit_status() is None
    assert person.launch_by_form(SMALL).status_code == 200
    hub.wait_until_ready()


def test_a_refusal_that_takes_longer_than_a_second_is_told_on_the_pending_page(hub: HubUnderTest) -> None:
    person = hub.sign_in()
    hub.control(admission_delay_s=1.6)
    page = person.launch_by_form(TOO_LONG)
    assert "/hub/spawn-pending/astronomer" in str(page.url)
    page = until(
        lambda: (p := person.get("/hub/spawn-pending/astronomer")).status_code == 402 and p, "refused"
    )
    assert ARITHMETIC in page.text
    assert "Back to the launch page" in page.text


def test_a_refused_choice_is_offered_once_more_but_is_no_default_for_later(hub: HubUnderTest) -> None:
    person = hub.sign_in()
    page = person.launch_by_form(TOO_LONG)
    assert 'name="hours" type="number"' in page.text
    assert 'value="24"' in page.text
    # The API without options would otherwise repeat the refused ones.
    answer = person.api("POST", "/users/astronomer/server")
    assert answer.status_code == 422
    assert "account, size, image and hours are needed" in answer.json()["message"]


@pytest.mark.parametrize(
    ("crafted", "status", "message"),
    [
        ({"account": "someone-else"}, 404, "There is no account someone-else that you may charge."),
        ({"size": "large"}, 422, "The size large is not open to astronomer."),
        ({"size": ["small"]}, 422, "The size must be a name, not ['small']."),
        ({"hours": "NaN"}, 422, "The planned hours must be a number such as 1.5, not 'NaN'."),
        ({"hours": {}}, 422, "The planned hours must be a number such as 1.5, not {}."),
    ],
)
def test_crafted_options_are_refused_on_the_server(
    hub: HubUnderTest, crafted: dict[str, object], status: int, message: str
) -> None:
    answer = hub.sign_in().launch_by_api({**SMALL, **crafted})
    assert (answer.status_code, answer.json()["message"]) == (status, message)
    assert hub.server("astronomer") is None


def test_no_route_starts_anything_before_the_agreement_is_accepted(hub: HubUnderTest) -> None:
    person = hub.sign_in("teammate", accept=False)
    page = person.get("/hub/spawn")
    assert "I have read the agreement and accept it." in page.text
    assert "Who pays?" not in page.text
    answer = person.launch_by_api({**SMALL, "account": "teammate"}, "teammate")
    assert answer.status_code == 403
    assert answer.json()["message"] == "Please accept the user agreement first."
    assert "Who pays?" in person.accept_agreement().text


def test_a_link_cannot_start_a_server(hub: HubUnderTest) -> None:
    person = hub.sign_in()
    names = SMALL if hub.version < 6 else {f"opt-{name}": value for name, value in SMALL.items()}
    page = person.http.get(f"{hub.url}/hub/spawn", params=names)
    assert "A link cannot start a server" in page.text
    assert hub.server("astronomer") is None


def test_an_outage_of_the_service_refuses_politely_and_counts_as_no_failure(hub: HubUnderTest) -> None:
    hub.control(offers=False)
    person = hub.sign_in()
    hub.control(failing=True)
    for _ in range(6):
        answer = person.launch_by_api(SMALL)
        assert answer.status_code == 503
        assert "nothing was started and nothing was charged" in answer.json()["message"]
    assert "The allocation service does not answer" in person.get("/hub/spawn").text
    time.sleep(3)
    assert hub.children["hub"].exit_status() is None


def test_a_service_that_hangs_is_given_up_after_three_seconds_and_blocks_nobody(hub: HubUnderTest) -> None:
    hub.control(offers=False)
    person = hub.sign_in()
    hub.control(admission_delay_s=20)
    begun = time.monotonic()
    person.launch_by_form(SMALL)
    slowest = max(timed(lambda: person.get("/hub/health")) for _ in range(10))
    assert slowest < 1, "a blocking call would freeze the hub for everyone"
    until(lambda: person.get("/hub/spawn-pending/astronomer").status_code == 503, "given up", 10)
    assert time.monotonic() - begun < 6


def timed(call: object) -> float:
    begun = time.monotonic()
    call()  # type: ignore[operator]
    return time.monotonic() - begun


def test_five_real_failures_still_end_the_hub() -> None:
    with running_hub() as hub:
        person = hub.sign_in()
        # No process can be given such an environment: each start fails after admission.
        hub.control(environment={"BROKEN": "a\0b"})
        for _ in range(5):
            assert person.launch_by_api(SMALL).status_code == 500
        assert len(hub.calls("POST", "/holds/.*/stopped")) == 5, "each hold is settled"
        until(lambda: hub.children["hub"].exit_status() is not None, "the hub ends", 10)
