-- Totals over all business days, a row a county and item: what `county-metrics` tells of. Kept by the database itself in the
-- statement that writes `counters`, whoever writes them, as `counters_by_month` is (0005).
create table totals (
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
            create function totals_follow_%1$s() returns trigger language plpgsql as $function$
            begin
                execute format($statement$
                insert into %%I.totals as t
                select county, item, sum(sign * handled), sum(sign * applied), sum(sign * accepted), sum(sign * completed),
                    sum(sign * completed_on_time), sum(sign * not_accepted), sum(sign * returned), sum(sign * withdrawn),
                    sum(sign * online)
                from (%3$s) as moved
                group by 1, 2 order by 1, 2
                on conflict (county, item) do update set
                    handled = t.handled + excluded.handled,
                    applied = t.applied + excluded.applied,
                    accepted = t.accepted + excluded.accepted,
                    completed = t.completed + excluded.completed,
                    completed_on_time = t.completed_on_time + excluded.completed_on_time,
                    not_accepted = t.not_accepted + excluded.not_accepted,
                    returned = t.returned + excluded.returned,
                    withdrawn = t.withdrawn + excluded.withdrawn,
                    online = t.online + excluded.online
                $statement$, tg_table_schema);
                return null;
            end
            $function$;
            create trigger totals_follow_%1$s after %1$s on counters referencing %2$s
                for each statement execute function totals_follow_%1$s();
            $body$,
            kind.operation, kind.tables, kind.rows
        );
    end loop;
end
$$;

-- What stands already.
insert into totals
select county, item, sum(handled), sum(applied), sum(accepted), sum(completed), sum(completed_on_time), sum(not_accepted),
    sum(returned), sum(withdrawn), sum(online)
from counters group by 1, 2;

-- What the topic was told of each counter. A rebuild keeps it: versions go on from where they were, and only totals that come out
-- as others are told again.
create table told_totals (
    county text collate "C" not null,
    item text collate "C" not null,
    measure text collate "C" not null,
    total bigint not null,
    version bigint not null,
    changed_at timestamptz not null,
    published_version bigint not null default 0,
    primary key (county, item, measure)
)
with (fillfactor = 50);
