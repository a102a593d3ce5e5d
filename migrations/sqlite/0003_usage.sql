-- Why: what is metered (per app and UTC day, in messages as the plans count them) and the few facts of the instance
-- itself. `usage_days` has no foreign key: an app from the settings has no row, and usage outlives its app.

create table usage_days (
    app_id bigint not null,
    day bigint not null,
    publishes bigint not null,
    deliveries bigint not null,
    client_events bigint not null,
    presence bigint not null,
    reads bigint not null,
    connections_peak bigint not null,
    constraint usage_days_pkey primary key (app_id, day)
);

create table instance (
    name text not null,
    value text not null,
    constraint instance_pkey primary key (name)
);
