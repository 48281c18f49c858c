-- Readers ask by item for a span of days: with the day before the county, a span is one stretch of the index.
alter table counters drop constraint counters_pkey, add primary key (item, day, county);

-- Whole months, so that years of days need not be added up at each question. Kept by the database itself in the statement
-- that writes `counters`, whoever writes them: it cannot be forgotten and cannot drift.
create table counters_by_month (
    item text collate "C" not null,
    month date not null, -- its first day
    county text collate "C" not null,
    handled bigint not null,
    applied bigint not null,
    accepted bigint not null,
    completed bigint not null,
    completed_on_time bigint not null,
    not_accepted bigint not null,
    returned bigint not null,
    withdrawn bigint not null,
    online bigint not null,
    primary key (item, month, county)
)
with (fillfactor = 80);

-- A trigger knows the rows of its own kind of statement only: those put (insert), taken (delete), or both (update). The body is
-- the same but for where the rows come from.
do $$
declare
    kind record;
begin
    for kind in
        select * from (values
            ('insert', 'new table as put', 'select 1 as sign, * from put'),
            ('delete', 'old table as taken', 'select -1 as sign, * from taken'),
            ('update', 'old table as taken new table as put', 'select 1 as sign, * from put union all select -1, * from taken')
        ) as k (operation, tables, rows)
    loop
        execute format(
            $body$
            create function months_follow_%1$s() returns trigger language plpgsql as $function$
            begin
                -- By the trigger's own schema: whoever writes may look elsewhere first, and a rebuild renames schemas.
                execute format($statement$
                insert into %%I.counters_by_month as m
                select item, date_trunc('month', day)::date, county, sum(sign * handled), sum(sign * applied),
                    sum(sign * accepted), sum(sign * completed), sum(sign * completed_on_time), sum(sign * not_accepted),
                    sum(sign * returned), sum(sign * withdrawn), sum(sign * online)
                from (%3$s) as moved
                group by 1, 2, 3 order by 1, 2, 3
                on conflict (item, month, county) do update set
                    handled = m.handled + excluded.handled,
                    applied = m.applied + excluded.applied,
                    accepted = m.accepted + excluded.accepted,
                    completed = m.completed + excluded.completed,
                    completed_on_time = m.completed_on_time + excluded.completed_on_time,
                    not_accepted = m.not_accepted + excluded.not_accepted,
                    returned = m.returned + excluded.returned,
                    withdrawn = m.withdrawn + excluded.withdrawn,
                    online = m.online + excluded.online
                $statement$, tg_table_schema);
                return null;
            end
            $function$;
            create trigger months_follow_%1$s after %1$s on counters referencing %2$s
                for each statement execute function months_follow_%1$s();
            $body$,
            kind.operation, kind.tables, kind.rows
        );
    end loop;
end
$$;

-- What stands already.
insert into counters_by_month
select item, date_trunc('month', day)::date, county, sum(handled), sum(applied), sum(accepted), sum(completed),
    sum(completed_on_time), sum(not_accepted), sum(returned), sum(withdrawn), sum(online)
from counters group by 1, 2, 3;
