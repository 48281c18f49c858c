"""The bare minimum that any counting pays: reading the topic, and writing its events into PostgreSQL, with nothing counted.

``python -m benchmarks.bare`` does one of them, told by its environment, and prints what it took. Times exclude the
making of rows; one connection or one consumer, as one process of a service would have at least.
"""

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import Any, Final

import asyncpg
import uvloop
from aiokafka import AIOKafkaConsumer

from benchmarks import rival
from benchmarks.load import FIRST_DAY, STEPS, Event, Workload, batched
from benchmarks.rival import Clock

BATCH: Final = 10_000
"""Rows a transaction: larger ones gained nothing."""

NARROW: Final = """create table narrow (case_no text collate "C" primary key, event text not null)"""
WIDE: Final = """
create table wide (
    source_id smallint not null, case_no text collate "C" not null, data_version int not null, deleted boolean not null,
    latest_at bigint not null, county text collate "C", item text collate "C", channel text collate "C", promised_on date,
    handled_on date, applied_on date, accepted_on date, completed_on date, completed_on_time_on date, not_accepted_on date,
    returned_on date, withdrawn_on date, online_on date, events text not null, primary key (source_id, case_no)
)
"""
_UPSERT_NARROW: Final = """
insert into narrow select * from unnest($1::text[], $2::text[]) on conflict (case_no) do update set event = excluded.event
"""
_WIDE_TYPES: Final = ("smallint", "text", "int", "boolean", "bigint", *("text",) * 3, *("date",) * 10, "text")
_WIDE_COLUMNS: Final = (
    "data_version", "deleted", "latest_at", "county", "item", "channel", "promised_on", "handled_on", "applied_on", "accepted_on",
    "completed_on", "completed_on_time_on", "not_accepted_on", "returned_on", "withdrawn_on", "online_on", "events",
)  # fmt: skip
_UPSERT_WIDE: Final = f"""
insert into wide select * from unnest({", ".join(f"${n}::{kind}[]" for n, kind in enumerate(_WIDE_TYPES, 1))})
on conflict (source_id, case_no) do update set {", ".join(f"{name} = excluded.{name}" for name in _WIDE_COLUMNS)}
"""

Row = tuple[Any, ...]


def narrow_row(event: Event) -> Row:
    """Key and event, as text."""
    return event.case.number, event.value.decode()


def wide_row(event: Event) -> Row:
    """A row like that of ``metrics.cases`` after this event, were it alone."""
    case, step, value = event
    day: date = FIRST_DAY + timedelta(days=case.days[step])
    steps = [day if step == place else None for place in range(len(STEPS))]
    # What a case keeps of an event is about a quarter of it.
    return (1, case.number, 1, False, step, case.county, case.item, case.channel, day, day, *steps, day, None, None, None, day,
            value[:200].decode())  # fmt: skip


async def read(given: dict[str, Any], clock: Clock) -> int:
    """One consumer, ``getmany``, counts records."""
    consumer = AIOKafkaConsumer(
        given["topic"], bootstrap_servers=given["kafka"], group_id="bare-read", auto_offset_reset="earliest",
        max_partition_fetch_bytes=2 * 1024 * 1024,
    )  # fmt: skip
    await consumer.start()
    done = 0
    try:
        while not done:
            done = sum(map(len, (await consumer.getmany(timeout_ms=500)).values()))
        first = done
        clock.start()
        while done < given["events"]:
            done += sum(map(len, (await consumer.getmany(timeout_ms=500)).values()))
        clock.stop()
    finally:
        await consumer.stop()
    return done - first


async def write(given: dict[str, Any], groups: Iterator[Sequence[Event]], clock: Clock) -> int:
    """``unnest`` upserts, or COPY into tables without a key, for a COPY cannot upsert."""
    make, ddl, name = (narrow_row, NARROW, "narrow") if given["rows"] == "narrow" else (wide_row, WIDE, "wide")
    upsert = _UPSERT_NARROW if name == "narrow" else _UPSERT_WIDE
    db = await asyncpg.connect(given["dsn"], server_settings={"jit": "off", "synchronous_commit": "off"})
    done = 0
    try:
        await db.execute(f"drop table if exists {name}; {ddl}")
        if given["how"] == "copy":
            await db.execute(f"alter table {name} drop constraint {name}_pkey")
        for group in groups:
            rows = [make(event) for event in group]
            if given["how"] == "copy":
                clock.start()
                await db.copy_records_to_table(name, records=rows)
                clock.stop()
            else:
                # A case met twice in one statement cannot be upserted; the steps lie far apart, so it hardly is.
                newest = {row[: 1 if name == "narrow" else 2]: row for row in rows}
                columns = list(zip(*sorted(newest.values(), key=lambda row: row[: 1 if name == "narrow" else 2]), strict=True))
                clock.start()
                await db.execute(upsert, *columns)
                clock.stop()
            done += len(rows)
        stored = await db.fetchval(f"select count(*) from {name}")
        if stored != (given["events"] if given["how"] == "copy" else given["cases"]):
            raise RuntimeError(f"{stored} rows stand in {name}")
    finally:
        await db.close()
    return done


async def main() -> None:
    given = rival.given()
    clock = Clock(given["servers"])
    if given["how"] == "read":
        done = await read(given, clock)
    else:
        load = Workload(given["seed"], given["events"], given["cases"])
        done = await write(given, batched(load.events(), BATCH), clock)
    clock.say(done)


if __name__ == "__main__":
    uvloop.run(main())
