-- Why: sessions know when their person last proved who they are, which a look at a secret asks for; pairs whose end was
-- ordered are looked through every few seconds.

alter table sessions add column checked_ms bigint not null default 0;

create index app_keys_ending on app_keys (app_id) where revoke_at_ms is not null or revoke_when_idle = 1;
