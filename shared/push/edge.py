"""One process's push edge: what every request passes before a single event of it is judged."""

import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

import structlog
from fastapi import Request

from shared import correlation, meters, people
from shared.clock import Clock
from shared.parking import Digest
from shared.problems import ProblemError
from shared.push.body import Load, read_body
from shared.push.framing import Push, Unpack, parse
from shared.push.limits import Limits
from shared.push.peers import Peers
from shared.push.turns import Turns
from shared.receipts import Receipts
from shared.signing import Key, Party, SignatureError, verify
from shared.signing.party import CHANNEL, STANDARD

log = structlog.get_logger()

MOST_BYTES_IN_FLIGHT: Final = 32 * 1024 * 1024
"""Of bodies in one process. Parsed, judged and encoded they weigh about six times as much."""

TELL_SECONDS: Final = 10.0
"""Between two log lines on one sender's bad signatures: a flood of them must not flood the log."""

USUAL_KEYS: Final = 2
"""How many keys a sender has at most, except for a moment: one, and a second while they are exchanged."""

# Nobody has this key. What is not proven is compared with it until as much was computed as for a sender with two keys of its own,
# so that the time of an answer does not tell whether there is such a sender.
_NOBODYS: Final = Key("whsec_" + "bm9ib2R5IGhhcyB0aGlzIGtleS4uLi4uLi4=")


class Edge:
    """Reads, proves, bounds and frames the requests of one service. ``receipts`` and ``digest`` are for those who settle them."""

    def __init__(
        self,
        service: str,
        receipts: Receipts,
        clock: Clock,
        peers: Peers | None = None,
        most_bytes: int = MOST_BYTES_IN_FLIGHT,
        digest: Digest | None = None,
    ) -> None:
        self.service = service
        self.receipts = receipts
        self.clock = clock
        self.digest = digest or Digest()
        self._peers = peers or Peers()
        self._load = Load(service, most_bytes)
        self._limits = Limits()
        self._turns = Turns()
        self._told: dict[str, float] = {}

    @contextlib.asynccontextmanager
    async def received(
        self, request: Request, sender: str, party: Party | None, further: Mapping[str, Unpack] = MappingProxyType({})
    ) -> AsyncIterator[Push]:
        """The request's items, proven to be ``sender``'s; ``party`` is ``None`` for an unknown one. Its bytes count as in
        flight until the ``with`` ends: answer within.

        Raises:
            ProblemError: as ``DESIGN.md`` §4 has it; nothing was judged, published or parked.
        """
        try:
            self._turns.refuse_when_long()
            share = self._load.share(request)
        except ProblemError as error:
            self._count(error)
            raise
        with share, contextlib.ExitStack() as after:
            try:
                body = await read_body(request, share)
                self.authenticate(request, sender, party, body)
                rate = party.events_per_second if party else None
                self._limits.admit(sender, rate)
                push = parse(request, body, further, share)
                if party is not None and party.scheme == CHANNEL:
                    push = replace(push, request_id=push.digest[:32])  # its webhook-id is under no signature
                if people.is_somebodys(push.request_id):
                    # It would be in the origin of whatever is parked.
                    raise ProblemError(400, "personal-data", "webhook-id holds an identity number or a phone's: use another id")
                await self._turns.enter(len(push.items))
                after.callback(self._turns.leave, len(push.items))
                self._limits.charge(sender, rate, len(push.items))
            except ProblemError as error:
                self._count(error)
                raise
            del body  # the items stand for it
            yield push

    @contextlib.asynccontextmanager
    async def body(self, request: Request) -> AsyncIterator[bytes]:
        """The raw body of a request that holds no events: a file, a form. Its bytes count as in flight until the ``with`` ends.

        Raises:
            ProblemError: 413, 408, 400, 503 as of every body.
        """
        try:
            with self._load.share(request) as share:
                yield await read_body(request, share)
        except ProblemError as error:
            self._count(error)
            raise

    def authenticate(self, request: Request, sender: str, party: Party | None, body: bytes) -> None:
        """Verifies that ``body`` came from ``sender``; ``party`` is ``None`` for an unknown one.

        Raises:
            ProblemError: 401, with the same words for an unknown sender, a bad signature, a stale timestamp, and a request from
                elsewhere than the sender is bound to.
        """
        compared = 0
        if party is not None:
            try:
                verify(party, request.headers, body, self.clock())
                self._refuse_unbound(request, party)
                correlation.proven(sender)
                return
            except SignatureError as error:
                self._tell(sender, str(error))
                compared = len(party.keys) if party.scheme == STANDARD else 0
        with contextlib.suppress(SignatureError):
            verify(Party((_NOBODYS,) * max(USUAL_KEYS - compared, 0)), request.headers, body, self.clock())
        raise ProblemError(
            401,
            "signature",
            "sign the raw body with your secret by the scheme agreed with you (Standard Webhooks: webhook-id, webhook-timestamp"
            " within 300 s, webhook-signature), from where you are allowed to; docs/signatures.md has the rules",
        )

    def admit(self, sender: str, party: Party | None) -> None:
        """Lets a request in that is no push but tells events, as a sheet does; :meth:`charge` them once they are counted.

        Raises:
            ProblemError: 429.
        """
        self._limits.admit(sender, party.events_per_second if party else None)

    def charge(self, sender: str, party: Party | None, events: int) -> None:
        """Counts ``events`` against the sender's rate."""
        self._limits.charge(sender, party.events_per_second if party else None, events)

    def _refuse_unbound(self, request: Request, party: Party) -> None:
        if party.client_certificate is not None and self._peers.certificate(request) != party.client_certificate:
            raise SignatureError("the client certificate is not the sender's, or no trusted proxy told it")
        if party.addresses and not self._peers.comes_from(request, party.addresses):
            raise SignatureError("the address is none of the sender's")

    def _tell(self, sender: str, why: str) -> None:
        now = time.monotonic()
        if now - self._told.get(sender, -TELL_SECONDS) >= TELL_SECONDS:
            self._told[sender] = now
            log.warning("push_not_proven", service=self.service, sender=sender, why=why)

    def _count(self, error: ProblemError) -> None:
        meters.REFUSED.labels(self.service, error.body.type.rpartition(":")[2]).inc()
