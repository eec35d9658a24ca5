"""The deliverer as the service runs it, and the operator's commands about what leaves."""

import random
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

import pytest
from tests.support.allocator import HUB_TOKEN, INTERNAL_TOKEN, World
from tests.support.mail import carrier, post_office

from nexus_allocator import cli
from nexus_allocator.domain.mailing import LetterKind, MailKind, Timing
from nexus_allocator.domain.outbox import Channel
from nexus_allocator.services import mail_choices, outbox, webhook_reading
from nexus_allocator.services.delivery_loop import DeliveryLoop

RNG = random.Random(2)  # noqa: S311 - the same pauses each time


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


def writes(world: World, person_id: UUID, letter: LetterKind, key: str) -> None:
    facts = {"reason": "A test.", "team": "Field", "role": "member", "by": None, "until": "2026-04-01"}
    with world.database.session_scope() as session:
        outbox.mail(session, person_id, letter, key=key, facts=facts, now=world.clock())


def test_the_service_s_threads_send_what_is_due_write_digests_and_end_when_told(world: World) -> None:
    person_id = world.astronomer()
    with world.database.session_scope() as session:
        wanted = {MailKind.INVITATIONS: Timing.DIGEST}
        mail_choices.choose(session, wanted, hub_name="astronomer", now=world.clock())
    writes(world, person_id, LetterKind.INVITED, "a")
    writes(world, person_id, LetterKind.SUSPENDED, "b")
    with post_office() as office:
        loop = DeliveryLoop(
            world.database, {Channel.MAIL: carrier(office)}, clock=world.clock, rng=RNG,
            lease=timedelta(minutes=3),
        )  # fmt: skip
        loop.start()
        try:
            assert within(20, lambda: len(office.messages) == 1), "at once"
            world.clock.forward(days=1)
            assert within(20, lambda: len(office.messages) == 2), "and the digest once it is due"
        finally:
            loop.stop()
        writes(world, person_id, LetterKind.SUSPENDED, "c")
        assert not within(2, lambda: len(office.messages) == 3)
    assert office.subjects[1] == "Nexus digest of 2026-03-03: 1 message"


def test_an_operator_keeps_endpoints_from_the_command_line(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = world.database.url.render_as_string(hide_password=False)
    for name, value in {
        "DATABASE_URL": url,
        "HUB_TOKEN": HUB_TOKEN,
        "INTERNAL_TOKEN": INTERNAL_TOKEN,
    }.items():
        monkeypatch.setenv(f"NEXUS_{name}", value)

    def run(*words: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["nexus-allocator", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out + said.err

    code, said = run("webhook", "add", "https://hooks.example/a", "--event", "request.moved")
    secret = said.splitlines()[-1]
    assert (code, secret.startswith("nexus_")) == (0, True), said
    with world.database.reading_scope() as session:
        [endpoint] = webhook_reading.endpoints(session)
    assert endpoint.events == ("request.moved",)
    assert run("webhook", "add", "https://hooks.example/a")[0] == 1
    assert "can't be an endpoint" in run("webhook", "add", "http://127.0.0.1/")[1]
    assert secret not in run("webhook", "rotate", str(endpoint.id))[1]
    assert "is off" in run("webhook", "off", str(endpoint.id))[1]
    assert "off: by hand" in run("webhook", "list")[1]
    run("webhook", "on", str(endpoint.id))
    assert run("webhook", "remove", str(endpoint.id))[0] == 0
    assert run("webhook", "list") == (0, "")
    assert "no such endpoint" in run("webhook", "on", str(endpoint.id))[1]
    assert run("deliver") == (0, "0 sent, 0 dropped, 0 to try again, 0 given up\n")
