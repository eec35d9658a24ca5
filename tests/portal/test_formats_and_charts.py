"""Figures, lengths and the geometry of charts."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_allocator.services.forecasts import DaySpend
from nexus_allocator.web import charts, formats


@pytest.mark.parametrize(
    ("micro", "text"),
    [
        (0, "0.00"),
        (1, "under 0.001"),
        (41_666, "0.041"),
        (125_000, "0.12"),
        (25_000_000, "25.00"),
        (999_994_999, "999.99"),
        (24_999_999, "24.99"),
        (4_881_249_999, "4,881.2"),
        (-1_500_000, "-1.50"),
    ],
)
def test_credits_read_sensibly_and_never_look_like_more_than_they_are(micro: int, text: str) -> None:
    assert formats.credits_text(micro) == text


def test_chosen_amounts_keep_just_their_own_decimals() -> None:
    assert [formats.credits_round(amount) for amount in (5_000_000_000, 12_500_000, 0)] == [
        "5,000",
        "12.5",
        "0",
    ]
    assert formats.credits_field(5_000_000_000) == "5000"
    assert formats.rate_text(6_250) == "0.00625"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.4, "59 s"), (60, "1 min"), (3_599, "1 h 00 min"), (19_860, "5 h 31 min"), (-5, "0 s")],
)
def test_lengths_are_told_to_the_minute(seconds: float, text: str) -> None:
    assert formats.length_text(timedelta(seconds=seconds)) == text


def test_times_are_utc_whatever_zone_they_came_in() -> None:
    moment = datetime.fromisoformat("2027-03-15T23:30:00-05:00")
    assert formats.moment_text(moment) == "16 March 2027, 04:30 UTC"
    assert formats.iso(moment) == "2027-03-16T04:30:00Z"
    assert formats.day_text(datetime(2027, 3, 1, tzinfo=UTC)) == "1 March 2027"


@given(st.lists(st.integers(0, 10**13), min_size=1, max_size=60))
def test_every_bar_stands_inside_its_chart_in_proportion(amounts: list[int]) -> None:
    first = date(2027, 1, 1)
    spend = [DaySpend(first + timedelta(days=number), micro) for number, micro in enumerate(amounts)]
    chart = charts.spend_chart(spend, title="Spending", width=860, height=190)
    assert 2 <= len(chart.amounts) - 1 <= 5
    assert len(chart.bars) == sum(amount > 0 for amount in amounts)
    for bar in chart.bars:
        assert chart.left <= bar.x <= bar.x + bar.width <= chart.right + 0.02
        assert bar.y >= charts.MARGIN_TOP - 0.02
        assert bar.y + bar.height == pytest.approx(chart.base, abs=0.02)
    heights = [bar.height for bar in chart.bars]
    tallest = max(amounts)
    if tallest:
        scale = max(heights) / tallest
        expected = [amount * scale for amount in amounts if amount]
        assert heights == pytest.approx(expected, abs=0.03)


def test_a_chart_tells_in_words_what_it_shows() -> None:
    days = [DaySpend(date(2027, 3, day), micro) for day, micro in ((1, 500_000), (2, 0), (3, 1_250_000))]
    assert charts.describe(days) == (
        "1.750 credits were spent from 1 March 2027 to 3 March 2027, on 2 of 3 days. "
        "The most on one day was 1.250 credits, on 3 March 2027."
    )
    assert charts.describe(days[1:2]) == "Nothing was spent from 2 March 2027 to 2 March 2027."


@pytest.mark.parametrize(
    ("highest", "step", "top"),
    [(0, 1_000, 2_000), (690_000, 200_000, 800_000), (11_700_000, 5_000_000, 15_000_000)],
)
def test_the_scale_ends_at_a_round_amount(highest: int, step: int, top: int) -> None:
    assert charts.amount_scale(highest) == (step, top)


@given(granted=st.integers(0, 10**12), balance=st.integers(-(10**12), 10**12), held=st.integers(0, 10**12))
def test_the_parts_of_a_balance_make_the_whole(granted: int, balance: int, held: int) -> None:
    meter = charts.balance_meter(granted=granted, balance=balance, held=held)
    if granted == 0:
        assert meter is None
    else:
        assert meter is not None
        assert meter.spent + meter.held + meter.free == pytest.approx(100, abs=0.02)
        assert min(meter.spent, meter.held, meter.free) >= 0
