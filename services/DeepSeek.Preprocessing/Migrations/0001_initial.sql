create table datasets (
    id uuid primary key,
    name text not null,
    owner text not null,
    state text not null check (state in ('queued', 'running', 'ready', 'failed', 'cancelled')),
    spec jsonb not null,
    source_name text not null,
    source_sha256 text not null check (source_sha256 ~ '^[0-9a-f]{64}$'),
    source_bytes bigint not null check (source_bytes >= 0),
    job_id uuid not null unique,
    request_key text,
    lease_id uuid,
    attempt integer not null,
    manifest_sha256 text check (manifest_sha256 ~ '^[0-9a-f]{64}$'),
    -- Text, not jsonb: the bytes are what the hash is of.
    manifest text,
    profile text,
    rows bigint,
    kind text,
    task text,
    problem_field text,
    problem_detail text,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    version bigint not null,
    check (state <> 'ready' or (manifest_sha256 is not null and manifest is not null and profile is not null))
);
create unique index datasets_request_key on datasets (request_key);
create index datasets_name on datasets (name);
