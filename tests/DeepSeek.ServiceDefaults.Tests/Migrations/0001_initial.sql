create table notes (
    id uuid primary key,
    text text not null,
    written_at timestamp with time zone not null
);

create table echoes (
    id bigint generated always as identity primary key,
    note_id uuid not null,
    trace_id text
);

create table errands (
    id uuid primary key,
    job_id uuid not null,
    request_key text,
    owner text not null,
    state integer not null,
    lease_id uuid,
    attempt integer not null,
    error text,
    report text,
    created_at timestamp with time zone not null,
    ended_at timestamp with time zone
);
create unique index ix_errands_request_key on errands (request_key);
