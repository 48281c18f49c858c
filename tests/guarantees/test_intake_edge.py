"""The edge as it runs: public tools push to a real process, keys are exchanged under way, overload is refused, SIGTERM drains."""

import asyncio
import base64
import gzip
import json
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
import jwt
from cloudevents.core.bindings.http import to_binary_event
from cloudevents.core.v1.event import CloudEvent
from typer.testing import CliRunner

from deploy.local.receipt import app as receipt_command
from deploy.local.senders import app as senders_command
from shared.events.envelope import BATCH_MEDIA_TYPE, MEDIA_TYPE
from shared.kafka import Topics
from shared.push import MOST_BYTES
from tests.conftest import Credentials, RunningService, Services
from tests.intake_support import PATH, SENDER, SOURCE, event, in_parts, push, signed
from tests.utilities_support import events_of, records_of, until

SANDBOX = "sandbox"
SLOW = "slow"


def _senders(credentials: Credentials) -> dict[str, Any]:
    """The test's sender, bound to one item; one whose events go nowhere; one that may push little."""
    secrets = [credentials.senders[SENDER]]
    return {
        SENDER: {"source": SOURCE, "secrets": secrets, "items": ["disabled-service"]},
        SANDBOX: {"source": SOURCE, "secrets": secrets, "sandbox": True},
        SLOW: {"source": SOURCE, "secrets": secrets, "events_per_second": 0.01},
    }


