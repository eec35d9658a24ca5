"""injections: what is to be put into an image: stars and Sérsic galaxies, none of them near another.

Takes a ``Picture`` and a number, or a catalogue's sources; leaves ``Injections`` with their places in pixels.
The same seed plans the same sources.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Final, Protocol

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from nexus_pipeline.errors import InputError
from nexus_pipeline.instrument.filters import AB_ZERO_JY
from nexus_pipeline.recipes.measuring import Picture
from nexus_pipeline.sky.wcs import to_pixels

Floats = NDArray[np.float64]

SHARE_OF_SOURCES: Final = 0.01
"""Fewer injections than this share of an image's own sources leave it the image that it is."""
_STAR_REACH_ARCSEC: Final = 0.8
_REACH_RADII: Final = 3.0
"""Beyond this many half-light radii of its long axis nobody sees a galaxy near another."""
_RADII_ARCSEC: Final = (0.01, 10.0)
_INDICES: Final = (0.3, 6.2)
_AXIS_RATIOS: Final = (0.05, 1.0)
_INDEX_STEPS: Final = 4
_TRIES: Final = 20


class Bodies(Protocol):
    """Sources of a catalogue: ICRS degrees, janskys and shapes, as the simulator reads them."""

    @property
    def ra_deg(self) -> Floats: ...
    @property
    def dec_deg(self) -> Floats: ...
    @property
    def flux_jy(self) -> Floats: ...
    @property
    def is_star(self) -> NDArray[np.bool_]: ...
    @property
    def sersic_n(self) -> Floats: ...
    @property
    def half_light_radius_arcsec(self) -> Floats: ...
    @property
    def axis_ratio(self) -> Floats: ...
    @property
    def position_angle_deg(self) -> Floats: ...


@dataclass(frozen=True)
class Injections:
    """Sources to be put into an image, one entry each: 0-based pixels, ICRS degrees, janskys, shapes.

    Shapes are 0 for stars; the half-light radius is that of the circle of the same area.
    """

    x: Floats
    y: Floats
    ra_deg: Floats
    dec_deg: Floats
    flux_jy: Floats
    is_star: NDArray[np.bool_]
    sersic_n: Floats
    half_light_radius_arcsec: Floats
    axis_ratio: Floats
    position_angle_deg: Floats

    def __len__(self) -> int:
        return len(self.x)

    @property
    def magnitude(self) -> Floats:
        """AB."""
        return np.asarray(-2.5 * np.log10(self.flux_jy / AB_ZERO_JY), dtype=np.float64)

    @property
    def reach_arcsec(self) -> Floats:
        """How far from its middle each is taken to reach."""
        long_axis = self.half_light_radius_arcsec / np.sqrt(np.where(self.is_star, 1, self.axis_ratio))
        return np.asarray(_STAR_REACH_ARCSEC + _REACH_RADII * long_axis, dtype=np.float64)


@dataclass(frozen=True)
class Ranges:
    """What is drawn: evenly in magnitude (AB), index, ellipticity (1 - b/a), in the logarithm of radius.

    Indices come in steps of a quarter: a profile's table takes up to 0.1 s to make, and is kept.
    """

    magnitude: tuple[float, float] = (20.0, 27.0)
    star_share: float = 0.5
    sersic_n: tuple[float, float] = (0.5, 4.0)
    half_light_radius_arcsec: tuple[float, float] = (0.1, 0.5)
    ellipticity: tuple[float, float] = (0.0, 0.7)

    def __post_init__(self) -> None:
        limits = {
            "magnitude": (5.0, 35.0),
            "sersic_n": _INDICES,
            "half_light_radius_arcsec": _RADII_ARCSEC,
            "ellipticity": (0.0, 1 - _AXIS_RATIOS[0]),
        }
        for name, (least, most) in limits.items():
            low, high = getattr(self, name)
            if not least <= low <= high <= most:
                raise InputError(
                    f"injections: {name} must rise within {least} to {most}, not {low} to {high}"
                )
        if not 0 <= self.star_share <= 1:
            raise InputError(f"injections: the share of stars must be from 0 to 1, not {self.star_share}")


