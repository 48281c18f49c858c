-- Totals as they stood when they were last noted, whole: one look at a row says whether any of its counters is to be told, which
-- is asked five times a second of every county and item. Written with `told_totals`, in one statement; empty, it only costs a look at all.
create table noted_totals (
    county text collate "C" not null,
    item text collate "C" not null,
    handled bigint not null,
    applied bigint not null,
    accepted bigint not null,
    completed bigint not null,
    completed_on_time bigint not null,
    not_accepted bigint not null,
    returned bigint not null,
    withdrawn bigint not null,
    online bigint not null,
    primary key (county, item)
)
with (fillfactor = 50);
