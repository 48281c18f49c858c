-- A batch's deltas live for a second: compressing them on the way in would cost more than all else that is done with them.
alter table counter_deltas
    alter column item set storage external,
    alter column county set storage external,
    alter column day set storage external,
    alter column handled set storage external,
    alter column applied set storage external,
    alter column accepted set storage external,
    alter column completed set storage external,
    alter column completed_on_time set storage external,
    alter column not_accepted set storage external,
    alter column returned set storage external,
    alter column withdrawn set storage external,
    alter column online set storage external;
