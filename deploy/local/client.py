"""A sender's side of the push edge: signed batches, sent again with the same ids until they are known to be stored."""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
import orjson

from shared.clock import Clock, now
from shared.events.envelope import BATCH_MEDIA_TYPE
from shared.signing import Key

Event = Mapping[str, Any]

AGAIN: Final = frozenset({429, 500, 502, 503, 504})
"""What sending again may mend: a proxy's own answers too, for they do not say whether the events were stored."""
FIRST_WAIT_SECONDS: Final = 0.5
LONGEST_WAIT_SECONDS: Final = 30.0


class PushError(Exception):
    """The events were not taken and sending them again would not help, or has been tried long enough. Says why."""


@dataclass(slots=True)
class Tally:
    """What the receiver answered. ``reasons`` counts the rejected by the last part of their problem's type."""

    accepted: int = 0
    rejected: int = 0
    retries: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    def add(self, other: "Tally") -> None:
        self.accepted += other.accepted
        self.rejected += other.rejected
        self.retries += other.retries
        self.reasons += other.reasons


@dataclass(frozen=True, slots=True)
class Answered:
    """The receiver's answer to one batch: ``results`` in the batch's order, the receipt where something is stored."""

    results: Sequence[Mapping[str, Any]]
    receipt: str | None
    retries: int

    def tally(self) -> Tally:
        problems = [result["problem"]["type"] for result in self.results if result["status"] == "rejected"]
        reasons = Counter(kind.rpartition(":")[2] for kind in problems)
        return Tally(len(self.results) - len(problems), len(problems), self.retries, reasons)


class PushClient:
    """Pushes to one address with one secret. ``http`` stays the caller's, and is not closed here.

    ``patience`` bounds the attempts at one batch; ``on_wait`` hears why one waits. A batch's ``webhook-id`` is made from
    its bytes: a second attempt, even a second run, is known for the same request, so that what it parks is parked once.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        url: str,
        secret: str,
        *,
        batch: int = 300,
        patience: int = 12,
        clock: Clock = now,
        on_wait: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._http = http
        self._url = url
        self._key = Key(secret)
        self._batch = batch
        self._patience = patience
        self._clock = clock
        self._on_wait = on_wait

    async def push(self, events: Sequence[Event], on_progress: Callable[[int], None] = lambda _: None) -> Tally:
        """Sends ``events`` in order, a batch at a time; ``on_progress`` hears how many more were answered for.

        Raises:
            PushError: the receiver refuses, or does not answer after all attempts. Earlier batches stay pushed.
        """
        tally = Tally()
        for start in range(0, len(events), self._batch):
            batch = events[start : start + self._batch]
            tally.add((await self.send(orjson.dumps(batch))).tally())
            on_progress(len(batch))
        return tally

    async def send(self, body: bytes, media_type: str = BATCH_MEDIA_TYPE) -> Answered:
        """Sends one body until it is answered for.

        Raises:
            PushError: the receiver refuses, or does not answer after all attempts.
        """
        message_id = f"msg_{hashlib.sha256(body).hexdigest()[:32]}"
        why = ""
        for attempt in range(self._patience):
            # Signed anew at each attempt: the timestamp must be of now, the id stays.
            stamp = int(self._clock().timestamp())
            headers = {
                "content-type": media_type,
                "webhook-id": message_id,
                "webhook-timestamp": str(stamp),
                "webhook-signature": self._key.sign(message_id, stamp, body),
            }
            wait = min(FIRST_WAIT_SECONDS * 2**attempt, LONGEST_WAIT_SECONDS)
            try:
                response = await self._http.post(self._url, content=body, headers=headers)
            except httpx.TransportError as error:
                why = type(error).__name__
            else:
                if response.status_code not in AGAIN:
                    return _read(self._url, response, attempt)
                why = str(response.status_code)
                wait = retry_after(response.headers.get("retry-after"), wait)
            if attempt + 1 < self._patience:
                self._on_wait(f"{why}: again in {wait:.0f} s")
                await asyncio.sleep(wait)
        raise PushError(f"{self._url}: {why} after {self._patience} attempts; see the service's log, then push again")


def retry_after(header: str | None, otherwise: float) -> float:
    """Seconds that the receiver asks for, at most thirty; ``otherwise`` where it says nothing readable (or a date)."""
    if header is not None and header.isascii() and header.isdigit():
        return min(float(header), LONGEST_WAIT_SECONDS)
    return otherwise


def _read(url: str, response: httpx.Response, retries: int) -> Answered:
    try:
        answer = response.json()
    except ValueError:
        answer = {}
    # 403 and 422 of a whole batch carry the results too: every item was answered for.
    if isinstance(answer, dict) and "results" in answer:
        return Answered(answer["results"], answer.get("receipt"), retries)
    detail = answer.get("detail", response.reason_phrase) if isinstance(answer, dict) else response.reason_phrase
    raise PushError(f"{url}: {response.status_code} {detail}")
