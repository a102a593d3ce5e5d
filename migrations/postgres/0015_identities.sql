-- Why: people sign in with accounts that they have elsewhere. A row says that the account `subject` of a provider is this
-- person; the address is what the provider called them then, for people to read, and nothing is decided by it. One account of a
-- provider is one person, and a person has one account of each provider. Who has no password has '!' in its place: it fits none.

create table identities (
    provider text not null,
    subject text not null,
    user_id text not null,
    email text not null,
    created_ms bigint not null,
    constraint identities_pkey primary key (provider, subject),
    constraint identities_user_provider_key unique (user_id, provider),
    constraint identities_user_fkey foreign key (user_id) references users (id) on delete cascade,
    constraint identities_provider_check check (provider in ('github', 'google'))
);
