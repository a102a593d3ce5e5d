-- Why: what an account owns, and the feed by which nodes learn of a change.
-- `app_ids` remembers every id ever given out and to whom: an id is never given twice, and the usage of a deleted
-- app still counts for its account. `counters` holds numbers that must come in the order of commits; a sequence of
-- the database would let a reader of the feed pass over a change that commits late.

create table counters (
    name text not null,
    value bigint not null,
    constraint counters_pkey primary key (name)
);

insert into counters (name, value) values ('app_id', 1000), ('change', 0);

create table app_ids (
    id bigint not null,
    account_id text not null,
    metered_apart bigint not null,
    constraint app_ids_pkey primary key (id),
    constraint app_ids_account_fkey foreign key (account_id) references accounts (id),
    constraint app_ids_id_check check (id >= 2),
    constraint app_ids_metered_apart_check check (metered_apart in (0, 1))
);

create index app_ids_account on app_ids (account_id);

create table apps (
    id bigint not null,
    account_id text not null,
    name text not null,
    cluster text not null,
    enabled bigint not null,
    client_events bigint not null,
    allowed_origins text not null,
    plan text,
    connections_max bigint,
    created_ms bigint not null,
    version bigint not null,
    constraint apps_pkey primary key (id),
    constraint apps_id_fkey foreign key (id) references app_ids (id),
    constraint apps_account_fkey foreign key (account_id) references accounts (id),
    constraint apps_enabled_check check (enabled in (0, 1)),
    constraint apps_client_events_check check (client_events in (0, 1)),
    constraint apps_connections_max_check check (connections_max >= 0)
);

create index apps_account on apps (account_id);

create table app_keys (
    key text not null,
    app_id bigint not null,
    secret text not null,
    created_ms bigint not null,
    constraint app_keys_pkey primary key (key),
    constraint app_keys_app_fkey foreign key (app_id) references apps (id) on delete cascade
);

create index app_keys_app on app_keys (app_id);

create table changes (
    app_id bigint not null,
    seq bigint not null,
    constraint changes_pkey primary key (app_id),
    constraint changes_seq_key unique (seq)
);
