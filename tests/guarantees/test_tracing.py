"""One push is followed by its trace: from the request over Kafka into the database, to what is told of it, and in the logs."""

import json
from collections.abc import Mapping
from typing import Any

import httpx
from aiokafka import AIOKafkaConsumer, TopicPartition

from shared.events.envelope import BATCH_MEDIA_TYPE
from shared.kafka import Topics
from tests.collector import Collector, collecting
from tests.conftest import Credentials, RunningService, Services
from tests.intake_support import PATH, SENDER, event, signed
from tests.metrics_support import until

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"
KEPT = f"00-{TRACE}-{SPAN}-01"
NOT_KEPT = f"00-{'a' * 32}-{SPAN}-00"


def lines(part: RunningService, name: str) -> list[dict[str, Any]]:
    """The lines of a log that tell of one kind of event."""
    found = [json.loads(line) for line in part.log.splitlines() if line.startswith("{")]
    return [line for line in found if line["event"] == name]


async def headers_on(kafka: str, topic: str) -> list[tuple[bytes, dict[str, bytes]]]:
    """Key and headers of each record of a topic."""
    async with AIOKafkaConsumer(bootstrap_servers=kafka, auto_offset_reset="earliest") as consumer:
        partitions = [TopicPartition(topic, number) for number in await consumer._client._wait_on_metadata(topic)]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        found = []
        while any([await consumer.position(partition) < ends[partition] for partition in partitions]):
            for records in (await consumer.getmany(timeout_ms=500)).values():
                found += [(record.key or b"", dict(record.headers)) for record in records]
    return found


async def push(client: httpx.AsyncClient, secret: str, events: list[Any], message_id: str, **further: str) -> httpx.Response:
    body = json.dumps(events).encode()
    headers = signed(secret, body, BATCH_MEDIA_TYPE, message_id=message_id) | {k.replace("_", "-"): v for k, v in further.items()}
    return await client.post(PATH, content=body, headers=headers)


def refusals_are_told(intake: RunningService, refused: Mapping[str, httpx.Response]) -> None:
    """One line for each refused push, with the id that its answer has, who it was where that is proven, and no more."""
    told = {line["request_id"]: line for line in lines(intake, "request_refused")}
    for name, answer in refused.items():
        line = told[answer.headers["x-request-id"]]
        assert answer.json()["instance"] == f"urn:onething:request:{line['request_id']}"
        assert (line["status"], line["route"]) == (answer.status_code, "/v1/senders/{sender_id}/events"), name
        assert answer.json()["type"].endswith(f":{line['problem']}")
        assert line.get("party") == (None if answer.status_code == 401 else SENDER), name


async def test_a_push_is_followed_from_the_request_to_the_commit(
    service: Services, kafka: str, topics: Topics, credentials: Credentials
) -> None:
    secret = credentials.senders[SENDER]
    with collecting() as collector:
        # No push of its own is kept: what is seen here is seen because the sender asks for it.
        on = {"ONETHING_OTLP_ENDPOINT": collector.url, "ONETHING_TRACE_RATIO": "0", "OTEL_BSP_SCHEDULE_DELAY": "100"}
        intake = await service("intake", "api", **on)
        worker = await service("metrics", "worker", **on)
        async with httpx.AsyncClient(base_url=intake.url, trust_env=False, timeout=30) as client:
            two = [event("e-1", "BD1"), event("e-2", "BD2"), event("e-3", "BD3", county="999999")]
            answer = await push(client, secret, two, "m-1", traceparent=KEPT, x_request_id="my-own.id")
            assert answer.status_code == 202, answer.text
            assert answer.headers["x-request-id"] == "my-own.id"
            assert answer.headers["traceresponse"].startswith(f"00-{TRACE}-")
            untraced = await push(client, secret, [event("e-4", "BD4")], "m-2", traceparent=NOT_KEPT)
            none = await push(client, secret, [event("e-5", "BD5")], "m-3", x_request_id="no good id, 13931278460")
            numbered = await push(client, secret, [event("e-6", "BD6")], "m-4", x_request_id="13931278460")
            unsigned = {"content-type": BATCH_MEDIA_TYPE, "traceparent": KEPT}
            refused = {
                "signature": await client.post(PATH, content=b"[]", headers=unsigned),
                "empty": await push(client, secret, [], "m-5"),
                "wrong": await push(client, secret, [event("e-7", "BD7", county="999999")], "m-6"),
                "foreign": await push(client, secret, [event("e-8", "BD8") | {"source": "urn:x"}], "m-7"),
            }
            for other in (none, numbered):
                assert other.headers["x-request-id"] not in ("no good id, 13931278460", "13931278460")
            ids = {one.headers["x-request-id"] for one in (answer, untraced, none, numbered, *refused.values())}
            assert len(ids) == 8, "each request has an id of its own"
            health = await client.get("/livez", headers={"traceparent": KEPT})
            assert "x-request-id" in health.headers
            assert [one.status_code for one in refused.values()] == [401, 422, 422, 403]

        async def told() -> bool:
            return bool(collector.of("metrics-worker", f"publish {topics.county_metrics}"))

        await until(told)
        intake.terminate()
        worker.terminate()
    seen_at_intake(collector, topics, intake)
    refusals_are_told(intake, refused)
    assert refused["signature"].headers["traceresponse"].startswith(f"00-{TRACE}-")
    assert next(line for line in lines(intake, "request_refused") if line["status"] == 401)["trace_id"] == TRACE
    publish = next(span for span in collector.of("intake-api", "publish ") if span.trace == TRACE)
    bearing = f"00-{TRACE}-{publish.span}-01".encode()
    for topic, key in ((topics.case_events, b"BD1"), (topics.case_events, b"BD2")):
        assert dict(await headers_on(kafka, topic))[key] == {
            "content-type": b"application/cloudevents+json; charset=UTF-8", "traceparent": bearing,
        }  # fmt: skip
    assert [headers["traceparent"] for _, headers in await headers_on(kafka, topics.parked)] == [bearing]
    for key, headers in await headers_on(kafka, topics.case_events):
        assert ("traceparent" in headers) == (key in (b"BD1", b"BD2")), "what nobody keeps gets no header"
    seen_at_the_worker(collector, topics, worker, publish.span)
    told_by = {f"00-{one.trace}-{one.span}".encode() for one in collector.of("metrics-worker", f"publish {topics.county_metrics}")}
    bears = {headers.get("traceparent", b"").rpartition(b"-")[0] for _, headers in await headers_on(kafka, topics.county_metrics)}
    assert told_by & bears


