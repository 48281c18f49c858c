-- Why figures moved, and since when (docs/decisions/0026-a-journal-of-changes.md). Days here are days of arrival in
-- Asia/Shanghai: when it was counted, not when it happened.

-- Each batch says when it was counted, and why its counters move: a row for what arrived, and one more for each kind of change
-- that it held, if any.
alter table counter_deltas
    add column counted_on date not null default (now() at time zone 'Asia/Shanghai')::date,
    add column why text collate "C" not null default 'new';

-- What the counters moved by, added up over all business days. Written by the statements that write `counters`.
create table moves (
    counted_on date not null,
    item text collate "C" not null,
    county text collate "C" not null,
    why text collate "C" not null, -- new, moved, corrected, deleted, restored; recount: set right by a check or a rebuild
    handled bigint not null,
    applied bigint not null,
    accepted bigint not null,
    completed bigint not null,
    completed_on_time bigint not null,
    not_accepted bigint not null,
    returned bigint not null,
    withdrawn bigint not null,
    online bigint not null,
    primary key (counted_on, item, county, why)
)
with (fillfactor = 50);

-- Each change of a case that took something back or put it elsewhere. Days are in the order of the measures of `counters`;
-- null where the case counted for nothing. By the source's name: a rebuild gives sources other ids.
create table journal (
    id bigint generated always as identity primary key,
    at timestamptz not null default now(),
    source text not null,
    case_no text collate "C" not null,
    why text collate "C" not null,
    item_before text collate "C",
    county_before text collate "C",
    days_before date[],
    item_after text collate "C",
    county_after text collate "C",
    days_after date[]
);
create index journal_by_time on journal (at, id);

-- How fresh each source is: the latest moment that it recorded anything, and when it was last heard. A row a partition, so
-- that transactions never wait for each other.
create table heard (
    source_id smallint not null,
    partition int not null,
    latest_at bigint not null, -- microseconds since the epoch
    heard_at timestamptz not null,
    primary key (source_id, partition)
)
with (fillfactor = 50);

-- What stands already: the cases know what was recorded last; they were heard at the latest now.
insert into heard select source_id, -1, max(latest_at), now() from cases group by source_id;

-- The last check of the counters against the cases.
create table checks (
    one boolean primary key default true check (one),
    checked_at timestamptz not null,
    checked bigint not null,
    differing bigint not null
);
