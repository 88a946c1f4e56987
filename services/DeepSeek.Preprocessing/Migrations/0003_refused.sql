-- Data that cannot be prepared: an attempt that comes later says so again instead of looking for the upload.
alter table datasets drop constraint datasets_state_check;
alter table datasets add constraint datasets_state_check check (state in ('queued', 'running', 'ready', 'failed', 'cancelled', 'refused'));
