"""People's data is pushed by every way there is, in every place, and then looked for wherever anything is kept or said."""

import asyncio
import base64
import contextlib
import copy
import gzip
import itertools
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import asyncpg
import httpx
import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.producer import AIOKafkaProducer

from deploy.local.state import SANDBOX_CODES
from shared.events.envelope import BATCH_MEDIA_TYPE, MEDIA_TYPE
from shared.kafka import Topics
from tests.collector import collecting
from tests.conftest import Credentials, RunningService, Services, TestDatabase
from tests.intake_support import PATH, SENDER, SOURCE, Event, event, signed
from tests.metrics_support import until
from tests.utilities_support import import_registry

IDENTITY = "130602196107130211"
IDENTITY_X = "13060219610713006X"
PHONE = "13931278460"
DASHED = "139-3127-8460"
TELEPHONE = "0312-5937164"
NAME = "欧阳明镜"
ADDRESS = "保定市竞秀区七一中路四百零九号"
NUMBERS = (IDENTITY, IDENTITY_X, IDENTITY_X.lower(), PHONE, DASHED, TELEPHONE)
CANARIES: tuple[Any, ...] = (*NUMBERS, int(PHONE), int(IDENTITY), NAME, ADDRESS, f"{NAME} {PHONE}", [NAME, IDENTITY], {NAME: PHONE})
PEOPLE = {"name": NAME, "id_no": IDENTITY, "phone": PHONE, "address": ADDRESS, "more": [{"电话": TELEPHONE}]}

LOOKED_FOR = tuple(
    {
        *NUMBERS, IDENTITY[6:17], IDENTITY_X[6:17], PHONE[:9],
        *itertools.chain.from_iterable(
            (text, quote(text), text.encode("unicode_escape").decode()) for text in (NAME, NAME[:2], ADDRESS[:6])
        ),
    }
)  # fmt: skip
"""Each canary and its telling parts, as text, as JSON escapes, and as a percent-encoded path."""

EXCHANGE = "application/vnd.onething.exchange+json"
COMPANY = "water-1"


def carriers(good: Event, canaries: tuple[Any, ...] = CANARIES) -> Iterator[Event]:
    """``good`` with each canary in each of its places, in places that nobody knows, and as a name of a place."""
    for canary in canaries:
        for name in (*good, "datacontenttype", "dataschema", "partitionkey", "xname"):
            yield good | {name: canary}
        for name in (*good["data"], "applicant", "remark", "outcome", "services", "promised_on", "channel", "data_version"):
            yield good | {"data": good["data"] | {name: canary}}
        if isinstance(canary, str):
            both = copy.deepcopy(good) | {"subject": canary}
            both["data"]["case_no" if "case_no" in both["data"] else "installation_no"] = canary
            yield both
            yield good | {canary: canary, "data": good["data"] | {canary: {canary: [canary]}}}


def broken(good: Event) -> Iterator[bytes]:
    """Bodies that are no JSON, cut or spoiled around a canary."""
    whole = json.dumps(good | {"data": good["data"] | {"applicant": PEOPLE}}, ensure_ascii=False).encode()
    yield from (whole[:-1], whole + b"}", b"{" + whole, whole.replace(b":", b"=", 1), whole.decode().encode("gb18030"))
    yield from (json.dumps(PEOPLE).encode(), IDENTITY.encode(), NAME.encode(), f'"{IDENTITY}'.encode(), b"\xff" + PHONE.encode())
    yield orjson.dumps([PEOPLE, [NAME], IDENTITY, int(PHONE)])


def rows() -> Iterator[dict[str, Any]]:
    """Rows of the national exchange tables with each canary in each column; the hook for further dialects."""
    examples = SANDBOX_CODES.parent
    for name in ("accept", "process", "result"):
        body = json.loads((examples / f"{name}.json").read_text(encoding="utf-8"))["body"]
        row = body["rows"][0]
        for canary in CANARIES:
            yield body | {
                "rows": [row | {column: canary} for column in (*row, "applyer_name", "contact_mobile", "remark", "xname")]
            }


