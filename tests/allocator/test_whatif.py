"""What-if: a year of a synthetic population, or of the ledger, replayed under another policy."""

import csv
import xml.etree.ElementTree as ET
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from tests.support.allocator import START, Run, World

from nexus_allocator.domain.credits import MICRO
from nexus_allocator.domain.policy import Policy
from nexus_allocator.domain.states import AccountKind, TierSlug
from nexus_allocator.policy import load_policy
from nexus_allocator.policy.changes import BadChange, changing
from nexus_allocator.services.whatif import past
from nexus_allocator.services.whatif.compare import Comparison, compare
from nexus_allocator.services.whatif.demand import SECONDS_A_DAY, Demand, Files, Grant, Launches
from nexus_allocator.services.whatif.population import Population, draw
from nexus_allocator.services.whatif.replay import Answer, replay
from nexus_allocator.services.whatif.storage import keep
from nexus_allocator.web.whatif_report import as_svg, as_text

POLICY = load_policy()
# A Small server costs 0.125 credits an hour; a tenth of the population keeps its proportions.
FEW = Population(people=1_000, papers=100, seed=7)


@pytest.fixture(scope="module")
def demand() -> Demand:
    return draw(FEW, POLICY)


def changed(*changes: str) -> Policy:
    return load_policy(change=changing(changes))


def figure(found: Comparison, name: str) -> tuple[float, float]:
    return next((each.now, each.changed) for each in (*found.figures, *found.tiers) if each.name == name)


def wishes(*rows: tuple[float, float, float], credits_: float = 1.0) -> Demand:
    """One Entry account that wishes Small servers of (day, planned hours, used hours)."""
    days, planned, used = (np.array(column) for column in zip(*rows, strict=True))
    one = np.zeros(len(rows), np.int64)
    return Demand(
        start=START, days=30, sizes=("small",), kinds=(AccountKind.PERSONAL,),
        launches=Launches(
            at_s=(days * SECONDS_A_DAY).astype(np.int64), account=one, person=one, size=one.astype(np.int8),
            planned_minutes=(planned * 60).astype(np.int32), used_s=(used * 3600).astype(np.int64),
            paper=one.astype(np.int32) - 1,
        ),
        grants=(Grant(0, 0, TierSlug.ENTRY, round(credits_ * MICRO)),), patience=np.ones((1, 2)),
        assumptions=(), grace_minutes=10,
    )  # fmt: skip


def answers(demand: Demand, policy: Policy = POLICY) -> list[Answer]:
    return [Answer(number) for number in replay(demand, policy).answer]


def test_a_launch_that_fits_is_served_and_charged_for_what_it_used() -> None:
    year = replay(wishes((1, 4, 2)), POLICY)
    assert list(year.answer) == [Answer.SERVED]
    assert list(year.charged_micro) == [250_000]


def test_what_is_held_is_given_back_at_the_end_and_not_before() -> None:
    # One credit is eight hours of Small; 4 h and ten minutes are held while the first server runs.
    together = wishes((1, 4, 1), (1.02, 4, 1))
    assert answers(together) == [Answer.SERVED, Answer.NO_PLACE]
    assert answers(wishes((1, 4, 1), (1.05, 6, 1))) == [Answer.SERVED, Answer.SERVED]


def test_a_shorter_server_is_taken_where_one_fits_and_cuts_the_work() -> None:
    year = replay(wishes((1, 7, 7), (2, 4, 4)), POLICY)
    # 0.125 credits are left after seven hours: three quarters of an hour and the ten minutes of grace.
    assert list(year.answer) == [Answer.SERVED, Answer.SHORTENED]
    assert list(year.served_s) == [7 * 3600, 45 * 60]


def test_nothing_fits_when_nothing_is_left() -> None:
    assert answers(wishes((1, 4, 4), credits_=0)) == [Answer.NO_CREDITS]


def test_an_allocation_that_ended_and_a_size_that_is_gone_are_told_apart() -> None:
    short = changed("tiers.entry.length_days=31", "tiers.entry.notice_days=[7]")
    late = replace(wishes((1, 1, 1), (35, 1, 1)), days=60)
    assert answers(late, short) == [Answer.SERVED, Answer.ENDED]
    assert answers(wishes((1, 1, 1)), changed("tiers.entry.sizes=[medium]")) == [Answer.NOT_OFFERED]


