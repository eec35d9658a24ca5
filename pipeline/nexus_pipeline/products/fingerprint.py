"""What tells one piece of work from another: the recipe, its parameters, and the bytes it is made of.

A product bears the fingerprint of its making: work whose product is there with the same one is left out.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.metadata import version
from typing import Any, Final

from nexus_pipeline.errors import UnreadableProductError, WrongProductError
from nexus_pipeline.products import asdf_file, store, tree

SOFTWARE: Final = ("nexus-pipeline", "numpy", "numba", "gwcs", "asdf", "roman_datamodels", "rad")
_KEPT: Final = 1000


def sha256(url: str) -> str:
    """Return the SHA-256 of the bytes at ``url``; files of this machine are read again only once changed."""
    if store.is_local(url) and store.exists(url):
        state = store.local_path(url).stat()
        return _of_state(url, (state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns))
    return _of_bytes(url)


@lru_cache(maxsize=_KEPT)
def _of_state(url: str, _state: tuple[int, ...]) -> str:
    return _of_bytes(url)


def _of_bytes(url: str) -> str:
    with store.open_for_reading(url) as handle:
        digest = hashlib.sha256()
        while chunk := handle.read(1 << 22):
            digest.update(chunk)
        return digest.hexdigest()


def fingerprint(recipe: Sequence[Any], told: Mapping[str, Any]) -> str:
    """Return the fingerprint of a ``recipe`` (name, version) of this package and of all it is ``told``."""
    whole = {"recipe": [*recipe, version("nexus-pipeline")], **told}
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()


def borne_by(url: str, *, expected: str) -> str | None:
    """Return the fingerprint that the product (of the class ``expected``) at ``url`` bears.

    None where there is nothing, or a broken file, or something else.
    """
    if not store.exists(url):
        return None
    try:
        with asdf_file.opened(url, expected=expected, validate=False) as node:
            found = node["meta"].get(tree.OWN_KEY, {}).get("fingerprint")
            return None if found is None else str(found)
    except (UnreadableProductError, WrongProductError):
        return None


def provenance(
    recipe: tuple[str, int], print_: str, *, inputs: Mapping[str, str], account: str | None
) -> dict[str, Any]:
    """Return how a product was made as plain values: ``inputs`` are hashes by name."""
    return {
        "recipe": recipe[0],
        "recipe_version": recipe[1],
        "fingerprint": print_,
        "software": {name: version(name) for name in SOFTWARE},
        "account": account,
        "inputs": [{"name": name, "sha256": digest} for name, digest in inputs.items()],
    }
