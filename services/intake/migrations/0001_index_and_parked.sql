-- What became of each event: where it stands on `case-events`, or why it is parked. Both are read from the log, each row in the
-- transaction that stores the offset: delete the rows and their offsets, and the worker reads them again.
-- What people did about parked records (`mends`, `audit`) is in no log and is kept.

-- How far each partition has been read.
create table offsets (
    topic text not null,
    partition int not null,
    next_offset bigint not null,
    topic_id uuid,
    primary key (topic, partition)
);

-- One narrow row an event. `event` is the first 16 bytes of SHA-256 over the source, a zero byte and the event's id
-- (services/intake/domain/index.py), so a row takes 64 bytes whatever the names. An event that came twice has the place where it came first.
create table events (
    log_offset bigint not null,
    stored_at timestamptz not null, -- the record's time in the log
    event uuid not null,
    partition smallint not null,
    primary key (event)
);

-- Up to when the index is whole: every event that was answered before is in it. One row.
create table indexed (
    only_row boolean primary key default true check (only_row),
    up_to timestamptz not null
);

-- What could not be used, of all services (shared/events/parked.py). No value in it may be a person's.
create table parked (
    seq bigint generated always as identity unique, -- in the order of reading; pages go by it
    id text collate "C" primary key,
    service text collate "C" not null,
    origin text collate "C" not null,
    reason text collate "C" not null,
    errors jsonb not null,
    sender text collate "C",
    source text collate "C",
    event_id text collate "C",
    case_no text collate "C",
    payload jsonb,
    digest text,
    length int not null,
    parked_at timestamptz not null
);

create index parked_of_an_event on parked (event_id, sender) where event_id is not null;
create index parked_by_reason on parked (reason, seq);

-- What was done about a parked record. `item` is the corrected event without people's data; null where it was replayed as it was parked.
create table mends (
    id text collate "C" primary key,
    item jsonb,
    replayed_at timestamptz
);

-- Who did what, and when. The service may add rows, and neither change nor remove them.
create table audit (
    seq bigint generated always as identity primary key,
    at timestamptz not null default now(),
    who text not null,
    action text not null check (action in ('fixed', 'replayed')),
    parked_id text collate "C" not null,
    detail jsonb not null -- what was published or is to be: source, event id, case number
);

create index audit_of_a_record on audit (parked_id, seq);

revoke update, delete on audit from intake;
