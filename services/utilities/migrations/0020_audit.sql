-- Who did what, when (shared/audit.py). `role` is what was proven, `who` the company, or what the caller said of themselves.
create table audit (
    id bigint generated always as identity primary key,
    at timestamptz not null,
    role text not null,
    who text not null,
    action text not null,
    subject text not null,
    detail jsonb not null
);

-- Only ever added to, by the service too.
revoke update, delete on audit from utilities;
