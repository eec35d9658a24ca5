"""Events posted to endpoints: signed, once, to allowed addresses; one that fails for long is switched off."""

import random
from collections.abc import Iterator
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from tests.allocator.test_requests import award, submit
from tests.support.allocator import START, World
from tests.support.webhook_receiver import Receiver, is_signed, receiver

from nexus_allocator.clients.webhooks import Caller
from nexus_allocator.domain.errors import (
    BadEvents,
    BadUrl,
    EndpointRegistered,
    NotAllowed,
    SecretUnreadable,
    UnknownEndpoint,
)
from nexus_allocator.domain.outbox import Channel, DeliveryFailed
from nexus_allocator.domain.webhooks import (
    FAILING_FOR,
    LONGEST_URL,
    MOST_FAILURES,
    EventKind,
    Reach,
    endpoint_url,
    may_reach,
    signature,
)
from nexus_allocator.services import suspensions, webhook_reading, webhooks
from nexus_allocator.services.delivery import Delivered, deliver
from nexus_allocator.services.webhook_calls import WebhookCarrier
from nexus_allocator.services.webhook_reading import Endpoint
from nexus_allocator.services.webhooks import Vault
from nexus_allocator.store import outbox as rows
from nexus_allocator.store import webhooks as endpoint_rows

RNG = random.Random(5)  # noqa: S311 - the same pauses each time
VAULT = Vault("a key for tests only", Reach.LOOPBACK)
ALL = [kind.value for kind in EventKind]


@pytest.fixture
def taking() -> Iterator[Receiver]:
    with receiver() as running:
        yield running


def register(world: World, url: str, events: list[str] | None = None) -> tuple[UUID, str]:
    with world.database.session_scope() as session:
        endpoint, secret = webhooks.register(
            session, url=url, events=events or ALL, vault=VAULT, by=None, now=world.clock()
        )
        return endpoint.id, secret


def delivered(world: World, vault: Vault = VAULT, deadline_s: float = 5.0) -> Delivered:
    carrier = WebhookCarrier(Caller(vault.reach, deadline_s=deadline_s), vault)
    return deliver(world.database, {Channel.WEBHOOK: carrier}, clock=world.clock, rng=RNG)


def suspends(world: World, reason: str = "A lost key.") -> None:
    with world.database.session_scope() as session:
        suspensions.suspend(session, hub_name="astronomer", reason=reason, actor="t", now=world.clock())


def endpoints(world: World) -> tuple[Endpoint, ...]:
    with world.database.reading_scope() as session:
        return webhook_reading.endpoints(session)


def problems(world: World) -> list[tuple[str, str | None]]:
    with world.database.reading_scope() as session:
        found = rows.page(session, states=None, channel=Channel.WEBHOOK, limit=100, offset=0)
    return [(row.state.value, row.problem) for row, _ in found]


def test_an_event_is_posted_once_signed_and_says_what_happened(world: World, taking: Receiver) -> None:
    person_id = world.astronomer()
    _, secret = register(world, taking.url)
    suspends(world)
    assert delivered(world) == Delivered(sent=1)
    assert delivered(world) == Delivered()
    headers, body = taking.came[0]
    assert is_signed(headers, body, secret)
    assert not is_signed(headers, body + b" ", secret)
    assert not is_signed(headers, body, "another secret")
    assert headers["Host"] == taking.url.split("/")[2]
    event = taking.events()[0]
    assert event == {
        "id": headers["Nexus-Event-Id"], "kind": headers["Nexus-Event"], "at": START.isoformat(),
        "facts": {"person": str(person_id)},
    }  # fmt: skip
    assert event["kind"] == "person.suspended"


def test_an_endpoint_is_sent_a_test_whatever_it_asked_for(world: World, taking: Receiver) -> None:
    endpoint_id, secret = register(world, taking.url, ["server.stopped"])
    for _ in range(2):
        with world.database.session_scope() as session:
            webhooks.send_test(session, endpoint_id, by=None, now=world.clock())
    assert delivered(world) == Delivered(sent=1), "pressed twice at one moment, it is one"
    assert is_signed(*taking.came[0], secret)
    assert (taking.events()[0]["kind"], taking.events()[0]["facts"]) == ("webhook.test", {})
    with world.database.session_scope() as session, pytest.raises(UnknownEndpoint):
        webhooks.send_test(session, uuid4(), by=None, now=world.clock())


def test_an_endpoint_is_told_only_of_what_it_asked_for_and_only_of_what_was_decided(
    world: World, taking: Receiver
) -> None:
    admin = world.administrator()
    world.astronomer()
    register(world, taking.url, ["request.moved", "server.stopped"])
    suspends(world)
    with world.database.session_scope() as session:
        suspensions.reinstate(session, hub_name="astronomer", actor="t", now=world.clock())
    award(world, submit(world), admin)
    hold = world.launch()
    world.started(hold.hold_id)
    world.clock.forward(hours=1)
    for _ in range(2):
        world.stopped(hold.hold_id, stopped_at=world.clock(), alive_at_stop=True)
    delivered(world)
    told = [(event["kind"], event["facts"].get("after")) for event in taking.events()]
    assert sorted(told, key=str) == [
        ("request.moved", "active"), ("request.moved", "awarded"), ("request.moved", "submitted"),
        ("server.stopped", None),
    ]  # fmt: skip
    stopped = next(event["facts"] for event in taking.events() if event["kind"] == "server.stopped")
    assert stopped == {
        "hold": str(hold.hold_id), "size": "small", "reason": "own-hand", "usage_micro": 125_000,
    }  # fmt: skip


