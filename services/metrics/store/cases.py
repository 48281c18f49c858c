"""Cases: merging a batch into the rows that stand, and recording what the counters move by."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import date
from typing import Any, Final

from services.metrics.domain.cases import MEASURES, CaseState, CaseView, Deltas, dump_events, load_events, merge, view
from services.metrics.domain.journal import Moved
from services.metrics.domain.quick import QuickStep, moved_by, quick_step
from services.metrics.store import journal
from shared.postgres import Connection

_EPOCH: Final = date(1970, 1, 1).toordinal()
_MEASURE_COLUMNS: Final = ", ".join(MEASURES)


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
from unnest($2::text[]) with ordinality as k (case_no, place)
join cases as c on c.source_id = $1 and c.case_no = k.case_no
"""

_CASE_VALUES: Final = (
    "data_version", "deleted", "latest_at", "county", "item", "channel", "promised_on",
    *(f"{measure}_on" for measure in MEASURES), "events",
)  # fmt: skip
_CASE_COLUMNS: Final = f"source_id, case_no, {', '.join(_CASE_VALUES)}"

_WRITE_CASES: Final = f"""
insert into cases ({_CASE_COLUMNS})
select $1::smallint, * from unnest(
    $2::text[], $3::int[], $4::boolean[], $5::bigint[], $6::text[], $7::text[], $8::text[], $9::date[],
    $10::date[], $11::date[], $12::date[], $13::date[], $14::date[], $15::date[], $16::date[], $17::date[], $18::date[],
    $19::text[]
)
on conflict (source_id, case_no) do update set
    {", ".join(f"{column} = excluded.{column}" for column in _CASE_VALUES)}
"""

# The places of the steps are those of MEASURES. The conditions are the case's side of the quick way: it counts; it is of the
# same version, county, item and kind of channel; it has nothing as new as this event, and not this step yet; it was handled
# no later than this; and no completion is to be judged anew.
_ADD_STEPS: Final = f"""
with input as materialized (
    select * from unnest(
        string_to_array($2, chr(31)), string_to_array($3, chr(31))::int[],
        string_to_array($4, chr(31))::bigint[], string_to_array($5, chr(31))::smallint[],
        string_to_array($6, chr(31))::date[], string_to_array($7, chr(31)), string_to_array($8, chr(31)),
        string_to_array($9, chr(31), ''), string_to_array($10, chr(31), '')::date[], string_to_array($11, chr(31))
    ) with ordinality
    as i (case_no, data_version, latest_at, step, day, county, item, channel, promised_on, events, place)
),
done as (
    insert into cases as c ({_CASE_COLUMNS})
    select $1::smallint, case_no, data_version, false, latest_at, county, item, channel, promised_on, day,
        case step when 1 then day end, case step when 2 then day end, case step when 3 then day end,
        case when step = 3 and day <= promised_on then day end,
        case step when 5 then day end, case step when 6 then day end, case step when 7 then day end,
        case when channel in ('web', 'mobile') then day end, events
    from input
    on conflict (source_id, case_no) do update set
        latest_at = excluded.latest_at,
        channel = coalesce(excluded.channel, c.channel),
        promised_on = coalesce(excluded.promised_on, c.promised_on),
        applied_on = coalesce(excluded.applied_on, c.applied_on),
        accepted_on = coalesce(excluded.accepted_on, c.accepted_on),
        completed_on = coalesce(excluded.completed_on, c.completed_on),
        completed_on_time_on = case
            when excluded.completed_on <= coalesce(excluded.promised_on, c.promised_on) then excluded.completed_on
            else c.completed_on_time_on
        end,
        not_accepted_on = coalesce(excluded.not_accepted_on, c.not_accepted_on),
        returned_on = coalesce(excluded.returned_on, c.returned_on),
        withdrawn_on = coalesce(excluded.withdrawn_on, c.withdrawn_on),
        events = c.events || ',' || excluded.events
    where c.handled_on <= excluded.handled_on
        and c.latest_at < excluded.latest_at
        and c.data_version = excluded.data_version
        and c.county = excluded.county
        and c.item = excluded.item
        and (excluded.channel is null or (excluded.online_on is null) = (c.online_on is null))
        and (excluded.promised_on is null or c.completed_on is null)
        and (excluded.applied_on is null or c.applied_on is null)
        and (excluded.accepted_on is null or c.accepted_on is null)
        and (excluded.completed_on is null or c.completed_on is null)
        and (excluded.not_accepted_on is null or c.not_accepted_on is null)
        and (excluded.returned_on is null or c.returned_on is null)
        and (excluded.withdrawn_on is null or c.withdrawn_on is null)
    returning case_no, xmax = 0 as fresh, completed_on_time_on is not null as on_time
)
select coalesce(array_agg(i.place - 1), '{{}}') as places, array_agg(d.fresh) as fresh, array_agg(d.on_time) as on_time
from done as d join input as i using (case_no)
"""

_WRITE_DELTAS: Final = f"""
insert into counter_deltas (why, item, county, day, {_MEASURE_COLUMNS})
values (
    $1, string_to_array($2, chr(31)), string_to_array($3, chr(31)), string_to_array($4, chr(31))::date[],
    {", ".join(f"string_to_array(${place}, chr(31))::int[]" for place in range(5, 5 + len(MEASURES)))}
)
"""


