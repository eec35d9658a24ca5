"""Rules on plain values: credits, launches, readings, stops, names, pace."""

import math
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.allocator import START

from nexus_allocator.domain import errors, science, wording
from nexus_allocator.domain.credits import MICRO, charge_micro, hold_micro, shown, shown_need
from nexus_allocator.domain.errors import AllocatorError, BadHours, BadName, QuotaExceeded
from nexus_allocator.domain.forecast import burn
from nexus_allocator.domain.launches import Price, longest_minutes, planned_minutes, what_fits
from nexus_allocator.domain.names import NAME, hub_name_from, numbered, require_name
from nexus_allocator.domain.readings import Reading
from nexus_allocator.domain.states import AccountKind, StopReason, TierSlug
from nexus_allocator.domain.stops import Evidence, deduced_reason
from nexus_allocator.policy import load_policy

POLICY = load_policy()
SMALL, LARGE = POLICY.size("small"), POLICY.size("large")


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


@pytest.mark.parametrize(("slug", "cost"), [("small", 0.125), ("medium", 0.3), ("large", 1.2)])
def test_a_size_costs_what_the_rate_card_adds_up_to(slug: str, cost: float) -> None:
    assert POLICY.rate_micro(POLICY.size(slug)) == round(cost * MICRO)


def test_an_exposure_costs_its_processor_time_on_a_busy_small_server() -> None:
    policy = replace(POLICY, science=replace(POLICY.science, cpu_s_per_detector=15))
    # 18 detectors of 15 s of processor time at 0.0625 credits per processor hour: 0.0046875, rounded up.
    assert science.exposure_micro(policy) == 4_688
    assert science.square_degrees(policy, 4_687) == 0
    assert science.square_degrees(policy, 10 * 4_688) == pytest.approx(2.81)
    assert science.square_degrees(policy, -5 * MICRO) == 0


@given(amount=st.integers(0, 10**15))
def test_exposures_over_an_area_are_paid_by_what_shows_it(amount: int) -> None:
    area = science.square_degrees(POLICY, amount)
    assert (science.exposures_over(POLICY, area) - 1) * science.exposure_micro(POLICY) <= amount


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.004, "0"), (0.281, "0.28"), (2.81, "2.8"), (9.99, "9.9"), (10, "10"), (248.9, "240"),
     (1498.7, "1,400"), (0.29, "0.29"), (1e6, "1,000,000")],
)  # fmt: skip
def test_an_area_is_shown_in_two_digits_and_never_as_more(value: float, text: str) -> None:
    assert science.about(value) == text


@given(rate=st.integers(1, 10**8), seconds=st.integers(0, 10**6))
def test_a_hold_always_covers_the_charge_of_its_time(rate: int, seconds: int) -> None:
    assert 0 <= hold_micro(rate, seconds) - charge_micro(rate, seconds) <= 1


@given(rate=st.integers(1, 10**8), parts=st.lists(st.floats(0, 10**5), max_size=5))
def test_charging_in_parts_never_costs_more_than_at_once(rate: int, parts: list[float]) -> None:
    assert sum(charge_micro(rate, part) for part in parts) <= charge_micro(rate, math.fsum(parts) + 0.001)


@pytest.mark.parametrize(
    ("micro", "text"),
    [(3_299_000, "3.29"), (25 * MICRO, "25.00"), (12_345, "0.012"), (0, "0.00"), (-1_555_000, "-1.55")],
)
def test_what_is_left_is_never_shown_as_more_than_it_is(micro: int, text: str) -> None:
    assert shown(micro) == text


def test_what_is_needed_is_never_shown_as_less_than_it_is() -> None:
    assert (shown_need(11_920_000), shown_need(12 * MICRO), shown_need(20_100)) == ("11.92", "12.00", "0.021")


@pytest.mark.parametrize("hours", [0.25, 2, "2", "1.5", 24, 24.0])
def test_planned_hours_come_in_quarters_from_a_form_or_an_api(hours: object) -> None:
    assert planned_minutes(hours, POLICY.hours) == float(str(hours)) * 60


@pytest.mark.parametrize(
    "hours",
    [0, -1, 24.25, 1e9, 1e308, 10**400, 0.1, math.nan, math.inf, "two", "", "nan", None, True, [2], {"h": 2}],
)
def test_other_hours_are_refused_with_the_range(hours: object) -> None:
    with pytest.raises(BadHours) as caught:
        planned_minutes(hours, POLICY.hours)
    assert "from 0.25 to 24 in steps of 0.25" in wording.sentence(caught.value)


def fit(available: float, *, wanted: str = "large", hours: float = 2) -> tuple[str, float] | None:
    found = what_fits(
        POLICY, POLICY.sizes_of(TierSlug.TEAM), wanted=POLICY.size(wanted), minutes=round(hours * 60),
        grace_minutes=10, available_micro=round(available * MICRO),
    )  # fmt: skip
    return (found.size.slug, found.minutes / 60) if found else None


def test_the_largest_smaller_size_for_the_same_time_is_offered_first() -> None:
    assert fit(1.0) == ("medium", 2)
    assert fit(0.3) == ("small", 2)


def test_less_time_is_offered_when_no_size_lasts_as_long() -> None:
    assert fit(0.2) == ("small", 1.25)


def test_a_larger_size_than_asked_for_is_never_offered() -> None:
    assert fit(100, wanted="small", hours=24) == ("small", 24)


def test_nothing_is_offered_when_nothing_fits() -> None:
    assert fit(0.05) is None
    assert fit(-3) is None


