"""Checking and mending the figures: routes, commands, and what a rebuild from the log refuses, carries over and parks."""

import argparse
import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import asyncpg
import httpx
import pytest
import pytest_asyncio
from pydantic import SecretStr

from services.metrics import rebuild
from services.metrics.handlers.rebuilding import CannotRebuild
from services.metrics.main import MIGRATIONS, build_api, main
from services.metrics.settings import Settings
from services.metrics.store import rebuild as store
from shared import counties, postgres
from shared.kafka import LogReader, Message, Publisher, Topics
from shared.kafka.log import UnknownTopic
from tests import load, oracle
from tests.conftest import TestDatabase
from tests.metrics_support import counted, send

OPERATOR = {"Authorization": "Bearer operator"}
READER = {"Authorization": "Bearer reader"}


def settings_of(kafka: str, topics: Topics, database: TestDatabase) -> Settings:
    return Settings(
        kafka=kafka,
        topic_prefix=topics.prefix,
        postgres_dsn=SecretStr(database.dsn("metrics")),
        postgres_admin_dsn=SecretStr(database.admin_dsn),
        reader_token=SecretStr("reader"),
        operator_token=SecretStr("operator"),
        batch_records=300,
    )


@pytest.fixture
def settings(kafka: str, topics: Topics, database: TestDatabase) -> Settings:
    return settings_of(kafka, topics, database)


@pytest_asyncio.fixture
async def admin(database: TestDatabase) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database.admin_dsn)
    yield connection
    await connection.close()


