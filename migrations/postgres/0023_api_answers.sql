-- Why: who repeats a POST of the management API under the same `Idempotency-Key` gets the first answer again, from whichever node,
-- and nothing is done twice. `name` is a hash of token, role and key; `answer` is sealed, for it may hold a secret that is shown
-- once, and empty while the request is on its way. Rows are kept for a day and go with their token.

create table api_answers (
    account_id text not null,
    name text not null,
    token_id text not null,
    request_hash text not null,
    answer text not null,
    made_ms bigint not null,
    constraint api_answers_pkey primary key (account_id, name),
    constraint api_answers_token_fkey foreign key (token_id) references api_tokens (id) on delete cascade
);

create index api_answers_token on api_answers (token_id);
create index api_answers_made on api_answers (made_ms);
