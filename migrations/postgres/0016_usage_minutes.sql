-- Why: one counter for everything that shows or charges use. Nodes report what they counted by the minute; each report moves
-- the minute, its hour and its day in one transaction, so that the three can't differ. Minutes are kept for two days, hours for
-- ninety, days for good. Whose an app is stands in `app_ids` alone: when an app moves, all of its use moves with it.
-- `usage_flushes` has the last report of each node (a name for each start), so that one which comes twice counts once.
-- `cached` are deliveries of what a cache channel kept.

alter table usage_days add column cached bigint not null default 0;

create table usage_minutes (
    app_id bigint not null,
    minute bigint not null,
    publishes bigint not null,
    deliveries bigint not null,
    client_events bigint not null,
    presence bigint not null,
    cached bigint not null,
    reads bigint not null,
    webhooks bigint not null,
    connections_peak bigint not null,
    constraint usage_minutes_pkey primary key (app_id, minute)
);

create index usage_minutes_minute on usage_minutes (minute);

create table usage_hours (
    app_id bigint not null,
    hour bigint not null,
    publishes bigint not null,
    deliveries bigint not null,
    client_events bigint not null,
    presence bigint not null,
    cached bigint not null,
    reads bigint not null,
    webhooks bigint not null,
    connections_peak bigint not null,
    constraint usage_hours_pkey primary key (app_id, hour)
);

create index usage_hours_hour on usage_hours (hour);

create table usage_flushes (
    node text not null,
    seq bigint not null,
    at_ms bigint not null,
    constraint usage_flushes_pkey primary key (node)
);

create index usage_flushes_at on usage_flushes (at_ms);
