-- Which rows of sheets a company has sent, by digest alone, and when each was first seen: that is its event's recorded_at
-- for ever, so that the same sheet sent again is the same events, and a later row of one register wins (decision 0018).
create table sheet_rows (
    company text not null,
    digest text not null,
    register text not null,
    recorded_at timestamptz not null,
    primary key (company, digest)
);
create index sheet_rows_by_register on sheet_rows (company, register);

-- Whom a company may ask at the bureau about each of its services: an office and its telephone, nobody's own.
create table contacts (
    subject text primary key,
    office text not null,
    phone text not null
);

-- The companies' page: one-time links that the bureau gives, and the sessions that come of them. Only digests of tokens.
create table page_links (
    token_digest bytea primary key,
    company text not null,
    expires_at timestamptz not null
);

create table page_sessions (
    token_digest bytea primary key,
    company text not null,
    expires_at timestamptz not null
);
create index page_sessions_by_company on page_sessions (company);

-- The page lists a company's installations under way.
create index installations_open on installations (company)
    where not deleted and (step is null or step not in ('connected', 'cancelled'));
