"""The login of OpenID Connect against a real provider over loopback: discovery, code flow, keys; and all that must not pass."""

import base64
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from threading import Thread
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import httpx
import orjson
import pytest
from fastapi import FastAPI
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey
from oidc_provider_mock import User, run_server_in_thread
from pydantic import SecretStr, ValidationError
from werkzeug import Request, Response
from werkzeug.serving import make_server

from services.metrics.main import build_api
from services.metrics.settings import Settings
from tests.conftest import TestDatabase

# The provider's own, which is of the tests alone, and a key that an attacker chose.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:Key size")

PAGE: Final = "https://monitor.example"
AUDIENCE: Final = "onething-api"
D: Final = {"item": "disabled-service"}


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    """The address of a provider that knows a director, a county's clerk, one of another city, and one of nowhere."""
    users = [
        User(sub="director", claims={"onething_scope": "reader", "name": "张局长"}),
        User(sub="clerk", claims={"onething_scope": "county", "onething_county": "130607"}),
        User(sub="elsewhere", claims={"onething_scope": "county", "onething_county": "130629"}),
        User(sub="nobody", claims={"email": "nobody@example.cn"}),
    ]
    with run_server_in_thread(user_claims=users, require_nonce=True) as server:
        yield f"http://localhost:{server.server_port}"


@asynccontextmanager
async def api(database: TestDatabase, issuer: str, **more: Any) -> AsyncIterator[FastAPI]:
    settings = Settings(
        postgres_dsn=SecretStr(database.dsn("metrics")), reader_token=SecretStr("reader"), operator_token=SecretStr("operator"),
        page_url=PAGE, oidc_issuer=issuer, oidc_client_id="onething", oidc_client_secret=SecretStr("of the client"),
        oidc_audience=AUDIENCE, **more,
    )  # fmt: skip
    built = build_api(settings)
    async with built.router.lifespan_context(built):
        yield built


def browser(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url=PAGE)


async def sent_to_issuer(client: httpx.AsyncClient, wanted: str = "/") -> str:
    """The address to which our login sends the browser."""
    answer = await client.get("/oidc/login", params={"next": wanted})
    assert answer.status_code == 302, answer.text
    return answer.headers["location"]


async def approved(address: str, sub: str, **form: str) -> str:
    """Logs in at the issuer; gives where it sends the browser back to, as a path of ours."""
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.post(address, data={"sub": sub, **form})
    assert answer.status_code == 302, answer.text
    back = urlsplit(answer.headers["location"])
    assert f"{back.scheme}://{back.netloc}{back.path}" == f"{PAGE}/oidc/callback"
    return f"{back.path}?{back.query}"


async def logged_in(client: httpx.AsyncClient, sub: str, wanted: str = "/") -> httpx.Response:
    return await client.get(await approved(await sent_to_issuer(client, wanted), sub))


async def test_people_log_in_at_the_issuer_and_see_what_it_says_of_them(database: TestDatabase, provider: str) -> None:
    async with api(database, provider) as app:
        async with browser(app) as client:
            assert "/oidc/login?next=%2Fcases%3Fcounty%3D130607" in (await client.get("/cases?county=130607")).text
            asked = parse_qs(urlsplit(await sent_to_issuer(client)).query)
            assert asked["code_challenge_method"] == ["S256"]
            assert {"state", "nonce", "code_challenge"} <= asked.keys()
            assert "code_verifier" not in asked
            arrived = await logged_in(client, "director", "/cases?county=130607")
            assert arrived.status_code == 200
            assert 'content="0; url=/cases?county=130607"' in arrived.text
            set_now = [one for one in arrived.headers.get_list("set-cookie") if one.startswith("onething-session=")]
            assert len(set_now) == 1
            for word in ("HttpOnly", "SameSite=strict", "Secure"):
                assert word in set_now[0]
            assert len((await client.get("/v1/ranking", params=D)).json()["rows"]) == 22
            assert (await client.get("/")).status_code == 200
            out = await client.post("/logout")
            assert f"{provider}/oauth2/end_session" in out.text
            assert (await client.get("/v1/ranking", params=D)).status_code == 401
        async with browser(app) as client:
            assert (await logged_in(client, "clerk")).status_code == 200
            assert (await client.get("/v1/ranking", params=D)).json()["limited_to"] == "130607"
            assert (await client.get("/v1/unplaced")).status_code == 403
        for sub, why in (("elsewhere", "所属的县"), ("nobody", "还没有查看权限")):
            async with browser(app) as client:
                refused = await logged_in(client, sub)
                assert (refused.status_code, why in refused.text) == (403, True)
                assert "onething-session" not in client.cookies


