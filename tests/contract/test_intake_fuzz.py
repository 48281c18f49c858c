"""Ten thousand requests that no sender would send, seeded: each gets a documented answer, none of them ours to be sorry for.

They go to the real app without a server and without Kafka between, so that thousands take seconds: a sandbox sender's good events
are answered 202, a real sender's 503.
"""

import gzip
import json
import random
import string
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from fastapi import FastAPI

from services.intake.main import build_api
from services.intake.settings import Settings
from shared.clock import now
from shared.events.envelope import BATCH_MEDIA_TYPE, MEDIA_TYPE
from shared.signing import Key
from tests.conftest import Credentials
from tests.intake_support import PATH, SENDER, SOURCE, event

REQUESTS = 10_000
SEED = 20240930
ALLOWED = {200, 202, 400, 401, 403, 404, 405, 413, 415, 422, 503}
SANDBOX = "sandbox"

Headers = list[tuple[bytes, bytes]]


@pytest.fixture
def app(credentials: Credentials) -> FastAPI:
    senders = json.loads(credentials.senders_file.read_text())
    senders[SANDBOX] = {"source": SOURCE, "secrets": senders[SENDER]["secrets"], "sandbox": True}
    credentials.senders_file.write_text(json.dumps(senders))
    settings = Settings(kafka="127.0.0.1:1", senders_file=credentials.senders_file, receipt_key_file=credentials.receipt_key_file)
    return build_api(settings)


async def _ask(app: FastAPI, method: str, path: str, headers: Headers, parts: list[bytes]) -> tuple[int, dict[bytes, bytes], bytes]:
    """One request to the app itself, as an ASGI server would put it."""
    sent: list[dict[str, Any]] = []
    waiting = list(parts) or [b""]

    async def receive() -> dict[str, Any]:
        part = waiting.pop(0) if waiting else b""
        return {"type": "http.request", "body": part, "more_body": bool(waiting)}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "path": path,
        "raw_path": path.encode(), "query_string": b"", "root_path": "", "scheme": "http",
        "headers": headers, "client": ("127.0.0.1", 1), "server": ("x", 80),
    }  # fmt: skip
    await app(scope, receive, send)
    return sent[0]["status"], dict(sent[0]["headers"]), b"".join(message.get("body", b"") for message in sent[1:])


