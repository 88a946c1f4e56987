-- Who is alive; a replica that holds nothing yet counts, too.
create table replicas (
    replica text primary key,
    seen_at timestamp with time zone not null
);

-- The deployment's revision that the replica serves as it shall; null while it does not.
alter table replica_versions add column revision bigint;
