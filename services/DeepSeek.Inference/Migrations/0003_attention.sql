-- What a language model attends with on the replica; null for other models.
alter table replica_versions add column attention text;
