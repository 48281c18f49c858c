"""All SQL of the metrics service. Functions take a connection; those that write expect a transaction."""

from collections.abc import Collection, Mapping, Sequence
from datetime import date
from typing import Any, Final

import orjson

from services.metrics.domain.cases import MEASURES, CaseState, CaseView, Contribution, Deltas, dump_events, load_events, merge, view
from shared.events.progress import Snapshot
from shared.postgres import Connection

_EPOCH: Final = date(1970, 1, 1).toordinal()
_MEASURE_COLUMNS: Final = ", ".join(MEASURES)
_DAY_COLUMNS: Final = ", ".join(f"{measure}_on" for measure in MEASURES)

CaseKey = tuple[int, str]
"""(id of the source, case number)"""


class Fenced(Exception):
    """Another worker has counted this partition on: our batch is not written. Nothing is wrong with the figures."""


async def position(db: Connection, topic: str, partition: int) -> int:
    """The next offset wanted; 0 where nothing was counted yet."""
    found = await db.fetchval("select next_offset from offsets where topic = $1 and partition = $2", topic, partition)
    return 0 if found is None else int(found)


async def advance(db: Connection, topic: str, partition: int, expected: int, wanted: int) -> None:
    """Moves the partition's offset by compare-and-set, and so locks the partition until the transaction ends.

    Done first in the transaction: what is read afterwards is read behind that lock, so one writer alone sees it.

    Raises:
        Fenced: the offset is not ``expected``.
    """
    if expected == 0:
        await db.execute(
            "insert into offsets (topic, partition, next_offset) values ($1, $2, 0) on conflict do nothing", topic, partition
        )
    status = await db.execute(
        "update offsets set next_offset = $4 where topic = $1 and partition = $2 and next_offset = $3",
        topic, partition, expected, wanted,
    )  # fmt: skip
    if status != "UPDATE 1":
        raise Fenced(f"{topic}/{partition} is no longer at {expected}")


async def source_ids(db: Connection, sources: Collection[str]) -> dict[str, int]:
    """Short ids of ``sources``; new ones get one."""
    rows = await db.fetch(
        """
        with wanted as (select distinct unnest($1::text[]) as source),
        added as (
            insert into sources (source) select source from wanted where source not in (select source from sources)
            on conflict (source) do nothing returning id, source
        )
        select id, source from sources join wanted using (source) union select id, source from added
        """,
        list(sources),
    )
    found = {row["source"]: row["id"] for row in rows}
    if missing := set(sources) - found.keys():
        # Another transaction added them in between; now they can be seen.
        found |= await source_ids(db, missing)
    return found


_READ_CASES: Final = """
select k.place, c.data_version, c.events
from unnest($1::smallint[], $2::text[]) with ordinality as k (source_id, case_no, place)
join cases as c on c.source_id = k.source_id and c.case_no = k.case_no
"""

_WRITE_CASES: Final = f"""
insert into cases (source_id, case_no, data_version, deleted, county, item, {_DAY_COLUMNS}, events)
select * from unnest(
    $1::smallint[], $2::text[], $3::int[], $4::boolean[], $5::text[], $6::text[], $7::date[], $8::date[], $9::date[],
    $10::date[], $11::date[], $12::date[], $13::date[], $14::date[], $15::date[], $16::text[]
)
on conflict (source_id, case_no) do update set
    data_version = excluded.data_version, deleted = excluded.deleted, county = excluded.county, item = excluded.item,
    {", ".join(f"{measure}_on = excluded.{measure}_on" for measure in MEASURES)}, events = excluded.events
"""

_WRITE_DELTAS: Final = f"""
insert into counter_deltas (item, county, day, {_MEASURE_COLUMNS})
values ($1, $2, $3, {", ".join(f"${place}" for place in range(4, 4 + len(MEASURES)))})
"""


