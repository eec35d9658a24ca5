"""The course of a balance, the forecast's drawing, and the administrator's page of the pool."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.portal import NOW, PortalUnderTest, Visitor, text_of

from nexus_allocator.domain.forecast import Forecast, History, forecast
from nexus_allocator.services import portal_reading
from nexus_allocator.services.forecasts import DayLeft
from nexus_allocator.web.course_charts import CourseChart, course_chart

CREDIT = 1_000_000


def expected(*days: int, left: int, length: int = 200) -> Forecast:
    yesterday = NOW.date() - timedelta(days=1)
    return forecast(
        History(yesterday, days), balance_micro=left, now=NOW, ends_at=NOW + timedelta(days=length)
    )


def drawn(found: Forecast, *left: int, length: int = 200) -> CourseChart:
    course = [
        DayLeft(NOW.date() - timedelta(days=len(left) - 1 - day), each) for day, each in enumerate(left)
    ]
    return course_chart(
        course, found, now=NOW, ends_at=NOW + timedelta(days=length), title="Left", width=860, height=190
    )


def points(text: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in text.split())]


@given(
    st.lists(st.integers(0, 10**11), min_size=1, max_size=60),
    st.lists(st.integers(-(10**10), 10**13), min_size=1, max_size=90),
    st.integers(1, 700),
)
def test_every_line_stands_inside_its_drawing(days: list[int], left: list[int], length: int) -> None:
    chart = drawn(expected(*days, left=left[-1], length=length), *left, length=length)
    for x, y in points(f"{chart.past} {chart.likely} {chart.doubt}"):
        assert chart.left - 0.1 <= x <= chart.right + 0.1
        assert chart.top - 0.1 <= y <= chart.base + 0.1
    assert len(points(chart.past)) == len(left)
    assert all(chart.left - 0.1 <= tick.at <= chart.right + 0.1 for tick in chart.days)
    assert sum(tick.label == "today" for tick in chart.days) == 1


def test_the_likely_line_meets_the_axis_on_the_day_that_is_told() -> None:
    steady = expected(*[2 * CREDIT] * 56, left=40 * CREDIT)
    chart = drawn(steady, 44 * CREDIT, 42 * CREDIT, 40 * CREDIT)
    begin, end = points(chart.likely)[:2]
    assert begin == points(chart.past)[-1]
    assert end[1] == chart.base
    # Two days of past take as much room as two of the twenty to come.
    past = points(chart.past)
    assert (end[0] - begin[0]) / 20 == pytest.approx((past[-1][0] - past[0][0]) / 2, rel=0.01)
    assert "At the present pace they are used up on 4 April 2027." in chart.description


def test_the_course_goes_back_over_grants_and_spending(populated: PortalUnderTest) -> None:
    populated.ran("astronomer", hours=8)
    populated.clock.forward(days=1)
    populated.ran("astronomer", hours=16)
    populated.clock.forward(days=1)
    with populated.database.reading_scope() as session:
        page = portal_reading.account_page(
            session, hub_name="astronomer", slug="astronomer", now=populated.clock(), days=30
        )
    # 25 credits granted on the first day, 1 spent on it; the 16 hours ended on the third.
    assert [each.micro / CREDIT for each in page.course][-5:] == [0, 24, 24, 22, 22]


def test_the_pool_adds_all_accounts_up(administrator: Visitor, populated: PortalUnderTest) -> None:
    for _ in range(4):
        populated.ran("astronomer", hours=8)
        populated.ran("teammate", account="wide-field-demo", size="large", hours=10)
        populated.clock.forward(hours=6)
    administrator.client.cookies.clear()
    said = text_of(administrator.sign_in("admin/forecast").text)
    # Three people's 25 credits and the team's 5000, less four times 1 and four times 12.
    assert "Left in 4 running allocations 5,023.0 credits" in said
    assert "0 running servers 0.00 credits an hour" in said
    assert "No new award and no end of an allocation is reckoned in." in said


def test_a_pool_without_accounts_says_so(portal: PortalUnderTest, browser: Visitor) -> None:
    portal.person("admin", "Alex Administrator", administrator=True)
    portal.hub.at_the_keyboard = "admin"
    said = text_of(browser.sign_in("admin/forecast").text)
    assert "No running allocation has any credits left." in said
    assert "Nothing was spent in the last 90 days." in said
