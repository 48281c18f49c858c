"""What is parked, what was done about it, and the audit of that."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple

from services.intake.domain.index import METRICS, Unusable
from shared.postgres import Connection

State = Literal["open", "fixed", "resent", "replayed"]
"""``open``: nothing was done; ``fixed``: corrected, not replayed yet; ``resent``: the sender sent the event again, rightly."""

_COLUMNS: Final = Unusable._fields

_ADD: Final = f"""
insert into parked ({", ".join(_COLUMNS)})
select id, service, origin, reason, errors, sender, source, event_id, case_no, event, payload, digest, length, parked_at
from unnest(
    $1::text[], $2::text[], $3::text[], $4::text[], $5::jsonb[], $6::text[], $7::text[], $8::text[], $9::text[],
    $10::uuid[], $11::jsonb[], $12::text[], $13::int[], $14::timestamptz[]
) as r ({", ".join(_COLUMNS)})
on conflict (id) do nothing
"""

_STATE: Final = f"""
case
    when m.replayed_at is not null then 'replayed'
    when p.service <> '{METRICS}' and exists (select from events as e where e.event = p.event) then 'resent'
    when m.events is not null then 'fixed'
    else 'open'
end
"""

_ROW: Final = f"p.*, m.events, m.replayed_at, {_STATE} as state"


class Kept(NamedTuple):
    """A parked record as it is kept, with what was done about it. ``events`` are those that a correction made of it."""

    seq: int
    record: Unusable
    state: State
    events: list[dict[str, Any]] | None
    replayed_at: datetime | None


class Filter(NamedTuple):
    """Which parked records are meant; ``None`` says nothing. State ``todo`` is open and fixed; an id ``begins`` with it."""

    service: str | None = None
    reason: str | None = None
    sender: str | None = None
    since: datetime | None = None
    state: State | Literal["todo"] | None = None
    begins: str | None = None


async def add(db: Connection, records: Sequence[Unusable]) -> None:
    """Keeps parked records; one that is known stays as it is."""
    if not records:
        return
    columns: list[list[Any]] = [list(column) for column in zip(*records, strict=True)]
    for name in ("errors", "payload"):
        place = _COLUMNS.index(name)
        columns[place] = [None if value is None else _json(value) for value in columns[place]]
    await db.execute(_ADD, *columns)


_MEANT: Final = f"""
from parked as p left join mends as m on m.id = p.id
where ($1::text is null or p.service = $1) and ($2::text is null or p.reason = $2) and ($3::text is null or p.sender = $3)
    and ($4::timestamptz is null or p.parked_at >= $4)
    and ($5::text is null or ({_STATE}) = $5 or ($5 = 'todo' and ({_STATE}) in ('open', 'fixed')))
    and ($6::text is null or starts_with(p.id, $6))
"""


async def listed(db: Connection, wanted: Filter, *, after: int | None, most: int) -> list[Kept]:
    """Parked records, the newest first, from those before the sequence number ``after``."""
    rows = await db.fetch(
        f"select {_ROW} {_MEANT} and ($7::bigint is null or p.seq < $7) order by p.seq desc limit $8", *wanted, after, most
    )
    return [_kept(row) for row in rows]


async def count(db: Connection, wanted: Filter) -> int:
    """How many are meant."""
    return int(await db.fetchval(f"select count(*) {_MEANT}", *wanted))


async def waiting(db: Connection) -> list[tuple[str, str, int]]:
    """How many wait for somebody (open or fixed), by service and reason."""
    rows = await db.fetch(
        f"select p.service, p.reason, count(*) as number {_MEANT} group by p.service, p.reason", *Filter(state="todo")
    )
    return [(row["service"], row["reason"], row["number"]) for row in rows]


async def get(db: Connection, parked_id: str) -> Kept | None:
    """One parked record, if it is known."""
    row = await db.fetchrow(f"select {_ROW} from parked as p left join mends as m on m.id = p.id where p.id = $1", parked_id)
    return None if row is None else _kept(row)


async def some(db: Connection, ids: Sequence[str]) -> list[Kept]:
    """Those of ``ids`` that are known."""
    rows = await db.fetch(f"select {_ROW} from parked as p left join mends as m on m.id = p.id where p.id = any($1::text[])", ids)
    return [_kept(row) for row in rows]


async def lock(db: Connection, ids: Sequence[str]) -> list[Kept]:
    """Those of ``ids`` that are known, locked in key order until the transaction ends: whoever mends them waits."""
    await db.execute("select id from parked where id = any($1::text[]) order by id for update", ids)
    return await some(db, ids)


async def of_event(db: Connection, *, event: str, event_id: str, sender: str) -> Kept | None:
    """The newest parked record of an event of this sender's: parked at its own push, or by metrics under its source."""
    row = await db.fetchrow(
        f"""
        select {_ROW} from parked as p left join mends as m on m.id = p.id
        where (p.event_id = $1 and p.sender = $2 and p.service = 'intake') or (p.event = $3::text::uuid and p.service = '{METRICS}')
        order by p.seq desc limit 1
        """,
        event_id, sender, event,
    )  # fmt: skip
    return None if row is None else _kept(row)


async def put_fix(db: Connection, parked_id: str, events: Sequence[Mapping[str, Any]]) -> None:
    """Keeps the corrected events of a parked record, in place of earlier ones."""
    await db.execute(
        "insert into mends (id, events) values ($1, $2::jsonb) on conflict (id) do update set events = excluded.events",
        parked_id, _json(events),
    )  # fmt: skip


async def mark_replayed(db: Connection, ids: Sequence[str], at: datetime) -> None:
    """Marks parked records as replayed."""
    await db.execute(
        "insert into mends (id, replayed_at) select id, $2 from unnest($1::text[]) as r (id)"
        " on conflict (id) do update set replayed_at = excluded.replayed_at",
        ids, at,
    )  # fmt: skip


async def audit(db: Connection, who: str, action: Literal["fix", "replay"], details: Mapping[str, Mapping[str, Any]]) -> None:
    """Adds one line a parked record to the audit; ``details`` is by the record's id."""
    await db.execute(
        "insert into audit (role, who, action, subject, detail) select 'operator', $1, $2, r.*"
        " from unnest($3::text[], $4::jsonb[]) as r",
        who, f"parked.{action}", list(details), [_json(detail) for detail in details.values()],
    )  # fmt: skip


async def audited(db: Connection, parked_id: str) -> list[dict[str, Any]]:
    """What was done about a parked record, the first first: ``fixed`` or ``replayed``."""
    rows = await db.fetch("select at, who, action, detail from audit where subject = $1 order by id", parked_id)
    return [{**row, "action": _DONE[row["action"]], "detail": json.loads(row["detail"])} for row in rows]


_DONE: Final = {"parked.fix": "fixed", "parked.replay": "replayed"}


def _kept(row: Mapping[str, Any]) -> Kept:
    values = {name: row[name] for name in _COLUMNS}
    values["errors"] = json.loads(values["errors"])
    values["payload"] = None if values["payload"] is None else json.loads(values["payload"])
    values["event"] = None if values["event"] is None else values["event"].hex
    events = None if row["events"] is None else json.loads(row["events"])
    return Kept(row["seq"], Unusable(**values), row["state"], events, row["replayed_at"])


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
