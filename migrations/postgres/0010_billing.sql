-- Why: which accounts pay, for what, and how that stands, as Stripe last told when asked. The row is written from what was
-- fetched, never from what an event claims: `fetches` counts the fetches that began, `fetched` is the latest one that was
-- written, so that one which began earlier and ended later changes nothing. `granted` is the plan that the account has because it
-- pays. `next_check_ms` is when to ask again, for the event that got lost. `stripe_events` remembers events that were worked in.

create table billing_accounts (
    account_id text not null,
    customer_id text not null,
    subscription_id text not null default '',
    plan text not null default '',
    status text not null default '',
    period_end_ms bigint,
    cancel_at_period_end bigint not null default 0,
    unpaid_since_ms bigint,
    granted text not null default '',
    ended_ms bigint,
    ended_unpaid bigint not null default 0,
    card text not null default '',
    checkout_session text not null default '',
    checkout_tries bigint not null default 0,
    fetches bigint not null default 0,
    fetched bigint not null default 0,
    next_check_ms bigint,
    created_ms bigint not null,
    constraint billing_accounts_pkey primary key (account_id),
    constraint billing_accounts_customer_key unique (customer_id),
    constraint billing_accounts_account_fkey foreign key (account_id) references accounts (id) on delete cascade,
    constraint billing_accounts_cancel_check check (cancel_at_period_end in (0, 1)),
    constraint billing_accounts_ended_unpaid_check check (ended_unpaid in (0, 1))
);

create index billing_accounts_next_check on billing_accounts (next_check_ms);

create table stripe_events (
    id text not null,
    received_ms bigint not null,
    constraint stripe_events_pkey primary key (id)
);

create index stripe_events_received on stripe_events (received_ms);
