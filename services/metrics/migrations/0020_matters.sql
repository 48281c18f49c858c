-- What is followed up, narrow enough to be counted as of any day: a row for each snapshot of a kind that has a beginning and
-- an end (services/metrics/domain/matters.py). All of it is derived from the snapshot of that version by rules of that number;
-- a row of another version or of other rules is derived anew when a worker starts. Deleted ones have no days.
create table matters (
    kind text collate "C" not null,
    subject text collate "C" not null,
    version bigint not null,
    rules int not null,
    county text collate "C",
    service text collate "C",
    party text collate "C", -- who has it to do
    opened_on date,
    done_on date,
    dropped_on date,
    last_on date, -- the last of moved_on
    working_days int, -- from taking it on until done
    overdue datemultirange, -- the days on which it was, is or will be overdue, as far as is known now
    due_soon datemultirange,
    moved_on date[], -- the days on which something happened, rising
    primary key (kind, subject)
)
with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);

-- When somebody last did something in a place.
create index matters_by_party on matters (kind, county, service, party, last_on);

-- Lists, oldest first.
create index matters_by_opening on matters (kind, opened_on, subject);

create trigger matters_moved after insert or update or delete or truncate on matters
    for each statement execute function tell_of_moves();
