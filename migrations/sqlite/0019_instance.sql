-- Why: whoever runs the server looks after its organisations. `quota_templates` has the limits of plans that were edited, and of
-- plans of their own; a plan without a row has the limits of the catalogue in the code. No number is no limit. A suspended
-- organisation keeps everything, and its apps refuse. `server_invitations` let somebody without an organisation sign up; their
-- tokens are stored as SHA-256 only.

create table quota_templates (
    name text not null,
    connections_max bigint,
    messages_max bigint,
    publishes_max bigint,
    reads_max bigint,
    changed_ms bigint not null,
    constraint quota_templates_pkey primary key (name),
    constraint quota_templates_numbers_check check (connections_max >= 0 and messages_max >= 0 and publishes_max >= 0 and reads_max >= 0)
);

alter table accounts add column suspended_ms bigint;
alter table accounts add column suspended_why text not null default '';

create table server_invitations (
    id text not null,
    label text not null,
    token_hash text not null,
    invited_by text not null,
    created_ms bigint not null,
    expires_ms bigint not null,
    constraint server_invitations_pkey primary key (id),
    constraint server_invitations_token_hash_key unique (token_hash)
);