class Heard:
    """All answers, with the payloads of their receipts."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def take(self, answer: httpx.Response) -> httpx.Response:
        self.said.append(f"{answer.status_code} {answer.headers} {answer.text}")
        if "json" in answer.headers.get("content-type", ""):
            content = answer.json()
            if isinstance(content, dict) and isinstance(receipt := content.get("receipt"), str):
                payload = receipt.split(".")[1]
                self.said.append(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)).decode())
        return answer


async def push_intake(client: httpx.AsyncClient, secret: str, heard: Heard) -> None:
    """Over HTTP: every place of the event, broken bodies, headers, path and query, rows, binary mode, gzip."""
    good = event("e-good", "BD-good")
    every = [*carriers(good), *carriers(event("e-retract", "BD-r", operation="delete"), NUMBERS)]

    async def post(body: bytes, media_type: str, message_id: str = "m-1", **more: str) -> int:
        headers = signed(secret, body if body.isascii() else b"", media_type, message_id=message_id)
        if not body.isascii():  # the public library signs text; what is signed here is refused as unproven or as broken
            headers["webhook-signature"] = "v1,AAAA"
        return heard.take(await client.post(PATH, content=body, headers=headers | more)).status_code

    for start in range(0, len(every), 400):
        assert await post(json.dumps([good, *every[start : start + 400]]).encode(), BATCH_MEDIA_TYPE, f"m-{start}") == 202
    for one in every[::23]:
        assert await post(json.dumps(one).encode(), MEDIA_TYPE) in (202, 400, 403, 422)
    for spoiled in broken(good):
        for media_type in (MEDIA_TYPE, BATCH_MEDIA_TYPE, EXCHANGE, "text/plain"):
            assert await post(spoiled, media_type) in (400, 401, 415, 422)
    for table in rows():
        assert await post(json.dumps(table).encode(), EXCHANGE) in (202, 422)
    packed = json.dumps(good | {"data": PEOPLE}).encode()
    for content in (gzip.compress(packed)[:-9], gzip.compress(packed), packed):
        headers = signed(secret, b"", MEDIA_TYPE) | {"content-encoding": "gzip"}
        assert heard.take(await client.post(PATH, content=content, headers=headers)).status_code in (400, 401)
    data = json.dumps(good["data"] | {"applicant": PEOPLE}).encode()
    attributes = {f"ce-{name}": value for name, value in good.items() if isinstance(value, str)}
    body = json.dumps([good, event("e-bad", "BD-bad", county=IDENTITY)]).encode()
    for number in (*NUMBERS, quote(NAME)):
        # A request's id is told again in the receipt: it may be nobody's number; of names in Latin letters nothing can be known.
        message_id = number if number in NUMBERS else "m-name"
        more = {"x-name": number, "user-agent": number, "ce-id": number, "x-request-id": number, "tracestate": f"x={number}"}
        assert await post(body, BATCH_MEDIA_TYPE, message_id, **more) == (400 if number in NUMBERS else 202)
        for name in ("ce-id", "ce-subject", "ce-xname"):
            assert await post(data, "application/json", **attributes | {name: number}) in (202, 400, 422)
        for path in (f"/v1/senders/{number}/events", f"/{number}", f"{PATH}?name={number}", f"{PATH}/{number}/x"):
            heard.take(await client.post(path, content=data, headers=signed(secret, data)))
    for name in ("webhook-id", "webhook-signature", "ce-subject", "x-name", "content-encoding", "content-type", "authorization"):
        raw = {key.encode(): value.encode() for key, value in signed(secret, body, BATCH_MEDIA_TYPE).items()}
        heard.take(await client.post(PATH, content=body, headers=raw | {name.encode(): NAME.encode()}))
    for number in (*NUMBERS, quote(NAME), "e-good"):
        answer = heard.take(await client.get(f"{PATH}/{number}", headers=signed(secret, b"")))
        assert answer.status_code in (200, 422), answer.text


async def push_company(client: httpx.AsyncClient, secret: str, heard: Heard) -> None:
    """A company's events: every place, but that its free text may hold names, which go no further than its own topic and tables."""
    source = f"urn:onething:company:{COMPANY}"
    at = "2024-09-30T09:00:00+08:00"
    known = {"county": "130607", "company": COMPANY, "service": "water", "recorded_at": at}
    step = known | {"installation_no": "AZ-1", "step": "accepted", "occurred_at": at, "case_no": "BD-1", "case_source": SOURCE}
    presence = known | {"level": "own_window", "handles": [], "effective_on": "2024-09-01"}
    goods: list[Event] = [
        {
            "specversion": "1.0",
            "id": f"u-{kind}",
            "source": source,
            "type": f"cn.onething.{kind}.v1",
            "subject": subject,
            "data": data,
        }
        for kind, subject, data in (("installation.step", "AZ-1", step), ("presence", f"130607/{COMPANY}/water", presence))
    ]
    for good in goods:
        free = {"reason": f"联系 {IDENTITY} 或 {PHONE}"} if "step" in good["data"] else {"evidence": f"{TELEPHONE} {IDENTITY_X}"}
        every = [good, good | {"data": good["data"] | free}, *carriers(good)]
        for start in range(0, len(every), 400):
            body = orjson.dumps([good, *every[start : start + 400]])
            headers = signed(secret, body.decode().encode(), BATCH_MEDIA_TYPE, message_id=f"c-{start}")
            answer = heard.take(await client.post(f"/v1/companies/{COMPANY}/events", content=body, headers=headers))
            assert answer.status_code == 202, answer.text
    for body in broken(goods[0]):
        heard.take(await client.post(f"/v1/companies/{COMPANY}/events", content=body, headers={"content-type": MEDIA_TYPE}))