class NoPlaceError(InputError):
    """An image has no place with light for any of the sources."""


def default_number(n_sources: int) -> int:
    """Return how many to put into an image of ``n_sources``: less than 1 % of them, but one."""
    return max(1, int(np.ceil(SHARE_OF_SOURCES * n_sources)) - 1)


def on_grid(picture: Picture, n: int, *, seed: int, ranges: Ranges | None = None) -> Injections:
    """Return ``n`` sources on a grid over ``picture``, each moved at random in the room it has.

    None lies where there is no light; where so much is missing that some find no place, fewer come back.
    InputError if so many cannot be kept apart, NoPlaceError if there is light for none.
    """
    ranges = ranges or Ranges()
    if n < 1:
        raise InputError(f"injections: {n} sources are none")
    rng = np.random.default_rng([seed, 0])
    drawn = _drawn(n, ranges, rng)
    reach = drawn.reach_arcsec / picture.scale_arcsec
    x, y, found = _places(~picture.unusable, reach, rng)
    if not found.size:
        raise NoPlaceError(f"injections: none of {n} sources finds a place with light here")
    placed = _chosen(drawn, found)
    ra, dec = picture.wcs(x, y, with_bounding_box=False)
    return replace(placed, x=x, y=y, ra_deg=np.asarray(ra), dec_deg=np.asarray(dec))


def of_catalog(bodies: Bodies, picture: Picture) -> Injections:
    """Return the sources of a catalogue, all of which must lie on ``picture``: InputError as ``check``."""
    given = {name: np.asarray(getattr(bodies, name)) for name in _names() if name not in ("x", "y")}
    x, y = to_pixels(picture.wcs, given["ra_deg"], given["dec_deg"])
    placed = Injections(x=x, y=y, **given)
    check(placed, picture)
    return placed


def check(injections: Injections, picture: Picture) -> None:
    """Raise InputError for sources that cannot be put into ``picture``, or that blend with each other."""
    if not len(injections):
        raise InputError("injections: the catalogue has no sources")
    galaxy = ~injections.is_star
    for what, wrong in {
        "a flux that is not positive": ~(np.isfinite(injections.flux_jy) & (injections.flux_jy > 0)),
        "a half-light radius outside {}…{} arcsec".format(*_RADII_ARCSEC): galaxy
        & ~_within(injections.half_light_radius_arcsec, _RADII_ARCSEC),
        "a Sérsic index outside {}…{}".format(*_INDICES): galaxy & ~_within(injections.sersic_n, _INDICES),
        "an axis ratio outside {}…{}".format(*_AXIS_RATIOS): galaxy
        & ~_within(injections.axis_ratio, _AXIS_RATIOS),
        "a place outside the image, or where it has no light": ~_on_light(injections, picture),
    }.items():
        if wrong.any():
            raise InputError(
                f"injections: {int(wrong.sum())} rows with {what}, the first in row {int(np.argmax(wrong))}",
                rows=np.flatnonzero(wrong)[:10].tolist(),
            )
    _check_apart(injections, picture.scale_arcsec)


def table(injections: Injections, filter_name: str, told: Mapping[str, Any]) -> Table:
    """Return the injections in the columns of the simulator's catalogues, with pixels beside them.

    ``told`` goes into the table's metadata: how they came about.
    """
    columns = {
        "ra": injections.ra_deg,
        "dec": injections.dec_deg,
        "type": np.where(injections.is_star, "PSF", "SER"),
        f"mag_{filter_name}": injections.magnitude,
        "n": injections.sersic_n,
        "half_light_radius": injections.half_light_radius_arcsec,
        "ba": injections.axis_ratio,
        "pa": injections.position_angle_deg,
        "x": injections.x,
        "y": injections.y,
    }
    return Table(columns, meta={"injections": dict(told)})


def told(ranges: Ranges, *, seed: int) -> dict[str, Any]:
    """Return what a plan says of how it was drawn, in plain values."""
    return {"seed": seed} | {
        name: list(value) if isinstance(value, tuple) else value for name, value in asdict(ranges).items()
    }


def _names() -> list[str]:
    return [each.name for each in fields(Injections)]


