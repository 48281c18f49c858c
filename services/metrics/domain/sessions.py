"""Sessions of the page, pure: what a login link and a session's cookie say, and who can have made them.

Both are JWTs. A link is signed with a key derived from the bearer token whose holder it stands for. A session is signed with
the processes' common key, and names the credential that it was given for: it opens nothing once that credential is gone.
"""

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import jwt

from services.metrics.domain.access import Asker

LINK_LIFE: Final = timedelta(hours=1)
SESSION_LIFE: Final = timedelta(hours=12)
"""A working day. Who looks longer logs in again."""
LOGIN_LIFE: Final = timedelta(minutes=10)
"""How long somebody may take at the issuer's login."""

PRINT: Final = 16
"""Characters of a token's digest that tell it from others, and are no way back to it."""


class Link(NamedTuple):
    """A login link that holds: the token that it stands for, its own id, and the moment at which it ends."""

    token: str
    id: str
    until: datetime


class Session(NamedTuple):
    """What a session's cookie says. ``credential`` is the print of the token that it stands for; ``None``: the issuer's login."""

    asker: Asker
    credential: str | None
    id: str
    until: datetime


def digest(token: str) -> str:
    """What is kept of a token: its SHA-256 in hexadecimal. Tokens are random, so that nobody can try them all."""
    return hashlib.sha256(token.encode()).hexdigest()


def mint_link(token: str, now: datetime) -> str:
    """A link's text for the holder of ``token``, which is not in it."""
    return _encoded(_key(token.encode(), "link"), {}, now + LINK_LIFE)


def read_link(text: str, tokens: Iterable[str], now: datetime) -> Link | None:
    """What a link says, when it was made with one of ``tokens`` and is not over; else ``None``. An empty token makes none."""
    for token in tokens:
        claims = _decoded(_key(token.encode(), "link"), text, now) if token else None
        if claims is not None:
            return Link(token, str(claims["jti"]), datetime.fromtimestamp(claims["exp"], UTC))
    return None


def mint_session(key: bytes, asker: Asker, credential: str | None, now: datetime) -> str:
    """A session's text."""
    said = {"name": asker.name, "scope": asker.scope, "county": asker.county, "credential": credential}
    return _encoded(_key(key, "session"), said, now + SESSION_LIFE)


def read_session(key: bytes, text: str, now: datetime) -> Session | None:
    """What ``text`` says, when it is a session made with ``key`` and is not over; else ``None``."""
    claims = _decoded(_key(key, "session"), text, now)
    if claims is None:
        return None
    try:
        asker = Asker(str(claims["name"]), claims["scope"], claims["county"])
        credential = claims["credential"]
    except (KeyError, ValueError):
        return None
    return Session(asker, credential, str(claims["jti"]), datetime.fromtimestamp(claims["exp"], UTC))


def seal(key: bytes, content: dict[str, Any], now: datetime) -> str:
    """What a browser keeps for us while somebody logs in at the issuer: it can be read there, and not changed."""
    return _encoded(_key(key, "login"), {"kept": content}, now + LOGIN_LIFE)


def unseal(key: bytes, text: str, now: datetime) -> dict[str, Any]:
    """What :func:`seal` was given; nothing where it is not ours or too old."""
    claims = _decoded(_key(key, "login"), text, now)
    kept = claims.get("kept") if claims else None
    return kept if isinstance(kept, dict) else {}


def _key(secret: bytes, kind: str) -> bytes:
    return hmac.digest(secret, f"onething page {kind}".encode(), hashlib.sha256)


def _encoded(key: bytes, claims: dict[str, Any], until: datetime) -> str:
    return jwt.encode({**claims, "jti": secrets.token_urlsafe(16), "exp": int(until.timestamp())}, key, algorithm="HS256")


def _decoded(key: bytes, text: str, now: datetime) -> dict[str, Any] | None:
    try:
        # By the caller's clock, not by the library's.
        options = {"verify_exp": False, "require": ["exp", "jti"]}
        claims: dict[str, Any] = jwt.decode(text, key, algorithms=["HS256"], options=options)  # type: ignore[arg-type]
        return claims if now < datetime.fromtimestamp(claims["exp"], UTC) else None
    except (jwt.InvalidTokenError, TypeError, ValueError, OverflowError):
        return None
