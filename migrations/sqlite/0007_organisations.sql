-- Why: an account is an organisation of several people. A membership has a role and sees all apps or those it was granted;
-- an invitation waits for somebody who is no member yet, its token stored as SHA-256 only. A session says in which of its
-- person's organisations it works; empty is the oldest. An organisation that was deleted stays as a row without a name,
-- because the ids it gave out and their usage name it for ever. `audit_log` keeps what was done in it: by whom, to what, from
-- which network.

alter table sessions add column account_id text not null default '';

alter table memberships add column all_apps bigint not null default 1
    constraint memberships_all_apps_check check (all_apps in (0, 1));

alter table accounts add column deleted_ms bigint;

create table app_grants (
    user_id text not null,
    account_id text not null,
    app_id bigint not null,
    constraint app_grants_pkey primary key (user_id, account_id, app_id),
    constraint app_grants_membership_fkey foreign key (user_id, account_id) references memberships (user_id, account_id) on delete cascade,
    constraint app_grants_app_fkey foreign key (app_id) references apps (id) on delete cascade
);

create index app_grants_app on app_grants (app_id);

create table invitations (
    id text not null,
    account_id text not null,
    email text not null,
    role text not null,
    token_hash text not null,
    invited_by text not null,
    created_ms bigint not null,
    expires_ms bigint not null,
    constraint invitations_pkey primary key (id),
    constraint invitations_account_email_key unique (account_id, email),
    constraint invitations_token_hash_key unique (token_hash),
    constraint invitations_account_fkey foreign key (account_id) references accounts (id) on delete cascade
);

create table audit_log (
    id text not null,
    account_id text not null,
    at_ms bigint not null,
    actor_id text not null,
    actor text not null,
    action text not null,
    app_id bigint,
    target text not null,
    details text not null,
    network text not null,
    user_agent text not null,
    via text not null,
    constraint audit_log_pkey primary key (id),
    constraint audit_log_account_fkey foreign key (account_id) references accounts (id) on delete cascade,
    constraint audit_log_via_check check (via in ('dash', 'cli', 'api', 'system'))
);

create index audit_log_account on audit_log (account_id, id);
