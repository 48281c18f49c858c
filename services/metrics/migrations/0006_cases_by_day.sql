-- The day first: a place among days is found faster than one among texts, and live cases go to the index's end. It costs an
-- insert a third of what the index before it did (docs/decisions/0010-lists-are-read-by-the-first-day.md).
drop index cases_by_handled_day;
create index cases_by_day on cases (handled_on, item, county) where handled_on is not null;
