-- The cases behind a number (/v1/cases). It names only columns that a case's common event leaves as they are, so that the
-- update stays on its page (HOT); measures other than `handled` are filtered while it is read. Narrow on purpose: equal keys
-- share one entry, which keeps the index small and adding to it cheap.
create index cases_by_handled_day on cases (item, county, handled_on) where handled_on is not null;

-- Cases that wait for their county or item (/v1/unplaced). They are few; all others cost nothing here.
create index cases_unplaced on cases (source_id, case_no) where (county is null or item is null) and not deleted;
