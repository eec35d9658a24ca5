"""Webhooks: which events there are, how they are signed, and to which addresses they may go."""

import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import SplitResult, urlsplit

from nexus_allocator.domain.errors import BadUrl

# Both must be: a burst of events within one short outage is no reason to switch an endpoint off.
MOST_FAILURES = 20
FAILING_FOR = timedelta(hours=1)
# Both secrets sign for so long after a rotation.
OLD_SECRET_LASTS = timedelta(days=1)
LONGEST_URL = 500
MUST_BE = f"an http or https address of at most {LONGEST_URL} characters, without a user name or a fragment"
# An event of nothing, which an endpoint's keeper asks for.
TEST = "webhook.test"
NAT64 = IPv6Network("64:ff9b::/96")


class EventKind(StrEnum):
    """What is told to endpoints that ask for it."""

    REQUEST_MOVED = "request.moved"
    ALLOCATION_TOLD = "allocation.told"
    SPENDING_MARKED = "spending.marked"
    SERVER_STOPPED = "server.stopped"
    PERSON_SUSPENDED = "person.suspended"
    PERSON_REINSTATED = "person.reinstated"


class Reach(StrEnum):
    """To which addresses events may go: of the internet, of private networks too, of this machine too."""

    PUBLIC = "public"
    PRIVATE = "private"
    LOOPBACK = "loopback"


def signature(secrets: Sequence[str], body: bytes, *, at: datetime) -> str:
    """Return the header that proves who sent ``body`` and when: HMAC-SHA256 over "seconds.body", hexadecimal.

    During a rotation it holds one value for each secret, the newer first.
    """
    seconds = int(at.timestamp())
    signed = str(seconds).encode() + b"." + body
    values = [hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest() for secret in secrets]
    return ",".join([f"t={seconds}", *(f"v1={value}" for value in values)])


def may_reach(address: str, reach: Reach) -> bool:
    """Say whether an IP address may be called; what wraps an IPv4 address is judged by that."""
    found = _unwrapped(ip_address(address.partition("%")[0]))
    if found.is_multicast or found.is_unspecified or found.is_link_local:
        # The link-local range holds the clouds' metadata services.
        return False
    if found.is_loopback:
        return reach is Reach.LOOPBACK
    if found.is_global:
        return True
    return reach is not Reach.PUBLIC and found.is_private and not found.is_reserved


def _unwrapped(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    if isinstance(address, IPv4Address):
        return address
    if address in NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or address


def endpoint_url(text: str, reach: Reach) -> str:
    """Return an endpoint's address as it is kept. Raises BadUrl.

    A name is looked up at each call only; an IP address that may not be reached is refused at once.
    """
    text = text.strip()
    parts = _split(text)
    if (
        parts is None
        or len(text) > LONGEST_URL
        or not text.isascii()
        or not text.isprintable()
        or " " in text
    ):
        raise BadUrl(url=text[:80], must_be=MUST_BE)
    try:
        allowed = may_reach(parts.hostname or "", reach)
    except ValueError:
        return text
    if not allowed:
        raise BadUrl(url=text[:80], must_be=f"an address that may be reached from here ({reach.value})")
    return text


def _split(text: str) -> SplitResult | None:
    try:
        parts = urlsplit(text)
        has_port = parts.port is None or parts.port > 0
    except ValueError:
        return None
    plain = parts.username is None and parts.password is None and not parts.fragment
    if parts.scheme not in {"http", "https"} or not parts.hostname or not plain or not has_port:
        return None
    return parts
