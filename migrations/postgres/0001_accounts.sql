-- Why: who our customers are. A user signs in, an account owns apps and is billed, a membership joins the two,
-- so that teams need no change of the tables above them. Tokens are stored as SHA-256 only.

create table accounts (
    id text not null,
    name text not null,
    plan text not null,
    created_ms bigint not null,
    constraint accounts_pkey primary key (id)
);

create table users (
    id text not null,
    email text not null,
    password_hash text not null,
    created_ms bigint not null,
    constraint users_pkey primary key (id),
    constraint users_email_key unique (email)
);

create table memberships (
    user_id text not null,
    account_id text not null,
    role text not null,
    created_ms bigint not null,
    constraint memberships_pkey primary key (user_id, account_id),
    constraint memberships_user_fkey foreign key (user_id) references users (id) on delete cascade,
    constraint memberships_account_fkey foreign key (account_id) references accounts (id) on delete cascade
);

create index memberships_account on memberships (account_id);

create table sessions (
    token_hash text not null,
    user_id text not null,
    created_ms bigint not null,
    last_seen_ms bigint not null,
    constraint sessions_pkey primary key (token_hash),
    constraint sessions_user_fkey foreign key (user_id) references users (id) on delete cascade
);

create index sessions_user on sessions (user_id);
create index sessions_last_seen on sessions (last_seen_ms);

create table login_tokens (
    token_hash text not null,
    user_id text not null,
    expires_ms bigint not null,
    constraint login_tokens_pkey primary key (token_hash),
    constraint login_tokens_user_fkey foreign key (user_id) references users (id) on delete cascade
);

create index login_tokens_expires on login_tokens (expires_ms);
