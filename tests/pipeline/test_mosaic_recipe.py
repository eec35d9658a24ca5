"""The mosaic recipe: skies that match, rays that go and are listed, and images refused by name."""

from dataclasses import replace

import numpy as np
import pytest
from tests.support import mosaic as build

from nexus_pipeline.errors import InputError
from nexus_pipeline.instrument.dq import DQ
from nexus_pipeline.products.names import ExposureId
from nexus_pipeline.recipes import mosaic
from nexus_pipeline.recipes.mosaic import Coadded, Member
from nexus_pipeline.runner import Settings
from nexus_pipeline.sky import sky_grid
from nexus_pipeline.steps import skymatch

SEED = 20270302


def flagged(made: Coadded) -> np.ndarray:
    images = np.zeros((len(made.names), build.SIZE, build.SIZE), np.bool_)
    images[tuple(made.rejected.T)] = True
    return images


def seen_by(made: Coadded, least: int) -> np.ndarray:
    """Return which pixels of the images lie where ``least`` images or more are."""
    count = np.bitwise_count(made.coadd.context).sum(axis=0)
    y, x = np.indices((build.SIZE, build.SIZE), dtype=np.float64)
    there = []
    for place in made.maps:
        at_x, at_y = place.at(x.ravel() - place.first[1], y.ravel() - place.first[0])
        row, column = np.rint(at_y).astype(int), np.rint(at_x).astype(int)
        inside = (row >= 0) & (row < count.shape[0]) & (column >= 0) & (column < count.shape[1])
        many = np.zeros(x.size, np.bool_)
        many[inside] = count[row[inside], column[inside]] >= least
        there.append(many.reshape(x.shape))
    return np.array(there)


@pytest.mark.parametrize("n", [4, 7])
def test_rays_are_found_and_listed_and_stars_are_left(n: int) -> None:
    skies = 1 + 0.1 * np.arange(n)
    night = build.night(n, seed=SEED, hit_share=2e-3, skies=skies)
    made = mosaic.coadd(night.members, build.grid())
    found, many = flagged(made), seen_by(made, 4)
    blank = many & (night.starlight < 0.02)
    complete = found[blank & night.hits].mean()
    wrong = found & ~night.hits
    print(f"{complete:.4f} of rays above 10 σ, {wrong.sum()} others of {many.sum()}, {(many & wrong).sum()}")
    assert complete > 0.995
    # A Gaussian leaves 6e-7 beyond 5 σ; the steepest of the 30 stars may lose a pixel or two an image.
    assert wrong[night.starlight < 0.02].sum() <= 2
    assert wrong.sum() <= 2 * n
    clean = mosaic.coadd(build.night(n, seed=SEED, skies=skies).members, build.grid())
    covered = np.bitwise_count(made.coadd.context).sum(axis=0) >= 4
    covered &= clean.coadd.data < build.CONVERSION + 5 * np.median(clean.coadd.err[covered])
    # The same noise, less a pixel of the four or seven: a ray that stayed would leave 10 σ in its quarter.
    apart = (made.coadd.data - clean.coadd.data)[covered] / clean.coadd.err[covered]
    print(f"{(np.abs(apart) > 3).sum()} of {apart.size} pixels more than 3 σ apart")
    assert covered.mean() > 0.4
    # On the flank of a bright star one may stay: some ten pixels each.
    assert (np.abs(apart) > 3).sum() <= 30


# Of the peaks that stars have through the optics in F106 and F062.
@pytest.mark.parametrize("width", [0.55, 0.48])
@pytest.mark.parametrize("n", [2, 4])
def test_cores_of_undersampled_stars_are_no_outliers(n: int, width: float) -> None:
    night = build.night(n, seed=SEED, n_stars=60, width=width)
    for peak, most in ((3.0, 1), (0.0, np.inf)):
        chosen = Settings({"outlier_detection": {"peak": peak, "peak_beside": peak / 2}})
        lost = flagged(mosaic.coadd(night.members, build.grid(), settings=chosen)) & (night.starlight > 0.05)
        print(f"σ of {width} pixels, {n} images, peak {peak}: {lost.sum()} pixels of 60 stars rejected")
        assert lost.sum() <= most
    # By slopes alone 12 to 22 pixels: half of the stars are too faint to lose any.
    assert lost.sum() > 6


def test_of_two_images_the_brighter_pixel_is_the_ray() -> None:
    night = build.night(2, seed=SEED, hit_share=2e-3)
    made = mosaic.coadd(night.members, build.grid())
    found, both = flagged(made), seen_by(made, 2)
    assert found[both & night.hits & (night.starlight < 0.02)].mean() > 0.98
    assert (found & ~night.hits)[night.starlight < 0.02].sum() <= 2


def test_skies_match_to_their_noise_and_the_lowest_stays() -> None:
    skies = np.array([1.3, 1.0, 1.15, 1.6])
    made = mosaic.coadd(build.night(4, seed=SEED, skies=skies).members, build.grid())
    found = made.levels[:, 0] / build.CONVERSION
    print("levels:", found)
    # A block's median of 2500 pixels of 0.08 DN/s, some 40 blocks: 0.3 mDN/s; stars' wings add as much.
    np.testing.assert_allclose(found, skies - 1, atol=5e-3)
    assert found.min() == 0
    assert not made.levels[:, 1:].any()


