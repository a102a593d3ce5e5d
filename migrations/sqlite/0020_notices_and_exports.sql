-- Why: an organisation's webhook endpoints are told of limits that come near. Several nodes see the same limit, so what an endpoint
-- was told has a name and is told once. A row of its own, since the delivery may leave the log earlier.
-- And a person takes along what the audit log has of them, in whichever organisation: found by the person, not by reading it all.

create table webhook_notices (
    endpoint_id text not null,
    name text not null,
    told_ms bigint not null,
    constraint webhook_notices_pkey primary key (endpoint_id, name),
    constraint webhook_notices_endpoint_fkey foreign key (endpoint_id) references webhook_endpoints (id) on delete cascade
);

create index webhook_notices_told on webhook_notices (told_ms);

create index audit_log_actor on audit_log (actor_id, id);
