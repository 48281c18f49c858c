-- Windows' reports, due dates, and joint installations.

-- What a window handled in a month; columns as 0001 says.
create table windows (
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
create index windows_unpublished on windows (version) where version > published_version;

-- timing: all that due dates follow from, in one short text (store/due.py), so that a million can be derived anew in seconds;
-- null where the installation is deleted.
alter table installations add column id bigint generated always as identity;
alter table installations add column timing text;
create unique index installations_id on installations (id);
create index installations_case on installations (case_no) where case_no is not null;

-- The due dates that are derived of `timing` by the limits in force: one row for each installation that is or was late or has
-- a limit running. Nothing here says what day it is: who is overdue on a day is a matter of comparing.
--   step, due_on, due_soon_from, provisional   of the running limit that is due first; null where the clock stands
--   late_from, late_until                      within these days limits that have ended since were overdue
create table due_dates (
    id bigint primary key,
    step text,
    due_on date,
    due_soon_from date,
    provisional boolean not null,
    late_from date,
    late_until date
);
create index due_dates_due on due_dates (due_on) where due_on is not null;
create index due_dates_late on due_dates (late_until) where late_until is not null;

-- Cases of joint installation: their winning events.
create table joint_cases (
    subject text primary key,
    case_no text not null,
    events jsonb not null
);
create index joint_cases_no on joint_cases (case_no);

-- What is told of each joint installation, derived of its case, the installations that name it and the registry.
create table joint (
    subject text primary key,
    state jsonb not null,
    deleted boolean not null default false,
    version bigint not null,
    published_version bigint not null default 0,
    case_no text not null,
    county text generated always as (state ->> 'county') stored,
    status text generated always as (state ->> 'status') stored
);
create index joint_unpublished on joint (version) where version > published_version;
create index joint_no on joint (case_no);

-- Case numbers of which something changed since their joint installations were derived. Two topics touch these rows: always
-- in key order.
create table joint_waiting (
    case_no text primary key,
    marked bigint not null default 0
);

-- By what the derived rows were derived: `limits` (digest of configuration and calendar), `registry` (its newest version), and
-- how far what goes on in pieces has come: `retelling` (the last installation told anew by the limits in force), `rebuilding`.
create table basis (
    name text primary key,
    value text not null
);

-- What was stored before is told again by the new rules.
insert into basis (name, value) values ('retelling', '');
