"""Intake while Kafka is away: on a broker of this test's own, which is started late, hung, killed and started again."""

import os
import signal
import time
from pathlib import Path

import pytest

from deploy.local.broker import Broker
from deploy.local.parts import free_ports, start, stop, until_ready
from deploy.local.topics import create_topics
from services.intake.main import build_api
from services.intake.settings import Settings
from shared.kafka import Topics
from tests.conftest import Credentials
from tests.intake_support import SENDER, event, push
from tests.utilities_support import events_of, records_of, running, until


@pytest.fixture
def broker(tmp_path: Path) -> Broker:
    ports = free_ports()
    made = Broker(tmp_path / "kafka", next(ports), next(ports))
    made.prepare()
    return made


async def test_without_kafka_it_says_503_in_time_and_recovers_by_itself(
    broker: Broker, credentials: Credentials, tmp_path: Path
) -> None:
    secret, topics = credentials.senders[SENDER], Topics("outage")
    settings = Settings(
        kafka=broker.address, topic_prefix=topics.prefix, senders_file=credentials.senders_file,
        receipt_key_file=credentials.receipt_key_file,
    )  # fmt: skip
    part = broker.part(tmp_path / "kafka.log")
    told_503: list[str] = []
    told_202: list[str] = []

    async with running(build_api(settings)) as client:

        async def pushed() -> bool:
            event_id = f"e-{len(told_202) + len(told_503)}"
            began = time.monotonic()
            answer = await push(client, secret, event(event_id))
            assert time.monotonic() - began < 5
            if answer.status_code == 202:
                told_202.append(event_id)
                return True
            assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
            assert answer.json()["type"] == "urn:onething:problem:not-known-to-be-stored"
            assert int(answer.headers["retry-after"]) > 0
            told_503.append(event_id)
            return False

        async def ready() -> bool:
            answer = await client.get("/readyz")
            assert answer.status_code == 200 or "Kafka does not answer" in answer.json()["wrong"]["kafka"]
            return answer.status_code == 200

        async def refused() -> bool:
            return not await pushed()

        assert await refused()
        assert not await ready()
        assert (await client.get("/livez")).status_code == 200

        process = start(part)
        try:
            await until_ready(part, process, 60)
            await create_topics(broker.address, topics.specs())
            await until(ready)
            await until(pushed)

            os.kill(process.pid, signal.SIGSTOP)
            await until(refused)  # its threads may take a moment to stop
            assert not await ready()
            os.kill(process.pid, signal.SIGCONT)
            await until(ready)
            await until(pushed)

            stop(process, signal.SIGKILL, 10)
            assert await refused()
            assert not await ready()
            process = start(part)
            await until(ready)
            await until(pushed)
            stored = {e["id"] for e in events_of(await records_of(broker.address, topics.case_events))}
        finally:
            stop(process, signal.SIGKILL, 10)
    # What was promised is there; of the others nothing was said, and nothing that was never sent has come.
    assert {*told_202} <= stored <= {*told_202, *told_503}
    assert len(told_202) >= 3
    assert len(told_503) >= 3
