"""Injections matched to what was found, what they say of completeness and bias, and their file."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table
from scipy.stats import norm
from tests.support import injection
from tests.support import pipeline as build
from tests.support import simulator as scene

from nexus_pipeline.errors import InputError, WrongProductError
from nexus_pipeline.measure import matches
from nexus_pipeline.products import asdf_file, fingerprint, l3, l4, selection
from nexus_pipeline.products.model import Mosaic
from nexus_pipeline.products.selection import Selection
from nexus_pipeline.recipes import injection_trial
from nexus_pipeline.recipes.injection_trial import Trial
from nexus_pipeline.recipes.injections import Ranges
from nexus_pipeline.references.store import ReferenceStore
from nexus_pipeline.simulate import stamps
from nexus_pipeline.simulate.exposure import read_truth

SCALE = 0.055


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory) -> ReferenceStore:
    return scene.store(str(tmp_path_factory.mktemp("references")))


@pytest.fixture(scope="module")
def blank(references: ReferenceStore) -> Mosaic:
    return injection.field_mosaic(references, size=800, n_stars=1, n_galaxies=0, seed=5)[0]


@pytest.fixture(scope="module")
def stars(blank: Mosaic, references: ReferenceStore) -> list[Trial]:
    """Return four trials of 100 stars of S/N 3 to 8 in an empty field; many more than 1 %, none a blend."""
    ground = injection_trial.ground_of_mosaic(blank, references)
    ranges = Ranges(magnitude=(26.4, 27.6), star_share=1.0)
    return [
        injection_trial.trial(ground, stamps.render, seed=seed, number=100, ranges=ranges)
        for seed in range(4)
    ]


def test_stars_are_found_as_often_as_their_significance_says(stars: list[Trial]) -> None:
    snr, found = (
        np.concatenate([np.asarray(each.matches.table[name]) for each in stars]) for name in ("snr", "found")
    )
    for low, high in ((3.0, 4.5), (4.5, 5.5), (5.5, 7.0)):
        here = (snr >= low) & (snr < high)
        share, expected = found[here].mean(), norm.cdf(snr[here] - 5).mean()
        error = np.sqrt(expected * (1 - expected) / here.sum())
        print(f"S/N {low} to {high}: {here.sum()} stars, found {share:.3f}, Φ {expected:.3f} ± {error:.3f}")
        assert here.sum() > 30
        # The same ground and its noise lie under all four trials: errors are somewhat larger than binomial.
        assert share == pytest.approx(expected, abs=4 * error + 0.02)


def test_without_noise_what_was_put_in_comes_back_to_a_thousandth(
    blank: Mosaic, references: ReferenceStore
) -> None:
    # As good as none: a catalogue asks how its noise goes together.
    hardly = 1e-4 * blank.err * np.random.default_rng(2).standard_normal(blank.err.shape)
    even = replace(blank, data=(np.median(blank.data) + hardly).astype(np.float32))
    ground = injection_trial.ground_of_mosaic(even, references)
    assert len(ground.base.table) == 0
    ranges = Ranges(magnitude=(18, 22), star_share=1.0)
    made = injection_trial.trial(ground, stamps.render, seed=1, number=16, ranges=ranges, noisy=False)
    found = made.matches.table
    assert found["found"].all()
    assert not found["ambiguous"].any()
    assert np.abs(found["psf_flux"] / found["flux_njy"] - 1).max() < 1e-3
    assert np.hypot(found["x_centroid"] - found["x"], found["y_centroid"] - found["y"]).max() < 0.02
    assert len(made.again.table) == 16


def plain(x: list[float], flux: list[float], kind: str = "PSF") -> Table:
    """Return injections 100 pixels up, or a catalogue of what is there."""
    n, nothing = len(x), np.zeros(len(x))
    values = {"x": x, "y": np.full(n, 100.0), "flux_njy": flux, "type": [kind] * n, "magnitude": nothing + 24}
    values |= {"half_light_radius": nothing, "ba": nothing + 1}
    values |= {f"{axis}_{which}": values[axis] for axis in "xy" for which in ("psf", "centroid")}
    for name in ("psf_flux", "kron_total_flux"):
        values |= {name: flux, f"{name}_err": nothing + 1.0}
    return Table(values | dict.fromkeys(("ellipticity", "fluxfrac_radius_50", "star_probability"), nothing))


def test_the_nearest_of_like_flux_is_the_match() -> None:
    injected = plain([100.0, 200.0, 300.0], [10.0, 10.0, 10.0])
    after = plain([101.0, 102.0, 200.5, 300.5], [11.0, 10.0, 100.0, 9.0])
    made = matches.matched(injected, plain([], []), after, np.ones(4, bool), scale_arcsec=SCALE).table
    assert made["found"].tolist() == [True, False, True]
    assert made["psf_flux"][0] == 11.0
    assert made["distance"][0] == pytest.approx(SCALE)
    assert np.isnan(made["psf_flux"][1])


def test_a_match_that_was_there_before_is_ambiguous_and_new_ones_that_nobody_put_in_are_strays() -> None:
    injected = plain([100.0, 200.0], [10.0, 10.0])
    before = plain([101.0, 201.0, 400.0], [12.0, 0.5, 7.0])
    after = plain([100.5, 200.0, 400.0, 500.0], [21.0, 10.4, 7.0, 3.0])
    made = matches.matched(injected, before, after, np.ones(4, bool), scale_arcsec=SCALE)
    # A source of 0.5 nJy cannot be taken for one of 10.
    assert made.table["ambiguous"].tolist() == [True, False]
    assert made.strays["x"].tolist() == [500.0]
    told = matches.by_bins(made, "magnitude", np.array([20.0, 31.0]))
    assert (told["n"][0], told["found"][0], told["completeness"][0]) == (1, 1, 1.0)
    assert told["purity"][0] == 0.5


def test_errors_of_shares_are_jeffreys_and_end_at_nothing_and_at_all() -> None:
    low, high = matches.share_errors(np.array([0, 5, 10, 0]), np.array([10, 10, 10, 0]))
    assert low[0] == 0
    assert high[2] == 1
    # Half of ten: 0.5 ± 0.15, a standard deviation of a binomial share.
    assert (low[1], high[1]) == (pytest.approx(0.349, abs=0.01), pytest.approx(0.651, abs=0.01))
    assert (low[3], high[3]) == (0, 1)


def small() -> Selection:
    """Return one of two magnitudes and stars, small and large galaxies."""
    injected = np.array([[10, 10, 0], [10, 10, 10]])[..., None]
    found = np.array([[10, 8, 0], [5, 2, 0]])[..., None]
    edges = np.array([20.0, 22.0, 24.0]), np.array([0.0, 0.03, 0.17, 0.23]), np.array([0.0, 10.0])
    return Selection("F158", *edges, injected, found, told={"seed": 1})


def test_a_selection_function_comes_back_from_its_file_and_is_called(tmp_path: Path) -> None:
    url = str(tmp_path / "selection.asdf")
    selection.write(small(), url)
    completeness = selection.load(url)
    assert completeness.told["seed"] == 1
    assert completeness(21.0) == 1
    assert completeness(22.0) == pytest.approx(0.75)
    assert completeness([10.0, 23.0, 30.0], 0.1) == pytest.approx([0.8, 0.2, 0.2])
    # Nothing large was put in at 21 mag: what is known of 23 mag holds.
    assert completeness(21.0, 5.0) == 0
    assert completeness(23.0, 0.15) == pytest.approx(0.1)
    low, high = completeness.interval(23.0)
    assert low < 0.5 < high
    assert completeness.at_snr(3.0) == pytest.approx(25 / 50)


def test_selection_functions_of_cells_add_up_and_others_are_refused(tmp_path: Path) -> None:
    both = selection.together([small(), small()])
    assert both.injected.sum() == 100
    assert both(22.0) == small()(22.0)
    with pytest.raises(InputError, match="cannot be added"):
        selection.together([small(), replace(small(), filter_name="F129")])
    url = str(tmp_path / "other.asdf")
    asdf_file.write(url, {"other": 1})
    with pytest.raises(WrongProductError, match="no selection function"):
        selection.load(url)


def test_nothing_put_in_tells_nothing() -> None:
    empty = replace(small(), injected=np.zeros((2, 3, 1), int), found=np.zeros((2, 3, 1), int))
    assert np.isnan(empty(21.0))
    assert np.isnan(empty.at_snr(5.0))


def test_wfi_inject_writes_what_came_of_it(blank: Mosaic, references: ReferenceStore, tmp_path: Path) -> None:
    source = tmp_path / "r00001_p_v01001001001001_f158_coadd.asdf"
    l3.write_mosaic(blank, str(source))
    arguments = ("--references", references.url, "--output", tmp_path / "out", "--number", 9, "--plots")
    told = build.wfi("inject", source, *arguments, "--magnitudes", 20, 24, "--radii", 0.1, 0.2)
    assert told.status == 0, told.err
    assert "9 sources put in, 9 found" in told.out
    stem = tmp_path / "out" / "r00001_p_v01001001001001_f158_injected"
    assert l3.read_mosaic(f"{stem}_coadd.asdf").meta.own["injected"]["sources"] == 9
    table = l4.read_mosaic_catalog(f"{stem}_cat.parquet").table
    assert len(table) >= 9
    found = read_truth(f"{stem}_matches.ecsv")
    assert found.meta["injections"]["magnitude"] == [20.0, 24.0]
    assert selection.load(str(tmp_path / "out" / "selection.asdf"))(21.0) == 1
    assert (tmp_path / "out" / f"{stem.name}.png").stat().st_size > 20_000


def test_wfi_inject_says_how_its_products_were_made_and_makes_none_twice(
    references: ReferenceStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEXUS_ACCOUNT", "team-7")
    source = tmp_path / "r00001_p_v01001001001001_f158_coadd.asdf"
    l3.write_mosaic(
        injection.field_mosaic(references, size=300, n_stars=1, n_galaxies=0, seed=5)[0], str(source)
    )
    out = tmp_path / "out"
    arguments = ("--references", references.url, "--output", out, "--magnitudes", 20, 22, "--radii", 0.1, 0.2)

    def times(number: int) -> dict[str, int]:
        told = build.wfi("inject", source, *arguments, "--number", number)
        assert told.status == 0, told.err
        return {path.name: path.stat().st_mtime_ns for path in out.glob("*_injected_*")}

    made = times(1)
    own = l3.read_mosaic(str(out / "r00001_p_v01001001001001_f158_injected_coadd.asdf")).meta.own["injected"]
    told = selection.load(str(out / "r00001_p_v01001001001001_f158_injected_selection.asdf")).told
    for each in (own, told):
        assert (each["recipe"], each["account"], each["context"]) == ("inject", "team-7", references.context)
        assert each["inputs"] == [{"name": source.name, "sha256": fingerprint.sha256(str(source))}]
        assert "numpy" in each["software"]
        assert "epsf" in each["references"]
    assert own["fingerprint"] == told["fingerprint"]
    assert times(1) == made
    again = times(2)
    assert all(again[name] > when for name, when in made.items())
    (out / "r00001_p_v01001001001001_f158_injected_cat.parquet").unlink()
    assert all(when > again[name] for name, when in times(2).items())


def test_wfi_inject_says_what_it_cannot_put_in(references: ReferenceStore, tmp_path: Path) -> None:
    source = tmp_path / "r00001_p_v01001001001001_f158_coadd.asdf"
    l3.write_mosaic(
        injection.field_mosaic(references, size=300, n_stars=1, n_galaxies=0, seed=5)[0], str(source)
    )
    table = scene.star_table(np.array([injection.RA + 1]), np.array([injection.DEC]), np.array([20.0]))
    table.write(tmp_path / "far.ecsv")
    arguments = ("--references", references.url, "--output", tmp_path)
    told = build.wfi("inject", source, *arguments, "--sources", tmp_path / "far.ecsv")
    assert told.status == 2
    assert "outside the image" in told.err
    told = build.wfi("inject", source, *arguments, "--radii", 0.5, 0.1)
    assert told.status == 2
    assert "half_light_radius_arcsec" in told.err
