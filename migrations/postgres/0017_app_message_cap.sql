-- Why: an app may have a cap of its own on the messages of a UTC day, as it may on connections, so that one app can't use up what
-- all apps of an organisation share. Null: it has none.

alter table apps add column messages_day_max bigint constraint apps_messages_day_max_check check (messages_day_max >= 0);
