"""Signing in and out through a real OpenID provider."""

import base64
import json
import re
import time
from collections.abc import Iterator
from html import unescape
from urllib.parse import parse_qs, urlsplit

import httpx
import jwt
import pytest
from tests.support.hub import PLAIN, SMALL, TOO_LONG, HubUnderTest, Visitor, running_hub

from nexus_allocator.hub.authenticator import REFRESH_SHARED_FOR_S

# Longer than the hub takes from the token to its first use, on a busy machine too.
TTL_S = 3
# Longer than the token lives, and than a refresh is shared.
EXPIRED_S = TTL_S + 2.1


@pytest.fixture(scope="module")
def shared_hub() -> Iterator[HubUnderTest]:
    with running_hub(NEXUS_ACCESS_TOKEN_TTL_S=str(TTL_S)) as hub:
        yield hub


def authorization_request(hub: HubUnderTest) -> dict[str, str]:
    """Return what the hub asks of the provider."""
    answer = PLAIN.get(f"{hub.url}/hub/oauth_login")
    assert answer.status_code == 302
    return {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["location"]).query).items()}


def authorize(hub: HubUnderTest, **changes: str | None) -> httpx.Response:
    asked = {**authorization_request(hub), **changes}
    return PLAIN.get(
        f"{hub.settings.issuer}/auth",
        params={name: value for name, value in asked.items() if value is not None},
    )


def test_the_hub_asks_for_a_code_with_pkce_and_the_provider_takes_nothing_less(hub: HubUnderTest) -> None:
    asked = authorization_request(hub)
    assert (asked["response_type"], asked["code_challenge_method"]) == ("code", "S256")
    assert "/sign-in/" in authorize(hub).headers["location"]
    without = authorize(hub, code_challenge=None, code_challenge_method=None)
    assert "error=invalid_request" in without.headers["location"]
    plain = authorize(hub, code_challenge_method="plain")
    assert "error=invalid_request" in plain.headers["location"]


def test_a_foreign_redirect_uri_is_refused_on_the_providers_own_page(hub: HubUnderTest) -> None:
    answer = authorize(hub, redirect_uri=f"{hub.url}/hub/oauth_callback/elsewhere")
    assert answer.status_code == 400
    assert "location" not in answer.headers
    assert "Back to the Nexus" in answer.text


def test_id_tokens_are_signed_with_a_published_key(hub: HubUnderTest) -> None:
    found = PLAIN.get(f"{hub.settings.issuer}/.well-known/openid-configuration").json()
    keys = PLAIN.get(found["jwks_uri"]).json()["keys"]
    assert found["code_challenge_methods_supported"] == ["S256"]
    assert [(key["alg"], key["kty"]) for key in keys] == [("RS256", "RSA")]
    assert "d" not in keys[0], "only the public half"
    assert found["end_session_endpoint"]


def test_a_person_is_known_by_issuer_and_subject_and_nobody_is_the_hubs_administrator(
    hub: HubUnderTest,
) -> None:
    hub.sign_in("admin", accept=False)
    (told, *_) = [c["body"] for c in hub.calls("PUT", "/people") if c["body"]["subject"] == "admin"]
    assert told["issuer"] == hub.settings.issuer
    assert told["groups"] == ["nexus-admins"]
    model = hub.as_parent("GET", "/users/admin").json()
    assert model["name"] == "admin"
    assert model["admin"] is False
    assert model.get("groups", []) in ([], ["team-wide-field-demo", "tier-entry"])


def test_whoever_comes_in_by_the_front_door_lands_on_the_launch_page(hub: HubUnderTest) -> None:
    visitor = Visitor(hub.url)
    page = visitor.get("/")
    link = re.search(r'href="([^"]*oauth_login[^"]*)"', page.text)
    assert link
    page = visitor.http.get(page.url.join(unescape(link[1])))
    assert str(visitor.choose_person(page, "teammate").url).startswith(f"{hub.url}/hub/spawn")


def test_the_suspended_are_told_so(hub: HubUnderTest) -> None:
    hub.control(suspended=["teammate"])
    visitor = Visitor(hub.url)
    page = visitor.sign_in("teammate")
    assert page.status_code == 403
    assert "Your access to the Nexus is suspended" in page.text


def test_signing_out_ends_hub_and_provider_and_the_next_person_can_sign_in(hub: HubUnderTest) -> None:
    visitor = hub.sign_in("astronomer")
    page = visitor.sign_out()
    assert str(page.url) == f"{hub.url}/hub/signed-out"
    assert "You are signed out" in page.text
    assert "Sign in" in visitor.get("/hub/home").text
    # A provider that still knew the person would not ask who it is.
    visitor.sign_in("teammate")
    assert "teammate" in visitor.get("/hub/home").text


def test_signing_out_of_a_restarted_provider_is_no_dead_end(hub: HubUnderTest) -> None:
    visitor = hub.sign_in("astronomer")
    hub.kill("sign-in provider")
    hub.restart("sign-in provider")
    assert "You are signed out" in visitor.sign_out().text


def test_a_provider_killed_while_it_wrote_still_knows_who_is_signed_in(hub: HubUnderTest) -> None:
    visitor = hub.sign_in("astronomer")
    hub.kill("sign-in provider")
    with (hub.settings.folder("secrets") / "provider-state.jsonl").open("a") as journal:
        journal.write('["Session:half a li')
    hub.restart("sign-in provider")
    page = visitor.get("/hub/oauth_login")
    assert page.is_success
    assert "Who are you?" not in page.text


