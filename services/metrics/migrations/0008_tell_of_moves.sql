-- Whoever answers from memory hears of every move: counters folded, corrected or rebuilt, snapshots kept. One notice a
-- transaction, at its commit; the worker's own transactions append deltas and tell nothing.
create function tell_of_moves() returns trigger language plpgsql as $$
begin
    perform pg_notify('metrics_moved', '');
    return null;
end
$$;

create trigger counters_moved after insert or update or delete or truncate on counters
    for each statement execute function tell_of_moves();
create trigger snapshots_moved after insert or update or delete or truncate on snapshots
    for each statement execute function tell_of_moves();
