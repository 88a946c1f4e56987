create table explanations (
    id uuid primary key,
    job_id uuid not null,
    request_key text,
    owner text not null,
    model_name text not null,
    model_version integer not null,
    model_sha256 text not null,
    dataset_manifest_sha256 text not null,
    spec text not null,
    state text not null,
    lease_id uuid,
    attempt integer not null,
    error text,
    report text,
    created_at timestamp with time zone not null,
    ended_at timestamp with time zone
);
create unique index ix_explanations_request_key on explanations (request_key);