def test_a_launch_after_the_access_token_expired_renews_it(hub: HubUnderTest) -> None:
    visitor = hub.sign_in()
    before = hub.log("hub").count("the access token is no longer good")
    time.sleep(EXPIRED_S)
    assert visitor.launch_by_form(SMALL).status_code == 200
    hub.wait_until_ready()
    assert hub.log("hub").count("the access token is no longer good") > before


def test_a_rotating_refresh_token_serves_again_and_again(hub: HubUnderTest) -> None:
    visitor = hub.sign_in()
    for _ in range(2):
        time.sleep(EXPIRED_S)
        answers = [visitor.launch_by_form(TOO_LONG).status_code for _ in range(2)]
        assert answers == [402, 402], "refused by admission, not for want of a sign-in"


def test_a_sign_in_ended_at_the_provider_refuses_a_launch_without_counting_as_failure(
    hub: HubUnderTest,
) -> None:
    visitor = hub.sign_in()
    # The provider forgets everybody, as after the loss of its state.
    hub.kill("sign-in provider")
    (hub.settings.folder("secrets") / "provider-state.jsonl").unlink()
    hub.restart("sign-in provider")
    time.sleep(EXPIRED_S)
    for _ in range(6):
        page = visitor.launch_by_form(SMALL)
        assert page.status_code == 403, page.text
        assert "Sign in again, then launch." in page.text
        time.sleep(REFRESH_SHARED_FOR_S / 4)
    answer = visitor.launch_by_api(SMALL)
    assert answer.status_code == 403
    assert re.search("[Ss]ign in again|login again", answer.json()["message"])
    time.sleep(3)
    assert hub.children["hub"].exit_status() is None
    assert "Who are you?" in visitor.get("/hub/oauth_login").text, "signing in anew is possible at once"


def test_who_is_called_otherwise_now_signs_in_again_and_is_somebody_else_to_the_hub(
    hub: HubUnderTest,
) -> None:
    visitor = hub.sign_in("teammate")
    hub.control(renamed={"teammate": "tomoko"})
    try:
        page = visitor.launch_by_form(SMALL)
        assert (page.status_code, "Sign in again, then launch." in page.text) == (403, True)
        again = hub.sign_in("teammate")
        assert 'href="/hub/home"' in again.get("/hub/home").text
        assert hub.as_parent("GET", "/users/tomoko").status_code == 200
    finally:
        hub.control(renamed={})


def test_an_outage_of_the_provider_signs_nobody_out(hub: HubUnderTest) -> None:
    visitor = hub.sign_in()
    time.sleep(EXPIRED_S)
    hub.kill("sign-in provider")
    try:
        assert visitor.launch_by_form(TOO_LONG).status_code == 402, "as far as admission"
    finally:
        hub.restart("sign-in provider")


def test_a_sign_in_begun_elsewhere_is_explained(hub: HubUnderTest) -> None:
    state = base64.urlsafe_b64encode(json.dumps({"state_id": "other"}).encode()).decode()
    page = Visitor(hub.url).get(f"/hub/oauth_callback?code=x&state={state}")
    assert page.status_code == 400
    assert "Please sign in again" in page.text


def test_secrets_are_readable_by_their_owner_only(hub: HubUnderTest) -> None:
    folder = hub.settings.folder("secrets")
    assert folder.stat().st_mode & 0o777 == 0o700
    files = list(folder.iterdir())
    assert {"hub-cookie", "provider-keys.json", "client"} <= {path.name for path in files}
    assert [path.name for path in files if path.stat().st_mode & 0o077] == []


def test_a_token_of_another_provider_is_not_taken() -> None:
    # What discovery and JWKS would have to be fooled into: a well-formed token, signed by somebody else.
    from cryptography.hazmat.primitives.asymmetric import rsa  # noqa: PLC0415

    from nexus_allocator.hub.discovery import ForeignToken, Provider  # noqa: PLC0415

    theirs, ours = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
    provider = Provider("http://issuer")
    published = {
        **json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(ours.public_key())),
        "kid": "k",
        "alg": "RS256",
    }
    provider._keys = jwt.PyJWKSet.from_dict({"keys": [published]})
    claims = {"iss": "http://issuer", "aud": "hub", "sub": "x", "iat": time.time(), "exp": time.time() + 60}

    def verify(key: rsa.RSAPrivateKey, **changes: object) -> object:
        token = jwt.encode({**claims, **changes}, key, algorithm="RS256", headers={"kid": "k"})
        step = provider.verify(token, "hub").send
        try:
            step(None)
        except StopIteration as done:
            return done.value
        raise AssertionError("needs no waiting")

    assert verify(ours)["sub"] == "x"  # type: ignore[index]
    for key, changes in ((theirs, {}), (ours, {"aud": "other"}), (ours, {"iss": "x"}), (ours, {"exp": 1})):
        with pytest.raises(ForeignToken):
            verify(key, **changes)


def test_the_sign_in_page_offers_each_demo_person_and_works_without_scripts(hub: HubUnderTest) -> None:
    visitor = Visitor(hub.url)
    page = visitor.get("/hub/oauth_login")
    assert re.findall(r'name="subject" value="([^"]+)"', page.text) == ["astronomer", "teammate", "admin"]
    assert "Local demo sign-in" in page.text
    assert "<script" not in page.text
    assert visitor.http.post(page.url, data={"subject": "nobody"}).status_code == 400