async def test_a_login_that_was_not_begun_here_or_is_over_opens_nothing(database: TestDatabase, provider: str) -> None:
    async with api(database, provider) as app, browser(app) as client, browser(app) as another:
        back = await approved(await sent_to_issuer(client), "director")
        stolen = await another.get(back)
        assert (stolen.status_code, "重新登录" in stolen.text) == (403, True), "the code in another browser"
        assert (await client.get(back.replace("state=", "state=x"))).status_code == 403
        again = await approved(await sent_to_issuer(client), "director")
        assert (await client.get(again)).status_code == 200
        assert (await client.get(again)).status_code == 403, "once"
        denied = await client.get(await approved(await sent_to_issuer(client), "director", action="deny"))
        assert (denied.status_code, "没有批准" in denied.text) == (403, True)
        assert (await client.get("/oidc/callback")).status_code == 403
        begun = await sent_to_issuer(client)
        swapped = re.sub("nonce=[^&]+", "nonce=another", begun)
        assert (await client.get(await approved(swapped, "director"))).status_code == 403, "a token of another login"
        mixed = f"{await approved(await sent_to_issuer(client), 'director')}&iss=https%3A%2F%2Fother.example"
        assert (await client.get(mixed)).status_code == 403
        for wanted in ("//elsewhere.example", "https://elsewhere.example", "/\\elsewhere.example"):
            assert 'url=/"' in (await logged_in(client, "director", wanted)).text


class Forging:
    """An issuer that gives out what it is told to: discovery and keys as they should be, tokens as a test wants them."""

    def __init__(self) -> None:
        self.key = RSAKey.generate_key(2048, {"kid": "first"})
        self.issuer = ""
        self.said_issuer: str | None = None
        self.id_token = ""
        self.keys_asked = 0
        self.down = False

    def __call__(self, environ: Any, start_response: Any) -> Any:
        path = Request(environ).path
        if self.down:
            return Response("", 500)(environ, start_response)
        if path == "/.well-known/openid-configuration":
            body: dict[str, Any] = {
                "issuer": self.said_issuer or self.issuer, "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token", "jwks_uri": f"{self.issuer}/jwks",
                "id_token_signing_alg_values_supported": ["RS256", "HS256", "none"],
            }  # fmt: skip
        elif path == "/jwks":
            self.keys_asked += 1
            body = {"keys": [self.key.as_dict(private=False)]}
        else:
            body = {"access_token": "opaque", "token_type": "Bearer", "expires_in": 60, "id_token": self.id_token}
        return Response(orjson.dumps(body), content_type="application/json")(environ, start_response)

    def token(self, *, header: dict[str, Any] | None = None, key: Any = None, **claims: Any) -> str:
        now = int(time.time())
        said = {"iss": self.issuer, "sub": "director", "iat": now, "exp": now + 300, "onething_scope": "reader", **claims}
        made = {name: value for name, value in said.items() if value is not None}
        return jwt.encode(header or {"alg": "RS256", "kid": "first"}, made, key or self.key, algorithms=["RS256", "HS256", "ES256"])

    def unsigned(self, **claims: Any) -> str:
        _, body, _ = self.token(**claims).split(".")
        header = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').decode().rstrip("=")
        return f"{header}.{body}."


@pytest.fixture
def forging() -> Iterator[Forging]:
    made = Forging()
    server = make_server("localhost", 0, made, threaded=True)
    made.issuer = f"http://localhost:{server.server_port}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


async def test_an_id_token_that_does_not_hold_opens_nothing(database: TestDatabase, forging: Forging) -> None:
    async with api(database, forging.issuer) as app, browser(app) as client:

        async def finished(make: Any) -> int:
            asked = parse_qs(urlsplit(await sent_to_issuer(client)).query)
            forging.id_token = make(asked["nonce"][0])
            answer = await client.get("/oidc/callback", params={"code": "c", "state": asked["state"][0]})
            client.cookies.delete("onething-session") if "onething-session" in client.cookies else None
            return answer.status_code

        def token(**claims: Any) -> Any:
            return lambda nonce: forging.token(**{"nonce": nonce, "aud": "onething", **claims})

        assert await finished(token()) == 200, "what is right is taken"
        secret = OctKey.import_key(b"of the client")
        for wrong in (
            token(nonce="another"), token(nonce=None), token(aud="another"), token(aud=["another", "third"], azp="onething"),
            token(aud=None), token(iss="https://other.example"), token(exp=int(time.time()) - 600), token(exp=None),
            token(sub=None), token(onething_scope=["director"]), token(key=RSAKey.generate_key(2048)),
            token(header={"alg": "HS256"}, key=secret), token(header={"alg": "RS256", "kid": "unknown"}),
            lambda nonce: forging.unsigned(nonce=nonce, aud="onething"), lambda _: "", lambda _: "a.b.c",
        ):  # fmt: skip
            assert await finished(wrong) == 403
        assert await finished(token()) == 200
        forging.down = True
        asked = parse_qs(urlsplit(await sent_to_issuer(client)).query)
        away = await client.get("/oidc/callback", params={"code": "c", "state": asked["state"][0]})
        assert (away.status_code, "没有回应" in away.text or "重新登录" in away.text) in ((503, True), (403, True))