def test_levels_and_gradients_of_blocks_come_back() -> None:
    rng = np.random.default_rng(SEED)
    places = np.stack(np.meshgrid(np.arange(20) * 50.0, np.arange(20) * 50.0), axis=-1).reshape(-1, 2)
    truth = np.column_stack([rng.uniform(0, 1, 5), rng.uniform(-1e-3, 1e-3, (5, 2))])
    truth[:, 1:] -= truth[:, 1:].mean(axis=0)
    shared = rng.normal(0, 1, len(places))
    blocks = shared + truth[:, :1] + truth[:, 1:] @ places.T + rng.normal(0, 1e-4, (5, len(places)))
    blocks[rng.random(blocks.shape) < 0.3] = np.nan
    blocks[2, 7] += 50
    levels = skymatch.match(blocks, places, gradients=True)
    np.testing.assert_allclose(levels[:, 1:], truth[:, 1:], atol=3e-7)
    middle = np.array([1.0, *places.mean(axis=0)])
    offset = (levels - truth) @ middle
    np.testing.assert_allclose(offset, offset.mean(), atol=1e-4)


def test_images_that_hang_together_in_two_groups_are_matched_in_each() -> None:
    places = np.column_stack([np.arange(40.0), np.zeros(40)])
    blocks = np.full((5, 40), np.nan)
    blocks[0, :10], blocks[1, 5:20], blocks[2, 25:35], blocks[3, 30:] = 1.0, 3.0, 7.0, 2.0
    levels = skymatch.match(blocks, places)
    np.testing.assert_allclose(levels[:, 0], [0, 2, 5, 0, 0], atol=1e-12)


def test_one_image_makes_a_mosaic_and_says_what_was_not_done() -> None:
    night = build.night(1, seed=SEED)
    made = mosaic.coadd(night.members, build.grid())
    assert [step.status for step in made.steps] == ["COMPLETE", "SKIPPED", "SKIPPED", "COMPLETE"]
    assert made.rejected.shape == (0, 3)
    left_out = mosaic.coadd(
        build.night(2, seed=SEED, hit_share=0.01).members,
        build.grid(),
        settings=Settings(skip=frozenset({"skymatch", "outlier_detection"})),
    )
    assert [step.reason for step in left_out.steps[1:3]] == ["left out on request"] * 2
    assert not left_out.rejected.size


def member(name: str, number: int, **changes: object) -> Member:
    (pointing,) = build.pointings(1, seed=SEED)
    image = build.image(pointing)
    identity = changes.pop("exposure_id", ExposureId(exposure=number))
    filter_name = changes.pop("filter_name", image.meta.filter_name)
    meta = replace(image.meta, exposure_id=identity, filter_name=filter_name)
    image = replace(image, meta=meta, **changes)  # type: ignore[arg-type]
    return Member(name, lambda: image)


ALL_BAD = np.full((build.SIZE, build.SIZE), DQ.DO_NOT_USE | DQ.SATURATED, np.uint32)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"filter_name": "F129"}, r"b\.asdf: taken through F129, a\.asdf through F158"),
        ({"filter_name": "GRISM"}, r"b\.asdf: taken through GRISM; mosaics are made of images"),
        ({"exposure_id": ExposureId(exposure=1)}, r"b\.asdf: of the same exposure and detector as a\.asdf"),
        ({"wcs": None}, r"b\.asdf: has no WCS"),
        ({"photometry": None}, r"b\.asdf: has no conversion to MJy/sr"),
        ({"dq": ALL_BAD}, r"b\.asdf: has no pixel that may be used"),
    ],
)
def test_images_with_no_place_in_a_mosaic_are_refused_by_name(changes: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        mosaic.coadd([member("a.asdf", 1), member("b.asdf", 2, **changes)], build.grid())


def test_an_image_beside_the_skycell_is_refused() -> None:
    beside = replace(
        sky_grid.about(build.RA, build.DEC + 0.02, nx=300, ny=300, scale_arcsec=0.055), skycell="270p65x50y50"
    )
    with pytest.raises(InputError, match=r"a\.asdf: touches no pixel of skycell 270p65x50y50"):
        mosaic.coadd([member("a.asdf", 1)], beside)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"resample": {"kernel": "gaussian"}}, "square, turbo, point"),
        ({"resample": {"pixfrac": 2.0}}, "from 0 to 1"),
        ({"outlier_detection": {"sigma": 3.0}}, "must be sigma_beside or more"),
        ({"drizzle": {}}, "no step is called 'drizzle'"),
    ],
)
def test_settings_that_cannot_be_are_refused_before_anything_is_read(
    parameters: dict[str, dict[str, object]], said: str
) -> None:
    def load() -> None:
        raise AssertionError("read")

    with pytest.raises(InputError, match=said):
        mosaic.coadd([Member("a.asdf", load)], build.grid(), settings=Settings(parameters))  # type: ignore[arg-type]
