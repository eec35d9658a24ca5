"""The real input: an L1 ramp made by the mission's own romanisim comes back as the stars it was made of.

1521 isolated stars (F158, AB 18.2 to 23.0) on WFI07, simulated by romanisim 0.14 with our
reference files, then ``wfi calibrate`` and ``wfi catalog`` as anyone would run them.
"""

import subprocess
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import roman_datamodels
from astropy.table import Table
from tests.support.romanisim_ramp import romanisim_ramp

from nexus_pipeline.instrument.filters import AB_ZERO_JY
from nexus_pipeline.instrument.wfi import N_ACTIVE
from nexus_pipeline.measure.compare import Pairs, isolated_stars, median_and_error, robust_width
from nexus_pipeline.products import l4

# Half an hour: a cold start installs romanisim and simulates; five minutes where nothing else runs.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
WFI = Path(sys.executable).with_name("wfi")


@dataclass(frozen=True)
class Run:
    """The image's file and the stars found, beside the truth."""

    image: Path
    catalog: Path
    pairs: Pairs


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    made, folder = romanisim_ramp(), tmp_path_factory.mktemp("romanisim")
    image, catalog = folder / "l1_cal.asdf", folder / "l1_cat.parquet"
    # romanisim lists inter-pixel capacitance, and leaves its pixels as they were.
    for command, source in ((["calibrate"], made.ramp), (["catalog", "--no-ipc"], image)):
        arguments = [WFI, *command, source, "--references", made.references, "--output", folder]
        subprocess.run(arguments, check=True, timeout=600)
    truth = Table.read(made.truth)
    truth["flux_njy"] = np.asarray(truth["F158"]) * AB_ZERO_JY * 1e9
    return Run(image, catalog, isolated_stars(truth, l4.read_catalog(str(catalog)).table, size=N_ACTIVE))


def test_roman_datamodels_opens_the_image_without_a_warning(run: Run) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with roman_datamodels.open(run.image) as model:
            model.validate()
            assert model.meta.cal_step.flat_field == "COMPLETE"


def test_stars_come_back_with_their_flux(run: Run) -> None:
    bright = run.pairs.signal_to_noise >= 30
    ratio, pull = run.pairs.flux_ratio[bright], run.pairs.flux_pull[bright]
    median, error = median_and_error(ratio)
    width = robust_width(pull)
    print(f"{bright.sum()} stars of S/N >= 30: flux ratio {median:.5f} +- {error:.5f}, pulls {width:.3f}")
    assert bright.sum() >= 1000
    assert abs(median - 1) <= 0.01
    # 1400 stars give the width to 3 %.
    assert 0.9 <= width <= 1.15


def test_no_brightness_is_biased(run: Run) -> None:
    magnitude = np.asarray(run.pairs.truth["ab_magnitude"])
    for brightest in (18.2, 19.2, 20.2, 21.2, 22.2):
        chosen = (magnitude >= brightest) & (magnitude < brightest + 1) & (run.pairs.signal_to_noise >= 30)
        median, error = median_and_error(run.pairs.flux_ratio[chosen])
        print(f"AB {brightest:.1f} to {brightest + 1:.1f}: {chosen.sum()} stars, {median:.5f} +- {error:.5f}")
        assert abs(median - 1) <= 0.01 + 3 * error


def test_hardly_a_bright_star_is_missed(run: Run) -> None:
    # 0.1 % of pixels are hot and 0.3 % hit by cosmic rays: few stars lose their peak to one.
    assert len(run.pairs.missed) <= 0.01 * len(run.pairs.truth)


def test_stars_lie_where_romanisim_put_them(run: Run) -> None:
    bright = run.pairs.signal_to_noise >= 50
    for offset in run.pairs.offset_pixels:
        # A star of S/N 50 is placed to 0.02 pixels, a thousand of them to 0.001.
        assert abs(np.median(offset[bright])) < 0.01
    found, truth = run.pairs.found[bright], run.pairs.truth[bright]
    north = (np.asarray(found["dec_psf"]) - np.asarray(truth["dec"])) * 3600
    east = (np.asarray(found["ra_psf"]) - np.asarray(truth["ra"])) * 3600 * np.cos(np.radians(truth["dec"]))
    # 1 mas is a hundredth of a pixel: the world coordinates are romanisim's own.
    assert abs(np.median(north)) < 0.001
    assert abs(np.median(east)) < 0.001
