-- Where the events come from. A case is known by (source, case_no); the short id keeps the key of `cases` narrow.
create table sources (
    id smallint generated always as identity primary key,
    source text not null unique
);

-- How far each partition has been counted; written in the same transaction as what was counted.
create table offsets (
    topic text not null,
    partition int not null,
    next_offset bigint not null,
    primary key (topic, partition)
);

-- One row a case. `events` is the truth: the events that win at least one register, as JSON arrays joined by
-- commas, in rising order (services/metrics/domain/cases.py, CaseEvent). All other columns are derived from it, so that lists, recounts and places need
-- no parsing. The nine days say under which business day the case counts for each measure; all are null while it is
-- deleted, unplaced or has no step.
-- No foreign key to sources: it would be checked at every insert, and the worker alone writes both.
create table cases (
    source_id smallint not null,
    case_no text collate "C" not null,
    data_version int not null,
    deleted boolean not null,
    latest_at bigint not null, -- the greatest recorded_at among `events`, in microseconds since the epoch
    county text collate "C",
    item text collate "C",
    channel text collate "C",
    promised_on date,
    handled_on date,
    applied_on date,
    accepted_on date,
    completed_on date,
    completed_on_time_on date,
    not_accepted_on date,
    returned_on date,
    withdrawn_on date,
    online_on date,
    events text not null,
    primary key (source_id, case_no)
)
-- A case is rewritten a few times while it is young: room on its page keeps the new row version beside the old one (HOT).
with (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.05);

-- The daily counters that are read.
create table counters (
    item text collate "C" not null,
    county text collate "C" not null,
    day date not null,
    handled bigint not null,
    applied bigint not null,
    accepted bigint not null,
    completed bigint not null,
    completed_on_time bigint not null,
    not_accepted bigint not null,
    returned bigint not null,
    withdrawn bigint not null,
    online bigint not null,
    primary key (item, county, day)
)
with (fillfactor = 80);

-- What each transaction of the worker moved: one row a batch, arrays side by side. Transactions that only add rows never
-- wait for each other; a background statement folds these rows into `counters`.
create table counter_deltas (
    id bigint generated always as identity primary key,
    item text[] not null,
    county text[] not null,
    day date[] not null,
    handled int[] not null,
    applied int[] not null,
    accepted int[] not null,
    completed int[] not null,
    completed_on_time int[] not null,
    not_accepted int[] not null,
    returned int[] not null,
    withdrawn int[] not null,
    online int[] not null
);

-- Counters as they are now, folded or not: what every check compares with. Readers ask the folded `counters` alone.
create view counted as
select item, county, day, handled, applied, accepted, completed, completed_on_time, not_accepted, returned, withdrawn, online
from counters
union all
select moved.*
from counter_deltas as d,
    unnest(
        d.item, d.county, d.day, d.handled, d.applied, d.accepted, d.completed, d.completed_on_time, d.not_accepted,
        d.returned, d.withdrawn, d.online
    ) as moved (item, county, day, handled, applied, accepted, completed, completed_on_time, not_accepted, returned, withdrawn, online);

-- The newest snapshot of each subject that another service follows: presence, the registry, installations.
create table snapshots (
    kind text collate "C" not null,
    subject text collate "C" not null,
    version bigint not null,
    deleted boolean not null,
    state jsonb not null,
    primary key (kind, subject)
);
