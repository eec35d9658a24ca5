"""The outbox: what was decided leaves once, in spite of failures, crashes and several deliverers."""

import random
import threading
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy.orm import Session
from tests.support.allocator import START, World

from nexus_allocator.domain.errors import NotAllowed, UnknownOutgoing
from nexus_allocator.domain.outbox import (
    LONGEST_PAUSE,
    MOST_ATTEMPTS,
    Channel,
    DeliveryFailed,
    OutgoingState,
    pause_after,
)
from nexus_allocator.domain.rights import Action
from nexus_allocator.services import delivery, outbox, outbox_reading, rights
from nexus_allocator.services.delivery import Delivered, Nothing, Send
from nexus_allocator.services.outbox_reading import Show
from nexus_allocator.store import outbox as rows
from nexus_allocator.store.outbox_tables import Outgoing

RNG = random.Random(11)  # noqa: S311 - the same pauses each time


@dataclass
class Carrier:
    """Keeps what it is given; refuses by kind, and can let a test act while it sends."""

    sent: list[str] = field(default_factory=list)
    refuses: dict[str, Exception] = field(default_factory=dict)
    while_sending: list[threading.Barrier] = field(default_factory=list)

    def prepare(self, _session: Session, row: Outgoing, *, now: datetime) -> Send | Nothing:
        if row.kind == "nobody":
            return Nothing("There is nobody.")
        return lambda: self.send(row)

    def send(self, row: Outgoing) -> None:
        for barrier in self.while_sending:
            barrier.wait(10)
        if row.kind in self.refuses:
            raise self.refuses[row.kind]
        self.sent.append(row.key)

    def failed(self, _session: Session, _row: Outgoing, *, problem: str, now: datetime) -> None:
        assert problem

    def arrived(self, _session: Session, _row: Outgoing, *, now: datetime) -> None:
        pass

    def rest(self) -> None:
        pass


def write(world: World, key: str, kind: str = "letter") -> UUID | None:
    with world.database.session_scope() as session:
        made = outbox.enqueue(session, Channel.MAIL, kind, key=key, facts={}, now=world.clock())
        return made.id if made else None


def deliver(world: World, carrier: Carrier) -> Delivered:
    return delivery.deliver(world.database, {Channel.MAIL: carrier}, clock=world.clock, rng=RNG)


def row(world: World, row_id: UUID | None) -> Outgoing:
    assert row_id is not None
    with world.database.reading_scope() as session:
        found = rows.by_id(session, row_id)
        assert found is not None
        return found


def test_what_is_decided_is_sent_once_and_what_is_undone_never(world: World) -> None:
    carrier = Carrier()
    with pytest.raises(NotAllowed), world.database.session_scope() as session:  # noqa: PT012
        outbox.enqueue(session, Channel.MAIL, "letter", key="undone", facts={}, now=START)
        rights.overseer(session, UUID(int=1), Action.OUTBOX_RETRY)
    write(world, "decided")
    assert write(world, "decided") is None
    assert deliver(world, carrier) == Delivered(sent=1)
    assert deliver(world, carrier) == Delivered()
    assert carrier.sent == ["mail/decided"]