def _chosen(injections: Injections, which: NDArray[np.int64]) -> Injections:
    return Injections(**{name: getattr(injections, name)[which] for name in _names()})


def _drawn(n: int, ranges: Ranges, rng: np.random.Generator) -> Injections:
    """Return ``n`` sources without a place."""
    nowhere = np.zeros(n)
    magnitude = rng.uniform(*ranges.magnitude, n)
    star = np.arange(n) < round(ranges.star_share * n)
    index, angle = rng.uniform(*ranges.sersic_n, n), rng.uniform(0, 180, n)
    index = np.clip(np.round(index * _INDEX_STEPS) / _INDEX_STEPS, *ranges.sersic_n)
    smallest, largest = ranges.half_light_radius_arcsec
    radius = smallest * (largest / smallest) ** rng.random(n)
    ratio = 1 - rng.uniform(*ranges.ellipticity, n)
    index, radius, ratio, angle = (np.where(star, 0.0, each) for each in (index, radius, ratio, angle))
    flux = AB_ZERO_JY * 10 ** (-0.4 * magnitude)
    return Injections(nowhere, nowhere, nowhere, nowhere, flux, star, index, radius, ratio, angle)


def _places(
    usable: NDArray[np.bool_], reach: Floats, rng: np.random.Generator
) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Return x, y of those sources that find a place, and which they are; ``reach`` is in pixels."""
    n, (ny, nx) = reach.size, usable.shape
    covered = max(float(usable[::16, ::16].mean()), 1e-3)
    most = float(np.max(reach))
    # So many rows and columns have room for the largest; with little light fewer sources find a place.
    most_rows, most_columns = int(ny / (2 * most)), int(nx / (2 * most))
    if n > most_rows * most_columns:
        raise InputError(f"injections: {n} sources of up to {most:.0f} pixels cannot be kept apart here")
    rows = min(max(1, round(np.sqrt(n / covered * ny / nx))), most_rows)
    columns = min(int(np.ceil(n / covered / rows)), most_columns)
    height, width = ny / rows, nx / columns
    x, y, found = [], [], []
    waiting = list(range(n))
    for cell in rng.permutation(rows * columns):
        if not waiting:
            break
        row, column = divmod(int(cell), columns)
        room = np.array([width, height]) / 2 - reach[waiting[0]]
        middle = np.array([(column + 0.5) * width, (row + 0.5) * height]) - 0.5
        for at in middle + rng.uniform(-room, room, (_TRIES, 2)):
            if usable[round(at[1]), round(at[0])]:
                x.append(at[0])
                y.append(at[1])
                found.append(waiting.pop(0))
                break
    return np.array(x), np.array(y), np.array(found, dtype=np.int64)


def _within(values: Floats, limits: tuple[float, float]) -> NDArray[np.bool_]:
    return (values >= limits[0]) & (values <= limits[1])


def _on_light(injections: Injections, picture: Picture) -> NDArray[np.bool_]:
    ny, nx = picture.rate.shape
    x, y = np.nan_to_num(injections.x, nan=-1e6), np.nan_to_num(injections.y, nan=-1e6)
    inside = (x > -0.5) & (x < nx - 0.5) & (y > -0.5) & (y < ny - 0.5)
    rows, columns = (np.where(inside, np.rint(each), 0).astype(np.int64) for each in (y, x))
    return np.asarray(inside & ~picture.unusable[rows, columns])


def _check_apart(injections: Injections, scale_arcsec: float) -> None:
    """Raise InputError if two of the sources reach each other."""
    reach = injections.reach_arcsec / scale_arcsec
    at = np.column_stack([injections.x, injections.y])
    pairs = cKDTree(at).query_pairs(2 * float(np.max(reach)), output_type="ndarray")
    apart = np.linalg.norm(at[pairs[:, 0]] - at[pairs[:, 1]], axis=1)
    blended = pairs[apart < reach[pairs[:, 0]] + reach[pairs[:, 1]]]
    if len(blended):
        one, other = (int(each) for each in min(blended.tolist()))
        raise InputError(
            f"injections: {len(blended)} pairs blend with each other, the first rows {one} and {other}",
            rows=blended[:10].tolist(),
        )
