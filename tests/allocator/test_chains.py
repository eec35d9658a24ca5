"""Chains, checkpoints and seals: history can't be rewritten unseen, and a balance adds up few rows."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import text
from tests.support.allocator import World

from nexus_allocator.clients.hub import Sighting
from nexus_allocator.clients.seals import SealFolder
from nexus_allocator.domain.chain import FIRST, Head, Seal
from nexus_allocator.domain.credits import MICRO
from nexus_allocator.domain.errors import NotBetweenTeamAndMember, RateCardChanged, TransferTooLarge
from nexus_allocator.domain.policy import RateCard
from nexus_allocator.services import rates
from nexus_allocator.services.audit import Outside, audit
from nexus_allocator.services.seals import seal_day
from nexus_allocator.store.chains import LINKS_PER_CHECKPOINT


def drifts(world: World, **outside: object) -> set[str]:
    with world.database.reading_scope() as session:
        report = audit(
            session, meter_silence=timedelta(minutes=3), now=world.clock(), outside=Outside(**outside)
        )
    return {drift.kind for drift in report.drifts}


def without_triggers(world: World, *statements: str) -> None:
    """Do what somebody with the database's own password could do."""
    with world.database.session_scope() as session:
        if world.database.is_sqlite:
            for table in ("entry", "link"):
                session.execute(text(f"DROP TRIGGER {table}_no_update"))
                session.execute(text(f"DROP TRIGGER {table}_no_delete"))
        else:
            session.execute(text("SET LOCAL session_replication_role = replica"))
        for statement in statements:
            session.execute(text(statement))


def sealed(world: World, folder: Path) -> list[object]:
    with world.database.reading_scope() as session:
        seal_day(session, SealFolder(folder), now=world.clock())
    return list(SealFolder(folder).read_all())


def test_an_entry_rewritten_past_the_triggers_breaks_its_chain(world: World) -> None:
    world.astronomer()
    world.grant("astronomer", 10)
    assert drifts(world) == set()
    without_triggers(world, "UPDATE entry SET reason = 'another' WHERE reason = 'for the test'")
    assert drifts(world) == {"chain"}


def test_a_new_entry_can_be_neither_left_out_of_its_chain_nor_dropped(world: World) -> None:
    world.astronomer()
    world.grant("astronomer", 10)
    without_triggers(world, "DELETE FROM link WHERE number = 2")
    assert {"unlinked", "unbalanced"} <= drifts(world)


def test_a_chain_written_anew_from_the_start_disagrees_with_the_seal_outside(
    world: World, tmp_path: Path
) -> None:
    world.astronomer()
    world.grant("astronomer", 10)
    assert len(sealed(world, tmp_path)) == 1
    without_triggers(
        world, "DELETE FROM link WHERE number = 2", "DELETE FROM entry WHERE reason = 'for the test'"
    )
    assert drifts(world) == set()
    assert drifts(world, seals=SealFolder(tmp_path).read_all()) == {"sealed"}


def test_a_chain_that_was_sealed_and_is_gone_is_told(world: World) -> None:
    lost = Seal(world.clock(), FIRST, (Head(uuid4(), 3, "ab" * 32),))
    assert drifts(world, seals=[lost]) == {"sealed"}


def test_a_day_is_sealed_once_with_the_heads_that_moved_and_each_seal_covers_the_last(
    world: World, tmp_path: Path
) -> None:
    world.astronomer()
    world.astronomer("colleague")
    assert len(sealed(world, tmp_path)) == 1
    world.grant("colleague", 1)
    assert len(sealed(world, tmp_path)) == 1
    world.clock.forward(days=1)
    sealed(world, tmp_path)
    first, second = SealFolder(tmp_path).read_all()
    assert (len(first.heads), len(second.heads)) == (2, 1)
    assert second.previous == first.digest
    assert drifts(world, seals=[first, second]) == set()
    file = next(iter(sorted(tmp_path.glob("*.json"))))
    document = json.loads(file.read_text())
    document["heads"] = document["heads"][:1]
    file.write_text(json.dumps(document))
    assert "seal" in drifts(world, seals=SealFolder(tmp_path).read_all())


