-- The key in `events` of the event that is parked, where its source and id can be read: tells whether it was sent again rightly.
alter table parked add column event uuid;

create index parked_by_event on parked (event) where service = 'metrics';

-- A row of a dialect may tell several events: what a correction made of it is a list of them.
alter table mends rename column item to events;