async def merge_cases(db: Connection, folded: Mapping[CaseKey, CaseState]) -> int:
    """Merges one batch into the cases and records what the counters move by; returns how many cases changed.

    ``folded`` holds, for each case of the batch, the merge of the batch's own events. Three statements whatever the
    batch's size: read, write, record. The caller holds the partition's lock (:func:`advance`), so nobody else writes
    these cases meanwhile.
    """
    # In key order: neighbours in the index are touched together.
    keys = sorted(folded)
    known: list[CaseState | None] = [None] * len(keys)
    for place, version, events in await db.fetch(_READ_CASES, [key[0] for key in keys], [key[1] for key in keys]):
        known[place - 1] = CaseState(version, load_events(events))

    deltas = Deltas()
    changed: list[tuple[CaseKey, CaseState, CaseView]] = []
    for key, old in zip(keys, known, strict=True):
        new = folded[key]
        if old is None:
            old_contribution: Contribution | None = None
        else:
            new = merge(old, new.version, new.events)
            if new == old:
                continue
            old_contribution = view(old).contribution
        shown = view(new)
        deltas.move(old_contribution, shown.contribution)
        changed.append((key, new, shown))
    if changed:
        await db.execute(_WRITE_CASES, *_case_columns(changed))
    if rows := deltas.rows():
        measures = [[row[3][place] for row in rows] for place in range(len(MEASURES))]
        await db.execute(_WRITE_DELTAS, [r[0] for r in rows], [r[1] for r in rows], [_date(r[2]) for r in rows], *measures)
    return len(changed)


def _case_columns(changed: Sequence[tuple[CaseKey, CaseState, CaseView]]) -> list[list[Any]]:
    """The rows turned into the sixteen arrays of ``_WRITE_CASES``."""
    nothing = (None,) * len(MEASURES)
    days = [[_date(day) for day in (shown.contribution.days if shown.contribution else nothing)] for _, _, shown in changed]
    return [
        [key[0] for key, _, _ in changed],
        [key[1] for key, _, _ in changed],
        [state.version for _, state, _ in changed],
        [shown.deleted for _, _, shown in changed],
        [shown.county for _, _, shown in changed],
        [shown.item for _, _, shown in changed],
        *([row[place] for row in days] for place in range(len(MEASURES))),
        [dump_events(state.events) for _, state, _ in changed],
    ]


_dates: dict[int, date] = {}


def _date(day: int | None) -> date | None:
    if day is None:
        return None
    found = _dates.get(day)
    if found is None:
        if len(_dates) > 100_000:
            _dates.clear()
        found = _dates[day] = date.fromordinal(_EPOCH + day)
    return found


async def merge_snapshots(db: Connection, newest: Mapping[tuple[str, str], Snapshot]) -> None:
    """Keeps the newest snapshot of each (kind, subject); an older version than the one that stands changes nothing."""
    rows = [newest[key] for key in sorted(newest)]
    await db.execute(
        """
        insert into snapshots (kind, subject, version, deleted, state)
        select * from unnest($1::text[], $2::text[], $3::bigint[], $4::boolean[], $5::jsonb[])
        on conflict (kind, subject) do update
        set version = excluded.version, deleted = excluded.deleted, state = excluded.state
        where excluded.version > snapshots.version
        """,
        [row.kind for row in rows],
        [row.subject for row in rows],
        [row.version for row in rows],
        [row.deleted for row in rows],
        [orjson.dumps(row.state).decode() for row in rows],
    )


_SUMS: Final = ", ".join(f"sum({measure})::bigint as {measure}" for measure in MEASURES)

_FOLD_DELTAS: Final = f"""
with folded as (
    delete from counter_deltas where id in (select id from counter_deltas order by id limit $1) returning *
),
moved as (
    select m.item, m.county, m.day, {", ".join(f"sum(m.{measure}) as {measure}" for measure in MEASURES)}
    from folded as f,
        unnest(f.item, f.county, f.day, {", ".join(f"f.{measure}" for measure in MEASURES)})
        as m (item, county, day, {_MEASURE_COLUMNS})
    group by m.item, m.county, m.day
),
written as (
    insert into counters (item, county, day, {_MEASURE_COLUMNS})
    select * from moved order by item, county, day
    on conflict (item, county, day) do update
    set {", ".join(f"{measure} = counters.{measure} + excluded.{measure}" for measure in MEASURES)}
)
select count(*) from folded
"""


