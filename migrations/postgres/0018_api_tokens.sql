-- Why: programs use the management API in the name of a person, within an organisation, with less than their power. A token is
-- stored as SHA-256 only; it goes with the membership that it borrows its power from, and with the app that it was cut down to.
-- Rows that were revoked or ran out stay a while, for the list. `last_used_ms` is 0 for never.

create table api_tokens (
    id text not null,
    account_id text not null,
    user_id text not null,
    name text not null,
    token_hash text not null,
    hint text not null,
    scopes text not null,
    app_id bigint,
    created_ms bigint not null,
    expires_ms bigint,
    last_used_ms bigint not null,
    last_used_from text not null,
    revoked_ms bigint,
    constraint api_tokens_pkey primary key (id),
    constraint api_tokens_token_hash_key unique (token_hash),
    constraint api_tokens_membership_fkey foreign key (user_id, account_id) references memberships (user_id, account_id) on delete cascade,
    constraint api_tokens_app_fkey foreign key (app_id) references apps (id) on delete cascade
);

create index api_tokens_account on api_tokens (account_id);
create index api_tokens_membership on api_tokens (user_id, account_id);
create index api_tokens_app on api_tokens (app_id);
