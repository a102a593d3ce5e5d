-- Why: a paying account may go on past its plan's messages of the day, up to an amount that it sets itself. `overage` is what it
-- allowed and what follows for today; `overage_days` is what each day came to, in thousands of messages, and how much of that
-- Stripe was told: `reported` is certain, between `reported` and `sending` is on its way and is sent again with the same identifier.

create table overage (
    account_id text not null,
    cap bigint not null default 0,
    cap_thousands bigint not null default 0,
    ready bigint not null default 0,
    period_start_ms bigint,
    extra bigint not null default 0,
    extra_day bigint not null default 0,
    constraint overage_pkey primary key (account_id),
    constraint overage_account_fkey foreign key (account_id) references accounts (id) on delete cascade,
    constraint overage_ready_check check (ready in (0, 1))
);

create table overage_days (
    account_id text not null,
    day bigint not null,
    allowance bigint not null,
    thousands bigint not null default 0,
    sending bigint not null default 0,
    reported bigint not null default 0,
    constraint overage_days_pkey primary key (account_id, day),
    constraint overage_days_account_fkey foreign key (account_id) references accounts (id) on delete cascade
);
