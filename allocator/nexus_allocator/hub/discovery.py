"""What an OpenID provider says of itself, and whether a token is really its own: discovery, JWKS, RS256."""

import json
import time
from dataclasses import dataclass
from typing import Any

import jwt
from tornado.httpclient import AsyncHTTPClient, HTTPClientError

KEPT_FOR_S = 3600.0
DEADLINE_S = 3.0


class ProviderUnavailable(Exception):  # noqa: N818 -- names a state of the world
    """The provider did not answer, or answered with a fault of its own."""


class ForeignToken(Exception):  # noqa: N818 -- names what it is
    """A token that this provider did not sign for this client, or that is no longer valid."""


@dataclass(frozen=True)
class Endpoints:
    authorize_url: str
    token_url: str
    userdata_url: str
    end_session_url: str | None
    jwks_url: str


class Provider:
    """One OpenID provider, asked at most hourly; keys are asked for again when an unknown one signs."""

    def __init__(self, issuer: str) -> None:
        self.issuer = issuer
        self._endpoints: Endpoints | None = None
        self._keys: jwt.PyJWKSet | None = None
        self._asked_at = 0.0

    async def endpoints(self) -> Endpoints:
        """Raise ProviderUnavailable when it does not answer, ValueError when it has another name."""
        if self._endpoints is None or time.monotonic() - self._asked_at > KEPT_FOR_S:
            found = await get_json(self.issuer.rstrip("/") + "/.well-known/openid-configuration")
            if found["issuer"] != self.issuer:
                raise ValueError(f"the provider at {self.issuer} calls itself {found['issuer']}")
            self._endpoints = Endpoints(
                found["authorization_endpoint"],
                found["token_endpoint"],
                found["userinfo_endpoint"],
                found.get("end_session_endpoint"),
                found["jwks_uri"],
            )
            self._asked_at = time.monotonic()
        return self._endpoints

    async def verify(self, id_token: str, client_id: str) -> dict[str, Any]:
        """Return the claims of an ID token meant for ``client_id``; raise ForeignToken for any other."""
        try:
            key = await self._key(jwt.get_unverified_header(id_token)["kid"])
            claims: dict[str, Any] = jwt.decode(
                id_token,
                key.key,
                algorithms=["RS256"],
                audience=client_id,
                issuer=self.issuer,
                leeway=10,
                options={"require": ["exp", "iat", "iss", "aud", "sub"]},
            )
        except (jwt.PyJWTError, KeyError) as error:
            raise ForeignToken(f"the ID token is not this provider's: {error}") from error
        return claims

    async def _key(self, kid: str) -> jwt.PyJWK:
        if self._keys is None or kid not in {key.key_id for key in self._keys.keys}:
            self._keys = jwt.PyJWKSet.from_dict(await get_json((await self.endpoints()).jwks_url))
        return self._keys[kid]


async def get_json(url: str) -> dict[str, Any]:
    try:
        response = await AsyncHTTPClient().fetch(url, request_timeout=DEADLINE_S, connect_timeout=DEADLINE_S)
    except (HTTPClientError, OSError) as error:
        raise ProviderUnavailable(f"{url}: {error}") from error
    answer: dict[str, Any] = json.loads(response.body)
    return answer
