-- What the companies reported, and what is told of it on `progress`.
--
-- The three tables of subjects have the same columns, so that one statement publishes each:
--   state              what is told of the subject, in the shape of shared/events/progress.py
--   deleted            the subject is gone; its row stays, for readers must be told and events may still arrive
--   version            rises with every change, also over a restore: max(version + 1, milliseconds since the epoch)
--   published_version  the version that is known to stand on the topic
--   events             the winning events: the state of the registers, from which all else is derived

create table registry (
    subject text primary key,
    state jsonb not null,
    deleted boolean not null default false,
    version bigint not null,
    published_version bigint not null default 0,
    county text generated always as (state ->> 'county') stored,
    company text generated always as (state ->> 'company') stored,
    service text generated always as (state ->> 'service') stored
);

create table presence (
    subject text primary key,
    events jsonb not null,
    state jsonb not null,
    deleted boolean not null default false,
    version bigint not null,
    published_version bigint not null default 0,
    county text generated always as (state ->> 'county') stored,
    company text generated always as (state ->> 'company') stored,
    service text generated always as (state ->> 'service') stored
);

create table installations (
    subject text primary key,
    events jsonb not null,
    state jsonb not null,
    deleted boolean not null default false,
    version bigint not null,
    published_version bigint not null default 0,
    county text generated always as (state ->> 'county') stored,
    company text generated always as (state ->> 'company') stored,
    service text generated always as (state ->> 'service') stored,
    case_no text generated always as (state ->> 'case_no') stored,
    step text generated always as (state ->> 'step') stored
);

-- Nearly every row is published: the publisher looks at those only that are not.
create index registry_unpublished on registry (version) where version > published_version;
create index presence_unpublished on presence (version) where version > published_version;
create index installations_unpublished on installations (version) where version > published_version;

-- The next offset wanted of each partition, moved in the transaction that stores what the records said.
create table offsets (
    topic text not null,
    partition integer not null,
    next_offset bigint not null,
    primary key (topic, partition)
);
