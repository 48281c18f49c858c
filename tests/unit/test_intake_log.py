"""What a process logs: JSON lines, nobody's data, and no flood."""

import json
import subprocess
import sys
from typing import Any

PROGRAM = """
import logging
import structlog
from shared import telemetry

telemetry.configure("intake", "api")

def fail(body):
    raise RuntimeError("told")

for log in (structlog.get_logger(), logging.getLogger("uvicorn.error")):
    try:
        fail({"name": "canary"})
    except RuntimeError:
        log.exception("failed")
for n in range(100):
    logging.getLogger("aiokafka.conn").error("Unable connect to node %s", n)
    logging.getLogger("other").error("other %s", n)
logging.getLogger("aiokafka.conn").error("another message")
"""


def _logged() -> list[dict[str, Any]]:
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert not run.stderr
    return [json.loads(line) for line in run.stdout.splitlines()]


def test_each_line_names_its_process_and_no_traceback_shows_what_was_sent() -> None:
    lines = _logged()
    assert {(line["service"], line["process"]) for line in lines} == {("intake", "api")}
    failures = [line for line in lines if line["event"] == "failed"]
    assert [line["exception"][0]["exc_value"] for line in failures] == ["told", "told"]
    assert all(line["exception"][0]["frames"] for line in failures)
    assert "canary" not in json.dumps(lines)


def test_kafkas_client_says_the_same_once_while_others_are_heard() -> None:
    said = [line["event"] for line in _logged()]
    assert [event for event in said if event.startswith("Unable connect")] == ["Unable connect to node 0"]
    assert "another message" in said
    assert len([event for event in said if event.startswith("other")]) == 100
