"""``case history`` as it is called, on a real Kafka: the right partition, to its end, with each event's fate."""

import asyncio
import os
import subprocess
import sys
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from deploy.local.parts import ROOT
from shared.kafka import Message, Publisher, Topics
from shared.kafka.partition import NoTopic, read_partition_of
from tests.case_events import SOURCE, encoded


def told(case_no: str, number: int, at: str, **data: Any) -> dict[str, Any]:
    content = {"case_no": case_no, "recorded_at": at, "step": "applied", "occurred_at": at, **data}
    return {"id": f"{case_no}-{number}", "source": SOURCE, "type": "cn.onething.case.step.v1", "subject": case_no, "data": content}


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ} | variables
    command = [sys.executable, "-m", "deploy.local", "case", "history", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)


async def test_every_event_of_the_case_is_shown_with_what_became_of_it(kafka: str, topics: Topics) -> None:
    first = told("c-1", 1, "2024-09-02T02:00:05Z", county="130607", item="disabled-service")
    later = told("c-1", 2, "2024-09-02T02:00:07.5Z", county="130635")
    others = [told(f"n-{n}", 1, "2024-09-02T02:00:05Z", county="130607") for n in range(400)]
    same_number = {**told("c-1", 9, "2024-09-02T02:00:05Z"), "source": "urn:onething:province:other"}
    sent = [(e["subject"], encoded(e)) for e in (first, *others[:200], later, same_number, first, *others[200:])]
    async with Publisher(kafka, client_id="test") as publisher:
        await publisher.publish([Message(topics.case_events, key, value) for key, value in [*sent, ("c-1", b"{")]])
    done = run(SOURCE, "c-1", "--kafka", kafka, "--prefix", topics.prefix)
    assert done.returncode == 0, done.stderr
    events = [line for line in done.stdout.splitlines() if "c-1-" in line]
    assert [line.split("│")[3].strip() for line in events] == ["c-1-1", "c-1-2", "c-1-1"]
    offsets = [line.split("│")[1].strip() for line in events]
    assert f"申报未生效:位移{offsets[1]}登记更晚" in events[0]
    assert "2024-09-02 10:00:07.5" in events[1]
    assert "生效:申报、县(市、区)" in events[1]
    assert f"重复:与位移{offsets[0]}相同" in events[2]
    assert "无法读取,已另存待查" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("共3条事件,现为版本1:计入蠡县“残疾人服务”:办件 2024-09-02")
    assert "c-1-9" not in done.stdout


async def test_what_is_not_there_is_said_with_what_to_do(kafka: str, topics: Topics, tmp_path: os.PathLike[str]) -> None:
    unknown = run(SOURCE, "never", "--kafka", kafka, "--prefix", topics.prefix)
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert "holds no event of case never" in unknown.stderr
    no_stack = run(SOURCE, "never", ONETHING_STATE_DIR=str(tmp_path))
    assert no_stack.returncode == 1
    assert "start it with ./onething up" in no_stack.stderr
    away = run(SOURCE, "never", "--kafka", "127.0.0.1:1")
    assert away.returncode == 1
    assert "does not answer" in away.stderr
    assert "Traceback" not in unknown.stderr + no_stack.stderr + away.stderr


async def test_a_log_that_ends_in_markers_is_read_to_its_end_and_aborted_events_are_not_shown(kafka: str, topics: Topics) -> None:
    async with AIOKafkaProducer(bootstrap_servers=kafka, transactional_id=f"{topics.prefix}-t") as producer:
        for value, kept in ((b"1", True), (b"2", False), (b"3", True), (b"4", False)):
            await producer.begin_transaction()
            await producer.send_and_wait(topics.case_events, value, b"c-1")
            await (producer.commit_transaction() if kept else producer.abort_transaction())
    # A transaction's end is promised first, and its marker written a moment later.
    async with asyncio.timeout(20):
        while True:
            portions = [portion async for portion in read_partition_of(kafka, topics.case_events, b"c-1", most=1)]
            if portions[-1].end == 8:
                break
    assert [record.value for portion in portions for record in portion.records] == [b"1", b"3"]
    assert (portions[-1].begin, portions[-1].position) == (0, 8)
    with pytest.raises(NoTopic):
        async for _ in read_partition_of(kafka, f"{topics.prefix}.nothing", b"c-1"):
            pass
