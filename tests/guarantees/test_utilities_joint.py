"""Joint installation over a real Kafka: companies and case in any order, a worker killed in the middle, and a rebuild."""

import random
from datetime import UTC, datetime
from typing import Any

import asyncpg
import orjson

from services.utilities.handlers import rebuilding
from services.utilities.handlers.rebuilding import Progress
from services.utilities.store import subjects
from shared.kafka import LogReader, Message, Publisher, Topics
from tests import utilities_oracle as oracle
from tests.conftest import Services, TestDatabase
from tests.utilities_support import REGISTRY, as_told, import_registry, newest, pool_of, records_of, until

HEBEI, OTHER = "urn:onething:province:hebei", "urn:onething:province:other"
ASKED = ["water", "power", "gas", "telecom"]


def _case(case_no: str, event_id: str, *, source: str = HEBEI, minute: int = 0, **data: Any) -> dict[str, Any]:
    body = {"case_no": case_no, "recorded_at": f"2024-05-06T02:{minute:02}:00Z", "data_version": 1, "operation": "upsert"} | data
    return {
        "specversion": "1.0",
        "id": event_id,
        "source": source,
        "type": "cn.onething.case.step.v1",
        "subject": case_no,
        "data": body,
    }


def _opened(case_no: str, event_id: str, **data: Any) -> dict[str, Any]:
    given = {"item": "joint-installation", "county": "130607", "step": "applied", "occurred_at": "2024-05-06T01:00:00Z"}
    return _case(case_no, event_id, **{**given, "services": ASKED, **data})


def _steps(company: str, number: str, service: str, case_no: str, *steps: str, **data: Any) -> list[dict[str, Any]]:
    """The steps, one a working day from 7 May 2024 on."""
    return [
        oracle.installation(
            company, number, event_id=f"{number}-{place}", recorded_at=f"2024-05-{7 + place:02}T02:00:00Z", county="130607",
            service=service, case_no=case_no, step=step, occurred_at=f"2024-05-{7 + place:02}T01:00:00Z", customer_kind="resident",
            **data,
        )
        for place, step in enumerate(steps)
    ]  # fmt: skip


CASES = [
    _opened("open", "a1"),
    _opened("complete", "b1"),
    _opened("withdrawn", "c1"),
    _case("withdrawn", "c2", minute=5, step="withdrawn", occurred_at="2024-05-08T01:00:00Z"),
    _opened("deleted", "d1"),
    _case("deleted", "d2", minute=5, operation="delete"),
    _opened("changed", "e1"),
    _case("changed", "e2", minute=5, step="accepted", occurred_at="2024-05-07T01:00:00Z", services=["power"]),
    _opened("moved", "f1"),
    _case("moved", "f2", minute=5, step="accepted", occurred_at="2024-05-07T01:00:00Z", item="restaurant-opening"),
    _opened("twice", "g1"),
    _opened("twice", "g2", source=OTHER, services=["power"]),
    _opened("another-item", "h1", item="restaurant-opening"),
]
REPORTS = [
    *_steps("water-1", "open-w", "water", "open", "accepted", "surveyed", "plan_replied"),
    *_steps("power-1", "open-p", "power", "open", "accepted", "paused"),
    *_steps("water-1", "complete-w", "water", "complete", "accepted", "connected"),
    *_steps("power-1", "complete-p", "power", "complete", "accepted", "surveyed", "plan_replied", "connected"),
    *_steps("gas-1", "complete-g", "gas", "complete", "accepted", "cancelled"),
    *_steps("carrier-b", "complete-b", "telecom", "complete", "surveyed", "connected"),
    *_steps("carrier-a", "complete-a", "telecom", "complete", "cancelled"),
    *_steps("power-1", "changed-p", "power", "changed", "accepted"),
    *_steps("water-1", "changed-w", "water", "changed", "accepted"),
    *_steps("power-1", "twice-p", "power", "twice", "accepted"),
    *_steps("power-1", "twice-q", "power", "twice", "accepted", case_source=OTHER),
    *_steps("power-1", "early-p", "power", "never-pushed", "accepted"),
]


def _short(state: dict[str, Any]) -> Any:
    """What a joint installation says, in a line."""
    parts = {part["service"]: (part["status"], part.get("company"), part.get("installation_no")) for part in state["parts"]}
    return state["status"], state.get("slowest"), state.get("ended_on"), parts, state["unasked"], state["ambiguous"]


UNTOUCHED = {
    "water": ("unreported", "water-1", None),
    "power": ("unreported", "power-1", None),
    "gas": ("unreported", "gas-1", None),
}
TELECOM = {"telecom": ("no_company", None, None)}
EXPECTED: dict[str, Any] = {
    f"{HEBEI}/open": (
        "open", "telecom", None,
        {"water": ("in_progress", "water-1", "open-w"), "power": ("paused", "power-1", "open-p"),
         "gas": ("unreported", "gas-1", None), **TELECOM}, [], [],
    ),
    f"{HEBEI}/complete": (
        "complete", "power", "2024-05-10",
        {"water": ("connected", "water-1", "complete-w"), "power": ("connected", "power-1", "complete-p"),
         "gas": ("cancelled", "gas-1", "complete-g"), "telecom": ("connected", "carrier-b", "complete-b")}, [], [],
    ),
    f"{HEBEI}/withdrawn": ("ended", None, "2024-05-08", UNTOUCHED | TELECOM, [], []),
    f"{HEBEI}/changed": ("open", "power", None, {"power": ("in_progress", "power-1", "changed-p")}, ["water-1/changed-w"], []),
    f"{HEBEI}/twice": ("open", "telecom", None, UNTOUCHED | TELECOM, [], ["power-1/twice-p"]),
    f"{OTHER}/twice": ("open", "power", None, {"power": ("in_progress", "power-1", "twice-q")}, [], ["power-1/twice-p"]),
}  # fmt: skip


