-- Why: a password alone is not enough for who wants more. A person has at most one second factor: the secret that their
-- authenticator app shares with us, sealed with a master key, and the last step of time that was accepted, so that no code is
-- good twice; it counts once it was confirmed. Recovery codes are kept as hashes, each good once. Who gave a password and not
-- yet a code has a row in `pending_sign_ins`; it is worth nothing after the password changed. An organisation can ask all its
-- people for a second factor. A session remembers in whose consoles it was let (ids, each with a space after it), so that its
-- end closes them.

alter table sessions add column consoles text not null default '';

alter table accounts add column second_factor_required bigint not null default 0
    constraint accounts_second_factor_required_check check (second_factor_required in (0, 1));

create table second_factors (
    user_id text not null,
    secret text not null,
    sealed_with text not null,
    last_step bigint not null,
    created_ms bigint not null,
    confirmed_ms bigint,
    constraint second_factors_pkey primary key (user_id),
    constraint second_factors_user_fkey foreign key (user_id) references users (id) on delete cascade
);

create index second_factors_sealed_with on second_factors (sealed_with);

create table recovery_codes (
    user_id text not null,
    code_hash text not null,
    constraint recovery_codes_pkey primary key (user_id, code_hash),
    constraint recovery_codes_factor_fkey foreign key (user_id) references second_factors (user_id) on delete cascade
);

create table pending_sign_ins (
    token_hash text not null,
    user_id text not null,
    password_mark text not null,
    expires_ms bigint not null,
    constraint pending_sign_ins_pkey primary key (token_hash),
    constraint pending_sign_ins_user_fkey foreign key (user_id) references users (id) on delete cascade
);

create index pending_sign_ins_user on pending_sign_ins (user_id);
