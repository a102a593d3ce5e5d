-- Why: secrets of apps are sealed at rest, and keys say who made them, what for, who uses them and when they end.
-- `sealed_with` names the master key that sealed `secret`; empty means that it stands there in clear, as rows from before
-- do until the server starts next. A server of the release before takes a sealed secret for the secret itself, and so
-- refuses every signature; it never accepts one more. Times of use are whole minutes, 0 is never.

alter table app_keys add column sealed_with text not null default '';
alter table app_keys add column name text not null default '';
alter table app_keys add column created_by text not null default '';
alter table app_keys add column last_ws_ms bigint not null default 0;
alter table app_keys add column last_rest_ms bigint not null default 0;
alter table app_keys add column revoke_at_ms bigint;
alter table app_keys add column revoke_when_idle bigint not null default 0;

create index app_keys_sealed_with on app_keys (sealed_with);
