"""Requests as a province sends them: case events in China's time with the applicant's data, alone or in batches, signed.

They are made before anything is timed. A signature holds for 300 s, so an older one is made anew when its request is sent again.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any, Final

import orjson

from benchmarks.load import STEPS, Event, Workload
from shared.events.envelope import BATCH_MEDIA_TYPE, MEDIA_TYPE
from shared.signing import Key

CHINA: Final = timezone(timedelta(hours=8))
SIGNED_SECONDS: Final = 120
"""How long a signature is used; the edge takes it for 300 s."""


def as_pushed(event: Event) -> dict[str, Any]:
    """The event as it stands before intake: times with China's offset, and somebody who applied."""
    item: dict[str, Any] = orjson.loads(event.value)
    del item["datacontenttype"]
    item["time"] = _in_china(item["time"])
    data = item["data"]
    for name in ("occurred_at", "recorded_at"):
        data[name] = _in_china(data[name])
    if STEPS[event.step] == "applied":
        data["applicant"] = {"name": "张三", "id_no": "130607199001011234", "phone": "13800000000"}
    return item


def _in_china(instant: str) -> str:
    return datetime.fromisoformat(instant).astimezone(CHINA).isoformat()


@dataclass(slots=True)
class Request:
    """One request to be sent, as often as wanted. ``ids`` are those of its events."""

    body: bytes
    ids: tuple[str, ...]
    path: str
    media_type: str
    host: str
    key: Key | None
    name: str
    verb: str = "POST"
    token: str | None = None
    _signed: float = field(default=-SIGNED_SECONDS)
    _head: bytes = field(default=b"")

    def parts(self) -> tuple[bytes, bytes]:
        """Head and body, ready for the wire."""
        now = time.monotonic()
        if now - self._signed >= SIGNED_SECONDS:
            self._signed = now
            self._head = self._headed()
        return self._head, self.body

    def _headed(self) -> bytes:
        lines = [
            f"{self.verb} {self.path} HTTP/1.1", f"host: {self.host}", f"content-type: {self.media_type}",
            f"content-length: {len(self.body)}",
        ]  # fmt: skip
        if self.token is not None:
            lines.append(f"authorization: Bearer {self.token}")
        if self.key is not None:
            stamp = int(time.time())
            signature = self.key.sign(self.name, stamp, self.body)
            lines += [f"webhook-id: {self.name}", f"webhook-timestamp: {stamp}", f"webhook-signature: {signature}"]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()


def question(path: str, host: str, token: str, name: str = "") -> Request:
    """A GET by a reader."""
    return Request(b"", (), path, MEDIA_TYPE, host, None, name or path, "GET", token)


def requests(
    load: Workload, batch: int, count: int, *, path: str, host: str, secret: str | None, plain: bool = False
) -> Sequence[Request]:
    """``count`` requests of ``batch`` events each, or of one event alone where ``batch`` is 0; signed where there is a secret.

    ``plain`` sends ``application/json``, as a route that knows nothing of CloudEvents expects.
    """
    key = Key(secret) if secret is not None else None
    media_type = "application/json" if plain else BATCH_MEDIA_TYPE if batch else MEDIA_TYPE
    made: list[Request] = []
    for number, events in enumerate(_groups(load, batch or 1, count)):
        items = [as_pushed(event) for event in events]
        body = orjson.dumps(items if batch else items[0])
        ids = tuple(item["id"] for item in items)
        made.append(Request(body, ids, path, media_type, host, key, f"bench-{number}"))
    return made


def _groups(load: Workload, size: int, count: int) -> Iterator[list[Event]]:
    events = load.events()
    for _ in range(count):
        yield [next(events) for _ in range(size)]
