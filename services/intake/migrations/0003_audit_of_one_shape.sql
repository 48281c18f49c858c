-- The audit gets the shape that all services' have (shared/audit.py). What was written stands, under the names that it has there.
alter table audit rename column seq to id;
alter table audit rename column parked_id to subject;
alter table audit add column role text not null default 'operator';
alter table audit alter column role drop default;
alter table audit drop constraint audit_action_check;
update audit set action = case action when 'fixed' then 'parked.fix' else 'parked.replay' end;
