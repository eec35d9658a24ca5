"""By what somebody is invited to a team, and what its own server is called."""

from nexus_allocator.domain.errors import BadAddress
from nexus_allocator.domain.names import NAME

MOST_OPEN_INVITATIONS = 100
LONGEST_ADDRESS = 254
# What NFS carries beside a person's own group (AUTH_SYS, RFC 5531); more would be cut off in silence.
MOST_TEAMS = 16
# Among holds; at the hub it is the one server of an account that is called like the team. No person's server
# can be called so: their names at the hub have no colon.
TEAM_SERVER = "team:"


def server_of_team(slug: str) -> str:
    """Return the name under which the holds of a team's own server stand."""
    return TEAM_SERVER + slug


def group_of_team(slug: str) -> str:
    """Return what the hub calls the group of a team's members."""
    return f"team-{slug}"


def at_hub(hub_name: str, server_name: str) -> tuple[str, str]:
    """Return account and name by which the hub knows the server that a hold of this person pays."""
    slug = server_name.removeprefix(TEAM_SERVER)
    return (slug, "") if slug != server_name else (hub_name, server_name)


def address(text: str) -> tuple[str | None, str | None]:
    """Return by what somebody is invited: (hub name, None) or (None, e-mail address). Raises BadAddress."""
    words = text.strip()
    if NAME.fullmatch(words):
        return words, None
    local, at, host = words.partition("@")
    spaced = any(sign.isspace() or not sign.isprintable() for sign in words)
    if not (local and at and "." in host) or "@" in host or spaced or len(words) > LONGEST_ADDRESS:
        raise BadAddress(address=words[:60])
    return None, words.casefold()
