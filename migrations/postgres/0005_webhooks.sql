-- Why: where an app's webhooks go, and what was sent there. A delivery is stored before its first attempt, so that neither a
-- restart nor a killed process loses it; a node that works on one has a lease on it (which node, until when), so that two
-- nodes do not send one twice. Each attempt keeps question and answer for the log. `webhook_held` takes what waits for the
-- end of the grace when a node stops. A webhook is a message: `usage_days` counts them.

create table webhook_endpoints (
    id text not null,
    app_id bigint not null,
    url text not null,
    kinds text not null,
    channel_filter text not null,
    headers text not null,
    enabled bigint not null,
    failing_since_ms bigint,
    paused_ms bigint,
    created_ms bigint not null,
    constraint webhook_endpoints_pkey primary key (id),
    constraint webhook_endpoints_app_fkey foreign key (app_id) references apps (id) on delete cascade,
    constraint webhook_endpoints_enabled_check check (enabled in (0, 1))
);

create index webhook_endpoints_app on webhook_endpoints (app_id);

create table webhook_deliveries (
    id text not null,
    endpoint_id text not null,
    app_id bigint not null,
    created_ms bigint not null,
    time_ms bigint not null,
    events text not null,
    events_count bigint not null,
    test bigint not null,
    by_hand bigint not null,
    state text not null,
    attempts bigint not null,
    next_try_ms bigint,
    lease_node text not null,
    lease_until_ms bigint not null,
    constraint webhook_deliveries_pkey primary key (id),
    constraint webhook_deliveries_endpoint_fkey foreign key (endpoint_id) references webhook_endpoints (id) on delete cascade,
    constraint webhook_deliveries_test_check check (test in (0, 1)),
    constraint webhook_deliveries_by_hand_check check (by_hand in (0, 1)),
    constraint webhook_deliveries_state_check check (state in ('pending', 'delivered', 'failed'))
);

create index webhook_deliveries_endpoint on webhook_deliveries (endpoint_id, id);
create index webhook_deliveries_app on webhook_deliveries (app_id, id);
create index webhook_deliveries_state on webhook_deliveries (state, lease_until_ms, endpoint_id);

create table webhook_attempts (
    delivery_id text not null,
    number bigint not null,
    at_ms bigint not null,
    duration_ms bigint not null,
    status bigint,
    error text,
    request_headers text not null,
    response_headers text not null,
    response_body text not null,
    constraint webhook_attempts_pkey primary key (delivery_id, number),
    constraint webhook_attempts_delivery_fkey foreign key (delivery_id) references webhook_deliveries (id) on delete cascade
);

create table webhook_held (
    id text not null,
    app_id bigint not null,
    event text not null,
    constraint webhook_held_pkey primary key (id),
    constraint webhook_held_app_fkey foreign key (app_id) references apps (id) on delete cascade
);

create index webhook_held_app on webhook_held (app_id);

alter table usage_days add column webhooks bigint not null default 0;
