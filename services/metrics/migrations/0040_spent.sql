-- Login links that were used and sessions that were ended, by their ids, until they would be over by themselves.
create table spent (
    ticket text collate "C" primary key,
    until timestamptz not null
);
