"""mosaic_product: from an association to its L3 product, not made again where it is there already."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Final

import numpy as np

from nexus_pipeline.errors import InputError
from nexus_pipeline.instrument.wfi import PIXEL_SCALE_ARCSEC
from nexus_pipeline.products import fingerprint as prints
from nexus_pipeline.products import l2, names, store
from nexus_pipeline.products.associations import Association
from nexus_pipeline.products.model import CoaddMeta, Mosaic, StepRecord
from nexus_pipeline.products.names import ExposureId
from nexus_pipeline.recipes import mosaic, psf
from nexus_pipeline.recipes.mosaic import Coadded, Listener, Member
from nexus_pipeline.runner import Settings
from nexus_pipeline.sky import sky_grid
from nexus_pipeline.sky.footprint import footprint
from nexus_pipeline.sky.sky_grid import SkyGrid
from nexus_pipeline.sky.tangent import directions_of
from nexus_pipeline.steps import flux

RECIPE: Final = "mosaic"
RECIPE_VERSION: Final = 3
"""Goes up with each change of pixels, or of what is said of them: products of an older one are made again."""


@dataclass(frozen=True)
class Inputs:
    """An association's images: where each lies, and the SHA-256 of its file."""

    urls: Mapping[str, str]
    hashes: Mapping[str, str]


def find_inputs(association: Association, folder: str) -> Inputs:
    """Return the members of ``association`` in ``folder``; InputError names those that are not there."""
    urls = {name: store.join(folder, name) for name in association.members}
    absent = [name for name, url in urls.items() if not store.exists(url)]
    if absent:
        others = f" and {len(absent) - 3} more" if len(absent) > 3 else ""
        raise InputError(f"{folder}: has no {', '.join(absent[:3])}{others}", absent=tuple(absent))
    return Inputs(urls, {name: prints.sha256(url) for name, url in urls.items()})


def grid_of(association: Association, inputs: Inputs, *, scale_arcsec: float) -> SkyGrid:
    """Return the association's skycell in pixels of ``scale_arcsec``, or a grid that holds all its images."""
    if association.skycell:
        grid = sky_grid.on_skycell(association.skycell)
        return grid if np.isclose(grid.scale_arcsec, scale_arcsec) else grid.at_scale(scale_arcsec)
    outlines = []
    for name, url in inputs.urls.items():
        image = l2.read_science_image(url)
        if image.wcs is None:
            raise InputError(f"{name}: has no WCS (was assign_wcs left out?)")
        outlines.append(directions_of(*footprint(image.wcs, size=image.rate.shape[0]).T))
    return sky_grid.around(np.concatenate(outlines), scale_arcsec=scale_arcsec)


def fingerprint(inputs: Inputs, grid: SkyGrid, settings: Settings) -> str:
    """Return what tells one mosaic from another: recipe, parameters, place, and the images' own bytes."""
    told = {
        "parameters": mosaic.check(settings),
        "skip": sorted(settings.skip),
        "grid": asdict(grid),
        "inputs": dict(inputs.hashes),
    }
    return prints.fingerprint((RECIPE, RECIPE_VERSION), told)


def is_made(url: str, print_: str) -> bool:
    """Say whether the product at ``url`` is there and bears the fingerprint; a broken one is not."""
    return prints.borne_by(url, expected="WfiMosaic") == print_


def make(
    association: Association,
    inputs: Inputs,
    grid: SkyGrid,
    *,
    settings: Settings,
    file_name: str,
    account: str | None = None,
    on_step: Listener | None = None,
) -> Mosaic:
    """Return the L3 product of ``association``; ``account`` is who pays, ``file_name`` the association's."""
    members = [Member(name, partial(l2.read_science_image, url)) for name, url in inputs.urls.items()]
    made = mosaic.coadd(members, grid, settings=settings, on_step=on_step)
    print_ = fingerprint(inputs, grid, settings)
    own = prints.provenance((RECIPE, RECIPE_VERSION), print_, inputs=inputs.hashes, account=account)
    return product(made, association, own=own, file_name=file_name)


def product(
    made: Coadded, association: Association, *, own: Mapping[str, Any], file_name: str | None = None
) -> Mosaic:
    """Return ``made`` as an L3 product, with what was found on the way under our own key."""
    release, grouping = names.parse_mosaic_stem(association.product) or (association.release, None)
    first = [meta.start_time for meta in made.metas]
    last = [meta.start_time + timedelta(seconds=meta.ma_table.exposure_time_s) for meta in made.metas]
    seen = made.coadd.time_s[made.coadd.weight > 0]
    meta = CoaddMeta(
        filter_name=made.metas[0].filter_name,
        first=min(first),
        last=max(last),
        mean=min(first) + sum((each - min(first) for each in first), timedelta()) / len(first),
        exposure_time_s=float(seen.mean(dtype=np.float64)) if seen.size else 0.0,
        max_exposure_time_s=float(np.max(seen, initial=0)),
        exposure_id=_shared([each.exposure_id for each in made.metas]),
        grouping=grouping,
        release=release,
        association=file_name,
        resample=_resample(made),
        images=tuple(each.carried for each in made.metas),
        steps=made.steps,
        own={**own, **_found(made)},
    )
    planes = ("data", "err", "weight", "var_rnoise", "var_poisson", "var_flat", "context")
    return Mosaic(
        meta=meta,
        wcs=sky_grid.wcs_of(made.grid),
        wcsinfo=sky_grid.wcsinfo_of(made.grid),
        outliers=made.rejected,
        weights_of_images=np.concatenate([each.ravel() for each in made.steps_of_weights]),
        **{name: getattr(made.coadd, name) for name in planes},
    )


def _resample(made: Coadded) -> dict[str, Any]:
    return {
        "good_bits": flux.GOOD_BITS,
        "pixel_scale_ratio": made.grid.scale_arcsec / PIXEL_SCALE_ARCSEC,
        "pixfrac": made.drizzle.pixfrac,
        "pointings": len({meta.exposure_id for meta in made.metas}),
        "weight_type": made.drizzle.weighting.value,
        "members": list(made.names),
    }


def _found(made: Coadded) -> dict[str, Any]:
    """Return the levels, maps and their errors, the noise of apertures and the steps, as plain values."""
    noise = made.noise
    return {
        "kernel": made.drizzle.kernel.value,
        "sky_levels": made.levels.tolist(),
        psf.EXPOSURES: psf.exposures_told(made),
        "pixel_map_error": max(place.error_pixels for place in made.maps),
        "aperture_noise": None if noise is None else {key: list(each) for key, each in asdict(noise).items()},
        "steps": [_told(step) for step in made.steps],
    }


def _told(step: StepRecord) -> dict[str, Any]:
    told = asdict(step) | {"parameters": dict(step.parameters), "seconds": round(step.seconds, 3)}
    return {key: value for key, value in told.items() if value is not None}


def _shared(identities: Sequence[ExposureId]) -> ExposureId:
    """Return what all share, 0 where they differ or nothing is known."""
    columns = zip(*(astuple(each) for each in identities), strict=True)
    return ExposureId(*(max(one[0], 0) if len(set(one)) == 1 else 0 for one in columns))
