-- Why: what was used in each minute, for charts, in the same counters that the day's quota is made of: a day is the sum of
-- its minutes, because both are written in one transaction. `usage_flushes` has the number of the last report of each node, so
-- that a report is never counted twice, also when the answer to it was lost. What a cache channel hands out to a newcomer
-- has a class of its own. Sessions know when their person last proved who they are.

create table usage_minutes (
    app_id bigint not null,
    minute bigint not null,
    publishes bigint not null,
    deliveries bigint not null,
    client_events bigint not null,
    presence bigint not null,
    cache bigint not null,
    reads bigint not null,
    webhooks bigint not null,
    connections_peak bigint not null,
    constraint usage_minutes_pkey primary key (app_id, minute)
);

create index usage_minutes_minute on usage_minutes (minute);

create table usage_flushes (
    node text not null,
    seq bigint not null,
    at_ms bigint not null,
    constraint usage_flushes_pkey primary key (node)
);

alter table usage_days add column cache bigint not null default 0;

alter table sessions add column checked_ms bigint not null default 0;

create index app_keys_ending on app_keys (app_id) where revoke_at_ms is not null or revoke_when_idle = 1;
