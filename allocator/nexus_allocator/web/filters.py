"""What long lists are narrowed to, as their addresses have it."""

from collections.abc import Mapping
from typing import Annotated
from urllib.parse import urlencode

from fastapi import Query
from pydantic import AfterValidator, BeforeValidator

from nexus_allocator.domain.states import RequestState, TierSlug


def plain(text: str) -> str:
    """Return a search as the database can look for it."""
    return text.strip().replace("\x00", "")


Search = Annotated[str, Query(max_length=100), AfterValidator(plain)]
PageNumber = Annotated[int, Query(ge=1, le=1_000_000)]
# A form sends an empty word where nothing is chosen.
UnlessEmpty = BeforeValidator(lambda text: text or None)
OneTier = Annotated[TierSlug | None, Query(), UnlessEmpty]
OneState = Annotated[RequestState | None, Query(), UnlessEmpty]


class QueueFilter:
    """Which requests administrators look at: by person, account or title, by tier and by state."""

    def __init__(self, q: Search = "", tier: OneTier = None, state: OneState = None) -> None:
        self.q, self.tier, self.state = q, tier, state

    @property
    def is_set(self) -> bool:
        return bool(self.q or self.tier or self.state)

    def address(self, **more: object) -> str:
        """Return the filter as the end of an address."""
        return address_of({"q": self.q, "tier": self.tier, "state": self.state} | more)


def address_of(values: Mapping[str, object]) -> str:
    """Return what is set as the end of an address."""
    return urlencode({name: value for name, value in values.items() if value})
