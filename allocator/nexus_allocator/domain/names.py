"""Names that the hub, the file system and URLs all accept."""

import re
import unicodedata

from nexus_allocator.domain.errors import BadName

NAME = re.compile(r"[a-z][a-z0-9-]{1,30}")
MUST_BE = "2 to 31 small letters, digits or hyphens, a letter first"
# Reserved: words that paths or the hub use beside names.
RESERVED = frozenset({"root", "shared", "mission", "teams", "admin-server", "nexus", "hub", "services"})


def hub_name_from(preferred_username: str) -> str:
    """Return a hub name made from what the provider calls a person; always valid, perhaps already taken."""
    local, _, _ = preferred_username.partition("@")
    plain = unicodedata.normalize("NFKD", local).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")
    if not slug or not slug[0].isalpha():
        slug = f"p-{slug}".rstrip("-")
    return slug[:24].rstrip("-") if len(slug) > 1 else f"{slug}-1"


def numbered(name: str, number: int) -> str:
    """Return ``name`` for the first try and ``name-2``, ``name-3`` … for the next ones."""
    return name if number == 1 else f"{name}-{number}"


def require_name(name: str) -> str:
    """Return ``name`` when it may be given. Raises BadName."""
    if not NAME.fullmatch(name) or name in RESERVED:
        raise BadName(name=name[:40], must_be=MUST_BE)
    return name
