"""Posting an event to somebody's endpoint: to addresses that may be reached, without following redirects."""

import asyncio
import socket
from collections.abc import Mapping
from urllib.parse import urlsplit

import httpx

from nexus_allocator.domain.outbox import DeliveryFailed
from nexus_allocator.domain.webhooks import Reach, may_reach


class Caller:
    """Calls endpoints; the whole call, look-up and answer, has one deadline, so nobody can hold it up."""

    def __init__(self, reach: Reach, *, deadline_s: float = 10.0) -> None:
        self.reach, self.deadline_s = reach, deadline_s

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> None:
        """Post the event. Raises DeliveryFailed unless the endpoint answers 2xx."""
        try:
            status = asyncio.run(self._within_deadline(url, body, headers))
        except TimeoutError as error:
            raise DeliveryFailed(f"No answer within {self.deadline_s:g} s.") from error
        except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
            raise DeliveryFailed(f"The endpoint can't be reached: {type(error).__name__}") from error
        if 300 <= status < 400:
            raise DeliveryFailed(f"It answered {status}; redirects are not followed.")
        if not 200 <= status < 300:
            raise DeliveryFailed(f"It answered {status}.")

    async def _within_deadline(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        async with asyncio.timeout(self.deadline_s):
            return await self._post(url, body, headers)

    async def _post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or {"http": 80, "https": 443}[parts.scheme]
        address = await self._address(host, port)
        # The address that was judged is the one called, whatever the name says a moment later.
        literal = f"[{address}]" if ":" in address else address
        target = parts._replace(netloc=f"{literal}:{port}").geturl()
        named = {**headers, "Host": parts.netloc}
        async with (
            httpx.AsyncClient(trust_env=False, follow_redirects=False, timeout=self.deadline_s) as client,
            client.stream(
                "POST", target, content=body, headers=named, extensions={"sni_hostname": host}
            ) as answer,
        ):
            # What it says beside its status is not read.
            return answer.status_code

    async def _address(self, host: str, port: int) -> str:
        """Return where to call; a name that has any address that may not be reached is not called at all."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = [str(each[4][0]) for each in found]
        if not addresses or not all(may_reach(address, self.reach) for address in addresses):
            raise DeliveryFailed("Its address may not be reached from here.", is_final=True)
        return addresses[0]