async def fold_deltas(db: Connection, most: int = 500) -> int:
    """Folds up to ``most`` batches' deltas into the counters, in one statement; returns how many.

    One folder at a time (advisory lock, to be held in a transaction); a second one folds nothing.
    """
    if not await db.fetchval("select pg_try_advisory_xact_lock(hashtext('metrics.fold_deltas'))"):
        return 0
    return int(await db.fetchval(_FOLD_DELTAS, most))


async def sums(
    db: Connection, *, group: str, item: str | None, since: date | None, as_of: date, county: str | None = None
) -> list[dict[str, Any]]:
    """Counters summed by ``group``: ``county``, ``item``, ``day`` or ``month`` (first of the month), over business days
    from ``since`` (or the beginning) to ``as_of``, both inclusive. Groups without a counter have no row."""
    key = {"county": "county", "item": "item", "day": "day", "month": "date_trunc('month', day)::date"}[group]
    rows = await db.fetch(
        f"""
        select {key} as key, {_SUMS} from counted
        where day <= $1 and ($2::date is null or day >= $2) and ($3::text is null or item = $3)
            and ($4::text is null or county = $4)
        group by 1
        """,
        as_of,
        since,
        item,
        county,
    )
    return [dict(row) for row in rows]


_RECOUNT: Final = f"""
with recounted as (
    select item, county, day, {", ".join(f"count(*) filter (where measure = '{m}') as {m}" for m in MEASURES)}
    from cases, lateral (values {", ".join(f"('{m}', {m}_on)" for m in MEASURES)}) as v (measure, day)
    where day is not null and ($1::text is null or item = $1) and ($2::text is null or county = $2)
    group by item, county, day
),
counted_now as (
    select item, county, day, {_SUMS} from counted
    where ($1::text is null or item = $1) and ($2::text is null or county = $2)
    group by item, county, day
),
compared as (
    select coalesce(r.item, c.item) as item, coalesce(r.county, c.county) as county, coalesce(r.day, c.day) as day,
        m.measure, coalesce(m.recount, 0) as recount, coalesce(m.counter, 0) as counter
    from recounted as r full join counted_now as c using (item, county, day),
        lateral (values {", ".join(f"('{m}', r.{m}, c.{m})" for m in MEASURES)}) as m (measure, recount, counter)
)
select item, county, day, measure, recount, counter, count(*) over () as differing
from compared where recount <> counter
order by item, county, day, measure limit 1000
"""


async def drift(db: Connection, item: str | None = None, county: str | None = None) -> tuple[int, list[dict[str, Any]]]:
    """Recounts the cases and compares with the counters, in one snapshot of the database.

    Returns how many cases were looked at, and each counter that differs (the first 1,000): ``item, county, day, measure,
    recount, counter``. Empty is how it must be.
    """
    async with db.transaction(isolation="repeatable_read", readonly=True):
        checked = await db.fetchval(
            "select count(*) from cases where ($1::text is null or item = $1) and ($2::text is null or county = $2)", item, county
        )
        rows = await db.fetch(_RECOUNT, item, county)
    return int(checked), [{name: row[name] for name in ("item", "county", "day", "measure", "recount", "counter")} for row in rows]


async def snapshots(db: Connection, kind: str) -> list[dict[str, Any]]:
    """The states of all live snapshots of ``kind``, by subject."""
    rows = await db.fetch("select state from snapshots where kind = $1 and not deleted order by subject", kind)
    return [orjson.loads(row["state"]) for row in rows]


async def answers(db: Connection) -> bool:
    """Whether the database answers with our tables; for readiness."""
    return await db.fetchval("select count(*) from migrations") is not None
