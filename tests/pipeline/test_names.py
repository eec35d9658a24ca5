import pytest

from nexus_pipeline.errors import InputError
from nexus_pipeline.products import names
from nexus_pipeline.products.names import ExposureId


def test_a_file_name_says_where_its_exposure_stands() -> None:
    exposure_id = ExposureId(32, 1, 1, 1, 4, 2, 7)
    name = names.file_name(exposure_id, "WFI01", "F106", level="L1")
    assert name == "r0003201001001004002_0007_wfi01_f106_uncal.asdf"
    assert names.parse_file_name(name) == (exposure_id, "WFI01", "F106", "uncal")


@pytest.mark.parametrize(
    ("given", "level", "made"),
    [
        ("a_uncal.asdf", "L2", "a_cal.asdf"),
        ("a_cal.asdf", "L4", "a_cat.parquet"),
        ("my.ramp.asdf", "L2", "my.ramp_cal.asdf"),
        ("ramp", "L2", "ramp_cal.asdf"),
    ],
)
def test_a_product_is_called_after_what_it_was_made_of(given: str, level: str, made: str) -> None:
    assert names.derived_name(given, level=level) == made


def test_another_name_is_refused() -> None:
    with pytest.raises(InputError, match=r"'holiday.jpg' is not the name of a product"):
        names.parse_file_name("holiday.jpg")
