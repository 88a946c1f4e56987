-- Every model version this service ever served: a prediction id leads here even when its log entry is gone.
create table served_versions (
    id uuid primary key,
    model text not null,
    version integer not null check (version > 0),
    sha256 text not null check (sha256 ~ '^[0-9a-f]{64}$'),
    recorded_at timestamp with time zone not null
);

create table deployments (
    id uuid primary key,
    name text not null unique,
    model text not null,
    ref text not null,
    -- Off: known, but no replica loads it.
    enabled boolean not null,
    max_batch integer not null,
    max_delay_ms double precision not null,
    max_queue integer not null,
    -- What the reference pointed to when it was last resolved; replicas start from it when the registry is away.
    version_id uuid references served_versions (id),
    revision bigint not null,
    created_by text not null,
    created_at timestamp with time zone not null,
    updated_at timestamp with time zone not null
);

-- What each living replica holds, as it said last.
create table replica_versions (
    replica text not null,
    deployment_id uuid not null references deployments (id) on delete cascade,
    version integer not null,
    state text not null,
    error text,
    seen_at timestamp with time zone not null,
    primary key (replica, deployment_id, version)
);

create index ix_replica_versions_deployment on replica_versions (deployment_id);

create table predictions (
    id uuid primary key,
    version_id uuid not null,
    deployment text not null,
    model text not null,
    version integer not null,
    kind text not null,
    rows integer not null,
    actor text not null,
    duration_us bigint not null,
    -- Predictions of raw rows as they were answered, of the first rows; null for tensors.
    results jsonb,
    created_at timestamp with time zone not null
);

create index ix_predictions_created_at on predictions (created_at);
