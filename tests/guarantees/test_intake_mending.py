"""What became of each event, and how what is parked is mended: real processes from the push to the counters."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import asyncpg
import httpx
import orjson
import pytest

from services.intake.domain import SHOWN_FIELDS, Sender, judge
from services.intake.handlers import indexing
from services.intake.handlers.mending import Mender
from services.intake.store import parked
from shared import postgres
from shared.kafka import KafkaUnavailable, Message, Publisher, Topics
from shared.parking import parked_event
from shared.verdicts import Rejected
from tests.conftest import Credentials, Services, TestDatabase
from tests.intake_support import PATH, SENDER, SOURCE, changed, event, push, signed
from tests.metrics_support import counted, until
from tests.utilities_support import events_of, records_of

NOWHERE = "postgresql://nobody:nothing@127.0.0.1:1/nowhere"


class Asking:
    """A sender and an operator before one intake api."""

    def __init__(self, client: httpx.AsyncClient, credentials: Credentials) -> None:
        self.client = client
        self.secret = credentials.senders[SENDER]
        self.operator = {"authorization": f"Bearer {credentials.operator_token}", "onething-operator": "li.si"}

    async def status(self, event_id: str) -> dict[str, Any]:
        answer = await self.client.get(f"{PATH}/{event_id}", headers=signed(self.secret, b""))
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def until_status(self, event_id: str, wanted: str) -> dict[str, Any]:
        async def reached() -> bool:
            return bool((await self.status(event_id))["status"] == wanted)

        await until(reached)
        return await self.status(event_id)

    async def parked(self, **wanted: str) -> list[dict[str, Any]]:
        answer = await self.client.get("/v1/parked", params=wanted, headers=self.operator)
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["parked"]
        return found

    async def do(self, path: str, content: Any = None, **query: str) -> httpx.Response:
        return await self.client.post(f"/v1/parked/{path}", json=content, params=query, headers=self.operator)


async def test_each_event_is_told_and_what_is_parked_is_corrected_rehearsed_and_replayed_once(
    service: Services, kafka: str, topics: Topics, database: TestDatabase, credentials: Credentials
) -> None:
    metrics, api, _, _ = [
        await service("metrics", "api"),
        await service("intake", "api", ONETHING_METRICS_URL=service.started[0].url),
        await service("intake", "worker"),
        await service("metrics", "worker"),
    ]
    batch = [
        event("e-1", "BD-1"),
        event("e-2", "BD-2", county="130102", applicant={"name": "张三"}),
        event("e-3", "BD-2", item="unknown", step="accepted", recorded_at="2024-09-30T10:00:00+08:00"),
        event("e-4", "BD-2", item="unknown", step="completed", recorded_at="2024-09-30T11:00:00+08:00"),
        changed(event("e-5", "BD-5"), source="urn:onething:province:other"),
        event("e-6", "BD-6", channel="张三"),
        event("e-7", "BD-7", county="1"),
    ]
    poison = event("e-8", "BD-8", step="unknown", operation="upsert", data_version=1)
    async with httpx.AsyncClient(base_url=api.url, trust_env=False, timeout=20) as client:
        asking = Asking(client, credentials)
        assert (await push(client, asking.secret, batch)).json()["rejected"] == 6
        async with Publisher(kafka, client_id="test") as publisher:
            await publisher.publish([Message(topics.case_events, "BD-8", orjson.dumps(poison))])

        # Each event's sender is told what became of it.
        stored = await asking.until_status("e-1", "stored")
        [record] = [r for r in await records_of(kafka, topics.case_events) if r.key == b"BD-1"]
        assert stored["stored"] | {"time": ""} == {
            "topic": topics.case_events, "partition": record.partition, "offset": record.offset, "time": ""
        }  # fmt: skip
        told = await asking.until_status("e-2", "parked")
        assert (told["parked"]["reason"], told["parked"]["errors"][0]["pointer"]) == ("unknown-county", "/data/county")
        assert (await asking.until_status("e-8", "parked"))["parked"]["reason"] == "malformed"

        async def past() -> bool:
            return bool((await asking.status("e-0"))["indexed_to"] > stored["indexed_to"])

        await until(past)
        assert (await asking.status("e-0"))["status"] == "unknown"

        # One answer for the three causes of 401; the operator's routes are the operator's.
        wrong = "whsec_" + "bm9ib2R5IGhhcyB0aGlzIGtleS4uLi4uLi4="
        refused = [
            await client.get("/v1/senders/nobody/events/e-1", headers=signed(asking.secret, b"")),
            await client.get(f"{PATH}/e-1", headers=signed(wrong, b"")),
            await client.get(f"{PATH}/e-1", headers=signed(asking.secret, b"", message_id="m") | {"webhook-timestamp": "1"}),
            await client.get(f"{PATH}/e-1"),
        ]
        assert {answer.status_code for answer in refused} == {401}
        assert len({orjson.dumps(answer.json() | {"instance": ""}) for answer in refused}) == 1
        for headers in ({}, {"authorization": "Bearer x"}, {"authorization": f"Bearer {credentials.reader_token}"}):
            assert (await client.get("/v1/parked", headers=headers)).status_code == 401

        # Listed, filtered, by pages, shown.
        async def all_indexed() -> bool:
            return len(await asking.parked()) == 7

        await until(all_indexed)
        all_parked = await asking.parked()
        by_event = {row["event_id"]: row["id"] for row in all_parked}
        assert by_event.keys() == {f"e-{n}" for n in range(2, 9)}
        assert {row["event_id"] for row in await asking.parked(reason="unknown-item", service="intake", sender=SENDER)} == {
            "e-3",
            "e-4",
        }
        assert await asking.parked(since="2999-01-01T00:00:00Z") == []
        first = (await client.get("/v1/parked?limit=3", headers=asking.operator)).json()
        rest = (await client.get("/v1/parked", params={"after": first["next"]}, headers=asking.operator)).json()
        assert (first["count"], [*first["parked"], *rest["parked"]], rest["next"]) == (7, all_parked, None)
        shown = (await client.get(f"/v1/parked/{by_event['e-2']}", headers=asking.operator)).json()
        assert (shown["state"], shown["payload"]["data"]["county"], shown["events"], shown["audit"]) == ("open", "130102", None, [])
        assert "applicant" not in shown["payload"]["data"]

        # A correction is judged at once, keeps id and place in time, and drops people's data.
        async def fix(event_id: str, given: Any) -> tuple[int, list[str]]:
            answer = await asking.do(f"{by_event[event_id]}/fix", given)
            return answer.status_code, [error["pointer"] for error in answer.json().get("errors", [])]

        right = event("e-2", "BD-2", applicant={"name": "张三"})
        assert await fix("e-2", event("e-2", "BD-2", county="130102")) == (422, ["/data/county"])
        assert await fix("e-2", changed(right, id="e-9")) == (422, ["/id"])
        assert await fix("e-2", event("e-2", "BD-2", recorded_at="2024-10-01T09:00:00+08:00")) == (422, ["/data/recorded_at"])
        assert await fix("e-2", "x") == (422, [""])
        assert (await asking.do(f"{'0' * 32}/fix", right)).status_code == 404
        bare = {"subject": "BD-2", "data": {k: v for k, v in right["data"].items() if k != "recorded_at"}}
        fixed = await asking.do(f"{by_event['e-2']}/fix", bare)
        assert fixed.status_code == 200, fixed.text
        [made] = fixed.json()["events"]
        assert (made["id"], made["source"], made["data"]["recorded_at"]) == ("e-2", SOURCE, "2024-09-30T01:00:01.000002Z")
        assert "applicant" not in made["data"]
        assert (await asking.status("e-2"))["parked"]["fixed"] is True
        for event_id, step, hour in (("e-3", "accepted", 10), ("e-4", "completed", 11)):
            given = event(
                event_id, "BD-2", step=step, recorded_at=f"2024-09-30T{hour}:00:00+08:00", occurred_at="2024-09-30T09:30:00+08:00"
            )
            assert await fix(event_id, given) == (200, [])
        assert await fix("e-8", event("e-8", "BD-8")) == (200, [])

        # Rehearsed: what would be counted, and nothing is.
        ends = len(await records_of(kafka, topics.case_events))
        ids = [by_event[f"e-{n}"] for n in (4, 8, 3, 2, 6, 5, 7)]
        rehearsed = (await asking.do("replay", {"ids": ids}, dry_run="true")).json()
        assert {result["id"]: result["status"] for result in rehearsed["results"]} == dict(
            zip(ids, ["would-replay"] * 4 + ["refused"] * 3, strict=True)
        )
        reasons = {
            result["id"]: result["problem"]["type"].rpartition(":")[2] for result in rehearsed["results"] if "problem" in result
        }
        assert [reasons[by_event[e]] for e in ("e-6", "e-5", "e-7")] == ["needs-fix", "not-entitled", "unknown-county"]
        assert {(d["county"], d["item"], d["day"], d["measure"]): d["delta"] for d in rehearsed["deltas"]} == {
            ("130607", "disabled-service", "2024-09-30", "handled"): 2,
            ("130607", "disabled-service", "2024-09-30", "applied"): 2,
            ("130607", "disabled-service", "2024-09-30", "accepted"): 1,
            ("130607", "disabled-service", "2024-09-30", "completed"): 1,
        }
        assert len(await records_of(kafka, topics.case_events)) == ends
        before = await counted(database.admin_dsn)

        # Replayed in the order of each case; a second time changes nothing.
        replayed = (await asking.do("replay", {"ids": ids})).json()
        assert (replayed["replayed"], replayed["refused"]) == (4, 3)
        after = events_of(await records_of(kafka, topics.case_events))
        assert [e["id"] for e in after if e["subject"] == "BD-2"] == ["e-2", "e-3", "e-4"]
        again = (await asking.do("replay", {"ids": ids})).json()
        assert {result["status"] for result in again["results"]} == {"already-replayed", "refused"}
        assert len(await records_of(kafka, topics.case_events)) == ends + 4 == len(after)
        assert await fix("e-2", right) == (409, [])

        async def as_rehearsed() -> bool:
            moved = await counted(database.admin_dsn)
            moved.subtract(before)
            return sorted((str(cell[2]), cell[3], n) for cell, n in moved.items() if n) == sorted(
                (d["day"], d["measure"], d["delta"]) for d in rehearsed["deltas"]
            )

        await until(as_rehearsed)
        for event_id in ("e-2", "e-3", "e-4", "e-8"):
            assert "parked" not in await asking.until_status(event_id, "stored")
        done = (await client.get(f"/v1/parked/{by_event['e-2']}", headers=asking.operator)).json()
        assert (done["state"], [(line["who"], line["action"]) for line in done["audit"]]) == (
            "replayed", [("li.si", "fixed"), ("li.si", "replayed")]
        )  # fmt: skip
        trail = (await client.get("/v1/audit", headers=asking.operator)).json()["entries"]
        assert {line["action"] for line in trail if line["subject"] == by_event["e-2"]} == {"parked.fix", "parked.replay"}
        assert {(line["service"], line["role"], line["who"]) for line in trail} == {("intake", "operator", "li.si")}

        # What its sender sends again, rightly, is nobody's work any more; the operator's own question is bounded.
        assert (await push(client, asking.secret, event("e-7", "BD-7"))).status_code == 202
        await asking.until_status("e-7", "stored")
        assert {row["event_id"]: row["state"] for row in await asking.parked(state="resent")} == {"e-7": "resent"}
        assert {row["event_id"] for row in await asking.parked(state="todo")} == {"e-5", "e-6"}
        one = await asking.do(f"{by_event['e-7']}/replay", dry_run="true")
        assert one.json()["results"][0]["status"] == "refused"

        # The index is made anew from the log; what people did is kept.
        connection = await asyncpg.connect(database.dsn("intake"))
        try:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute("delete from audit")
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute("update audit set who = ''")
            async with connection.transaction():
                for table in ("offsets", "events", "parked", "indexed"):
                    await connection.execute(f"delete from {table}")
        finally:
            await connection.close()
        assert (await asking.until_status("e-1", "stored"))["stored"] == stored["stored"]

        async def whole() -> bool:
            return (await asking.status("e-1"))["indexed_to"] is not None

        await until(whole)
        assert {row["event_id"]: row["state"] for row in await asking.parked()} == {
            **{f"e-{n}": "replayed" for n in (2, 3, 4, 8)}, "e-5": "open", "e-6": "open", "e-7": "resent"
        }  # fmt: skip
        assert (await httpx.AsyncClient(trust_env=False).get(f"{metrics.url}/livez")).status_code == 200


class LosesTheAnswer(Publisher):
    """A publisher whose caller does not hear that the first messages were stored, as when it dies then."""

    heard = False

    async def publish(self, messages: Sequence[Message]) -> None:
        await super().publish(messages)
        if not self.heard:
            self.heard = True
            raise KafkaUnavailable("lost")


async def test_a_replay_that_died_before_its_mark_is_made_again_and_two_at_once_are_one(
    kafka: str, topics: Topics, database: TestDatabase
) -> None:
    senders = {SENDER: Sender(SENDER, SOURCE)}
    now = datetime(2024, 9, 30, 9, tzinfo=UTC)
    early = [event(f"e-{n}", "BD-1", occurred_at="2024-09-30T12:00:00Z") for n in range(3)]
    async with (
        await postgres.open_pool(database.dsn("intake"), application="test", size=4) as pool,
        LosesTheAnswer(kafka, client_id="test") as publisher,
    ):
        for offset, given in enumerate(early):
            verdict = judge(given, senders[SENDER], now)
            assert isinstance(verdict, Rejected)
            value = parked_event(
                service="intake", origin=f"t/0/{offset}", verdict=verdict, raw=b"", item=given,
                fields=SHOWN_FIELDS, sender=SENDER, at=now,
            )  # fmt: skip
            # The same record twice, as after a crash: it is one thing to mend.
            for place in (2 * offset, 2 * offset + 1):
                record = SimpleNamespace(offset=place, timestamp=0, value=value)
                await indexing.parked_indexer(senders.values)(pool, topics.parked, 0, place, [record])
        mender = Mender(lambda: senders, lambda: publisher, topics, lambda: now + timedelta(hours=6))
        async with pool.acquire() as db, pool.acquire() as other:
            ids = [kept.record.id for kept in await parked.listed(db, parked.Filter(), after=None, most=10)]
            assert len(ids) == 3
            with pytest.raises(KafkaUnavailable):
                await mender.replay(db, ids[:2], "a")
            assert {kept.state for kept in await parked.some(db, ids)} == {"open"}
            first, second = await asyncio.gather(mender.replay(db, ids, "a"), mender.replay(other, ids[::-1], "b"))
            done = sorted(outcome.status for outcome in (*first, *second))
            assert done == ["already-replayed"] * 3 + ["replayed"] * 3
            assert {kept.state for kept in await parked.some(db, ids)} == {"replayed"}
            assert sum([len(await parked.audited(db, one)) for one in ids]) == 3
    published = [record.value for record in await records_of(kafka, topics.case_events)]
    assert len(published) == 5
    assert sorted(orjson.loads(value or b"")["id"] for value in set(published)) == ["e-0", "e-1", "e-2"]


async def test_pushing_needs_no_database_and_asking_says_so(service: Services, credentials: Credentials) -> None:
    away, without = await asyncio.gather(
        service("intake", "api", ONETHING_POSTGRES_DSN=NOWHERE), service("intake", "api", ONETHING_POSTGRES_DSN="")
    )
    operator = {"authorization": f"Bearer {credentials.operator_token}"}
    for api in (away, without):
        async with httpx.AsyncClient(base_url=api.url, trust_env=False, timeout=20) as client:
            assert (await push(client, credentials.senders[SENDER], event())).status_code == 202
            for answer in (
                await client.get(f"{PATH}/e-1", headers=signed(credentials.senders[SENDER], b"")),
                await client.get("/v1/parked", headers=operator),
                await client.post(f"/v1/parked/{'0' * 32}/replay", headers=operator),
            ):
                assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
                assert answer.headers["content-type"] == "application/problem+json"
            assert (await client.get("/readyz")).status_code == 200