def test_ends_and_marks_are_told_too(world: World, taking: Receiver) -> None:
    admin = world.administrator()
    world.astronomer()
    award(world, submit(world), admin)
    register(world, taking.url, ["allocation.told"])
    world.clock.at = world.allocation("astronomer").expires_at - timedelta(days=14)
    world.turn()
    world.turn()
    delivered(world)
    assert [event["facts"] for event in taking.events()] == [
        {"account": "astronomer", "notice": "allocation-ends", "days": 14}
    ]


def test_a_failure_is_tried_again_with_the_same_event_and_a_new_time(world: World, taking: Receiver) -> None:
    world.astronomer()
    _, secret = register(world, taking.url)
    suspends(world)
    taking.statuses = [500]
    assert delivered(world) == Delivered(failed=1)
    assert problems(world) == [("waiting", "It answered 500.")]
    world.clock.forward(seconds=15)
    assert delivered(world) == Delivered(sent=1)
    (first, one), (second, other) = taking.came
    assert one == other
    assert first["Nexus-Event-Id"] == second["Nexus-Event-Id"]
    assert first["Nexus-Signature"] != second["Nexus-Signature"]
    assert is_signed(second, other, secret)
    assert endpoints(world)[0].failures == 0


def test_a_rotated_secret_signs_beside_the_one_before_for_a_day(world: World, taking: Receiver) -> None:
    world.astronomer()
    endpoint_id, old = register(world, taking.url)
    with world.database.session_scope() as session:
        _, new = webhooks.rotate(session, endpoint_id, vault=VAULT, by=None, now=world.clock())
    assert new != old
    suspends(world, "The first.")
    delivered(world)
    world.clock.forward(days=1)
    suspends(world, "The second.")
    delivered(world)
    (first, one), (second, other) = taking.came
    assert [is_signed(first, one, secret) for secret in (new, old)] == [True, True]
    assert [is_signed(second, other, secret) for secret in (new, old)] == [True, False]


def test_secrets_lie_sealed_in_the_database(world: World, taking: Receiver) -> None:
    world.astronomer()
    endpoint_id, secret = register(world, taking.url)
    with world.database.reading_scope() as session:
        row = endpoint_rows.by_id(session, endpoint_id)
    assert row is not None
    assert secret not in row.sealed_secret
    assert VAULT.open(row.sealed_secret) == secret
    other = Vault("another key of the settings", Reach.LOOPBACK)
    with pytest.raises(SecretUnreadable):
        other.open(row.sealed_secret)
    suspends(world)
    assert delivered(world, other) == Delivered(dead=1)
    assert "rotate it" in str(problems(world))
    assert (taking.came, secret in repr(VAULT), "a key" in repr(VAULT)) == ([], False, False)


def test_redirects_are_not_followed(world: World, taking: Receiver) -> None:
    with receiver() as elsewhere:
        world.astronomer()
        register(world, taking.url)
        suspends(world)
        taking.statuses, taking.location = [302], elsewhere.url
        assert delivered(world) == Delivered(failed=1)
        assert problems(world) == [("waiting", "It answered 302; redirects are not followed.")]
        assert elsewhere.came == []


@pytest.mark.parametrize("how", ["delay", "drip"])
def test_nobody_holds_the_deliverer_up(world: World, taking: Receiver, how: str) -> None:
    world.astronomer()
    register(world, taking.url)
    suspends(world)
    taking.delay_s, taking.drips = (1.0, False) if how == "delay" else (0.0, True)
    assert delivered(world, deadline_s=0.5) == Delivered(failed=1)
    assert problems(world) == [("waiting", "No answer within 0.5 s.")]


def test_an_endpoint_that_fails_for_an_hour_is_switched_off_and_administrators_are_told(
    world: World, taking: Receiver
) -> None:
    admin = world.administrator()
    world.astronomer()
    endpoint_id, _ = register(world, taking.url)
    taking.statuses = [503] * (MOST_FAILURES + 1)
    for number in range(MOST_FAILURES):
        suspends(world, f"Reason {number}.")
        world.clock.forward(seconds=1)
    delivered(world)
    assert endpoints(world)[0].is_on, "so many in one outage of a moment are no reason"
    world.clock.at += FAILING_FOR
    delivered(world)
    found = endpoints(world)[0]
    assert (found.is_on, found.failures, found.disabled_why) == (False, MOST_FAILURES + 1, "It answered 503.")
    assert len(world.told("admin")) == 1
    assert f"The webhook to {taking.url} was switched off after 21 failures" in world.told("admin")[0]
    came = len(taking.came)
    suspends(world, "Not told of.")
    world.clock.forward(hours=1)
    delivered(world)
    assert len(taking.came) == came
    with world.database.session_scope() as session:
        webhooks.switch(session, endpoint_id, on=True, by=admin, now=world.clock())
    suspends(world, "Told again.")
    assert delivered(world).sent == 1


