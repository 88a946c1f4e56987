create table outbox_messages (
    id uuid primary key,
    sequence bigint generated always as identity,
    message_type text not null,
    destination text,
    body text not null,
    trace_parent text,
    created_at timestamp with time zone not null,
    attempts integer not null default 0,
    next_attempt_at timestamp with time zone not null,
    error text
);

create index ix_outbox_messages_due on outbox_messages (next_attempt_at, sequence);

create table inbox_messages (
    message_id uuid not null,
    consumer text not null,
    received_at timestamp with time zone not null default now(),
    primary key (message_id, consumer)
);

create index ix_inbox_messages_received_at on inbox_messages (received_at);

create function outbox_notify() returns trigger language plpgsql as $$
begin
    notify outbox;
    return null;
end
$$;

create trigger outbox_notify after insert on outbox_messages
    for each statement execute function outbox_notify();