async def _curl(url: str, headers: dict[str, str], body: bytes, folder: Path, *more: str) -> tuple[int, dict[str, Any]]:
    """What curl is answered; the body goes as it is."""
    (folder / "body").write_bytes(body)
    given = [part for name, value in headers.items() for part in ("--header", f"{name}: {value}")]
    command = [
        "curl",
        "--silent",
        "--noproxy",
        "*",
        "--data-binary",
        f"@{folder / 'body'}",
        "--write-out",
        "\n%{http_code}",
        *given,
        *more,
    ]
    process = await asyncio.create_subprocess_exec(*command, url, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    answer, _, code = output.decode().rpartition("\n")
    return int(code), json.loads(answer) if answer else {}


def _by_openssl(secret: str, body: bytes, media_type: str, message_id: str) -> dict[str, str]:
    """Headers with an HMAC-SM3 signature that openssl made."""
    stamp, key = str(int(time.time())), base64.b64decode(secret.removeprefix("whsec_")).hex()
    command = ["openssl", "dgst", "-sm3", "-mac", "HMAC", "-macopt", f"hexkey:{key}", "-binary"]
    digest = subprocess.run(command, input=f"{message_id}.{stamp}.".encode() + body, capture_output=True, check=True).stdout
    signature = "v1sm3," + base64.b64encode(digest).decode()
    return {"content-type": media_type, "webhook-id": message_id, "webhook-timestamp": stamp, "webhook-signature": signature}


async def test_public_tools_push_in_each_mode_and_a_key_is_exchanged_without_a_gap(
    service: Services, credentials: Credentials, kafka: str, topics: Topics, tmp_path: Path
) -> None:
    credentials.senders_file.write_text(json.dumps(_senders(credentials)))
    api = await service("intake", "api")
    url, secret = api.url + PATH, credentials.senders[SENDER]
    stored = []

    # curl: structured, batch in gzip, binary by the public library and signed by HMAC-SM3
    body = json.dumps(event("structured")).encode()
    code, answer = await _curl(url, signed(secret, body), body, tmp_path)
    assert (code, answer["accepted"]) == (202, 1)
    packed = gzip.compress(json.dumps([event("g-1"), event("g-2"), event("other", item="credit-repair")]).encode())
    headers = _by_openssl(secret, packed, BATCH_MEDIA_TYPE, "gz") | {"content-encoding": "gzip"}
    code, answer = await _curl(url, headers, packed, tmp_path)
    assert (code, answer["accepted"], answer["rejected"]) == (202, 2, 1)
    problem = answer["results"][2]["problem"]
    assert (problem["type"], problem["errors"][0]["pointer"]) == ("urn:onething:problem:not-entitled", "/data/item")
    # The receipt of it, proven offline against the bytes that were sent.
    (tmp_path / "answer.json").write_text(json.dumps(answer))
    async with httpx.AsyncClient(base_url=api.url, trust_env=False) as client:
        key_set = await client.get("/.well-known/jwks.json")
    (tmp_path / "jwks.json").write_bytes(key_set.content)
    arguments = ["verify", str(tmp_path / "answer.json"), "--keys", str(tmp_path / "jwks.json"), "--body", str(tmp_path / "body")]
    proven = CliRunner().invoke(receipt_command, [*arguments, "--event", "g-2"])
    assert (proven.exit_code, "2 个:g-1、g-2" in proven.output) == (0, True), proven.output
    assert CliRunner().invoke(receipt_command, [*arguments, "--event", "other"]).exit_code == 1

    said = event("binary")
    attributes = {name: said[name] for name in ("id", "source", "type", "subject")} | {"datacontenttype": "application/json"}
    binary = to_binary_event(CloudEvent(attributes, said["data"]))
    headers = {name.lower(): value for name, value in binary.headers.items()}
    code, answer = await _curl(url, _by_openssl(secret, binary.body, "", "b") | headers, binary.body, tmp_path)
    assert (code, answer["results"]) == (202, [{"index": 0, "id": "binary", "status": "accepted"}]), answer
    stored += ["structured", "g-1", "g-2", "binary"]

    # Refused before an event is judged
    large = b"x" * (MOST_BYTES + 1)
    for more in ((), ("--header", "Transfer-Encoding: chunked")):
        code, answer = await _curl(url, signed(secret, large, BATCH_MEDIA_TYPE), large, tmp_path, *more)
        assert (code, answer["type"]) == (413, "urn:onething:problem:too-large")
    bomb = gzip.compress(b" " * 100_000_000)
    headers = _by_openssl(secret, bomb, BATCH_MEDIA_TYPE, "bomb") | {"content-encoding": "gzip"}
    assert (await _curl(url, headers, bomb, tmp_path))[0] == 413
    async with httpx.AsyncClient(base_url=api.url, trust_env=False) as client:
        for path in (PATH, PATH.replace(SENDER, "nobody")):
            allowed = await client.options(path, headers={"WebHook-Request-Origin": "push.example.com"})
            assert (allowed.status_code, allowed.headers["webhook-allowed-origin"]) == (200, "push.example.com")

        body = json.dumps([event(f"c-{n}", f"BD{n}") for n in range(300)]).encode()
        headers = signed(secret, body, BATCH_MEDIA_TYPE)
        chunks = in_parts(body[start : start + 1000] for start in range(0, len(body), 1000))
        assert (await client.post(PATH, content=chunks, headers=headers)).json()["accepted"] == 300
        stored += [f"c-{n}" for n in range(300)]

        # A sandbox answers alike and stores nothing; a slow sender is told to wait.
        body = json.dumps([event("s-1"), 1]).encode()
        answer = (
            await client.post(PATH.replace(SENDER, SANDBOX), content=body, headers=signed(secret, body, BATCH_MEDIA_TYPE))
        ).json()
        assert (answer["accepted"], answer["rejected"]) == (1, 1)
        assert jwt.decode(answer["receipt"], options={"verify_signature": False})["sandbox"] is True
        body = json.dumps([event("slow-1"), event("slow-2")]).encode()
        path = PATH.replace(SENDER, SLOW)
        assert (await client.post(path, content=body, headers=signed(secret, body, BATCH_MEDIA_TYPE))).status_code == 202
        late = await client.post(path, content=body, headers=signed(secret, body, BATCH_MEDIA_TYPE))
        assert (late.status_code, late.json()["type"]) == (429, "urn:onething:problem:too-fast")
        assert int(late.headers["retry-after"]) > 60
        stored += ["slow-1", "slow-2"]

        # The key is exchanged while the process runs.
        def rotate(*arguments: str) -> str:
            found = CliRunner().invoke(senders_command, ["rotate", SENDER, "--file", str(credentials.senders_file), *arguments])
            assert found.exit_code == 0, found.output
            return next((line for line in found.output.splitlines() if line.startswith("whsec_")), "")

        fresh = rotate()

        async def taken(key: str, event_id: str) -> bool:
            found = (await push(client, key, event(event_id))).status_code == 202
            if found:
                stored.append(event_id)
            return found

        async def new_is_taken() -> bool:
            return await taken(fresh, "by-new")

        async def old_is_refused() -> bool:
            return not await taken(secret, "by-old")

        await until(new_is_taken)
        assert not await old_is_refused()
        rotate("--drop-old")
        await until(old_is_refused)
        assert await new_is_taken()

        # A broken file changes nothing, and shows.
        credentials.senders_file.write_text("{")

        async def shown() -> bool:
            assert await new_is_taken()
            return 'onething_file_broken{file="senders.json"} 1.0' in (await client.get("/metrics")).text

        await until(shown)
    assert {e["id"] for e in events_of(await records_of(kafka, topics.case_events))} == set(stored)
    assert secret not in api.log
    assert fresh not in api.log


async def _begun(api: RunningService, headers: dict[str, str], body: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A push of which only the head and ``body`` have been sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(api.url.rpartition(":")[2]))
    lines = [f"POST {PATH} HTTP/1.1", "Host: x", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    writer.write("\r\n".join(lines).encode() + body)
    await writer.drain()
    return reader, writer


async def test_overload_is_refused_at_once_and_sigterm_loses_nothing_that_was_promised(
    service: Services, credentials: Credentials, kafka: str, topics: Topics
) -> None:
    secret = credentials.senders[SENDER]
    api = await service("intake", "api", ONETHING_MOST_BYTES_IN_FLIGHT=str(MOST_BYTES))
    async with httpx.AsyncClient(base_url=api.url, trust_env=False) as client:
        # Bodies that do not end hold what may be in flight.
        chunked = {"transfer-encoding": "chunked", "content-type": MEDIA_TYPE}
        half = MOST_BYTES // 2
        held = [await _begun(api, chunked, b"%x\r\n%s\r\n" % (half, b" " * half)) for _ in range(2)]

        async def full() -> bool:
            [line] = [x for x in (await client.get("/metrics")).text.splitlines() if x.startswith("onething_push_bytes_in_flight{")]
            return float(line.rpartition(" ")[2]) == 2 * half

        await until(full)
        refused = await push(client, secret, event("e-0"))
        assert (refused.json()["type"], refused.headers["retry-after"]) == ("urn:onething:problem:busy", "1")
        metrics = (await client.get("/metrics")).text
        assert 'onething_push_refused_total{problem="busy",service="intake"}' in metrics
        for _, writer in held:
            writer.close()

        async def free() -> bool:
            return (await push(client, secret, event("e-0"))).status_code == 202

        await until(free)

    # SIGTERM comes while pushes are under way, one of them not yet sent whole.
    body = json.dumps(event("slow")).encode()
    headers = signed(secret, body) | {"content-length": str(len(body))}
    reader, writer = await _begun(api, headers, body[:10])
    promised, refusals = ["e-0", "slow"], 0

    async def pushing(number: int) -> None:
        nonlocal refusals
        async with httpx.AsyncClient(base_url=api.url, trust_env=False) as client:
            for turn in range(100_000):
                event_id = f"e-{number}-{turn}"
                try:
                    answer = await push(client, secret, [event(event_id), event(f"{event_id}b")])
                except httpx.TransportError:
                    refusals += 1
                    return
                if answer.status_code == 202:
                    promised.extend([event_id, f"{event_id}b"])

    async with asyncio.TaskGroup() as group:
        for number in range(8):
            group.create_task(pushing(number))
        await asyncio.sleep(0.5)
        ended = group.create_task(asyncio.to_thread(api.terminate))
        await asyncio.sleep(0.5)
        writer.write(body[10:])
        answer = await reader.read()
    assert b"202" in answer.split(b"\r\n", 1)[0]
    assert ended.result(), "it did not end by itself"
    assert refusals == 8
    stored = {e["id"] for e in events_of(await records_of(kafka, topics.case_events))}
    assert set(promised) <= stored
    assert "Traceback" not in api.log
