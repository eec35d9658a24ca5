"""Whose token it is, the hub is asked now and then; whether its owner may act, is read at each request."""

from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from tests.support.allocator import START, World

from nexus_allocator.clients.hub import TokenOwner
from nexus_allocator.domain.errors import HubUnavailable, InvalidToken, Suspended
from nexus_allocator.domain.rights import Capacity
from nexus_allocator.domain.scopes import OWN
from nexus_allocator.services import panels, suspensions
from nexus_allocator.services.callers import Caller, TokenMemory, caller_of

READ_OWN = OWN[0].name
TOKEN = "a"


@dataclass
class Hub:
    """Knows tokens, counts how often it is asked, and may be away."""

    owners: dict[str, str] = field(default_factory=lambda: {TOKEN: "ada"})
    asked: int = 0
    is_away: bool = False

    def owner_of_token(self, token: str) -> TokenOwner | None:
        self.asked += 1
        if self.is_away:
            raise HubUnavailable(problem="away")
        owner = self.owners.get(token)
        return TokenOwner(owner, frozenset({READ_OWN})) if owner else None


@dataclass
class Scene:
    world: World
    hub: Hub = field(default_factory=Hub)
    memory: TokenMemory = field(default_factory=TokenMemory)

    def call(self, token: str = TOKEN) -> Caller:
        return caller_of(
            self.world.database, self.hub, self.memory, token, writes=False, now=self.world.clock()
        )  # type: ignore[arg-type] # fmt: skip


@pytest.fixture
def scene(world: World) -> Scene:
    world.astronomer("ada")
    return Scene(world)


def test_the_hub_is_asked_once_in_half_a_minute(scene: Scene) -> None:
    for _ in range(3):
        assert scene.call().hub_name == "ada"
    assert scene.hub.asked == 1
    scene.world.clock.forward(seconds=29)
    scene.hub.is_away = True
    scene.call()
    scene.world.clock.forward(seconds=1)
    with pytest.raises(HubUnavailable):
        scene.call()
    scene.hub.is_away = False
    scene.hub.owners.clear()
    with pytest.raises(InvalidToken):
        scene.call()


def test_a_clock_that_was_set_back_remembers_nothing_from_its_future(scene: Scene) -> None:
    scene.call()
    scene.world.clock.forward(hours=-1)
    scene.call()
    assert scene.hub.asked == 2


def test_a_wrong_token_is_asked_about_each_time(scene: Scene) -> None:
    for asked in (1, 2):
        with pytest.raises(InvalidToken):
            scene.call("b")
        assert scene.hub.asked == asked


def test_a_suspension_holds_at_once_and_a_token_of_before_it_is_asked_about_anew(scene: Scene) -> None:
    scene.call()
    with scene.world.database.session_scope() as session:
        suspensions.suspend(session, hub_name="ada", reason="A lost key.", actor="t", now=START)
    with pytest.raises(Suspended):
        scene.call()
    with scene.world.database.session_scope() as session:
        suspensions.reinstate(session, hub_name="ada", actor="t", now=START)
    scene.hub.owners.clear()
    with pytest.raises(InvalidToken):
        scene.call()


def test_it_remembers_no_more_than_so_many_and_the_latest() -> None:
    hub, memory = Hub(dict.fromkeys("abc", "ada")), TokenMemory(lasts=timedelta(seconds=30), most=2)
    for token in "abcbc":
        memory.owner(hub, token, now=START)  # type: ignore[arg-type]
    assert hub.asked == 3
    memory.owner(hub, "a", now=START)  # type: ignore[arg-type]
    assert hub.asked == 4


def test_a_reviewer_of_the_panel_calls_as_one(scene: Scene) -> None:
    assert Capacity.REVIEWER not in scene.call().may_act_as
    admin = scene.world.administrator()
    with scene.world.database.session_scope() as session:
        panels.appoint(session, "ada", by=admin, now=START)
    assert Capacity.REVIEWER in scene.call().may_act_as