def test_checkpoints_shorten_the_sum_and_the_audit_recomputes_them(world: World) -> None:
    world.astronomer()
    for _ in range(2 * LINKS_PER_CHECKPOINT):
        world.grant("astronomer", 0.5)
    assert world.figures("astronomer").balance == (25 + LINKS_PER_CHECKPOINT) * MICRO
    with world.database.reading_scope() as session:
        kept = session.execute(text("SELECT number, balance_micro FROM checkpoint ORDER BY number")).all()
    # The first link is the opening grant of 25 credits.
    assert [tuple(row) for row in kept] == [(64, 56_500_000), (128, 88_500_000)]
    assert drifts(world) == set()
    with world.database.session_scope() as session:
        session.execute(text("UPDATE checkpoint SET balance_micro = balance_micro + 1 WHERE number = 128"))
    assert drifts(world) == {"checkpoint"}


def test_credits_move_between_a_team_and_its_members_and_no_further_than_they_are_free(world: World) -> None:
    world.astronomer()
    world.astronomer("stranger")
    world.team("survey", "astronomer")
    world.transfer("survey", "astronomer", 100)
    world.transfer("astronomer", "survey", 0.5)
    assert world.figures("survey").balance == 4_900_500_000
    assert world.figures("astronomer").balance == 124_500_000
    with pytest.raises(NotBetweenTeamAndMember):
        world.transfer("survey", "stranger", 1)
    with pytest.raises(NotBetweenTeamAndMember):
        world.transfer("astronomer", "stranger", 1)
    with pytest.raises(TransferTooLarge) as refusal:
        world.transfer("astronomer", "survey", 125)
    assert refusal.value.facts["available_micro"] == 124_500_000
    assert drifts(world) == set()


def test_held_credits_can_not_be_given_away(world: World) -> None:
    world.astronomer()
    world.team("survey", "astronomer")
    world.launch()
    free = world.figures("astronomer").available
    with pytest.raises(TransferTooLarge):
        world.transfer("astronomer", "survey", free / MICRO + 0.01)


def test_the_audit_compares_holds_with_the_hub(world: World) -> None:
    world.astronomer()
    lost = world.launch()
    world.started(lost.hold_id)
    began = world.clock()
    world.clock.forward(minutes=10)
    stray = Sighting("astronomer", "x", None, ready=True, stopped=False, hold_id=uuid4(),
                     process_started_at=began, last_stop=None)  # fmt: skip
    shown = replace(stray, server_name="", hold_id=lost.hold_id)
    assert drifts(world, sightings=[shown]) == {"meter_silent"}
    assert drifts(world, sightings=[stray]) == {"meter_silent", "hub_without_hold", "hold_without_server"}
    unheld = replace(shown, hold_id=None, server_name="y", process_started_at=None)
    assert drifts(world, sightings=[shown, unheld]) == {"meter_silent", "hub_without_hold"}
    world.stopped(lost.hold_id, stopped_at=world.clock(), alive_at_stop=True)
    assert drifts(world, sightings=[shown]) == set(), "the hub was asked a moment before the stop"
    world.clock.forward(minutes=10)
    assert drifts(world, sightings=[shown]) == {"hub_without_hold"}


def test_a_rate_card_that_was_used_never_changes_under_its_version(world: World) -> None:
    card = RateCard(7, vcpu_hour_micro=50_000, gib_hour_micro=6_250, gpu_hour_micro=1_000_000)
    with world.database.session_scope() as session:
        rates.keep(session, card, now=world.clock())
    with world.database.session_scope() as session:
        rates.keep(session, card, now=world.clock())
        assert rates.cards(session)[7] == card
        with pytest.raises(RateCardChanged) as refusal:
            rates.keep(session, RateCard(7, 50_000, 6_250, 2_000_000), now=world.clock())
    assert refusal.value.facts["changed"] == ["gpu_hour_micro"]
