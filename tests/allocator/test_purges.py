"""Purges as objects of the service: what people see and ask, what the daily job does, and kills."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support.allocator import World
from tests.support.purge_store import SCRATCH, STARS, Shelf, Store

from nexus_allocator.clients.files import purging
from nexus_allocator.clients.files.purge_run import LOG
from nexus_allocator.clients.files.signed_log import LogBroken
from nexus_allocator.domain.errors import (
    NothingToRestore,
    PurgePhase,
    PurgeRuleOff,
    TeamRoleNeeded,
    UnknownExemption,
    UnknownPlace,
    UnknownPlan,
    UnknownTeam,
)
from nexus_allocator.domain.places import Place, PlaceKind
from nexus_allocator.domain.purges import PurgeState
from nexus_allocator.policy import load_policy
from nexus_allocator.services import purge_turns, purge_work, purges, storage
from nexus_allocator.store import purges as purge_rows


@pytest.fixture
def store(tmp_path: Path, world: World) -> Store:
    for name in ("astronomer", "teammate", "stranger"):
        world.astronomer(name)
    world.team("stars", "astronomer", "teammate")
    return Store(tmp_path, world)


def test_a_rule_that_is_off_is_reported_and_plans_nothing(store: Store) -> None:
    store.is_on = False
    store.write("old", "older")
    done = store.days_pass(20)
    assert {each.what for each in done} == {"dry run"}
    with store.world.database.reading_scope() as session:
        (found,) = [each for each in purges.reports(session) if each.files]
    assert (found.place_name, found.rule, found.files) == ("astronomer", "scratch", 2)
    assert store.plans() == []
    with pytest.raises(PurgeRuleOff):
        purge_work.plan(store.work, store.work.policy.purges[0], SCRATCH, now=store.world.clock())


def test_a_rule_plans_only_a_day_after_its_first_dry_run_was_reported(store: Store) -> None:
    store.write("old")
    assert [each.what for each in store.days_pass(1) if each.files] == ["dry run"]
    assert store.plans() == []
    assert [each.what for each in store.days_pass(1)] == ["plan and announce"]
    (plan,) = store.plans()
    assert (plan.state, plan.files, plan.place) == (PurgeState.ANNOUNCED, 1, "scratch/astronomer")
    assert plan.next_at == store.world.clock() + timedelta(days=14)


def test_what_a_turn_would_do_is_told_and_not_done(store: Store) -> None:
    store.write("old")
    store.days_pass(1)
    store.world.clock.forward(days=1)
    would = [each.what for each in purge_turns.owed(store.work, now=store.world.clock()) if each.files]
    assert would == ["plan and announce"]
    assert store.plans() == []
    assert store.files() == {"old"}


def test_its_people_are_told_by_name_of_the_largest_files_and_where_to_object(store: Store) -> None:
    store.write("runs/large", "small")
    (store.volume.path(SCRATCH) / "runs/large").write_bytes(b"x" * 5_000_000)
    store.days_pass(2)
    (plan,) = store.plans()
    with store.world.database.reading_scope() as session:
        (row,) = purge_rows.told(session, plan.id)
    assert row.person_id
    (told,) = [each for each in store.world.told("astronomer") if "scratch/astronomer" in each]
    assert "2 files" in told
    page = store.page(plan.id)
    assert [each.hub_name for each in page.told] == ["astronomer"]
    assert page.lists_files


def test_a_plan_is_seen_folder_by_folder_with_each_files_fate(store: Store) -> None:
    plan = store.in_quarantine()
    top = store.page(plan)
    assert [(each.name, each.files, each.waiting) for each in top.folders] == [("a b", 1, 1), ("runs", 3, 3)]
    assert [(each.name, each.fate) for each in top.files] == [("five", "waiting")]
    inner = store.page(plan, "runs")
    assert [each.name for each in inner.folders] == ["deep"]
    assert {each.name for each in inner.files} == {"one", "two"}
    assert inner.waiting_here == 3
    assert store.page(plan, "a%20b").crumbs == [("a%20b", "a b")]
    with pytest.raises(UnknownPlan):
        store.page(plan, "nowhere")


def test_a_file_a_folder_and_the_rest_come_back_as_asked_and_the_person_is_told(store: Store) -> None:
    plan = store.in_quarantine()
    assert store.files() == set()
    store.asks_back(plan, "a%20b/four")
    store.asks_back(plan, "a%20b/four")
    assert store.files() == set(), "nothing is touched in the request itself"
    assert store.page(plan).is_restoring
    assert store.jobs().sent == 1
    assert store.files() == {"a b/four"}
    store.asks_back(plan, "runs")
    store.jobs()
    assert store.files() == {"a b/four", "runs/one", "runs/two", "runs/deep/three"}
    (row,) = store.plans()
    assert (row.state, row.restored, row.waiting) == (PurgeState.RESTORED_IN_PART, 4, 1)
    assert [each.restored for each in store.page(plan).folders] == [1, 3]
    store.asks_back(plan)
    store.jobs()
    assert (store.plans()[0].state, store.plans()[0].over_at) == (PurgeState.KEPT, store.world.clock())
    assert sum("are back" in each or "back where" in each for each in store.world.told("astronomer")) == 3
    with pytest.raises(NothingToRestore):
        store.asks_back(plan)


def test_only_who_leads_the_team_has_its_files_back_and_strangers_see_no_plan(store: Store) -> None:
    store.write("shared/file", place=STARS)
    store.days_pass(16)
    (plan,) = store.plans("teammate")
    assert plan.place == "scratch/stars"
    assert not store.page(plan.id, hub_name="teammate").may_restore
    with pytest.raises(TeamRoleNeeded):
        store.asks_back(plan.id, by="teammate")
    with pytest.raises(UnknownTeam):
        store.page(plan.id, hub_name="stranger")
    assert store.plans("stranger") == []
    store.asks_back(plan.id, by="astronomer")
    store.jobs()
    assert store.files(STARS) == {"shared/file"}


def test_what_a_person_asks_to_keep_stays_until_it_is_declined(store: Store) -> None:
    store.write("thesis/data", "old")
    store.days_pass(2)
    admin, until = store.world.administrator(), store.world.clock() + timedelta(days=400)
    with store.world.database.session_scope() as session:
        asked = purges.ask_exemption(
            session, SCRATCH, (b"thesis",), until=until, reason="A thesis", hub_name="astronomer",
            now=store.world.clock(),
        )  # fmt: skip
    store.days_pass(14)
    assert store.files() == {"thesis/data"}
    with store.world.database.session_scope() as session:
        (waiting,) = purges.exemptions_to_answer(session, now=store.world.clock())
        assert (waiting.path, waiting.asked_by) == ("thesis", "astronomer")
        purges.answer_exemption(
            session, asked, grant=False, reason="It is in the archive", administrator_id=admin,
            now=store.world.clock(),
        )  # fmt: skip
        assert storage.exemptions(session, SCRATCH, now=store.world.clock()) == []
    assert any("is not kept" in each for each in store.world.told("astronomer"))
    with store.world.database.session_scope() as session, pytest.raises(UnknownExemption):
        purges.answer_exemption(
            session, asked, grant=True, reason="After all", administrator_id=admin, now=store.world.clock()
        )


def test_nobody_asks_for_anothers_place(store: Store) -> None:
    for place, error in ((Place(PlaceKind.HOME, "stranger"), UnknownPlace), (STARS, TeamRoleNeeded)):
        with store.world.database.session_scope() as session, pytest.raises(error):
            purges.ask_exemption(
                session, place, (), until=store.world.clock() + timedelta(days=9), reason="Mine",
                hub_name="teammate", now=store.world.clock(),
            )  # fmt: skip


def test_a_rule_that_is_switched_off_takes_and_deletes_no_more_and_gives_back(store: Store) -> None:
    plan = store.in_quarantine()
    store.is_on = False
    assert [each.what for each in store.days_pass(40) if each.files] == []
    assert store.plans()[0].waiting == 5
    store.asks_back(plan)
    store.jobs()
    assert len(store.files()) == 5


def test_an_administrator_cancels_a_plan_before_anything_is_taken(store: Store) -> None:
    store.write("old")
    store.days_pass(2)
    (plan,), admin = store.plans(), store.world.administrator()

    def cancel() -> None:
        with store.world.database.session_scope() as session:
            purges.ask_cancel(
                session, plan.id, reason="A slip of the rule", administrator_id=admin,
                now=store.world.clock(),
            )  # fmt: skip

    cancel()
    assert store.jobs().sent == 1
    assert store.plans()[0].state is PurgeState.CANCELLED
    store.days_pass(1)
    assert store.files() == {"old"}
    with pytest.raises(PurgePhase):
        cancel()


def test_rows_that_a_kill_left_behind_the_log_are_brought_up_to_it(store: Store) -> None:
    plan = store.in_quarantine()
    # What `restore` does before its rows are written: here the process is killed.
    purging.restore(
        store.work.ground(SCRATCH), plan.hex, under=(b"runs",), by="anna", now=store.world.clock()
    )
    assert store.plans()[0].restored == 0
    store.days_pass(1)
    assert (store.plans()[0].restored, store.plans()[0].state) == (3, PurgeState.RESTORED_IN_PART)


def test_a_log_whose_end_was_cut_off_is_told_and_nothing_is_done_on_it(store: Store) -> None:
    plan = store.in_quarantine()
    log = store.folder / "records" / plan.hex / LOG
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:-2]))
    with pytest.raises(LogBroken):
        purge_work.delete(store.work, plan.hex, now=store.world.clock())
    (problem,) = [each.problem for each in store.days_pass(1) if each.problem]
    assert "ends before the line" in problem


def test_a_job_that_fails_is_tried_again(store: Store) -> None:
    plan = store.in_quarantine()
    store.asks_back(plan)
    away = store.root.with_name("away")
    store.volume.path(SCRATCH).rename(away)
    assert store.jobs().failed == 1
    away.rename(store.root / "scratch" / "astronomer")
    store.world.clock.forward(hours=1)
    assert store.jobs().sent == 1
    assert len(store.files()) == 5


PRODUCT = """#ASDF 1.0.0
calibration_software_name: nexus_pipeline
    filename: {name}
    nexus:
      context: references
      steps:
      - {{name: ramp_fitting, seconds: 3600.0, parameters: {{algorithm: likelihood}}, reason: null}}
