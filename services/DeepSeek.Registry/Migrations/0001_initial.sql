create table blobs (
    sha256 text primary key check (sha256 ~ '^[0-9a-f]{64}$'),
    bytes bigint not null check (bytes >= 0),
    media_type text not null,
    created_at timestamptz not null,
    -- An unreferenced blob is kept for the grace after this time.
    touched_at timestamptz not null
);
create index blobs_touched_at on blobs (touched_at);

-- Who needs a blob. The foreign key makes a race between a new reference and the collector end in an error, never in a lost blob.
create table blob_references (
    owner_kind text not null,
    owner_id uuid not null,
    sha256 text not null references blobs (sha256),
    primary key (owner_kind, owner_id, sha256)
);
create index blob_references_sha256 on blob_references (sha256);

create table models (
    id uuid primary key,
    name text not null unique,
    created_by text not null,
    created_at timestamptz not null,
    -- Numbers are given under this row's lock, so they have no gaps and are never given twice.
    last_version integer not null,
    deleted_at timestamptz
);

create table model_versions (
    id uuid primary key,
    model_id uuid not null references models (id),
    version integer not null check (version > 0),
    parent_version integer,
    author text not null,
    source_kind text not null check (source_kind in ('run', 'compression', 'manual')),
    source_id uuid not null,
    dataset_id uuid,
    dataset_manifest_sha256 text,
    note text not null,
    created_at timestamptz not null,
    deleted_at timestamptz,
    deleted_by text,
    unique (model_id, version),
    unique (source_kind, source_id)
);

create table version_artifacts (
    version_id uuid not null references model_versions (id),
    name text not null,
    sha256 text not null,
    bytes bigint not null,
    media_type text not null,
    primary key (version_id, name)
);
create index version_artifacts_sha256 on version_artifacts (sha256);

create table version_metrics (
    version_id uuid not null references model_versions (id),
    name text not null,
    value double precision not null,
    primary key (version_id, name)
);
create index version_metrics_name_value on version_metrics (name, value);

create table version_approvals (
    id uuid primary key,
    version_id uuid not null references model_versions (id),
    decision text not null check (decision in ('approve', 'reject')),
    actor text not null,
    comment text not null,
    at timestamptz not null
);
create index version_approvals_version_id on version_approvals (version_id);

create table alias_moves (
    id bigint generated always as identity primary key,
    model_id uuid not null references models (id),
    alias text not null,
    version integer,
    version_id uuid references model_versions (id),
    previous_version integer,
    actor text not null,
    at timestamptz not null
);
create index alias_moves_model_id_alias on alias_moves (model_id, alias, at);

create table model_aliases (
    model_id uuid not null references models (id),
    alias text not null,
    version_id uuid not null references model_versions (id),
    -- The id of the move that set it: unique over all time, so it serves as the ETag.
    move_id bigint not null references alias_moves (id),
    primary key (model_id, alias)
);
create index model_aliases_version_id on model_aliases (version_id);

create table datasets (
    id uuid primary key,
    name text not null,
    owner text not null,
    manifest_sha256 text not null,
    source_sha256 text not null,
    rows bigint not null,
    kind text not null,
    task text not null,
    prepared_at timestamptz not null
);
create index datasets_manifest_sha256 on datasets (manifest_sha256);

create table audit_entries (
    sequence bigint primary key,
    entry_id uuid not null unique,
    at timestamptz not null,
    recorded_at timestamptz not null,
    actor text not null,
    action text not null,
    subject text not null,
    details text not null,
    previous_hash bytea not null,
    hash bytea not null,
    mac bytea not null
);
create index audit_entries_subject on audit_entries (subject, sequence);

-- How long the chain is and how it ends, signed, so that entries cut off its end are missed.
create table audit_head (
    id integer primary key check (id = 1),
    sequence bigint not null,
    hash bytea not null,
    mac bytea not null
);

create function refuse_change() returns trigger language plpgsql as $$
begin
    raise exception 'The audit log is append-only: % on % is refused.', tg_op, tg_table_name using errcode = 'insufficient_privilege';
end $$;

create trigger audit_entries_append_only before update or delete on audit_entries for each row execute function refuse_change();
create trigger audit_entries_no_truncate before truncate on audit_entries for each statement execute function refuse_change();
create trigger alias_moves_append_only before update or delete on alias_moves for each row execute function refuse_change();
create trigger alias_moves_no_truncate before truncate on alias_moves for each statement execute function refuse_change();
