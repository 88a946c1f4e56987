create table api_keys (
    id uuid primary key,
    name text not null,
    role text not null check (role in ('reader', 'operator', 'approver', 'admin')),
    hash bytea not null unique check (length(hash) = 32),
    hint text not null,
    created_by text not null,
    created_at timestamp with time zone not null,
    revoked_by text,
    revoked_at timestamp with time zone
);

create index ix_api_keys_active on api_keys (role) where revoked_at is null;
