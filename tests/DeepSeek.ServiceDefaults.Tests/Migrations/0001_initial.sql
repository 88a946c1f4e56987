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
