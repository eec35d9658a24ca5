"""A source's colour: told by its spectrum or its fluxes, and drawn with the PSF of its wavelengths."""

from dataclasses import replace

import galsim
import numpy as np
import pytest
from astropy.table import Table
from numpy.typing import NDArray
from tests.support import pipeline as build
from tests.support import simulator as scene

from nexus_pipeline.instrument.ma_table import SHORT_IMAGING
from nexus_pipeline.psf.grid import PsfGrid, from_reference
from nexus_pipeline.references import kinds
from nexus_pipeline.references.store import ReferenceStore
from nexus_pipeline.simulate import catalog, colour, exposure, optics, seds
from nexus_pipeline.simulate.switches import with_settings

Floats = NDArray[np.float64]
DETECTOR, FILTER, HALF = "WFI07", "F062", 10
RA, DEC = 270.0, 66.0


def black_body_star(kelvin: float) -> Floats:
    """Return what the optics make of a black body, as the oversampled stamp of an ePSF."""
    profile = optics.optics_at(DETECTOR, FILTER, 2043.5, 2043.5, kelvin=kelvin)
    with_pixel = galsim.Convolve(profile, galsim.Pixel(0.11))
    image = with_pixel.drawImage(nx=161, ny=161, scale=0.0275, method="no_pixel", dtype=float)
    return np.asarray(image.array * 16)


def reference_of(stamps: list[Floats]) -> kinds.EpsfReference:
    """Return an ePSF reference of the spectral types, the same all over the detector."""
    psf = np.stack([np.broadcast_to(stamp, (9, *stamp.shape)) for stamp in stamps])
    return replace(
        scene.epsf(),
        filter_name=FILTER,
        psf=psf[None].astype(np.float32),
        spectral_types=tuple(optics.SPECTRAL_TYPES),
    )


@pytest.fixture(scope="module")
def optical() -> colour.ColourPsfs:
    reference = reference_of([black_body_star(kelvin) for kelvin in optics.SPECTRAL_TYPES.values()])
    made = colour.by_colour(reference, from_reference(reference))
    assert made is not None
    return made


def width(psf: PsfGrid) -> float:
    """Return the mean distance (pixels) of the light within ten pixels."""
    y, x = np.mgrid[-HALF : HALF + 1, -HALF : HALF + 1]
    stamp = psf.stamp(100, 100, radius=HALF)
    return float((np.hypot(x, y) * stamp).sum() / stamp.sum())


# Between two types, and hotter than any of them.
@pytest.mark.parametrize("kelvin", [3600.0, 20_000.0])
def test_a_star_of_a_colour_has_the_psf_that_the_optics_give_its_wavelengths(
    optical: colour.ColourPsfs, kelvin: float
) -> None:
    um = colour.black_body_um(FILTER, kelvin)
    (colour_bin,) = optical.bins(np.array([um]))
    stamp = black_body_star(kelvin)
    true = from_reference(reference_of([stamp] * 3))
    ours, plain = optical.psf(int(colour_bin)), optical.plain
    grown = [width(psf) / width(plain) - 1 for psf in (true, ours)]
    print(f"{kelvin:.0f} K, {um:.4f} µm, bin {colour_bin}: wider by {grown[0]:+.3%}, drawn {grown[1]:+.3%}")
    assert np.sign(grown[0]) == np.sign(um - optical.plain_um)
    # A bin is 1 % of the wavelength wide; the width within a pixel and more goes with a part of it.
    assert grown[1] == pytest.approx(grown[0], abs=0.003)
    wanted, *drawn = (psf.stamp(100, 100, radius=HALF) for psf in (true, ours, plain))
    apart = [np.abs(each - wanted).max() for each in drawn]
    assert apart[0] < 0.3 * apart[1]


def test_the_width_grows_from_bin_to_bin(optical: colour.ColourPsfs) -> None:
    first, last = optical.bins(np.array([0.1, 9.0]))
    widths = [width(optical.psf(each)) for each in range(int(first), int(last) + 1)]
    assert len(widths) > 5
    assert np.all(np.diff(widths) > 0)
    np.testing.assert_array_equal(optical.bins(np.array([np.nan, optical.plain_um])), 0)


