"""The login of OpenID Connect, by Authlib: discovery, the code flow with PKCE, state and nonce, and access tokens as bearers."""

import hashlib
import time
import warnings
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
import structlog
from authlib.deprecate import AuthlibDeprecationWarning
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry
from starlette.requests import Request
from starlette.responses import Response

from services.metrics.domain.access import Asker, NotOurs, Scope, claimed
from services.metrics.domain.sessions import digest

with warnings.catch_warnings():
    # It would rather have another HTTP client than the one that we have.
    warnings.simplefilter("ignore", AuthlibDeprecationWarning)
    from authlib.integrations.starlette_client import OAuth, OAuthError

log = structlog.get_logger()

SECONDS: Final = 5.0
"""How long the issuer may take to answer."""
KEYS_SECONDS: Final = 60.0
"""The issuer's keys are asked for anew at most so often, however many unknown ones tokens name."""
LEEWAY_SECONDS: Final = 60
MOST_TOKENS: Final = 2_000
SIGNED: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
"""Signatures that the issuer alone can make: no ``none``, and none that a common secret makes."""


class IssuerAway(Exception):
    """The issuer does not answer, or not as discovery demands."""


class LoginRefused(Exception):
    """The login opens nothing; the message says why, in Chinese."""


@dataclass(frozen=True, slots=True)
class Client:
    """What the issuer knows us as, and how its claims are read. ``callback`` is where it sends people back."""

    issuer: str
    client_id: str
    secret: str
    callback: str
    requested: str = "openid profile"
    audience: str = ""
    scope_claim: str = "onething_scope"
    county_claim: str = "onething_county"
    scopes: Mapping[str, Scope] = field(default_factory=lambda: {"reader": "reader", "county": "county", "operator": "operator"})
    default: Scope | None = None