...
"""


def test_a_plan_shows_what_can_be_made_again_for_how_much_and_how(store: Store) -> None:
    store.write("cal/a_cal.asdf", "cal/notes")
    path = store.volume.path(SCRATCH) / "cal/a_cal.asdf"
    path.write_text(PRODUCT.format(name="a_cal.asdf"))
    store.days_pass(2)
    (plan,) = store.plans()
    assert (plan.remakable, plan.remakable_bytes) == (1, path.stat().st_size)
    page = store.page(plan.id, "cal")
    # A Small server with its 2 CPUs and 4 GiB costs 0.125 credits an hour.
    assert [(each.name, each.remake_micro) for each in page.files] == [
        ("a_cal.asdf", 62_500),
        ("notes", None),
    ]
    with store.world.database.reading_scope() as session:
        records = store.folder / "records"
        text = purges.recipe_of(session, plan.id, hub_name="astronomer", records=records)
    assert 'wfi calibrate "$L1"/a_uncal.asdf' in text
    assert "--output cal" in text


def test_a_full_place_is_purged_down_to_its_mark_and_products_go_first(store: Store) -> None:
    def pressed(document: dict[str, Any]) -> dict[str, Any]:
        document["purges"] = [{"slug": "full", "places": "scratch", "unused_days": 30, "grace_days": 1,
                               "window_days": 1, "enabled": True, "above_percent": 60}]  # fmt: skip
        return document

    policy = load_policy(change=pressed)
    work, rule = replace(store.work, policy=policy), policy.purge_rule("full")
    store.write("huge", "b_cal.asdf")
    top = store.volume.path(SCRATCH)
    (top / "huge").write_bytes(b"x" * 6_000_000)
    (top / "b_cal.asdf").write_text(PRODUCT.format(name="b_cal.asdf") + "x" * 3_000_000)
    store.volume.set_quota(SCRATCH, 20_000_000)
    assert purge_work.rehearse(work, rule, SCRATCH, now=store.world.clock()).files == 0
    store.volume.set_quota(SCRATCH, 11_000_000)
    found = purge_work.rehearse(work, rule, SCRATCH, now=store.world.clock())
    assert [path for _, path in found.largest] == [(b"b_cal.asdf",)]


def test_a_rule_that_keeps_cold_frees_the_space_at_once_and_deletes_nothing(store: Store) -> None:
    store.is_cold, store.objects = True, Shelf()
    plan = store.in_quarantine_or_cold()
    (row,) = store.plans()
    assert (row.state, row.cold, row.waiting) == (PurgeState.COLD, 5, 0)
    assert {key.split("/")[0] for key in store.objects.kept} == {"astronomer"}
    assert store.files() == {f"COLD-{plan.hex[:8]}.txt"}
    store.days_pass(60)
    store.asks_back(plan, "runs")
    assert store.jobs().sent == 1
    assert {"runs/one", "runs/two", "runs/deep/three"} <= store.files()
    (row,) = [each for each in store.plans() if each.id == plan]
    assert (row.state, row.cold, row.restored) == (PurgeState.COLD, 2, 3)
    store.asks_back(plan)
    store.jobs()
    assert not any(plan.hex in key for key in store.objects.kept)


def test_without_an_object_store_nothing_is_kept_cold_and_that_is_told(store: Store) -> None:
    store.is_cold = True
    store.write("old")
    problems = [each.problem for each in store.days_pass(17) if each.problem]
    assert set(problems) == {"no_object_store"}
    assert store.plans()[0].waiting == 1