@given(available=st.integers(0, 40 * MICRO), minutes=st.integers(1, 96).map(lambda steps: steps * 15))
def test_what_is_offered_can_be_paid_and_the_next_longer_one_not(available: int, minutes: int) -> None:
    longest = longest_minutes(POLICY, SMALL, grace_minutes=10, available_micro=available)
    rate = POLICY.rate_micro(SMALL)
    assert longest == 0 or Price(rate, longest, 10).amount_micro <= available
    assert longest == 24 * 60 or Price(rate, longest + 15, 10).amount_micro > available


def test_the_refusal_tells_the_arithmetic() -> None:
    fits = {"size": "small", "label": "Small", "hours": 2.0}
    refusal = QuotaExceeded(requested_micro=12 * MICRO, available_micro=3_200_000, fits=fits)
    text = wording.sentence(refusal)
    assert "needs 12.00 credits, 3.20 left; a Small server for 2 h would fit" in text


def test_every_refusal_has_a_sentence_and_every_stop_too() -> None:
    classes = [found for found in vars(errors).values() if isinstance(found, type)]
    slugs = {
        found.slug for found in classes if issubclass(found, AllocatorError) and found is not AllocatorError
    }
    assert slugs == set(wording.SENTENCES)
    told = {wording.stop_sentence(reason, exit_signal=9, exit_code=1) for reason in StopReason}
    assert len(told) == len(StopReason)


def test_a_process_seen_after_a_gap_has_been_running_all_along() -> None:
    reading = Reading(START).witnessed(START, at=START).witnessed(START, at=START + seconds(5000))
    assert reading.seconds == 5000


def test_time_nobody_witnessed_is_not_charged() -> None:
    reading = Reading(START).witnessed(START, at=START + seconds(60)).ended(None)
    assert reading.seconds == 60


def test_a_witnessed_end_completes_or_shortens_the_time() -> None:
    reading = Reading(START).witnessed(START, at=START + seconds(60))
    assert reading.ended(START + seconds(75)).seconds == 75
    assert reading.ended(START + seconds(45)).seconds == 45


def test_a_process_restarted_in_place_keeps_what_the_earlier_one_used() -> None:
    first = Reading(START).witnessed(START, at=START + seconds(100))
    again = first.witnessed(START + seconds(150), at=START + seconds(170))
    assert again.seconds == 120
    assert again.witnessed(START, at=START + seconds(180)) == again


def test_a_clock_ahead_or_behind_charges_no_time_before_the_hold() -> None:
    assert Reading(START).witnessed(START - seconds(999), at=START + seconds(10)).seconds == 10
    assert Reading(START).witnessed(START + seconds(30), at=START + seconds(10)).seconds == 0


@given(steps=st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), max_size=8))
def test_a_reading_never_falls_while_witnesses_come_in_any_order(steps: list[tuple[int, int]]) -> None:
    reading, before = Reading(START), 0.0
    for started, seen in steps:
        reading = reading.witnessed(START + seconds(started), at=START + seconds(seen))
        assert reading.seconds >= before
        before = reading.seconds


@pytest.mark.parametrize(
    ("evidence", "reason"),
    [
        (Evidence(alive_at_stop=True, exit_signal=15), StopReason.OWN_HAND),
        (Evidence(alive_at_stop=False, exit_signal=9), StopReason.SIGNAL),
        (Evidence(alive_at_stop=False, exit_code=0), StopReason.EXIT),
        (Evidence(alive_at_stop=False), StopReason.UNKNOWN),
        (Evidence(), StopReason.UNKNOWN),
    ],
)
def test_an_unannounced_stop_is_explained_by_its_evidence(evidence: Evidence, reason: StopReason) -> None:
    assert deduced_reason(evidence) == reason


def test_the_pace_says_when_the_balance_runs_out() -> None:
    pace = burn(
        spent_micro=7 * MICRO, days=7, balance_micro=10 * MICRO, now=START,
        expires_at=START + timedelta(days=300),
    )  # fmt: skip
    assert (pace.credits_per_day, pace.runs_out_on) == (1.0, START + timedelta(days=10))


@pytest.mark.parametrize(("spent", "balance"), [(0, 10 * MICRO), (1, 10**15)])
def test_no_date_is_given_when_the_allocation_ends_first(spent: int, balance: int) -> None:
    ends = START + timedelta(days=300)
    assert (
        burn(spent_micro=spent, days=7, balance_micro=balance, now=START, expires_at=ends).runs_out_on is None
    )


@given(st.text(max_size=60))
def test_any_provider_name_becomes_a_name_the_hub_accepts(preferred: str) -> None:
    name = hub_name_from(preferred)
    assert NAME.fullmatch(name)
    assert NAME.fullmatch(numbered(name, 12345))


def test_a_hub_name_keeps_what_it_can_of_the_provider_s() -> None:
    assert hub_name_from("Ünal.Öz@example.org") == "unal-oz"
    assert hub_name_from("42") == "p-42"


@pytest.mark.parametrize("name", ["x", "Team", "1team", "a b", "../etc", "a" * 40, "root", "", "té"])
def test_a_name_that_a_path_or_the_hub_can_t_bear_is_refused(name: str) -> None:
    with pytest.raises(BadName):
        require_name(name)


def test_only_larger_tiers_that_suit_the_account_can_be_asked_for() -> None:
    asked = [tier.slug for tier in POLICY.requestable(AccountKind.PERSONAL, TierSlug.ENTRY)]
    assert asked == [TierSlug.RESEARCH, TierSlug.TEAM]
    assert POLICY.requestable(AccountKind.PERSONAL, TierSlug.TEAM) == []
    assert [tier.slug for tier in POLICY.requestable(AccountKind.TEAM, TierSlug.ENTRY)] == [TierSlug.TEAM]
    assert LARGE.memory_bytes == 64 * 1024**3