async def merge_cases(db: Connection, source_id: int, folded: Mapping[str, CaseState], moved: Moved) -> None:
    """Merges one batch's cases of a source, by case number, into the rows; adds to ``moved`` what the counters move by, and why.

    ``folded`` holds, for each case, the merge of the batch's own events. At most three statements, whatever the batch's
    size. The caller holds the partition's lock (:func:`shared.offsets.advance`), so nobody else writes these cases.
    """
    rest = await _add_steps(db, source_id, folded, moved.arrived)
    if rest:
        await _merge_each(db, source_id, rest, folded, moved)


async def record(db: Connection, moved: Moved) -> None:
    """Appends what a batch moves, for the folding to add to the counters, and its changes to the journal, if it holds any."""
    await _record_deltas(db, "new", moved.arrived)
    for why, deltas in moved.changed.items():
        await _record_deltas(db, why, deltas)
    if moved.entries:
        await journal.append(db, moved.entries)


async def _record_deltas(db: Connection, why: str, deltas: Deltas) -> None:
    if rows := deltas.rows():
        items, counties, days, moved = zip(*rows, strict=True)
        await db.execute(
            _WRITE_DELTAS,
            why,
            _joined(items),
            _joined(counties),
            _joined([_days_as_text[day] for day in days]),
            *(_joined(map(str, of_measure)) for of_measure in zip(*moved, strict=True)),
        )


async def _add_steps(db: Connection, source_id: int, folded: Mapping[str, CaseState], deltas: Deltas) -> list[str]:
    """Adds the common events the quick way (``domain/quick.py``); returns the cases that it could not do, in key order."""
    case_nos: list[str] = []
    steps: list[QuickStep] = []
    rest: list[str] = []
    # In key order: neighbours in the index are touched together.
    for case_no in sorted(folded):
        step = quick_step(folded[case_no])
        if step is None:
            rest.append(case_no)
        else:
            case_nos.append(case_no)
            steps.append(step)
    if not steps:
        return rest
    versions, recorded, places, days, *texts = zip(*steps, strict=True)
    done = await db.fetchrow(
        _ADD_STEPS,
        source_id,
        _joined(case_nos),
        _joined(map(str, versions)),
        _joined(map(str, recorded)),
        _joined(map(str, places)),
        _joined([_days_as_text[day] for day in days]),
        *(_joined([text or "" for text in column]) for column in texts),
    )
    taken = [False] * len(steps)
    for place, fresh, on_time in zip(done["places"], done["fresh"] or (), done["on_time"] or (), strict=True):
        taken[place] = True
        moved_by(steps[place], fresh=fresh, on_time=on_time, deltas=deltas)
    if len(done["places"]) < len(steps):
        rest = sorted([*rest, *(case_no for case_no, was_taken in zip(case_nos, taken, strict=True) if not was_taken)])
    return rest


async def _merge_each(
    db: Connection, source_id: int, case_nos: Sequence[str], folded: Mapping[str, CaseState], moved: Moved
) -> None:
    """Reads these cases, merges them by the rules of ``domain/cases.py``, and writes those that changed."""
    known: list[CaseState | None] = [None] * len(case_nos)
    for place, version, events in await db.fetch(_READ_CASES, source_id, case_nos):
        known[place - 1] = CaseState(version, load_events(events))
    changed: list[tuple[str, CaseState, CaseView]] = []
    for case_no, old in zip(case_nos, known, strict=True):
        new = folded[case_no]
        if old is not None:
            new = merge(old, new.version, new.events)
            if new == old:
                continue
        shown = view(new)
        moved.take(
            source_id, case_no, None if old is None else view(old), shown, replaced=old is not None and old.version < new.version
        )
        changed.append((case_no, new, shown))
    if changed:
        await db.execute(_WRITE_CASES, source_id, *_case_columns(changed))


def _case_columns(changed: Sequence[tuple[str, CaseState, CaseView]]) -> list[list[Any]]:
    """The rows turned into the arrays of ``_WRITE_CASES``."""
    nothing = (None,) * len(MEASURES)
    days = [shown.contribution.days if shown.contribution else nothing for _, _, shown in changed]
    return [
        [case_no for case_no, _, _ in changed],
        [state.version for _, state, _ in changed],
        [shown.deleted for _, _, shown in changed],
        [state.events[-1].recorded_at for _, state, _ in changed],
        [shown.county for _, _, shown in changed],
        [shown.item for _, _, shown in changed],
        [shown.channel for _, _, shown in changed],
        [_days[shown.promised_on] for _, _, shown in changed],
        *([_dates[of_measure] for of_measure in column] for column in zip(*days, strict=True)),
        [dump_events(state.events) for _, state, _ in changed],
    ]


def _joined(values: Iterable[str]) -> str:
    """A column as one text, which the server splits: the driver would look at each element of an array several times.

    No value holds the separator: identifiers have their pattern, and JSON escapes control characters.
    """
    return "\x1f".join(values)


class _Cache(dict[Any, Any]):
    """Dates made once for each value: a batch names the same few days thousands of times."""

    def __init__(self, make: Callable[[Any], date | str]) -> None:
        super().__init__({None: None})
        self._make = make

    def __missing__(self, value: Any) -> date | str:
        if len(self) > 100_000:
            self.clear()
            self[None] = None
        made = self[value] = self._make(value)
        return made


_dates: Final = _Cache(lambda day: date.fromordinal(_EPOCH + day))
_days_as_text: Final = _Cache(lambda day: date.fromordinal(_EPOCH + day).isoformat())
_days: Final = _Cache(date.fromisoformat)