async def put_on_kafka(kafka: str, topics: Topics) -> int:
    """On the province's topic: the same events and bodies, with canaries as keys and headers; returns how many."""
    good = event("k-good", "BD-k")
    spoiled = [json.dumps(one).encode() for one in carriers(good)] + [*broken(good)]
    between = [orjson.dumps(event(f"k-{n}", f"BD-k{n}", applicant=PEOPLE)) for n in range(len(spoiled) * 2)]
    mixed = [*itertools.chain.from_iterable(zip(spoiled, between[::2], between[1::2], strict=True))]
    producer = AIOKafkaProducer(bootstrap_servers=kafka)
    await producer.start()
    try:
        for number, value in enumerate(mixed):
            headers = [(NAME, IDENTITY.encode()), ("x", NAME.encode())]
            # One partition: so each batch has its good ones between the others, and none is mostly unusable.
            await producer.send(
                topics.province_push, value, NUMBERS[number % len(NUMBERS)].encode(), partition=number % 2, headers=headers
            )
    finally:
        await producer.stop()
    return len(mixed)


async def everything_in(kafka: str, topic: str) -> str:
    """Keys, values and headers of all records of a topic, whatever its partitions."""
    async with AIOKafkaConsumer(bootstrap_servers=kafka, auto_offset_reset="earliest") as consumer:
        partitions = [TopicPartition(topic, number) for number in await consumer._client._wait_on_metadata(topic)]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        found: list[str] = []
        while any([await consumer.position(partition) < ends[partition] for partition in partitions]):
            for records in (await consumer.getmany(timeout_ms=500)).values():
                found += [f"{r.key!r} {(r.value or b'').decode(errors='replace')} {r.headers}" for r in records]
    return "\n".join(found)


async def tables(dsn: str) -> dict[str, str]:
    """Every row of every table and materialised view of the database, as text, all schemas but PostgreSQL's own."""
    connection = await asyncpg.connect(dsn)
    try:
        names = await connection.fetch(
            "select format('%I.%I', schemaname, relname) as name from pg_stat_user_tables"
            " union select format('%I.%I', schemaname, matviewname) from pg_matviews"
        )
        found = {}
        for name in (row["name"] for row in names):
            found[name] = "\n".join(str(row["row"]) for row in await connection.fetch(f"select t::text as row from {name} as t"))
        return found
    finally:
        await connection.close()


