"""A sender's day: the examples of the senders' page and ``./onething push``, against a real intake process and a real Kafka."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import orjson
from typer.testing import CliRunner

from deploy.local import receipt
from deploy.local.__main__ import app
from deploy.local.parts import ROOT
from deploy.local.state import SANDBOX_CODES
from shared.kafka import Topics
from tests.conftest import Credentials, Services
from tests.intake_support import SENDER, SOURCE, event
from tests.utilities_support import events_of, records_of

EXAMPLES = ROOT / "docs" / "examples"
CLIENTS = (
    ("curl", ["sh", str(EXAMPLES / "push.sh")]),
    ("python", [sys.executable, str(EXAMPLES / "push.py")]),
    ("java", ["java", str(EXAMPLES / "Push.java")]),
)
EVENTS = 900


async def _run(command: list[str], **variables: str) -> tuple[int, str, str]:
    made = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, env=os.environ | {"ONETHING_STATE_DIR": "/nonexistent", "COLUMNS": "200"} | variables,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    out, err = await made.communicate()
    assert made.returncode is not None
    return made.returncode, out.decode(), err.decode()


def _arguments(file: Path, url: str, secret_file: Path, *more: str) -> list[str]:
    return ["push", str(file), "--url", url, "--secret-file", str(secret_file), *more]


async def _push(*arguments: Any) -> tuple[int, str]:
    """The command within this process: starting Python anew would cost more than the push."""
    result = await asyncio.to_thread(CliRunner().invoke, app, _arguments(*arguments))
    return result.exit_code, result.output


async def test_the_examples_and_the_push_command(
    service: Services, credentials: Credentials, kafka: str, topics: Topics, tmp_path: Path
) -> None:
    secret_file = tmp_path / "secret"
    secret_file.write_text(credentials.senders[SENDER] + "\n")
    (tmp_path / "codes.csv").write_bytes(SANDBOX_CODES.read_bytes())
    senders: dict[str, Any] = json.loads(credentials.senders_file.read_text())
    senders["sandbox"] = senders[SENDER] | {"source": "urn:onething:sandbox", "sandbox": True}
    senders["rows"] = senders[SENDER] | {"dialect": "exchange", "codes": "codes.csv"}
    senders["slow"] = senders[SENDER] | {"events_per_second": 300}
    credentials.senders_file.write_text(json.dumps(senders))
    intake = await service("intake", "api")

    # 1. Each of the page's three clients, unaltered, with the sandbox: checked and answered, never stored.
    address = f"{intake.url}/v1/senders/sandbox/events"
    for name, command in CLIENTS:
        status, out, err = await _run([*command, address, str(secret_file), str(EXAMPLES / "events.json")])
        assert status == 0, (name, out, err)
        answer = json.loads(out)
        assert (answer["accepted"], answer["rejected"], bool(answer["receipt"])) == (2, 0, True), name
    # What is refused is told: a wrong secret; a client whose offer of HTTP/2 hides the body, as Java's does by default.
    wrong = tmp_path / "wrong"
    wrong.write_text("whsec_" + "bm90IHRoZSBzZW5kZXIncyBvd24gc2VjcmV0Lg==")
    for name, command in CLIENTS[:2]:
        status, out, _ = await _run([*command, address, str(wrong), str(EXAMPLES / "events.json")])
        assert (status != 0, json.loads(out)["type"]) == (True, "urn:onething:problem:signature"), name
    async with httpx.AsyncClient(trust_env=False) as client:
        offer = {"connection": "Upgrade, HTTP2-Settings", "upgrade": "h2c", "http2-settings": "AAMAAABk"}
        answer = await client.post(address, content=b"{}", headers=offer)
        assert (answer.status_code, answer.json()["type"]) == (400, "urn:onething:problem:upgrade")

    # 2. A file with three events that nobody can use: exit status 1, each told, the others stored, receipts kept.
    file = tmp_path / "events.jsonl"
    bad = {7: event("bad-7", "BD7", county="1"), 8: event("bad-8", "BD8", step="gone"), 9: 5}
    lines = [bad.get(n, event(f"e-{n}", f"BD{n}")) for n in range(40)]
    file.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    status, out = await _push(file, intake.url, secret_file, "--batch", "10")
    assert (status, "接收 37,退回 3" in out) == (1, True), out
    beside = tmp_path / "events.jsonl.rejected.jsonl"
    rejected = _lines(beside)
    assert [(r["place"], r["item"]) for r in rejected] == [(n + 1, item) for n, item in bad.items()]
    # All four receipts are proven at once, offline.
    keys = tmp_path / "jwks.json"
    async with httpx.AsyncClient(trust_env=False) as client:
        keys.write_bytes((await client.get(f"{intake.url}/.well-known/jwks.json")).content)
    proof = CliRunner().invoke(
        receipt.app, ["verify", str(tmp_path / "events.jsonl.receipts"), "--keys", str(keys), "--event", "e-39"]
    )
    assert (proof.exit_code, "4 份回执都成立,共 37 个事件" in proof.output) == (0, True), proof.output
    # Mended, the file of the rejected is pushed itself.
    beside.write_bytes(
        b"".join(orjson.dumps(r | {"item": event(f"e-{r['place'] - 1}", f"BD{r['place'] - 1}")}) + b"\n" for r in rejected)
    )
    assert (await _push(beside, intake.url, secret_file))[0] == 0

    # 3. Rows of an exchange table.
    status, out = await _push(_rows(tmp_path), intake.url, secret_file, "--sender", "rows")
    assert (status, "接收 1" in out) == (0, True), out

    # 4. Interrupted while the receiver holds it back (429), then run again: it goes on, and every event is there.
    many = tmp_path / "many.jsonl"
    many.write_bytes(b"".join(orjson.dumps(event(f"m-{n}", f"M{n}")) + b"\n" for n in range(EVENTS)))
    slow: list[Any] = [many, intake.url, secret_file, "--sender", "slow", "--batch", "100"]
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "deploy.local", *_arguments(*slow), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=_hears_interrupts,
    )  # fmt: skip
    state = tmp_path / "many.jsonl.push.json"
    await asyncio.to_thread(_appears, state)
    running.send_signal(signal.SIGINT)
    await running.communicate()
    assert running.returncode == 130
    assert 0 < json.loads(state.read_bytes())["items"] < EVENTS
    status, out = await _push(*slow)
    assert (status, f"接收 {EVENTS}" in out, "继续" in out) == (0, True, True), out

    taken = [e["id"] for e in events_of(await records_of(kafka, topics.case_events))]
    own = {f"e-{n}" for n in range(40)} | {f"m-{n}" for n in range(EVENTS)}
    rows = {e for e in taken if e.startswith("4f0c1e8a")}
    assert (set(taken) - rows, len(rows)) == (own, 2)
    # At most the batch that was under way when it was interrupted came twice.
    assert len(taken) - len(set(taken)) <= 100
    assert all(e["source"] == SOURCE for e in events_of(await records_of(kafka, topics.case_events)))


def _lines(file: Path) -> list[Any]:
    return [orjson.loads(line) for line in file.read_bytes().splitlines()]


def _hears_interrupts() -> None:
    """As in a terminal. What starts the tests in the background may have all of them ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _appears(file: Path) -> None:
    end = time.monotonic() + 60
    while not file.exists():
        assert time.monotonic() < end, f"{file.name} did not appear"
        time.sleep(0.02)


def _rows(folder: Path) -> Path:
    """The page's example of rows, where the command may write beside it."""
    file = folder / "rows.json"
    file.write_bytes((EXAMPLES / "rows.json").read_bytes())
    return file
