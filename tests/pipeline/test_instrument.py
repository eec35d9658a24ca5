import dataclasses

import numpy as np
import pytest
from roman_datamodels import dqflags

from nexus_pipeline.instrument import filters
from nexus_pipeline.instrument.dq import DQ
from nexus_pipeline.instrument.ma_table import IMAGING, MA_TABLES, MATable


def test_the_flags_are_the_missions_bit_for_bit() -> None:
    assert {flag.name: flag.value for flag in dqflags.pixel} == {
        name: DQ[name].value for name in DQ.__members__
    }


def test_the_imaging_table_reads_44_times_in_139_seconds() -> None:
    assert IMAGING.n_resultants == 9
    assert IMAGING.n_reads == 44
    assert IMAGING.exposure_time_s == pytest.approx(139.149, abs=1e-3)
    assert IMAGING.mean_times_s[:3] == pytest.approx(np.array([1, 2, 3.5]) * 3.16247)


def test_the_variance_time_of_averaged_reads_is_that_of_their_covariances() -> None:
    # Reads share the photons of the earlier one: the mean of t = 3, 4 has variance (3 + 3 + 3 + 4) / 4.
    table = MATable("two reads", 1, ((1,), (3, 4)), read_time_s=1.0)
    assert table.variance_times_s == pytest.approx([1.0, 13 / 4])


@pytest.mark.parametrize("pattern", [(), ((1,), ()), ((1, 2), (2, 3)), ((0, 1),), ((3,), (1,))])
def test_a_read_pattern_that_cannot_be_is_refused(pattern: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(ValueError, match="MA table odd"):
        MATable("odd", 1, pattern)


def test_tables_are_found_by_their_number() -> None:
    assert all(table.number == number for number, table in MA_TABLES.items())
    with pytest.raises(dataclasses.FrozenInstanceError):
        IMAGING.name = "other"  # type: ignore[misc]


def test_a_nominal_pixel_of_wfi07_in_f158_is_worth_what_romanisim_says() -> None:
    # romanisim 0.14 ``etomjysr("F158", 7)``; the table is rounded to five figures.
    assert filters.megajanskys_per_sr("WFI07", "F158") == pytest.approx(0.36335513746, rel=1e-5)


def test_effective_areas_lie_below_the_mirrors() -> None:
    for name in filters.IMAGING_FILTERS:
        for detector in ("WFI01", "WFI18"):
            assert 0.3 < filters.mean_effective_area_m2(detector, name) < 3.757