async def test_nothing_of_people_is_kept_or_said_but_on_the_provinces_own_topic(
    service: Services, kafka: str, topics: Topics, database: TestDatabase, credentials: Credentials
) -> None:
    senders = json.loads(credentials.senders_file.read_text())
    (credentials.senders_file.parent / "codes.csv").write_bytes(SANDBOX_CODES.read_bytes())
    senders[SENDER] |= {"dialect": "exchange", "codes": "codes.csv"}
    credentials.senders_file.write_text(json.dumps(senders))
    await import_registry(database.dsn("utilities"))
    names = [
        ("intake", "api"),
        ("intake", "worker"),
        ("utilities", "api"),
        ("utilities", "worker"),
        ("metrics", "api"),
        ("metrics", "worker"),
    ]
    collectors = contextlib.ExitStack()
    collector = collectors.enter_context(collecting())
    on = {"ONETHING_OTLP_ENDPOINT": collector.url, "ONETHING_TRACE_RATIO": "1"}
    running: list[RunningService] = list(await asyncio.gather(*(service(name, process, **on) for name, process in names)))  # type: ignore[arg-type]
    intake, utilities = running[0], running[2]
    operator = {"authorization": f"Bearer {credentials.operator_token}", "onething-operator": IDENTITY}
    heard = Heard()

    async with httpx.AsyncClient(base_url=intake.url, trust_env=False, timeout=60) as client:
        sent = await put_on_kafka(kafka, topics)
        await push_intake(client, credentials.senders[SENDER], heard)
        async with httpx.AsyncClient(base_url=utilities.url, trust_env=False, timeout=60) as company:
            await push_company(company, credentials.companies[COMPANY], heard)

        async def all_is_taken() -> bool:
            found = (await client.get(f"{running[1].url}/metrics")).text
            counted = [float(line.split()[-1]) for line in found.splitlines() if line.startswith("onething_push_events_total{")]
            return sum(counted) >= sent

        await until(all_is_taken)
        at = datetime.now(UTC).isoformat()

        async def all_is_indexed() -> bool:
            status = await client.get(f"{PATH}/e-good", headers=signed(credentials.senders[SENDER], b""))
            return (status.json()["indexed_to"] or "") > at.replace("+00:00", "Z")

        await until(all_is_indexed)
        # The operator's routes too are asked with canaries, and told some to keep.
        parked = heard.take(await client.get("/v1/parked", params={"limit": 1000}, headers=operator)).json()["parked"]
        assert {row["service"] for row in parked} >= {"intake"}
        first = next(row["id"] for row in parked if row["service"] == "intake" and row["event_id"] == "e-good")
        for path in (
            f"/v1/parked?reason={quote(NAME)}",
            f"/v1/parked?sender={IDENTITY}",
            f"/v1/parked/{IDENTITY}",
            f"/v1/parked/{first}",
        ):
            heard.take(await client.get(path, headers=operator))
        for given in (event("e-good", "BD-good", applicant=PEOPLE, remark=NAME), event("e-good", IDENTITY), PEOPLE, [PEOPLE], NAME):
            heard.take(await client.post(f"/v1/parked/{first}/fix", json=given, headers=operator))
        heard.take(await client.post(f"/v1/parked/{first}/replay", headers=operator))
        heard.take(await client.post("/v1/parked/replay", json={"ids": [IDENTITY]}, headers=operator))
        for part in running:
            for path in ("/metrics", "/readyz", "/asyncapi.json"):
                heard.take(await client.get(f"{part.url}{path}"))
    await asyncio.sleep(1.5)  # what the workers do by themselves: snapshots, counters, the index
    for part in running:
        part.terminate()
    collectors.close()

    kept = {
        f"topic {spec.name}": await everything_in(kafka, spec.name) for spec in topics.specs() if spec.name != topics.province_push
    }
    kept |= {f"table {name}": text for name, text in (await tables(database.admin_dsn)).items()}
    kept |= {f"log of {part.part.name}": part.log for part in running}
    kept["answers"] = "\n".join(heard.said)
    kept["traces"] = "\n".join(span.text for span in collector.spans)
    pushed = await everything_in(kafka, topics.province_push)
    assert all(canary in pushed for canary in (IDENTITY, PHONE, NAME)), "the canaries did go in"
    proven = ["table intake.parked", "table intake.events", "table metrics.cases", "table utilities.installations"]
    proven += ["answers", "traces"]
    for place in (
        *proven,
        *(f"topic {name}" for name in (topics.case_events, topics.parked, topics.utility_events, topics.progress)),
    ):
        assert kept[place], f"{place} is empty: nothing is proven of it"
    assert "e-good" in kept["answers"]
    assert {span.service for span in collector.spans} == {f"{name}-{process}" for name, process in names}
    found = [(place, canary, _around(text, canary)) for place, text in kept.items() for canary in LOOKED_FOR if canary in text]
    assert not found


def _around(text: str, canary: str) -> str:
    place = text.index(canary)
    return text[max(0, place - 300) : place + 100]
