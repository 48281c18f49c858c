-- Which topic a position belongs to: a topic made anew under the same name has another id, and other offsets.
alter table offsets add column topic_id uuid;