def seen_at_intake(collector: Collector, topics: Topics, intake: RunningService) -> None:
    served = [span for span in collector.of("intake-api", "POST") if span.trace == TRACE]
    by_status = {span.attributes["http.response.status_code"]: span for span in served}
    assert by_status.keys() == {"202", "401"}, "those without a kept trace are not sent"
    assert all(span.parent == SPAN for span in served)
    request = by_status["202"]
    assert request.name == "POST /v1/senders/{sender_id}/events"
    assert (request.attributes["onething.party"], request.attributes["http.route"]) == (SENDER, "/v1/senders/{sender_id}/events")
    assert "onething.party" not in by_status["401"].attributes
    (line,) = lines(intake, "request_traced")
    assert (line["trace_id"], line["request_id"], line["party"], line["status"]) == (TRACE, "my-own.id", SENDER, 202)
    (publish,) = collector.of("intake-api", "publish ")
    assert (publish.trace, publish.parent) == (TRACE, request.span)
    assert publish.attributes[f"onething.messages.{topics.parked}"] == "1"
    assert publish.attributes["messaging.batch.message_count"] == "3"


def seen_at_the_worker(collector: Collector, topics: Topics, worker: RunningService, published: str) -> None:
    """A batch is a trace of its own with its commit, linked to those that it holds; each of these sees when it was taken."""
    batches = collector.of("metrics-worker", f"process {topics.case_events}")
    assert batches
    assert all(batch.links == [(TRACE, published)] for batch in batches), "linked to what was kept, once, whatever the records"
    traces = {batch.trace for batch in batches}
    assert TRACE not in traces
    commits = [span for span in collector.of("metrics-worker", "commit") if span.trace in traces]
    assert len(commits) == len(batches)
    taken = collector.of("metrics-worker", f"taken {topics.case_events}")
    assert {(span.trace, span.parent) for span in taken} == {(TRACE, published)}
    assert {span.links[0][0] for span in taken} == traces
    told = collector.of("metrics-worker", "tell totals")
    assert {trace for span in told for trace, _ in span.links} == traces, "what is told of a batch is linked to it"
    line = lines(worker, "batch_traced")[0]
    assert line["traces"] == [TRACE]
    assert line["trace_id"] in traces
    assert line["topic"] == topics.case_events


async def test_nothing_of_it_is_there_while_it_is_off(
    service: Services, kafka: str, topics: Topics, credentials: Credentials
) -> None:
    intake = await service("intake", "api")
    async with httpx.AsyncClient(base_url=intake.url, trust_env=False, timeout=30) as client:
        answer = await push(client, credentials.senders[SENDER], [event("e-1", "BD1")], "m-1", traceparent=KEPT)
    assert answer.status_code == 202, answer.text
    assert "traceresponse" not in answer.headers
    assert "x-request-id" in answer.headers
    ((_, headers),) = await headers_on(kafka, topics.case_events)
    assert list(headers) == ["content-type"]