def test_a_removed_endpoint_is_told_nothing_and_its_address_may_be_registered_again(
    world: World, taking: Receiver
) -> None:
    world.astronomer()
    endpoint_id, _ = register(world, taking.url)
    with pytest.raises(EndpointRegistered):
        register(world, taking.url)
    suspends(world)
    with world.database.session_scope() as session:
        webhooks.remove(session, endpoint_id, by=None, now=world.clock())
    assert delivered(world) == Delivered(dropped=1)
    with pytest.raises(UnknownEndpoint), world.database.session_scope() as session:
        webhooks.rotate(session, endpoint_id, vault=VAULT, by=None, now=world.clock())
    register(world, taking.url)
    assert len(endpoints(world)) == 1


def test_only_administrators_keep_endpoints(world: World, taking: Receiver) -> None:
    person = world.astronomer()
    endpoint_id, _ = register(world, taking.url)
    with pytest.raises(NotAllowed), world.database.session_scope() as session:
        webhooks.register(session, url="https://a.example", events=ALL, vault=VAULT, by=person, now=START)
    with pytest.raises(NotAllowed), world.database.session_scope() as session:
        webhooks.remove(session, endpoint_id, by=person, now=START)
    with pytest.raises(UnknownEndpoint), world.database.session_scope() as session:
        webhooks.switch(session, uuid4(), on=True, by=None, now=START)


@pytest.mark.parametrize("events", [[], ["nonsense"], ["request.moved", "nonsense"]])
def test_unknown_events_are_refused(world: World, events: list[str]) -> None:
    with pytest.raises(BadEvents), world.database.session_scope() as session:
        webhooks.register(session, url="https://a.example", events=events, vault=VAULT, by=None, now=START)


@pytest.mark.parametrize(
    "url",
    ["", "a", "ftp://a.example", "javascript:alert(1)", "file:///etc/passwd", "https://", "http://u:p@a.example",
     "https://a.example/#f", "https://a.example:99999", "https://a.example:0", "http://[::1",
     "https://a b.example",
     "https://a.example/\r\nX: y", "https://ä.example", "https://a.example/" + "x" * LONGEST_URL,
     "http://127.0.0.1:80", "http://[::1]/", "http://169.254.169.254/latest", "http://10.0.0.1/",
     "http://0.0.0.0/",
     "http://[::ffff:127.0.0.1]/", "http://[64:ff9b::7f00:1]/"],
)  # fmt: skip
def test_what_is_no_public_address_is_refused(url: str) -> None:
    with pytest.raises(BadUrl):
        endpoint_url(url, Reach.PUBLIC)


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("8.8.8.8", {"public", "private", "loopback"}),
        ("2606:4700::1", {"public", "private", "loopback"}),
        ("10.1.2.3", {"private", "loopback"}),
        ("192.168.1.1", {"private", "loopback"}),
        ("fd00::1", {"private", "loopback"}),
        ("127.0.0.1", {"loopback"}),
        ("::1", {"loopback"}),
        ("::ffff:10.0.0.1", {"private", "loopback"}),
        ("169.254.169.254", set()),
        ("fe80::1%eth0", set()),
        ("0.0.0.0", set()),  # noqa: S104 - refused here
        ("224.0.0.1", set()),
        ("255.255.255.255", set()),
    ],
)
def test_the_setting_says_which_addresses_are_called(address: str, allowed: set[str]) -> None:
    assert {reach.value for reach in Reach if may_reach(address, reach)} == allowed


def test_a_name_that_leads_to_this_machine_is_not_called_unless_it_may_be(taking: Receiver) -> None:
    url = taking.url.replace("127.0.0.1", "localhost")
    for reach in (Reach.PUBLIC, Reach.PRIVATE):
        with pytest.raises(DeliveryFailed, match="may not be reached") as failure:
            Caller(reach).post(url, b"{}", {})
        assert failure.value.is_final
    assert taking.came == []
    Caller(Reach.LOOPBACK).post(url, b"{}", {})
    assert taking.came[0][0]["Host"].startswith("localhost:")


def test_a_name_that_nobody_knows_is_tried_again() -> None:
    with pytest.raises(DeliveryFailed, match="can't be reached: gaierror") as failure:
        Caller(Reach.PUBLIC).post("http://no-such-host.invalid/", b"{}", {})
    assert not failure.value.is_final


def test_the_signature_is_the_one_that_the_readme_tells() -> None:
    """HMAC-SHA256 with the key "secret" over "1772442000.{}", by openssl dgst -sha256 -hmac secret."""
    assert signature(["secret"], b"{}", at=START) == (
        "t=1772442000,v1=42da5635361679af8c9d0cb072d39554bce22bc54735a28ffcae11cc5f70fe72"
    )
