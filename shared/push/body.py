"""A request's body as raw bytes, bounded before and after inflation, and what of all bodies is in memory at once."""

import asyncio
import zlib
from types import TracebackType
from typing import Final, Self

from fastapi import Request
from starlette.requests import ClientDisconnect

from shared import meters
from shared.problems import ProblemError

MOST_BYTES: Final = 5 * 1024 * 1024
"""Of one body, as received and after inflation (CONTRACT §2)."""

READ_SECONDS: Final = 30.0
"""How long a sender may take over one body: 5 MiB at 1.4 Mbit/s."""

MOST_MEMBERS: Final = 16
"""Of one gzip body. Without a bound, thousands of empty ones would cost a copy of the rest each."""

LEAST_SHARE: Final = 16 * 1024
"""What a request counts for at least: its own objects weigh about that, however small its body."""

RETRY_WHEN_BUSY_SECONDS: Final = 1


class Load:
    """How many bytes of bodies may wait in this process, for Kafka above all. It bounds the memory of an overload."""

    def __init__(self, service: str, most_bytes: int) -> None:
        self._most = most_bytes
        self._used = 0
        meters.IN_FLIGHT.labels(service).set_function(lambda: self._used)

    def share(self, request: Request) -> "Share":
        """A request's part of it, to be entered; refused at once where it cannot fit, before a byte is read.

        Raises:
            ProblemError: 503 with ``Retry-After``; 413 where the announced length alone is too large.
        """
        announced = request.headers.get("content-length", "0")
        length = int(announced) if announced.isdecimal() and announced.isascii() else 0
        if length > MOST_BYTES:
            raise too_large()
        if self._used + max(length, LEAST_SHARE) > self._most:
            raise busy()
        return Share(self)

    def take(self, size: int) -> None:
        """Counts ``size`` more bytes, which may be negative."""
        if size > 0 and self._used + size > self._most:
            raise busy()
        self._used += size


class Share:
    """What one request holds of the load: given back at the end of the ``with``."""

    __slots__ = ("_held", "_load")

    def __init__(self, load: Load) -> None:
        self._load = load
        self._held = 0

    def __enter__(self) -> Self:
        self.hold(LEAST_SHARE)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._load.take(-self._held)

    def hold(self, size: int) -> None:
        """Holds at least ``size`` bytes from now on.

        Raises:
            ProblemError: 503, too much is in flight.
        """
        if size > self._held:
            self._load.take(size - self._held)
            self._held = size


async def read_body(request: Request, share: Share | None = None) -> bytes:
    """The body's raw bytes.

    Raises:
        ProblemError: 413 over 5 MiB, also when the length was not announced; 408 when it does not come within 30 s; 400
            when the connection ends before it, or an upgrade is asked for that hides it; 503 when too much is in flight.
    """
    announced = request.headers.get("content-length", "0")
    if announced.isascii() and announced.isdecimal() and int(announced) > MOST_BYTES:
        raise too_large()
    parts: list[bytes] = []
    length = 0
    try:
        async with asyncio.timeout(READ_SECONDS):
            more = True
            while more:
                # As request.stream() does, without a generator, whose registration costs more than all else here.
                message = await request.receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnect
                part, more = message.get("body", b""), message.get("more_body", False)
                length += len(part)
                if length > MOST_BYTES:
                    raise too_large()
                if share is not None:
                    share.hold(length)
                parts.append(part)
    except TimeoutError:
        raise ProblemError(408, "slow-body", f"send the whole body within {READ_SECONDS:.0f} s: send smaller batches") from None
    except ClientDisconnect:
        raise ProblemError(400, "incomplete", "the connection ended before the body did: send it again") from None
    if not length and announced != "0" and "upgrade" in request.headers:
        # The server's parser ends where the client offers another protocol, and the body is never seen.
        raise ProblemError(
            400, "upgrade", "the client offers HTTP/2 in clear text, so the body was not read: set it to HTTP/1.1"
            " (Java: HttpClient.Version.HTTP_1_1), or use https",
        )  # fmt: skip
    return b"".join(parts)


def inflated(request: Request, body: bytes, share: Share | None = None) -> bytes:
    """The body without its content coding: as it is, or from gzip, never more than 5 MiB of it.

    Raises:
        ProblemError: 415 for another coding, 400 for broken gzip, 413 where it would be larger.
    """
    coding = request.headers.get("content-encoding", "").strip().lower()
    if coding in ("", "identity"):
        return body
    if coding not in ("gzip", "x-gzip"):
        raise ProblemError(415, "content-coding", "send the body as it is or with Content-Encoding: gzip")
    parts: list[bytes] = []
    length, rest = 0, body
    try:
        while rest:  # a gzip file may have several members
            if len(parts) == MOST_MEMBERS:
                raise ProblemError(400, "gzip", f"the gzip body has over {MOST_MEMBERS} members: compress it in one piece")
            member = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
            part = member.decompress(rest, MOST_BYTES + 1 - length)
            length += len(part)
            if length > MOST_BYTES:
                raise too_large()
            if share is not None:
                share.hold(length + len(body))
            parts.append(part)
            if not member.eof:
                raise ProblemError(400, "gzip", "the gzip body ends before its end: send it whole")
            rest = member.unused_data
    except zlib.error:
        raise ProblemError(400, "gzip", "the body is not gzip, as its Content-Encoding says") from None
    return b"".join(parts)


def too_large() -> ProblemError:
    """413."""
    return ProblemError(
        413, "too-large", f"send at most {MOST_BYTES} bytes (after inflation too) and 1000 events a request: split the batch"
    )


def busy() -> ProblemError:
    """503: nothing of the request was stored."""
    return ProblemError(
        503, "busy", "too much is under way here, and nothing of this request was stored: send the same events again",
        retry_after=RETRY_WHEN_BUSY_SECONDS,
    )  # fmt: skip