def test_an_unchanged_policy_changes_nothing(demand: Demand) -> None:
    found = compare(demand, policy=POLICY, changed=POLICY)
    assert [each.difference for each in (*found.figures, *found.tiers)] == [0] * (
        len(found.figures) + len(found.tiers)
    )
    assert figure(found, "refused: allocation ended") == (0, 0)


def test_half_of_the_entry_credits_refuse_more_people_and_no_team(demand: Demand) -> None:
    found = compare(demand, policy=POLICY, changed=changed("tiers.entry.credits=x0.5"))
    for name in ("refused: credits used up", "People refused at least once", "Requests for a higher tier"):
        now, then = figure(found, name)
        assert then > now > 0, name
    for name in ("Credits charged", "Hours served"):
        now, then = figure(found, name)
        assert then < now, name
    now, then = figure(found, "Team: cost")
    assert now == then > 0
    assert sum(found.months[0].changed) > sum(found.months[0].now) > 0


def test_dearer_processors_charge_more_and_cost_no_more(demand: Demand) -> None:
    found = compare(demand, policy=POLICY, changed=changed("rate_card.vcpu_hour=x1.2"))
    charged, cost = figure(found, "Credits charged"), figure(found, "Cost at the rates in force now")
    assert charged[0] == pytest.approx(cost[0], rel=1e-4)
    assert charged[1] > charged[0]
    assert cost[1] < cost[0]


def test_the_same_seed_wishes_the_same_and_one_person_uses_more_than_a_thousand_others() -> None:
    one, again = (draw(Population(seed=1), POLICY) for _ in range(2))
    assert np.array_equal(one.launches.at_s, again.launches.at_s)
    assert np.array_equal(one.launches.used_s, again.launches.used_s)
    assert not np.array_equal(one.launches.at_s[:99], draw(Population(seed=2), POLICY).launches.at_s[:99])
    hours = np.sort(np.bincount(one.launches.person, one.launches.used_s, minlength=10_000))
    assert hours[-1] > hours[:1_000].sum()
    # A few papers are begun so late that their first server falls into the next year.
    assert 950 < len(np.unique(one.launches.paper[one.launches.paper >= 0])) <= 1_000


def test_nobody_launches_before_having_an_account(demand: Demand) -> None:
    first: dict[int, int] = {}
    for grant in demand.grants:
        first.setdefault(grant.account, grant.at_s)
    begun = np.array([first.get(account, 0) for account in range(len(demand.kinds))])
    assert (demand.launches.at_s >= begun[demand.launches.account]).all()
    assert (np.diff(demand.launches.at_s) >= 0).all()


def test_the_ledger_replayed_under_its_own_policy_is_what_happened(world: World) -> None:
    for name in ("ada", "ben"):
        world.astronomer(name)
    for hours, name in ((8, "ada"), (3, "ben"), (16, "ada")):
        began = world.clock()
        hold = world.launch(name, hours=hours).hold_id
        world.started(hold)
        world.clock.forward(hours=hours)
        world.seen(hold, began)
        world.stopped(hold, stopped_at=world.clock())
        world.clock.forward(hours=2)
    with world.database.reading_scope() as session:
        demand = past.demand_of(session, policy=POLICY, days=None, now=world.clock())
    year = replay(demand, POLICY)
    assert list(year.answer) == [Answer.SERVED] * 3
    assert list(year.charged_micro) == [1_000_000, 375_000, 2_000_000]
    assert year.granted_micro == 50 * MICRO
    poor = replay(demand, changed("tiers.entry.credits=2"))
    # Two credits pay the eight hours; seven and three quarters and the grace are left of sixteen.
    assert [Answer(number) for number in poor.answer] == [Answer.SERVED, Answer.SERVED, Answer.SHORTENED]
    assert poor.granted_micro == 4 * MICRO


def test_what_an_account_had_before_the_replay_is_there_at_its_start(world: World) -> None:
    world.astronomer("ada")
    world.clock.forward(days=40)
    began = world.clock()
    hold = world.launch("ada", hours=4).hold_id
    world.started(hold)
    world.clock.forward(hours=4)
    world.stopped(hold, stopped_at=began + timedelta(hours=4))
    with world.database.reading_scope() as session:
        demand = past.demand_of(session, policy=POLICY, days=10, now=world.clock())
    assert [grant.amount_micro for grant in demand.grants] == [25 * MICRO]
    assert answers(demand) == [Answer.SERVED]


