-- The common question is for one item, and for all its days: the key begins with the county.
create index totals_by_item on totals (item);