class Fuzz:
    """Requests from a seed. Most are signed, for what is not is soon told; some lie about one thing or another."""

    def __init__(self, seed: int, secret: str) -> None:
        self.random = random.Random(seed)
        self.key = Key(secret)

    def requests(self, count: int) -> Iterator[tuple[str, str, Headers, list[bytes]]]:
        for _ in range(count):
            body = self.body()
            headers = self.headers(body)
            if self.random.random() < 0.15:
                body = gzip.compress(body) if self.random.random() < 0.7 else body
                headers["content-encoding"] = self.random.choice(["gzip", "gzip", "GZIP", "br", "", "identity", "gzip,gzip"])
            if self.random.random() < 0.95:
                headers |= self.signature(body)
            raw = [(name.encode(), value.encode("latin-1", "replace")) for name, value in headers.items()]
            if self.random.random() < 0.1:
                raw.append((self.word().lower().encode("ascii", "ignore") or b"x", self.noise(30)))
            if self.random.random() < 0.05:
                raw.append(self.random.choice(raw))
            method = (
                "POST" if self.random.random() < 0.97 else self.random.choice(["GET", "PUT", "HEAD", "OPTIONS", "PATCH", "BREW"])
            )
            cut = self.random.randrange(len(body) + 1)
            yield method, self.path(), raw, self.random.choice([[body], [body[:cut], body[cut:]], [b"", body]])

    def signature(self, body: bytes) -> dict[str, str]:
        message_id = self.random.choice(["m-1", "m-1", self.word() or "m"])
        stamp = int(now().timestamp()) + self.random.choice([0, 0, 0, 0, -299, 299, 301])
        entry = self.key.sign(message_id, stamp, body, self.random.choice(["v1", "v1sm3"]))
        entry = self.random.choice([entry] * 12 + [f"v2,x {entry} v1,", entry[:-1], f"v1,{self.word()}"])
        return {"webhook-id": message_id, "webhook-timestamp": str(stamp), "webhook-signature": entry}

    def path(self) -> str:
        return self.random.choice([PATH, PATH, PATH.replace(SENDER, SANDBOX), PATH.replace(SENDER, SANDBOX), PATH] * 5 + [
            PATH.replace(SENDER, self.word() or "x"), PATH + "/", "/v1/senders//events", "/v1/senders/%2e%2e/events",
        ])  # fmt: skip

    def headers(self, body: bytes) -> dict[str, str]:
        media_type = self.random.choice([MEDIA_TYPE] * 4 + [BATCH_MEDIA_TYPE] * 4 + ["application/json", "text/plain", self.word()])
        headers = {"content-type": media_type + self.random.choice(["", "", "; charset=utf-8", "; charset=gbk", ";", ";;="])}
        if media_type == "application/json" or self.random.random() < 0.05:
            for name in ("specversion", "id", "source", "type", "subject", "time", self.word()):
                headers[f"ce-{name}"] = self.random.choice(
                    ["1.0", "%", "%ff", '"', SOURCE, "cn.onething.case.step.v1", "BD1", self.word()]
                )
        if self.random.random() < 0.1:
            headers["content-length"] = self.random.choice(["0", "-1", "x", "5242881", "9" * 30, "²", str(len(body))])
        return headers

    def body(self) -> bytes:
        kinds: list[Callable[[], bytes]] = [
            lambda: orjson.dumps(self.event()),
            lambda: orjson.dumps([self.event() for _ in range(self.random.randrange(5))]),
            lambda: json.dumps(self.value(4)).encode("utf-8", "surrogatepass"),
            lambda: self.bent(orjson.dumps(self.event())),
            lambda: self.noise(200),
            lambda: b"[" * self.random.randrange(3000) + b"]" * self.random.randrange(3000),
            lambda: b"[" + b",".join([b"{}"] * self.random.choice([0, 1, 999, 1000, 1001])) + b"]",
        ]
        return self.random.choices(kinds, [6, 6, 4, 4, 1, 1, 0.2])[0]()

    def event(self) -> Any:
        made: dict[str, Any] = event(self.word()[:20] or "e", self.random.choice(["BD1", "BD1", self.word()]))
        made["data"]["applicant"] = {"name": "张三", "id": "130607197001011234"}
        for _ in range(self.random.choice([0, 0, 1, 2, 5])):
            place = made if self.random.random() < 0.3 else made["data"]
            if not isinstance(place, dict):
                break
            name = self.random.choice([*place, self.word()]) if place else "x"
            if self.random.random() < 0.3:
                place.pop(name, None)
            else:
                place[name] = self.value(2)
            if not isinstance(made.get("data"), dict):
                break
        return made

    def value(self, depth: int) -> Any:
        plain: list[Any] = [
            None, True, 0, -1, 2**53, 1.5, "", self.word(), "2024-09-30T09:00:00+08:00",
            "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00",
            "130607", "completed", "delete", "a\x00b", "\u202e", "x" * 500,
        ]  # fmt: skip
        if depth == 0 or self.random.random() < 0.6:
            return self.random.choice(plain)
        if self.random.random() < 0.5:
            return [self.value(depth - 1) for _ in range(self.random.randrange(4))]
        return {self.word(): self.value(depth - 1) for _ in range(self.random.randrange(4))}

    def word(self) -> str:
        letters = self.random.choice([string.ascii_letters, string.printable, "张三李四", "é\x00\x7f\ud7ff💥", string.digits])
        return "".join(self.random.choices(letters, k=self.random.randrange(12)))

    def noise(self, most: int) -> bytes:
        return self.random.randbytes(self.random.randrange(most))

    def bent(self, body: bytes) -> bytes:
        changed = bytearray(body)
        for _ in range(self.random.choice([1, 1, 3])):
            place = self.random.randrange(len(changed))
            changed[place : place + self.random.randrange(3)] = self.noise(3)
        return bytes(changed)


def _is_told(status: int, headers: dict[bytes, bytes], body: bytes) -> None:
    assert status in ALLOWED
    if status == 202:
        answer = orjson.loads(body)
        assert answer["accepted"] > 0
        assert answer["accepted"] + answer["rejected"] == len(answer["results"])
        assert answer["receipt"].count(".") == 2
        return
    if status == 200:
        return
    assert headers[b"content-type"] == b"application/problem+json"
    problem = orjson.loads(body)
    assert (problem["status"], problem["type"].startswith("urn:onething:problem:"), bool(problem["detail"])) == (status, True, True)
    for error in problem["errors"]:
        assert error["pointer"] == "" or error["pointer"].startswith("/")
    if status in (429, 503):
        assert int(headers[b"retry-after"]) > 0


async def test_ten_thousand_strange_requests_are_answered_as_documented(
    app: FastAPI, credentials: Credentials, tmp_path: Path
) -> None:
    told: Counter[int] = Counter()
    fuzz = Fuzz(SEED, credentials.senders[SENDER])
    for number, (method, path, headers, parts) in enumerate(fuzz.requests(REQUESTS)):
        try:
            status, answered, body = await _ask(app, method, path, headers, parts)
            if method != "HEAD":
                _is_told(status, answered, body)
            assert "张三".encode() not in body
            assert b"130607197001011234" not in body
        except Exception as error:
            raise AssertionError(f"request {number}: {method} {path} {headers} {parts!r:.500}") from error
        told[status] += 1
    # The seed reaches every answer that it can: none of them is a matter of chance.
    assert ALLOWED - {404} <= told.keys(), told
    assert sum(told.values()) == REQUESTS
    assert min(told[status] for status in (202, 400, 401, 422, 503)) > REQUESTS // 200, told
