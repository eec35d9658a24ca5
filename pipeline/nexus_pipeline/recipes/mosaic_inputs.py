"""mosaic_inputs: the images of a mosaic, one at a time, each refused by name if it has no place there."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass

from nexus_pipeline.errors import InputError
from nexus_pipeline.instrument.filters import IMAGING_FILTERS
from nexus_pipeline.products.model import ExposureMeta, RateImage, ScienceImage
from nexus_pipeline.sky.pixel_map import PixelMap, cropped, pixel_map
from nexus_pipeline.sky.sky_grid import NO_SKYCELL, SkyGrid
from nexus_pipeline.steps import flux
from nexus_pipeline.steps.flux import Piece


@dataclass(frozen=True)
class Member:
    """An L2 image by its file's name, and how to get it (twice)."""

    name: str
    load: Callable[[], RateImage | ScienceImage]


class Inputs:
    """The images of a mosaic on ``grid``.

    InputError, which names the image, at the first that is of another filter or of none, of an exposure and
    detector that was there already, without WCS or conversion, with no pixel to use or none on the grid.
    """

    def __init__(self, members: Sequence[Member], grid: SkyGrid) -> None:
        if not members:
            raise InputError("a mosaic needs an image")
        self.members, self.grid = tuple(members), grid
        self.seconds: dict[str, float] = {}
        self._metas: list[ExposureMeta] = []
        self._maps: list[PixelMap] = []

    @property
    def metas(self) -> tuple[ExposureMeta, ...]:
        """What the images say of their exposures, without what was carried along."""
        return tuple(self._metas)

    @property
    def maps(self) -> tuple[PixelMap, ...]:
        return tuple(self._maps)

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Add the block's seconds of wall clock to those of ``step``."""
        start = time.perf_counter()
        yield
        self.seconds[step] = self.seconds.get(step, 0.0) + time.perf_counter() - start

    def piece(self, index: int) -> Piece:
        """Return the part of image ``index`` on the grid, MJy/sr; they are asked for in order at first."""
        member = self.members[index]
        with self.timed("read"):
            image = member.load()
        with self.timed("flux"):
            if index == len(self._metas):
                self._admit(member.name, image)
            return flux.calibrate(image, self._maps[index], name=member.name)

    def _admit(self, name: str, image: RateImage | ScienceImage) -> None:
        self._refuse(name, image)
        whole = pixel_map(image.wcs, image.rate.shape, self.grid, name=name)
        place = cropped(whole, self.grid)
        if place is None:
            where = "the mosaic" if self.grid.skycell == NO_SKYCELL else f"skycell {self.grid.skycell}"
            raise InputError(f"{name}: touches no pixel of {where}")
        self._maps.append(place)
        self._metas.append(image.meta)

    def _refuse(self, name: str, image: RateImage | ScienceImage) -> None:
        meta = image.meta
        if meta.filter_name not in IMAGING_FILTERS:
            raise InputError(f"{name}: taken through {meta.filter_name}; mosaics are made of images")
        for other, earlier in zip(self.members, self._metas, strict=False):
            if earlier.filter_name != meta.filter_name:
                raise InputError(
                    f"{name}: taken through {meta.filter_name}, {other.name} through {earlier.filter_name}"
                )
            known = min(astuple(meta.exposure_id)) >= 0
            if known and (earlier.exposure_id, earlier.detector) == (meta.exposure_id, meta.detector):
                raise InputError(f"{name}: of the same exposure and detector as {other.name}")
        if image.wcs is None:
            raise InputError(f"{name}: has no WCS (was assign_wcs left out?)")
        if not flux.any_usable(image.dq):
            raise InputError(f"{name}: has no pixel that may be used")
