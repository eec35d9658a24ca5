"""The command line of what administrators do in the portal: looking through, deciding, stopping."""

from collections.abc import Iterator

import pytest
from tests.support.allocator import Run, World
from tests.support.api import asked
from tests.support.fake_hub import SERVICE_TOKEN, FakeHub, running_hub


@pytest.fixture(scope="module")
def small_hub() -> Iterator[FakeHub]:
    with running_hub() as hub:
        yield hub


@pytest.fixture
def told(run: Run, url: str, small_hub: FakeHub) -> Run:
    """Run a command against the world's database and the small hub; return what it printed."""

    def told(*words: str) -> str:  # type: ignore[misc]
        code, out, error = run(url, *words, hub=small_hub.api_url, NEXUS_HUB_TOKEN=SERVICE_TOKEN)
        assert code == 0, out + error
        return out

    return told  # type: ignore[return-value]


def test_an_operator_looks_through_what_administrators_see(told: Run, world: World) -> None:
    world.astronomer("ada")
    world.administrator("alex")
    world.team("grism", "ada")
    world.started(world.launch("ada").hold_id)
    everybody = told("show", "people")
    assert "ada\tAda\tGrism" in everybody
    assert "administrator" in everybody
    assert told("show", "people", "nobody-such") == ""
    assert "grism\tGrism\tteam\t" in told("show", "accounts", "gri")
    assert told("show", "servers").startswith("ada\t-\tsmall\t")
    pool = told("show", "pool")
    assert "live servers 1" in pool
    assert "launches go through" in pool


def test_a_request_is_decided_in_an_administrators_name(told: Run, run: Run, url: str, world: World) -> None:
    world.astronomer("ada")
    world.administrator("alex")
    request_id = str(asked(world))
    assert request_id in told("request", "list")
    assert run(url, "request", "review", request_id, "--as", "ada")[0] == 1
    assert "in-review" in told("request", "review", request_id, "--as", "alex")
    assert "returned" in told("request", "return", request_id, "--as", "alex", "--reason", "How deep?")
    assert request_id not in told("request", "list")
    world.clock.forward(hours=1)
    request_id = str(asked(world))
    assert "active" in told("request", "award", request_id, "--as", "alex", "--credits", "40")
    assert world.figures("ada").balance == 65_000_000
    shown = told("request", "show", request_id)
    assert "awarded-in-part\tAlex" in shown
    assert request_id in told("request", "list", "--decided")
    code, _, error = run(url, "request", "deny", request_id, "--as", "alex", "--reason", "Too late")
    assert code == 1
    assert "active" in error
    assert run(url, "request", "award", request_id, "--as", "alex", "--credits", "many")[0] == 1


def test_an_operator_stops_a_server_and_says_why(
    *, told: Run, run: Run, url: str, world: World, small_hub: FakeHub
) -> None:
    small_hub.forget()
    world.astronomer("ada")
    world.started(world.launch("ada").hold_id)
    assert run(url, "server", "stop", "ada", "--reason", " ")[0] == 1
    assert small_hub.stopped == []
    assert "being stopped" in told("server", "stop", "ada", "--reason", "The node is going away")
    assert small_hub.stopped == ["ada/server"]
    assert told("server", "entered", "ada") == ""
