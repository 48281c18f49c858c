"""Who is asking: the bearer's token, the page's session, or an access token of the issuer; and how often they may."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import datetime
from ipaddress import IPv6Address, ip_address
from typing import Final

from fastapi import Request

from services.metrics.domain import sessions
from services.metrics.domain.access import Asker
from services.metrics.domain.readers import Directory
from services.metrics.domain.sessions import PRINT, Link, Session
from services.metrics.http.oidc import Issuer
from services.metrics.store import sessions as store
from shared.limits import Buckets
from shared.postgres import Pool
from shared.problems import ProblemError
from shared.push import Peers

COOKIE: Final = "onething-session"
MOST_PROVEN: Final = 10_000
MOST_WRONG_AT_ONCE: Final = 20
"""Wrong tokens that one address may show before it has to wait."""


class Identity:
    """Finds who asks. ``tokens`` are the settings' own; ``directory`` gives every reader as the file has them now."""

    def __init__(
        self,
        directory: Callable[[], Directory],
        tokens: tuple[str, ...],
        key: bytes,
        peers: Peers,
        issuer: Issuer | None = None,
        *,
        reads_per_second: float = 0,
        failures_per_minute: float = 0,
    ) -> None:
        self.issuer = issuer
        self.key = key
        self._directory = directory
        self._tokens = tokens
        self._peers = peers
        self._reads_per_second = reads_per_second
        self._failures_per_second = failures_per_minute / 60
        self._reads = Buckets()
        self._failures = Buckets()
        self._proven: OrderedDict[str, None] = OrderedDict()

    async def of_bearer(self, request: Request, token: str) -> Asker:
        """The holder of a bearer token.

        Raises:
            ProblemError: 401, the same for everything that is wrong; 429 where the address showed too many wrong ones.
        """
        asker = await self.of_token(request, token, bearer=True)
        if asker is None:
            raise unknown()
        return asker

    async def of_token(self, request: Request, token: str, *, bearer: bool = False) -> Asker | None:
        """The holder of a token; ``bearer``: an access token of the issuer is one too.

        Raises:
            ProblemError: 429. A token that opened before is let in all the same: nobody is shut out by others behind his address.
        """
        shown = sessions.digest(token)
        asker = self._directory().of_digest(shown)
        if asker is not None and shown in self._proven:
            return asker
        address = self._address(request)
        self._admit_address(address)
        if asker is None and bearer and self.issuer is not None:
            asker = await self.issuer.of_access_token(token)
        if asker is None:
            self._failed(address)
            return None
        self._proven[shown] = None
        if len(self._proven) > MOST_PROVEN:
            self._proven.popitem(last=False)
        return asker

    def of_link(self, request: Request, text: str, now: datetime) -> tuple[Link, Asker] | None:
        """A login link that holds, with whom it stands for.

        Raises:
            ProblemError: 429.
        """
        address = self._address(request)
        self._admit_address(address)
        link = sessions.read_link(text, self._tokens, now)
        asker = self._directory().of_digest(sessions.digest(link.token)) if link is not None else None
        if link is None or asker is None:
            self._failed(address)
            return None
        return link, asker

    async def of_session(self, cookies: Mapping[str, str], pool: Callable[[], Pool], now: datetime) -> Session | None:
        """The session that the request's cookie proves, with what its holder may see now; ``None`` without one, or where it is
        over, was ended, or its token is gone."""
        given = cookies.get(COOKIE)
        session = sessions.read_session(self.key, given, now) if given else None
        if session is None:
            return None
        if session.credential is not None:
            asker = self._directory().of_print(session.credential)
        else:
            asker = session.asker if self.issuer is not None else None
        if asker is None:
            return None
        async with pool().acquire() as db:
            if await store.is_spent(db, session.id):
                return None
        return session._replace(asker=asker)

    def mint(self, asker: Asker, token: str | None, now: datetime) -> str:
        """A session's text for ``asker``, who showed ``token``; ``None``: who logged in at the issuer."""
        return sessions.mint_session(self.key, asker, None if token is None else sessions.digest(token)[:PRINT], now)

    def admit(self, who: str, cost: int) -> None:
        """Lets a reader ask, and counts it.

        Raises:
            ProblemError: 429 with the seconds until there is room again.
        """
        if not self._reads_per_second:
            return
        if wait := self._reads.wait(who, self._reads_per_second):
            what = f"you may ask {self._reads_per_second:g} questions a second (a list, a document or a recount is several)"
            raise ProblemError(429, "too-fast", f"{what}: ask again after {wait} s", retry_after=wait)
        self._reads.take(who, self._reads_per_second, cost)

    def _address(self, request: Request) -> str:
        address = self._peers.address(request) or "unknown"
        try:
            found = ip_address(address)
        except ValueError:
            return address
        # Whoever has one IPv6 address has the other 2^64 of its network.
        return str(IPv6Address(int(found) >> 64 << 64)) if isinstance(found, IPv6Address) else address

    def _admit_address(self, address: str) -> None:
        if not self._failures_per_second:
            return
        if wait := self._failures.wait(address, self._failures_per_second, MOST_WRONG_AT_ONCE):
            what = f"too many wrong tokens came from this address: show the right one after {wait} s"
            raise ProblemError(429, "too-many-failures", what, retry_after=wait)

    def _failed(self, address: str) -> None:
        if self._failures_per_second:
            self._failures.take(address, self._failures_per_second, 1, MOST_WRONG_AT_ONCE)


def unknown() -> ProblemError:
    """What is answered to every token that opens nothing: none, a wrong one, one that is over."""
    return ProblemError(401, "token", "send the reader's token: Authorization: Bearer …")