async def test_access_tokens_are_bearers_where_they_are_for_this_api(database: TestDatabase, forging: Forging) -> None:
    async with api(database, forging.issuer, failed_logins_per_minute=0) as app, browser(app) as client:

        async def asked(token: str) -> httpx.Response:
            return await client.get("/v1/ranking", params=D, headers={"authorization": f"Bearer {token}"})

        good = forging.token(aud=[AUDIENCE, "other"])
        assert (await asked(good)).status_code == 200
        clerk = forging.token(aud=AUDIENCE, onething_scope="county", onething_county="130607")
        assert (await asked(clerk)).json()["limited_to"] == "130607"
        operator = forging.token(aud=AUDIENCE, onething_scope="operator")
        posted = await client.post("/v1/what-if", json=[], headers={"authorization": f"Bearer {operator}"})
        assert posted.status_code == 200
        now = int(time.time())
        for wrong in (
            forging.token(aud="onething"), forging.token(aud=None), forging.token(aud=AUDIENCE, iss="https://other.example"),
            forging.token(aud=AUDIENCE, exp=now - 600), forging.token(aud=AUDIENCE, exp=None),
            forging.token(aud=AUDIENCE, nbf=now + 600), forging.token(aud=AUDIENCE, onething_scope="director"),
            forging.token(aud=AUDIENCE, key=RSAKey.generate_key(2048)), forging.unsigned(aud=AUDIENCE),
            forging.token(aud=AUDIENCE, header={"alg": "HS256"}, key=OctKey.import_key(b"of the client")),
            forging.token(aud=AUDIENCE, header={"alg": "ES256", "kid": "first"}, key=ECKey.generate_key("P-256")),
            good[:-4] + "AAAA", "a.b.c",
        ):  # fmt: skip
            assert (await asked(wrong)).status_code == 401
        before = forging.keys_asked
        for n in range(5):
            assert (await asked(forging.token(aud=AUDIENCE, header={"alg": "RS256", "kid": f"unknown-{n}"}))).status_code == 401
        assert forging.keys_asked == before, "keys are not asked for again at each unknown one"
        app.state.access.identity.issuer._keys_at -= 3600
        forging.key = RSAKey.generate_key(2048, {"kid": "second"})
        fresh = forging.token(aud=AUDIENCE, header={"alg": "RS256", "kid": "second"})
        assert (await asked(fresh)).status_code == 200, "the issuer's new key is found"
        assert forging.keys_asked == before + 1


async def test_an_issuer_that_is_away_or_another_one_is_said_in_chinese(database: TestDatabase, forging: Forging) -> None:
    async with api(database, forging.issuer) as app, browser(app) as client:
        forging.down = True
        away = await client.get("/oidc/login")
        assert (away.status_code, "没有回应" in away.text, "retry-after" in away.headers) == (503, True, True)
        forging.down, forging.said_issuer = False, "https://other.example"
        assert (await client.get("/oidc/login")).status_code == 503
        forging.said_issuer = None
        assert (await client.get("/oidc/login")).status_code == 302, "it is asked again when it is mended"
        assert (await client.post("/session", data={"token": "reader"})).status_code == 303, "tokens log in all the while"


async def test_without_an_issuer_nothing_of_it_is_there(database: TestDatabase) -> None:
    settings = Settings(postgres_dsn=SecretStr(database.dsn("metrics")), reader_token=SecretStr("reader"))
    app = build_api(settings, clock=lambda: datetime.now(UTC))
    async with app.router.lifespan_context(app), browser(app) as client:
        assert "统一身份认证" not in (await client.get("/")).text
        for path in ("/oidc/login", "/oidc/callback"):
            assert (await client.get(path)).status_code == 404


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"oidc_client_id": ""}, "ONETHING_OIDC_CLIENT_ID"),
        ({"page_url": ""}, "ONETHING_PAGE_URL"),
        ({"oidc_audience": "onething"}, "ONETHING_OIDC_AUDIENCE"),
        ({"oidc_issuer": "https://issuer.example/"}, "oidc_issuer"),
    ],
)
def test_half_an_issuer_is_refused_at_the_start(given: dict[str, str], what: str) -> None:
    whole: dict[str, Any] = {"page_url": PAGE, "oidc_issuer": "https://issuer.example", "oidc_client_id": "onething"}
    with pytest.raises(ValidationError, match=what):
        Settings(postgres_dsn=SecretStr("postgresql://nobody@postgres/onething"), **{**whole, **given})
