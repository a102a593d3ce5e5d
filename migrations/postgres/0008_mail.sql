-- Why: mail. `mail_outbox` keeps a mail until it was sent, so that neither a restart nor a mail server that is away loses it; a node
-- that sends one has a lease on it. The link of a mail is a secret while its token lives: it is sealed, and forgotten when the mail
-- is out. `mail_tokens` has what such a link opens, stored as SHA-256 only, one of each purpose for a person: a new one replaces
-- the older. `email` is the address that the token proves; empty is none. An address is confirmed when its mail arrived.
-- `server_admin` is who looks after this server itself, beside their places in organisations: in databases from before the
-- first person there was.

alter table users add column server_admin bigint not null default 0
    constraint users_server_admin_check check (server_admin in (0, 1));
alter table users add column email_confirmed_ms bigint;

update users set server_admin = 1, email_confirmed_ms = created_ms where id = (select min(id) from users);

create table mail_tokens (
    token_hash text not null,
    user_id text not null,
    purpose text not null,
    email text not null,
    created_ms bigint not null,
    expires_ms bigint not null,
    constraint mail_tokens_pkey primary key (token_hash),
    constraint mail_tokens_user_purpose_key unique (user_id, purpose),
    constraint mail_tokens_user_fkey foreign key (user_id) references users (id) on delete cascade,
    constraint mail_tokens_purpose_check check (purpose in ('confirm', 'reset', 'change'))
);

create index mail_tokens_expires on mail_tokens (expires_ms);

create table mail_outbox (
    id text not null,
    kind text not null,
    account_id text not null,
    recipient text not null,
    subject text not null,
    body text not null,
    link text not null,
    once text,
    state text not null,
    attempts bigint not null,
    created_ms bigint not null,
    next_try_ms bigint not null,
    lease_until_ms bigint not null,
    expires_ms bigint not null,
    sent_ms bigint,
    error text not null,
    constraint mail_outbox_pkey primary key (id),
    constraint mail_outbox_once_key unique (once),
    constraint mail_outbox_state_check check (state in ('waiting', 'sent', 'failed', 'shown'))
);

create index mail_outbox_state on mail_outbox (state, next_try_ms);
create index mail_outbox_recipient on mail_outbox (recipient, created_ms);
