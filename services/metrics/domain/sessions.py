"""Sessions of the page, pure: what a login link and a session's cookie say, and who can have made them.

Both are JWTs signed with a key that is derived from the bearer token whose holder they stand for: any api process reads
them, nothing is stored, and a token that is replaced ends every session of it.
"""

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, NamedTuple

import jwt

Kind = Literal["link", "session"]

LINK_LIFE: Final = timedelta(hours=1)
SESSION_LIFE: Final = timedelta(hours=12)
"""A working day. Who looks longer logs in again."""


class Ticket(NamedTuple):
    """What was read: the role it stands for, its own id, and the moment at which it ends."""

    role: str
    id: str
    until: datetime


def mint(kind: Kind, role: str, token: str, now: datetime) -> str:
    """A link's or a session's text for the holder of ``token``, which is not in it."""
    life = LINK_LIFE if kind == "link" else SESSION_LIFE
    claims = {"role": role, "jti": secrets.token_urlsafe(16), "exp": int((now + life).timestamp())}
    return jwt.encode(claims, _key(kind, token), algorithm="HS256")


def read(kind: Kind, text: str, tokens: Mapping[str, str], now: datetime) -> Ticket | None:
    """What ``text`` says, when it is of this kind, made with one of ``tokens`` (by role) and not over; else ``None``.

    An empty token stands for nobody.
    """
    for role, token in tokens.items():
        if not token:
            continue
        try:
            # By the caller's clock, not by the library's.
            options = {"verify_exp": False, "require": ["exp", "jti", "role"]}
            claims = jwt.decode(text, _key(kind, token), algorithms=["HS256"], options=options)  # type: ignore[arg-type]
            until = datetime.fromtimestamp(claims["exp"], UTC)
        except (jwt.InvalidTokenError, TypeError, ValueError, OverflowError):
            continue
        if claims["role"] == role and now < until:
            return Ticket(role, str(claims["jti"]), until)
    return None


def _key(kind: Kind, token: str) -> bytes:
    return hmac.digest(token.encode(), f"onething page {kind}".encode(), hashlib.sha256)