@pytest.mark.parametrize("slope", [-1.5, 3.0])
@pytest.mark.parametrize(
    ("filter_name", "others"),
    [("F129", ("F106", "F158")), ("F146", ("F129", "F158")), ("F062", ("F087",))],
)
def test_spectrum_and_fluxes_tell_the_same_colour(
    filter_name: str, others: tuple[str, ...], slope: float
) -> None:
    um = np.geomspace(0.4, 2.5, 200)
    spectrum = {"law": seds.Sed(um, um**slope)}
    fluxes = {name: np.array([seds.flux_jy("law", name, spectrum)]) for name in (filter_name, *others)}
    wanted = seds.effective_um("law", filter_name, spectrum)
    grey = seds.effective_um("flat", filter_name, {"flat": seds.Sed(um, np.ones_like(um))})
    assert wanted is not None
    assert grey is not None
    # A quarter of a bin at most, and less than a fifth of how far the colour takes it.
    told = colour.by_fluxes(filter_name, fluxes)[0]
    print(f"{filter_name}, λ^{slope}: {wanted:.4f} µm, by fluxes {told:.4f}, of a level spectrum {grey:.4f}")
    assert told == pytest.approx(wanted, rel=2.5e-3)
    assert abs(told - wanted) < 0.2 * abs(wanted - grey)


def test_no_colour_is_told_by_one_filter_an_overlapping_one_or_no_light() -> None:
    one = np.ones(2)
    assert np.isnan(colour.by_fluxes("F158", {"F158": one})).all()
    assert np.isnan(colour.by_fluxes("F158", {"F158": one, "F146": one})).all()
    told = colour.by_fluxes("F158", {"F158": one, "F184": np.array([0.0, 1.0])})
    assert np.isnan(told).tolist() == [True, False]
    assert seds.effective_um("nobody", "F158", {}) is None


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory) -> ReferenceStore:
    """Return a store whose cooler types have wider Gaussian PSFs."""
    plain = scene.epsf()
    stamps = np.concatenate(
        [scene.epsf(growth=0.0, sigma=sigma).psf for sigma in (0.796, 0.8, 0.806)], axis=1
    )
    coloured = replace(plain, psf=stamps, spectral_types=tuple(optics.SPECTRAL_TYPES))
    return build.small_store(str(tmp_path_factory.mktemp("references"))).add([coloured])


def sources(*columns: str) -> catalog.Sources:
    table = Table({"ra": [RA, RA + 0.002, RA], "dec": [DEC, DEC, DEC + 0.001], "type": ["PSF", "PSF", "SER"]})
    table["n"], table["half_light_radius"], table["ba"], table["pa"] = 1.0, 0.2, 0.7, 30.0
    table["mag_F158"] = 20.0
    if "F184" in columns:
        table["mag_F184"] = [19.3, 20.9, 19.3]
    if "sed" in columns:
        table["sed"] = ["", "blackbody-9700", "nobody"]
    return catalog.sources_from_table(table, build.FILTER)


def test_a_spectrum_goes_before_fluxes_and_one_nobody_knows_tells_nothing() -> None:
    alone, both = sources("sed").effective_um, sources("F184", "sed").effective_um
    assert alone is not None
    assert both is not None
    hot = colour.black_body_um(build.FILTER, 9700.0)
    np.testing.assert_allclose(alone, [np.nan, hot, np.nan], rtol=1e-4)
    np.testing.assert_allclose(both, [both[2], hot, both[2]], rtol=1e-4)
    assert both[2] > 1.02 * hot


def ideal(references: ReferenceStore, which: catalog.Sources, *skip: str) -> tuple[Floats, Table]:
    aim = exposure.aim(references, build.DETECTOR, build.FILTER, ra_deg=RA, dec_deg=DEC)
    meta = exposure.exposure_meta(build.DETECTOR, build.FILTER, pointing=aim, ma_table=SHORT_IMAGING)
    effects = with_settings(exposure.Effects(), {}, ["background", *skip])
    image, truth = exposure.simulate_ideal(which, meta, references, seed=1, effects=effects)
    return image.rate, truth


def test_a_source_without_colour_is_drawn_as_if_there_were_none(references: ReferenceStore) -> None:
    grey, truth = ideal(references, sources())
    assert np.isnan(truth["effective_um"]).all()
    assert not truth["colour_bin"].any()
    switched_off, _ = ideal(references, sources("F184"), "colour")
    np.testing.assert_array_equal(switched_off, grey)


def test_red_is_drawn_wider_and_the_truth_says_in_which_bin(references: ReferenceStore) -> None:
    grey, _ = ideal(references, sources())
    drawn, truth = ideal(references, sources("F184"))
    red, blue, galaxy = truth["colour_bin"].tolist()
    assert red == galaxy > 0 > blue
    assert truth["effective_um"][0] > truth["effective_um"][1]
    for row, sign in ((0, -1), (1, 1), (2, -1)):
        x, y = round(truth["x"][row]), round(truth["y"][row])
        peak = drawn[y, x] - grey[y, x]
        # Noise is of the same numbers: the difference is that of the light, and the little noise it makes.
        assert sign * peak > 0.005 * grey[y, x]