@pytest.mark.parametrize(
    "change", ["tiers.entry.credits", "tiers.nobody.credits=1", "tiers.entry.colour=red", "rate_card=",
               "tiers.entry.sizes=x2"]
)  # fmt: skip
def test_a_change_that_means_nothing_is_refused_by_name(change: str) -> None:
    with pytest.raises(BadChange) as refused:
        changed(change)
    assert change in str(refused.value)


def test_the_chart_is_svg_that_says_in_words_what_it_shows(demand: Demand) -> None:
    found = compare(demand, policy=POLICY, changed=changed("tiers.entry.credits=x0.5"))
    drawing = ET.fromstring(as_svg(found, "<half> & half"))  # noqa: S314 - our own text
    space = "{http://www.w3.org/2000/svg}"
    assert drawing.findtext(f"{space}title") == "What if <half> & half"
    told = drawing.findtext(f"{space}desc") or ""
    assert f"Launches refused: {sum(found.months[0].now):,.0f} launches in all now" in told
    bars = [bar for bar in drawing.iter(f"{space}rect") if bar.find(f"{space}title") is not None]
    assert len(bars) == 2 * 2 * 12
    assert "Assumed:\n- 1,000 people" in as_text(found, "half")


def test_the_command_prints_the_table_and_writes_chart_and_csv(run: Run, tmp_path: Path, url: str) -> None:
    chart, table = tmp_path / "what-if.svg", tmp_path / "what-if.csv"
    files = ("--chart", str(chart), "--table", str(table))
    few = ("--people", "200", "--papers", "20")
    code, out, error = run(url, "simulate", *few, "--change", "tiers.entry.credits=12.5", *files)
    assert code == 0, error
    assert out.startswith("What if: tiers.entry.credits=12.5\n")
    assert chart.read_text().startswith("<svg")
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert rows[0]["figure"] == "Launches wished for"
    assert float(rows[0]["now"]) > 1_000


def test_the_command_refuses_a_policy_that_the_service_would_refuse(run: Run, url: str) -> None:
    for change in ("tiers.entry.credits=-1", "tiers.entry.sizes=[huge]", "nothing=1"):
        code, _, error = run(url, "simulate", "--change", change)
        assert code == 1
        assert "The changed policy can't be used" in error


def test_the_command_replays_the_ledger(run: Run, url: str, world: World) -> None:
    world.astronomer("ada")
    hold = world.launch("ada", hours=4).hold_id
    world.started(hold)
    world.stopped(hold, stopped_at=world.clock.forward(hours=4))
    code, out, error = run(url, "simulate", "--ledger", "--change", "tiers.entry.credits=0.25")
    assert code == 0, error
    assert "Launches wished for" in out
    assert "0.25" in out


def test_a_purge_rule_saves_scratch_and_somebody_misses_a_file(demand: Demand) -> None:
    found = compare(demand, policy=POLICY, changed=changed("tiers.entry.scratch_days=30"))
    for name in ("Scratch at the end", "Cost of scratch at the rates in force now"):
        now, then = figure(found, name)
        assert then < now, name
    now, then = figure(found, "People who want a purged file")
    assert then > now == 0
    assert figure(found, "Credits charged")[0] == figure(found, "Credits charged")[1]


def test_a_file_goes_when_it_was_unused_for_too_long_and_stays_while_it_is_used() -> None:
    three = wishes((0, 1, 1), (0.1, 1, 1), (0.2, 1, 1))
    never = np.nan
    files = Files(np.array([3.0, 3.0, 3.0]), np.array([[5, 9, never], [15, never, never], [never] * 3]))
    policy = changed("tiers.entry.scratch_days=10")
    kept = keep(replace(three, files=files), replay(three, policy), policy)
    # Used on days 0, 5 and 14 and gone on day 24; wanted on day 15 and gone on day 10; gone on day 10.
    assert kept.gb_months == pytest.approx([2.4, 1, 1])
    assert kept.missed.tolist() == [False, True, False]
    assert kept.gb_at_end.tolist() == [0, 0, 0]
