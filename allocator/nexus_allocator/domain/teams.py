"""By what somebody is invited to a team."""

from nexus_allocator.domain.errors import BadAddress
from nexus_allocator.domain.names import NAME

MOST_OPEN_INVITATIONS = 100
LONGEST_ADDRESS = 254
# What NFS carries beside a person's own group (AUTH_SYS, RFC 5531); more would be cut off in silence.
MOST_TEAMS = 16


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