def test_several_deliverers_at_once_send_each_row_once(world: World) -> None:
    for number in range(40):
        write(world, str(number))
    carrier, totals = Carrier(), []
    threads = [threading.Thread(target=lambda: totals.append(deliver(world, carrier).sent)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sum(totals) == 40
    assert set(Counter(carrier.sent).values()) == {1}
    assert len(carrier.sent) == 40


def test_a_failure_is_tried_again_later_and_later_and_given_up_in_the_end(world: World) -> None:
    carrier = Carrier(refuses={"letter": DeliveryFailed("busy")})
    row_id = write(world, "a")
    pauses = []
    for _ in range(MOST_ATTEMPTS - 1):
        before = world.clock()
        assert deliver(world, carrier) == Delivered(failed=1)
        assert deliver(world, carrier) == Delivered()
        pauses.append(row(world, row_id).due_at - before)
        world.clock.at = row(world, row_id).due_at
    assert timedelta(seconds=7) < pauses[0] <= timedelta(seconds=15)
    assert LONGEST_PAUSE / 2 <= pauses[-1] <= LONGEST_PAUSE
    assert timedelta(hours=12) < sum(pauses, timedelta(0)) < timedelta(hours=30)
    assert deliver(world, carrier) == Delivered(dead=1)
    dead = row(world, row_id)
    assert (dead.state, dead.problem, dead.attempts) == (OutgoingState.DEAD, "busy", MOST_ATTEMPTS)


def test_an_administrator_sees_what_was_given_up_and_lets_it_be_tried_again(world: World) -> None:
    admin, person = world.administrator(), world.astronomer()
    carrier = Carrier(refuses={"letter": DeliveryFailed("no such mailbox", is_final=True)})
    row_id = write(world, "a")
    assert row_id is not None
    assert deliver(world, carrier) == Delivered(dead=1)
    with world.database.reading_scope() as session:
        page = outbox_reading.page(session, show=Show.DEAD, channel=None, number=1)
    assert [(each.problem, each.attempts) for each in page.rows] == [("no such mailbox", 1)]
    with pytest.raises(NotAllowed), world.database.session_scope() as session:
        outbox.retry(session, row_id, administrator_id=person, now=world.clock())
    with pytest.raises(UnknownOutgoing), world.database.session_scope() as session:
        outbox.retry(session, UUID(int=1), administrator_id=admin, now=world.clock())
    carrier.refuses.clear()
    for _ in range(2):
        with world.database.session_scope() as session:
            outbox.retry(session, row_id, administrator_id=admin, now=world.clock())
        deliver(world, carrier)
    assert carrier.sent == ["mail/a"]
    assert row(world, row_id).state is OutgoingState.SENT


def test_everything_given_up_is_tried_again_at_once(world: World) -> None:
    admin = world.administrator()
    carrier = Carrier(refuses={"letter": DeliveryFailed("away", is_final=True)})
    for number in range(3):
        write(world, str(number))
    assert deliver(world, carrier).dead == 3
    with world.database.session_scope() as session:
        assert outbox.retry_all(session, channel=Channel.HUB, administrator_id=admin, now=START) == 0
        assert outbox.retry_all(session, channel=None, administrator_id=admin, now=START) == 3
    carrier.refuses.clear()
    assert deliver(world, carrier).sent == 3


def test_what_breaks_or_has_nobody_to_go_to_keeps_nothing_else_from_leaving(world: World) -> None:
    carrier = Carrier(refuses={"broken": ValueError("ours")})
    broken, nobody = write(world, "a", "broken"), write(world, "b", "nobody")
    write(world, "c")
    assert deliver(world, carrier) == Delivered(sent=1, dropped=1, failed=1)
    assert row(world, broken).problem == "An error of ours: ValueError"
    assert (row(world, nobody).state, row(world, nobody).problem) == ("dropped", "There is nobody.")


def test_a_claim_of_a_dead_deliverer_ends_and_a_late_one_changes_nothing(world: World) -> None:
    row_id = write(world, "a")
    with world.database.session_scope() as session:
        claimed = rows.claim(
            session, [Channel.MAIL], only=None, holder=UUID(int=1), now=START,
            until=START + delivery.CLAIM_LASTS,
        )  # fmt: skip
    assert claimed is not None
    carrier = Carrier()
    assert deliver(world, carrier) == Delivered()
    world.clock.forward(seconds=delivery.CLAIM_LASTS.total_seconds())
    assert deliver(world, carrier) == Delivered(sent=1)
    late = delivery.Outcome(OutgoingState.WAITING, "late")
    assert delivery._keep(world.database, carrier, claimed, late, clock=world.clock, rng=RNG) is None
    assert (row(world, row_id).state, row(world, row_id).attempts) == (OutgoingState.SENT, 2)


def test_a_row_that_kills_each_deliverer_is_given_up(world: World) -> None:
    row_id = write(world, "a")
    for number in range(MOST_ATTEMPTS):
        with world.database.session_scope() as session:
            assert rows.claim(
                session, [Channel.MAIL], only=None, holder=UUID(int=number), now=world.clock(),
                until=world.clock() + delivery.CLAIM_LASTS,
            )  # fmt: skip
        world.clock.forward(seconds=delivery.CLAIM_LASTS.total_seconds())
    carrier = Carrier()
    assert deliver(world, carrier) == Delivered(dead=1)
    assert (carrier.sent, row(world, row_id).state) == ([], OutgoingState.DEAD)


def test_what_was_sent_is_forgotten_after_a_quarter_and_what_was_given_up_is_not(world: World) -> None:
    carrier = Carrier(refuses={"broken": DeliveryFailed("no", is_final=True)})
    sent, dead, waiting = write(world, "a"), write(world, "b", "broken"), None
    deliver(world, carrier)
    world.clock.forward(days=91)
    waiting = write(world, "c")
    delivery.forget_old(world.database, now=world.clock())
    with world.database.reading_scope() as session:
        left = [row_id is not None and rows.by_id(session, row_id) is not None
                for row_id in (sent, dead, waiting)]  # fmt: skip
    assert left == [False, True, True]


def test_pauses_double_with_chance_taken_off_and_end_at_an_hour() -> None:
    for attempts, whole_s in ((1, 15), (2, 30), (5, 240), (9, 3600), (40, 3600)):
        drawn = [pause_after(attempts, RNG).total_seconds() for _ in range(200)]
        assert whole_s / 2 <= min(drawn) < whole_s * 0.6
        assert whole_s * 0.9 < max(drawn) <= whole_s
