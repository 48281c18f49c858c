-- Frozen notices: what was known when a month's notice was sent. `document` is the canonical JSON whose SHA-256 is `sha256`.
create table notices (
    month text collate "C" not null,
    item text collate "C" not null,
    document text not null,
    sha256 text not null check (sha256 = encode(sha256(convert_to(document, 'UTF8')), 'hex')),
    frozen_at timestamptz not null,
    frozen_by text not null,
    primary key (month, item)
);

-- Who did what, when. `role` is what the token proved, `who` what the caller said of themselves.
create table audit (
    id bigint generated always as identity primary key,
    at timestamptz not null,
    role text not null,
    who text not null,
    action text not null,
    subject text not null,
    detail jsonb not null
);

-- Both are only ever added to, by the service too.
revoke update, delete on notices, audit from metrics;