class Issuer:
    """One issuer. What it is asked for is kept: its metadata for ever, its keys until a token names another."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._app: Any = OAuth().register(
            "onething",
            client_id=client.client_id,
            client_secret=client.secret or None,
            server_metadata_url=f"{client.issuer}/.well-known/openid-configuration",
            client_kwargs={
                "scope": client.requested,
                "code_challenge_method": "S256",
                "timeout": SECONDS,
                "trust_env": False,
                **({} if client.secret else {"token_endpoint_auth_method": "none"}),
            },
        )
        self._keys: KeySet | None = None
        self._keys_at = 0.0
        self._known: OrderedDict[str, tuple[float, Asker]] = OrderedDict()

    async def begin(self, request: Request, kept: dict[str, Any]) -> Response:
        """Sends the browser to the issuer's login. ``kept`` gets what has to come back with it.

        Raises:
            IssuerAway: it cannot be reached.
        """
        await self._metadata()
        request.scope["session"] = kept
        response: Response = await self._app.authorize_redirect(request, self.client.callback)
        return response

    async def finish(self, request: Request, kept: dict[str, Any]) -> Asker:
        """Who logged in, by the request with which the issuer sent the browser back.

        Raises:
            IssuerAway: it cannot be reached.
            LoginRefused: state, nonce or the token do not hold, the login was refused, or its claims open nothing.
        """
        metadata = await self._metadata()
        request.scope["session"] = kept
        meant = {
            "iss": {"essential": True, "values": [self.client.issuer]},
            "aud": {"essential": True, "values": [self.client.client_id]},
        }
        # RFC 9207: an issuer that says who it is must be the one that was asked.
        said = request.query_params.get("iss")
        if said is not None and said != self.client.issuer:
            raise LoginRefused(STALE)
        try:
            token = await self._app.authorize_access_token(request, claims_options=meant, leeway=LEEWAY_SECONDS)
            claims = token["userinfo"]
            if self._lacks(claims) and "userinfo_endpoint" in metadata:
                more = await self._app.userinfo(token=token)
                if more.get("sub") == claims["sub"]:
                    claims = {**more, **claims}
        except httpx.HTTPError as error:
            raise IssuerAway(type(error).__name__) from error
        except OAuthError as error:
            log.info("oidc_login_refused", error=str(error.error))
            raise LoginRefused("统一身份认证没有批准这次登录。" if error.error == "access_denied" else STALE) from None
        except (JoseError, ValueError, KeyError, TypeError) as error:
            log.warning("oidc_token_refused", error=type(error).__name__, claim=getattr(error, "claim", None))
            raise LoginRefused("统一身份认证给出的凭据无法核实,请重新登录;仍不行时请联系审批局。") from None
        return self._asker(claims)

    async def of_access_token(self, token: str) -> Asker | None:
        """Whom an access token stands for; ``None`` where it is none of the issuer's for this api, or opens nothing.

        Raises:
            Nothing: an issuer that cannot be reached vouches for nobody new.
        """
        if not self.client.audience or token.count(".") != 2:
            return None
        shown, now = digest(token), time.time()
        known = self._known.get(shown)
        if known is not None and now < known[0]:
            return known[1]
        try:
            claims = await self._verified(token)
            asker = self._asker(claims)
        except (IssuerAway, LoginRefused, JoseError, ValueError, KeyError, TypeError) as error:
            log.info("oidc_bearer_refused", error=type(error).__name__, claim=getattr(error, "claim", None))
            return None
        self._known[shown] = (float(claims["exp"]), asker)
        if len(self._known) > MOST_TOKENS:
            self._known.popitem(last=False)
        return asker

    async def end_address(self) -> str | None:
        """Where the issuer's own session is ended; ``None`` where it has no such place or does not answer."""
        try:
            metadata = await self._metadata()
            if "end_session_endpoint" not in metadata:
                return None
            found = await self._app.create_logout_url(client_id=self.client.client_id)
        except (IssuerAway, RuntimeError):
            return None
        return str(found["url"])

    async def _metadata(self) -> Mapping[str, Any]:
        try:
            found: dict[str, Any] = await self._app.load_server_metadata()
        except (httpx.HTTPError, ValueError) as error:
            log.warning("oidc_issuer_away", error=type(error).__name__)
            raise IssuerAway(type(error).__name__) from error
        if found.get("issuer") != self.client.issuer:
            said = found.get("issuer")
            found.clear()  # it may be mended there: ask again next time
            log.error("oidc_other_issuer", said=said, expected=self.client.issuer)
            raise IssuerAway("the metadata is another issuer's")
        allowed = [one for one in found.get("id_token_signing_alg_values_supported", ["RS256"]) if one in SIGNED]
        found["id_token_signing_alg_values_supported"] = allowed or ["RS256"]
        return found

    async def _verified(self, token: str) -> dict[str, Any]:
        await self._metadata()
        registry = JWSRegistry(algorithms=list(SIGNED), strict_check_header=False)
        try:
            decoded = jwt.decode(token, await self._key_set(), registry=registry)
        except InvalidKeyIdError:
            if time.monotonic() - self._keys_at < KEYS_SECONDS:
                raise
            decoded = jwt.decode(token, await self._key_set(anew=True), registry=registry)
        jwt.JWTClaimsRegistry(
            leeway=LEEWAY_SECONDS,
            iss={"essential": True, "value": self.client.issuer},
            aud={"essential": True, "value": self.client.audience},
            exp={"essential": True},
            sub={"essential": True},
        ).validate(decoded.claims)
        return decoded.claims

    async def _key_set(self, *, anew: bool = False) -> KeySet:
        if self._keys is None or anew:
            self._keys_at = time.monotonic()
            try:
                self._keys = KeySet.import_key_set(await self._app.fetch_jwk_set(force=True))
            except (httpx.HTTPError, RuntimeError) as error:
                raise IssuerAway(type(error).__name__) from error
        return self._keys

    def _lacks(self, claims: Mapping[str, Any]) -> bool:
        return not any(name.partition(".")[0] in claims for name in (self.client.scope_claim,))

    def _asker(self, claims: Mapping[str, Any]) -> Asker:
        client = self.client
        try:
            scope, county = claimed(
                claims, scope_claim=client.scope_claim, county_claim=client.county_claim, scopes=client.scopes,
                default=client.default,
            )  # fmt: skip
        except NotOurs as error:
            raise LoginRefused(str(error)) from None
        # Who somebody is at the issuer is a person's data: what tells one login from another is enough here.
        subject = hashlib.sha256(f"{client.issuer} {claims['sub']}".encode()).hexdigest()[:16]
        return Asker(f"oidc-{subject}", scope, county)


STALE: Final = "这次登录已经过期,或不是从本页开始的,请重新登录。"
