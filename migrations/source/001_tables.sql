-- One row that the service updates once per heartbeat. It is published: an idle source still confirms, with a commit
-- time on its own clock, that nothing is missing, and the slot can advance.
create table tidemark.heartbeat (
    id int primary key check (id = 1),
    at timestamptz not null,
    seq bigint not null
);

-- Schema changes, in commit order with the rows around them. Only the event trigger's owner may insert.
create table tidemark.ddl (
    id bigint generated always as identity primary key,
    at timestamptz not null default clock_timestamp(),
    tag text not null,
    command text not null,
    objects jsonb not null default '[]',
    search_path text not null default '',
    role text not null default current_user
);

-- The state of sequences as the heartbeat last saw it: logical decoding does not carry it.
create table tidemark.sequence (
    schema_name text not null,
    sequence_name text not null,
    last_value bigint not null,
    is_called boolean not null,
    increment bigint not null,
    primary key (schema_name, sequence_name)
);

-- Our replication slots and where each began. PostgreSQL does not keep that, and a slot that was dropped and made again
-- under its old name is a gap. Not published.
create table tidemark.slot (
    slot_name text primary key,
    generation pg_lsn not null,
    system_id text not null,
    created timestamptz not null default now()
);

revoke all on tidemark.heartbeat, tidemark.ddl, tidemark.sequence, tidemark.slot from public;

---- create above / drop below ----

drop table tidemark.slot, tidemark.sequence, tidemark.ddl, tidemark.heartbeat;
