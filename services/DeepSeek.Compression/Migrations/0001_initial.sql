create table compressions (
    id uuid primary key,
    job_id uuid not null,
    request_key text,
    owner text not null,
    model_name text not null,
    parent_version integer not null,
    dataset_manifest_sha256 text not null,
    parent_artifacts text not null,
    spec text not null,
    state text not null,
    lease_id uuid,
    attempt integer not null,
    error text,
    report text,
    created_at timestamp with time zone not null,
    ended_at timestamp with time zone
);
create unique index ix_compressions_job_id on compressions (job_id);
create unique index ix_compressions_request_key on compressions (request_key);