async def _send(kafka: str, topics: Topics, events: list[dict[str, Any]]) -> None:
    async with Publisher(kafka, client_id="test", timeout_seconds=20) as publisher:
        for event in events:  # one by one: the order between the topics matters
            topic = topics.case_events if event["type"] == "cn.onething.case.step.v1" else topics.utility_events
            await publisher.publish([Message(topic, event["subject"], orjson.dumps(event))])


async def _number(admin_dsn: str, statement: str) -> int:
    connection = await asyncpg.connect(admin_dsn)
    try:
        return int(await connection.fetchval(statement))
    finally:
        await connection.close()


async def _joint(kafka: str, topics: Topics) -> dict[str, Any]:
    told = newest(await records_of(kafka, topics.progress))
    return {subject: one["state"] for (kind, subject), one in told.items() if kind == "joint" and not one["deleted"]}


async def test_companies_and_case_in_any_order_with_a_worker_killed_and_the_state_rebuilt(
    service: Services, kafka: str, topics: Topics, database: TestDatabase
) -> None:
    dsn = database.dsn("utilities")
    await import_registry(dsn)
    chance = random.Random(11)
    events = [*CASES, *REPORTS, *chance.choices([*CASES, *REPORTS], k=12)]
    chance.shuffle(events)
    # An item is corrected to another one after it was known as a joint installation (README: the one order that matters).
    events.sort(key=lambda event: event["id"] == "f2")
    worker = await service("utilities", "worker", ONETHING_BATCH_RECORDS="100")
    await _send(kafka, topics, events[: len(events) // 2])
    worker.kill()
    await _send(kafka, topics, events[len(events) // 2 :])
    worker.launch()
    await worker.ready()
    waits = " + ".join(f"(select count(*) from utilities.{t} where version > published_version)" for t in subjects.TABLES.values())

    async def told(least: int = len(events)) -> bool:
        taken = await _number(database.admin_dsn, "select coalesce(sum(next_offset), 0) from utilities.offsets")
        left = await _number(database.admin_dsn, f"select {waits} + (select count(*) from utilities.joint_waiting)")
        return taken >= least and left == 0

    await until(told)

    states = await _joint(kafka, topics)
    assert {subject: _short(state) for subject, state in states.items()} == EXPECTED
    part = states[f"{HEBEI}/open"]["parts"][0]
    assert (part["companies"], part["step"], part["last_on"], part["next_step"]) == (
        ["water-1"], "plan_replied", "2024-05-09", "works_started",
    )  # fmt: skip

    # A registry with a carrier for the county: the same case now has somebody to wait for.
    await import_registry(dsn, _with_carriers())

    async def carriers() -> bool:
        found = (await _joint(kafka, topics))[f"{HEBEI}/open"]["parts"][3]
        return bool(found["status"] == "unreported" and found["companies"] == ["carrier-a", "carrier-b"] and "company" not in found)

    await until(carriers, 20)

    # Rebuilt from the log, all is as it was, with greater versions; what the log does not mention is gone.
    before = newest(await records_of(kafka, topics.progress))
    await _forge(database.admin_dsn)
    seen: list[Progress] = []
    async with pool_of(dsn) as pool, LogReader(kafka, [topics.utility_events, topics.case_events], client_id="test") as reader:
        done = await rebuilding.rebuild(pool, reader, lambda: datetime.now(UTC), seen.append, accept_shorter_log=False)
    assert (done.offsets, done.gone) == (len(events), 1)
    assert seen[-1].read == seen[-1].of == len(events)
    await until(told)
    after = newest(await records_of(kafka, topics.progress))
    assert as_told(after) == oracle.told(REPORTS) | {("installation", "power-1/forged"): None}
    kept = {key for key in before if key[0] == "installation"}
    assert all(after[key]["version"] > before[key]["version"] for key in kept)
    assert {key: one["state"] for key, one in after.items() if key[0] == "joint"} == {
        key: one["state"] for key, one in before.items() if key[0] == "joint"
    }


def _with_carriers() -> str:
    lines = "".join(f"carrier-{x},{x}通信公司,telecom,130607,2023-01-01,\n" for x in "ab")
    return REGISTRY + lines


async def _forge(admin_dsn: str) -> None:
    """An installation that no event told of, as after a restore of tables that do not belong together."""
    connection = await asyncpg.connect(admin_dsn)
    try:
        await connection.execute(
            "insert into utilities.installations (subject, events, state, version) select 'power-1/forged', events, state, version"
            " from utilities.installations where subject = 'power-1/open-p'"
        )
    finally:
        await connection.close()
