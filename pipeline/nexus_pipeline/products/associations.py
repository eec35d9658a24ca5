"""Associations (``_asn.json``): the members that make one product, in the mission's JSON."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import IO, Any, Final

from nexus_pipeline.errors import InputError, UnreadableProductError
from nexus_pipeline.products import store

ENDING: Final = "_asn.json"
# What the mission's reader wants to find, whatever an association is of.
_RULE: Final = {
    "asn_type": "image",
    "asn_rule": "DMS_ELPP_Base",
    "asn_id": "a3001",
    "asn_pool": "none",
    "constraints": "No constraints",
    "degraded_status": "No known degraded exposures in association.",
    "version_id": None,
}


@dataclass(frozen=True)
class Association:
    """``members`` (file names of L2 images, in order) that make ``product`` (a name without its suffix).

    ``skycell`` is where: what romancal calls ``skycell_wcs_info``, empty for what is on no skycell.
    """

    product: str
    members: tuple[str, ...]
    program: int
    release: str = "p"
    skycell: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.members:
            raise InputError(f"the association {self.product} has no members")
        if len(set(self.members)) < len(self.members):
            twice = sorted({name for name in self.members if self.members.count(name) > 1})
            raise InputError(f"the association {self.product} has members twice: {', '.join(twice)}")


def file_name(association: Association) -> str:
    """Return the mission's name of the association's file."""
    return association.product + ENDING


def write_association(association: Association, url: str) -> None:
    """Put ``association`` at ``url``, whole or not at all; raises StorageError."""
    where = dict(association.skycell)
    tree = {
        **_RULE,
        "program": f"{association.program:05d}",
        "data_release_id": association.release,
        "target": where.get("name", "none"),
        "skycell_wcs_info": where or "none",
        "products": [
            {
                "name": association.product,
                "members": [{"expname": name, "exptype": "science"} for name in association.members],
            }
        ],
    }
    store.save(url, partial(_write, json.dumps(tree, indent=1).encode()))


def read_association(url: str) -> Association:
    """Return the association at ``url``, ours or romancal's.

    UnreadableProductError for what is none, or makes no or several products; InputError as ``Association``.
    """
    with store.open_for_reading(url) as handle:
        content = handle.read()
    try:
        tree = json.loads(content)
        (product,) = tree["products"]
        members = tuple(str(member["expname"]) for member in product["members"])
        where = tree.get("skycell_wcs_info", "none")
        return Association(
            product=str(product["name"]),
            members=members,
            program=int(tree["program"]),
            release=str(tree.get("data_release_id", "p")),
            skycell=where if isinstance(where, dict) else {},
        )
    except InputError as error:
        raise InputError(f"{url}: {error}", url=url) from error
    except (ValueError, KeyError, TypeError) as error:
        raise UnreadableProductError(
            f"{url}: not an association of one product ({type(error).__name__}: {error})", url=url
        ) from error


def _write(content: bytes, handle: IO[bytes]) -> None:
    handle.write(content)
