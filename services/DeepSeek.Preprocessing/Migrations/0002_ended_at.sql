alter table datasets add column ended_at timestamptz;
update datasets set ended_at = updated_at where state in ('ready', 'failed', 'cancelled');
