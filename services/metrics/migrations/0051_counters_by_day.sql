-- Every item of a few days at once is asked for too, and what lies after a day: the keys begin with the item.
create index counters_by_day on counters (day);
create index counters_by_month_by_month on counters_by_month (month);