@pytest_asyncio.fixture
async def client(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    app = build_api(settings, clock=lambda: datetime(2024, 12, 31, tzinfo=UTC))
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://metrics", headers=OPERATOR) as opened:
            yield opened


async def from_log(settings: Settings, *options: str) -> dict[str, Any]:
    chosen: argparse.Namespace = rebuild.options(["--from", "log", *options])
    return await rebuild.run(settings, chosen, list(MIGRATIONS.glob("*.sql")))


async def schemas(admin: asyncpg.Connection) -> set[str]:
    return {row[0] for row in await admin.fetch("select nspname from pg_namespace where nspname like 'metrics%'")}


async def test_only_the_operator_rebuilds(client: httpx.AsyncClient) -> None:
    for headers, status in ((OPERATOR, 200), (READER, 403), ({"Authorization": "Bearer wrong"}, 401)):
        answer = await client.post("/v1/rebuild", headers=headers)
        assert answer.status_code == status
        if status != 200:
            assert answer.headers["content-type"] == "application/problem+json"
    answer = await client.post("/v1/rebuild", params={"from": "log"})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/query/from")
    for path in ("/v1/recount", "/v1/consistency"):
        assert (await client.get(path, headers=READER)).status_code == 200
        assert (await client.get(path, headers={"Authorization": ""})).status_code == 401
        assert (await client.get(path, params={"county": "999999"})).json()["errors"][0]["pointer"] == "/query/county"
    wrong = await client.get("/v1/recount", params={"from": "2024-10-01", "as_of": "2024-09-30"})
    assert (wrong.status_code, wrong.json()["errors"][0]["pointer"]) == (422, "/query/from")


async def test_the_recount_answers_as_the_counters_do_and_needs_none_of_them(
    client: httpx.AsyncClient, settings: Settings, topics: Topics, admin: asyncpg.Connection
) -> None:
    distinct, arriving = load.season(41, cases=300)
    await send(settings.kafka, topics.case_events, arriving)
    assert (await from_log(settings))["offsets"] == len(arriving)
    asked = [
        {},
        {"item": "transport-opening"},
        {"item": "restaurant-opening", "as_of": "2024-07-31"},
        {"from": "2024-06-01", "as_of": "2024-06-30"},
    ]
    expected = [(await client.get("/v1/counts", params=parameters)).json() for parameters in asked]
    assert all(answer["total"]["handled"] > 0 for answer in expected)
    await admin.execute("delete from metrics.counters; delete from metrics.counter_deltas")
    for parameters, counts in zip(asked, expected, strict=True):
        answer = (await client.get("/v1/recount", params=parameters)).json()
        assert {name: answer[name] for name in counts} == {name: counts[name] for name in counts}
    one = (await client.get("/v1/recount", params={"county": "130607"})).json()
    assert [row["county"] for row in one["rows"]] == ["130607"]
    assert one["total"]["handled"] == expected[0]["rows"][list(counties.BY_CODE).index("130607")]["handled"]
    # All counters are gone: each cell of the truth differs, and the answer lists the first thousand.
    truth = oracle.count(distinct)
    found = (await client.post("/v1/rebuild")).json()
    assert (found["differing"], len(found["changed"])) == (len(truth), min(len(truth), 1000))
    assert await counted(str(settings.postgres_admin_dsn and settings.postgres_admin_dsn.get_secret_value())) == truth
    assert (await client.post("/v1/rebuild")).json()["changed"] == []
    # Whole months are read from a table of their own. Emptied at a stroke, the days leave the months as they were.
    await admin.execute(
        "truncate metrics.counters; update metrics.counters_by_month set online = online + 1 where county = '130607'"
    )
    assert {row["span"] for row in (await client.get("/v1/consistency", params={"county": "130607"})).json()["drift"]} == {
        "day",
        "month",
        "total",
    }
    await client.post("/v1/rebuild")
    assert (await client.get("/v1/consistency")).json()["drift"] == []
    assert [(await client.get("/v1/counts", params=parameters)).json() for parameters in asked] == expected
    await admin.execute("update metrics.counters_by_month set online = online + 1 where county = '130607' and month = '2024-06-01'")
    drift = (await client.get("/v1/consistency")).json()["drift"]
    assert {(row["span"], row["county"], row["day"], row["measure"], row["counter"] - row["recount"]) for row in drift} == {
        ("month", "130607", "2024-06-01", "online", 1)
    }
    await client.post("/v1/rebuild")
    assert [(await client.get("/v1/counts", params=parameters)).json() for parameters in asked] == expected


async def test_a_rebuild_refuses_to_lose_what_the_log_does_not_hold(
    settings: Settings, topics: Topics, admin: asyncpg.Connection
) -> None:
    _, arriving = load.season(42, cases=50)
    await send(settings.kafka, topics.case_events, arriving)
    await from_log(settings)
    before = await admin.fetch("select * from metrics.cases order by case_no")
    await admin.execute("update metrics.offsets set next_offset = next_offset + 1000 where partition = 3 and topic like '%case%'")
    with pytest.raises(CannotRebuild, match=r"up to 1\d+, and the log there ends at"):
        await from_log(settings)
    with pytest.raises(UnknownTopic, match=r"has no topic nobody\.case-events\.v1, nobody\.progress\.v1"):
        await from_log(settings.model_copy(update={"topic_prefix": "nobody"}))
    await admin.execute("create table metrics.letters (n int)")
    with pytest.raises(CannotRebuild, match="whether these tables come from the log: letters"):
        await from_log(settings)
    await admin.execute("drop table metrics.letters; update metrics.offsets set topic_id = gen_random_uuid()")
    with pytest.raises(CannotRebuild, match="is another topic"):
        await from_log(settings)
    assert await schemas(admin) == {"metrics"}
    assert await admin.fetch("select * from metrics.cases order by case_no") == before
    done = await from_log(settings, "--accept-shorter-log")
    assert done["offsets"] == len(arriving)
    assert await admin.fetchval("select count(distinct topic_id) from metrics.offsets") == 2


async def test_migrations_that_differ_are_not_swapped_in(
    settings: Settings, database: TestDatabase, admin: asyncpg.Connection
) -> None:
    await store.make_fresh(admin)
    await postgres.migrate(database.admin_dsn, store.FRESH, list(MIGRATIONS.glob("*.sql")))
    await admin.execute("update metrics.migrations set body = body || ' '")
    with pytest.raises(store.Busy, match="migrated meanwhile"):
        async with store.fenced(admin):
            await store.swap(admin)
    assert await schemas(admin) == {"metrics", "metrics_rebuild"}
    with pytest.raises(CannotRebuild, match="run `migrate`"):
        await from_log(settings)
    assert await schemas(admin) == {"metrics"}


async def test_what_is_nowhere_else_is_carried_over_with_its_rights(
    settings: Settings, database: TestDatabase, admin: asyncpg.Connection
) -> None:
    await admin.execute("create table metrics.letters (n int generated always as identity, said text)")
    await admin.execute("insert into metrics.letters (said) values ('frozen')")
    await store.make_fresh(admin)
    await postgres.migrate(database.admin_dsn, store.FRESH, list(MIGRATIONS.glob("*.sql")))
    await admin.execute("create table metrics_rebuild.letters (n int generated always as identity, said text)")
    async with store.fenced(admin):
        await store.swap(admin, kept={"letters"})
    await store.drop_before(admin)
    role = await asyncpg.connect(database.dsn("metrics"))
    await role.execute("insert into letters (said) values ('more')")
    assert [tuple(row) for row in await role.fetch("select * from letters order by n")] == [(1, "frozen"), (2, "more")]
    await role.close()


async def test_what_a_rebuild_changes_is_told_as_what_arrives_is(
    settings: Settings, topics: Topics, admin: asyncpg.Connection
) -> None:
    _, arriving = load.season(46, cases=60)
    await send(settings.kafka, topics.case_events, arriving)
    await from_log(settings)
    sums = "select coalesce(sum(handled), 0)::int from metrics.{}"
    handled = await admin.fetchval(sums.format("totals"))
    assert await admin.fetchval(sums.format("moves where why = 'recount'")) == handled, "it counted all of it"
    # Drift; a batch that is counted and not folded; a change that only the journal knows; when a source was heard.
    await admin.execute("update metrics.counters set handled = handled + 3 where county = '130607'")
    drift = await admin.fetchval(sums.format("totals")) - handled
    await admin.execute(
        """
        insert into metrics.counter_deltas (why, item, county, day, handled, applied, accepted, completed, completed_on_time,
            not_accepted, returned, withdrawn, online)
        values ('deleted', '{retirement}', '{130602}', '{2024-06-01}', '{-2}',
            '{0}', '{0}', '{0}', '{0}', '{0}', '{0}', '{0}', '{0}');
        insert into metrics.journal (source, case_no, why) values ('urn:x', 'c1', 'deleted');
        update metrics.heard set heard_at = '2024-10-01T00:00:00Z'
        """
    )
    await from_log(settings)
    assert await admin.fetchval(sums.format("totals")) == handled
    by = dict(await admin.fetch("select why, sum(handled)::int from metrics.moves group by why"))
    assert by == {"recount": handled - drift + 2, "deleted": -2}, "told together they are by how much the figure moved"
    assert await admin.fetchval("select string_agg(case_no, '') from metrics.journal") == "c1", "what it wrote anew is no news"
    assert str(await admin.fetchval("select max(heard_at) from metrics.heard")) == "2024-10-01 00:00:00+00:00"


async def test_a_reader_with_a_transaction_open_delays_neither_the_swap_nor_other_readers(
    settings: Settings, database: TestDatabase, topics: Topics, admin: asyncpg.Connection
) -> None:
    _, arriving = load.season(43, cases=50)
    await send(settings.kafka, topics.case_events, arriving)
    await from_log(settings)
    reader = await asyncpg.connect(database.dsn("metrics"))
    statement = await reader.prepare("select count(*) from counted")
    async with reader.transaction():
        first = await statement.fetchval()
        before = await admin.fetchval("select 'metrics.cases'::regclass::oid")
        rebuilding = asyncio.create_task(from_log(settings))
        slowest = 0.0
        while await admin.fetchval("select 'metrics.cases'::regclass::oid") == before:
            begun = time.monotonic()
            other = await asyncpg.connect(database.dsn("metrics"))
            assert await other.fetchval("select count(*) from counted") > 0
            await other.close()
            slowest = max(slowest, time.monotonic() - begun)
            assert not rebuilding.done(), rebuilding.result()
        # The statement that was prepared on the old tables goes on, within the transaction and after it.
        assert await statement.fetchval() > 0
    assert (await rebuilding)["kept"] is None
    assert first > 0
    assert await statement.fetchval() > 0
    assert slowest < 5
    assert await schemas(admin) == {"metrics"}
    await reader.close()


async def test_poison_is_parked_once_by_worker_or_rebuild_and_stops_no_rebuild(
    settings: Settings, topics: Topics, admin: asyncpg.Connection
) -> None:
    distinct, arriving = load.season(44, cases=20)
    await poison(settings, topics)
    for known in (15, 30):
        # Too few to be judged: taken and parked, with the next fifteen as well as alone.
        await from_log(settings)
        assert await parked(settings, topics) == known
        if known == 15:
            await poison(settings, topics)
    # All thirty in one batch: known, so neither judged nor parked again.
    await send(settings.kafka, topics.case_events, arriving)
    await from_log(settings)
    assert await parked(settings, topics) == 30
    assert await counted(settings.postgres_admin_dsn.get_secret_value()) == oracle.count(distinct)  # type: ignore[union-attr]


async def poison(settings: Settings, topics: Topics) -> None:
    async with Publisher(settings.kafka, client_id="test") as publisher:
        await publisher.publish([Message(topics.case_events, "same", b"poison") for _ in range(15)])


async def parked(settings: Settings, topics: Topics) -> int:
    async with LogReader(settings.kafka, [topics.parked], client_id="test") as reader:
        return sum((await reader.ends()).values())


@pytest.mark.parametrize("arguments", [["rebuild", "--from", "memory"], ["rebuild", "now"]])
def test_a_wrong_option_is_told_the_right_ones(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "--from {cases,log}" in capsys.readouterr().err
