-- Statements of schema 18 (Fanfare 0.1.0).

-- RISE
update accounts set access_version = access_version + 1 where id = $1
;

-- APPS
select id from apps where account_id = $1 order by id
;

-- INSERT
insert into accounts (id, name, plan, created_ms) values ($1, $2, $3, $4)
;

-- INSERT_MEMBERSHIP
insert into memberships (user_id, account_id, role, created_ms) values ($1, $2, $3, $4)
;

-- LOCK
update accounts set name = name where id = $1
;

-- IS_CLOSED
select count(*) from accounts where id = $1 and deleted_ms is not null
;

-- BY_ID
select id, name, plan, created_ms from accounts where id = $1
;

-- SET_PLAN
update accounts set plan = $2 where id = $1 and plan <> $2
;

-- APPS_ON_ITS_PLAN
select id from apps where account_id = $1 and plan is null order by id
;

-- OF_ACCOUNT
select apps.id, apps.account_id, apps.name, apps.cluster, apps.enabled, apps.client_events, apps.allowed_origins, apps.plan, apps.connections_max, apps.created_ms, apps.version, apps.features from apps where apps.account_id = $1 order by apps.id
;

-- ALL_APPS
select apps.id, apps.account_id, apps.name, apps.cluster, apps.enabled, apps.client_events, apps.allowed_origins, apps.plan, apps.connections_max, apps.created_ms, apps.version, apps.features from apps order by apps.id
;

-- BY_ID
select apps.id, apps.account_id, apps.name, apps.cluster, apps.enabled, apps.client_events, apps.allowed_origins, apps.plan, apps.connections_max, apps.created_ms, apps.version, apps.features from apps where apps.account_id = $1 and apps.id = $2
;

-- KEYS
select k.key, k.sealed_with || ' ' || k.secret, k.created_ms from app_keys k join apps on apps.id = k.app_id
        where apps.account_id = $1 and apps.id = $2 order by k.created_ms, k.key
;

-- COUNT
select count(*) from apps where account_id = $1
;

-- NEXT_ID
update counters set value = value + 1 where name = 'app_id' returning value
;

-- TAKE_ID
insert into app_ids (id, account_id, metered_apart) values ($1, $2, $3) on conflict (id) do nothing
;

-- INSERT
insert into apps (id, account_id, name, cluster, enabled, client_events, allowed_origins, plan,
            connections_max, created_ms, version, features)
        values ($1, $2, $3, $4, 1, $5, '[]', $6, $7, $8, 1, $9) returning apps.id, apps.account_id, apps.name, apps.cluster, apps.enabled, apps.client_events, apps.allowed_origins, apps.plan, apps.connections_max, apps.created_ms, apps.version, apps.features
;

-- INSERT_KEY
insert into app_keys (key, app_id, secret, created_ms, sealed_with, created_by) values ($1, $2, $3, $4, $5, $6)
        on conflict (key) do nothing
;

-- UPDATE
update apps set
            name = coalesce($3, name),
            client_events = coalesce($4, client_events),
            allowed_origins = coalesce($5, allowed_origins),
            enabled = coalesce($6, enabled),
            features = $7,
            version = version + 1
        where apps.account_id = $1 and apps.id = $2 returning apps.id, apps.account_id, apps.name, apps.cluster, apps.enabled, apps.client_events, apps.allowed_origins, apps.plan, apps.connections_max, apps.created_ms, apps.version, apps.features
;

-- LOCK
update apps set version = version where account_id = $1 and id = $2 returning features
;

-- DELETE
delete from apps where account_id = $1 and id = $2
;

-- RECORDS
select k.key, k.sealed_with || ' ' || k.secret, k.created_ms, k.name, coalesce(u.email, ''),
            k.last_ws_ms, k.last_rest_ms, k.revoke_at_ms, k.revoke_when_idle
        from app_keys k join apps on apps.id = k.app_id left join users u on u.id = k.created_by
        where apps.account_id = $1 and apps.id = $2 order by k.created_ms, k.key
;

-- USED
update app_keys set
            last_ws_ms = case when last_ws_ms < $2 then $2 else last_ws_ms end,
            last_rest_ms = case when last_rest_ms < $3 then $3 else last_rest_ms end
        where key = $1 and (last_ws_ms < $2 or last_rest_ms < $3)
;

-- STAYING
select count(*) from app_keys
        where app_id = $1 and key <> $2 and revoke_at_ms is null and revoke_when_idle = 0
;

-- ORDER
update app_keys set revoke_at_ms = $3, revoke_when_idle = $4 where app_id = $1 and key = $2
;

-- DUE
select apps.account_id, k.app_id, k.key, k.revoke_when_idle from app_keys k join apps on apps.id = k.app_id
        where (k.revoke_at_ms is not null or k.revoke_when_idle = 1)
            and (k.revoke_at_ms <= $1 or (k.revoke_when_idle = 1 and k.last_ws_ms < $2 and k.last_rest_ms < $2
                and k.created_ms < $2))
        order by k.key limit $3
;

-- IS_DUE
select count(*) from app_keys where key = $1 and (revoke_at_ms <= $2 or revoke_when_idle = 1)
;

-- HOLD
update apps set version = version + 1 where account_id = $1 and id = $2
;

-- COUNT_KEYS
select count(*) from app_keys where app_id = $1
;

-- ADD
insert into app_keys (key, app_id, secret, created_ms, sealed_with, name, created_by)
        select $1, $2, $3, coalesce(max(case when created_ms >= $4 then created_ms + 1 else $4 end), $4), $5, $6, $7
        from app_keys where app_id = $2 returning created_ms
;

-- REMOVE
delete from app_keys where app_id = $1 and key = $2
;

-- VIEW_BY_ID
select apps.id, apps.account_id, apps.name, apps.cluster, apps.enabled, apps.client_events, apps.allowed_origins, apps.plan, apps.connections_max, apps.created_ms, apps.version, apps.features, a.plan, k.key, k.sealed_with || ' ' || k.secret, k.created_ms
            from apps join accounts a on a.id = apps.account_id left join app_keys k on k.app_id = apps.id
            where apps.id = $1 order by k.created_ms, k.key
;

-- ACCESS_VERSION
select access_version from accounts where id = $1
;

-- VIEW_BY_KEY
select apps.id, apps.account_id, apps.name, apps.cluster, apps.enabled, apps.client_events, apps.allowed_origins, apps.plan, apps.connections_max, apps.created_ms, apps.version, apps.features, a.plan, k.key, k.sealed_with || ' ' || k.secret, k.created_ms
            from apps join accounts a on a.id = apps.account_id left join app_keys k on k.app_id = apps.id
            where apps.id = (select app_id from app_keys where key = $1) order by k.created_ms, k.key
;

-- NAMES
select id, name from accounts where id in ($1, $2) and deleted_ms is null
;

-- MOVE
update apps set account_id = $3, version = version + 1
        where apps.account_id = $1 and apps.id = $2 returning apps.id, apps.account_id, apps.name, apps.cluster, apps.enabled, apps.client_events, apps.allowed_origins, apps.plan, apps.connections_max, apps.created_ms, apps.version, apps.features
;

-- MOVE_ID
update app_ids set account_id = $2 where id = $1
;

-- FORGET_GRANTS
delete from app_grants where app_id = $1
;

-- INSERT
insert into audit_log
            (id, account_id, at_ms, actor_id, actor, action, app_id, target, details, network, user_agent, via)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
;

-- SEEN_SINCE
select count(*) from (select 1 from audit_log
        where account_id = $1 and id >= $2 and actor_id = $3 and action = $4 and app_id = $5 limit 1) as seen
;

-- ACCOUNTS_OF
select account_id from memberships where user_id = $1 order by created_ms, account_id
;

-- OF_ACCOUNT
select id, at_ms, actor_id, actor, action, app_id, target, details, network, user_agent, via
        from audit_log
        where account_id = $1 and id >= $2 and ($3 = '' or id < $3) and ($4 = '' or actor = $4)
            and ($5 = '' or action = $5 or action like $6) and ($7 = 0 or app_id = $7)
        order by id desc limit $8
;

-- ACTORS
select distinct actor from audit_log where account_id = $1 and id >= $2 order by actor limit $3
;

-- PRUNE_OLD
delete from audit_log where id < $1
;

-- PRUNE_MANY
delete from audit_log where account_id = $1 and id <= (
        select id from audit_log where account_id = $1 order by id desc limit 1 offset $2)
;

-- NEXT_SEQ
update counters set value = value + 1 where name = 'change' returning value
;

-- RECORD
insert into changes (app_id, seq) values ($1, $2)
        on conflict (app_id) do update set seq = excluded.seq
;

-- LAST
select value from counters where name = 'change'
;

-- SINCE
select seq, app_id from changes where seq > $1 order by seq limit $2
;

-- PING
select 1
;

-- CHANGE
update users set email = $2, email_confirmed_ms = $3 where id = $1
        and not exists (select 1 from users other where other.email = $2 and other.id <> $1)
;

-- CONFIRMED
update users set email_confirmed_ms = $3 where id = $1 and email = $2
;

-- CHECKED
select case when checked_ms > created_ms then checked_ms else created_ms end from sessions
        where token_hash = $1
;

-- NOTE
update sessions set checked_ms = $2 where token_hash = $1 and checked_ms < $2
;

-- PASSWORDS
select count(*) from users where id = $1 and password_hash <> ''
;

-- PUT_ONCE
insert into instance (name, value) values ($1, $2) on conflict (name) do nothing
;

-- PUT
insert into instance (name, value) values ($1, $2) on conflict (name) do update set value = excluded.value
;

-- GET
select value from instance where name = $1
;

-- USERS_EXIST
select count(*) from (select 1 from users where password_hash <> '' limit 1) as some_user
;

-- OF_ACCOUNT
select id, email, role, invited_by, created_ms, expires_ms from invitations
        where account_id = $1 order by created_ms desc, id
;

-- BY_ID
select id, email, role, invited_by, created_ms, expires_ms from invitations
        where account_id = $1 and id = $2
;

-- BY_TOKEN
select i.id, i.email, i.role, i.invited_by, i.created_ms, i.expires_ms, a.id, a.name, a.plan, a.created_ms
        from invitations i join accounts a on a.id = i.account_id where i.token_hash = $1 and i.expires_ms > $2
;

-- COUNT
select count(*) from invitations where account_id = $1
;

-- IS_MEMBER
select count(*) from memberships m join users u on u.id = m.user_id
        where m.account_id = $1 and u.email = $2
;

-- ISSUED_SINCE
select count(*) from audit_log
        where account_id = $1 and id >= $2 and action in ('invitation.create', 'invitation.renew')
;

-- PUT
insert into invitations (id, account_id, email, role, token_hash, invited_by, created_ms, expires_ms)
        values ($1, $2, $3, $4, $5, $6, $7, $8)
        on conflict (account_id, email) do update set id = excluded.id, role = excluded.role,
            token_hash = excluded.token_hash, invited_by = excluded.invited_by, created_ms = excluded.created_ms,
            expires_ms = excluded.expires_ms
;

-- RENEW
update invitations set token_hash = $3, expires_ms = $4 where account_id = $1 and id = $2
;

-- REVOKE
delete from invitations where account_id = $1 and id = $2
;

-- PURGE
delete from invitations where account_id = $1 and expires_ms <= $2
;

-- MEMBERS
select count(*) from memberships where account_id = $1
;

-- PLACES_OF_USER
select count(*) from memberships where user_id = $1
;

-- TAKE
delete from invitations where token_hash = $1 and email = $2 and expires_ms > $3 returning account_id, role
;

-- JOIN
insert into memberships (user_id, account_id, role, created_ms) values ($1, $2, $3, $4)
        on conflict (user_id, account_id) do nothing
;

-- INSERT
insert into login_tokens (token_hash, user_id, expires_ms) values ($1, $2, $3)
;

-- PURGE
delete from login_tokens where expires_ms <= $1
;

-- TAKE
delete from login_tokens where token_hash = $1 returning user_id, expires_ms
;

-- USER
select id, email, created_ms from users where id = $1
;

-- PUT
insert into mail_outbox (id, kind, account_id, recipient, subject, body, link, once, state, attempts,
            created_ms, next_try_ms, lease_until_ms, expires_ms, error)
        select $1, $2, $3, $4, $5, $6, $7, $8, 'waiting', 0, $9, $9, 0, $10, ''
        where (select count(*) from mail_outbox where state = 'waiting') < $11
            and (select count(*) from mail_outbox where recipient = $4 and created_ms > $12) < $13
        on conflict (once) do nothing
;

-- MAILED_SINCE
select count(*) from mail_outbox where recipient = $1 and kind = $2 and created_ms > $3
;

-- ONCE
select count(*) from mail_outbox where once = $1
;

-- LATEST
select id, kind, recipient, subject, body, link, state, attempts, created_ms, next_try_ms, expires_ms, sent_ms,
        error from mail_outbox order by created_ms desc, id desc limit $1
;

-- TOO_LATE
update mail_outbox set state = 'failed', error = $2 where state = 'waiting' and expires_ms <= $1
;

-- CLAIM
update mail_outbox set lease_until_ms = $2, attempts = attempts + 1
        where state = 'waiting' and lease_until_ms <= $1 and next_try_ms <= $1 and id in (
            select id from mail_outbox where state = 'waiting' and lease_until_ms <= $1 and next_try_ms <= $1
            order by next_try_ms, id limit $3)
        returning id, kind, recipient, subject, body, link, attempts
;

-- SENT
update mail_outbox set state = 'sent', sent_ms = $2, error = '', body = '', link = '' where id = $1
;

-- SHOWN
update mail_outbox set state = 'shown' where id = $1
;

-- AGAIN
update mail_outbox set next_try_ms = $2, lease_until_ms = 0, error = $3 where id = $1
;

-- FAILED
update mail_outbox set state = 'failed', error = $2 where id = $1
;

-- FORGET_TEXTS
update mail_outbox set body = '', link = '' where expires_ms <= $1 and (body <> '' or link <> '')
;

-- FORGET
delete from mail_outbox where created_ms <= $1
;

-- PUT
insert into mail_tokens (token_hash, user_id, purpose, email, created_ms, expires_ms) values ($1, $2, $3, $4, $5, $6)
        on conflict (user_id, purpose) do update set token_hash = excluded.token_hash, email = excluded.email,
            created_ms = excluded.created_ms, expires_ms = excluded.expires_ms
;

-- TAKE
delete from mail_tokens where token_hash = $1 and purpose = $2 and expires_ms > $3 returning user_id, email
;

-- LOOK
select u.id, u.email, u.created_ms, t.email from mail_tokens t join users u on u.id = t.user_id
        where t.token_hash = $1 and t.purpose = $2 and t.expires_ms > $3
;

-- VOID
delete from mail_tokens where user_id = $1
;

-- FORGET
delete from mail_tokens where expires_ms <= $1
;

-- OF_ACCOUNT
select u.id, u.email, m.role, m.all_apps, m.created_ms
        from memberships m join users u on u.id = m.user_id
        where m.account_id = $1 order by m.created_ms, u.id
;

-- GRANTS_OF_ACCOUNT
select user_id, app_id from app_grants where account_id = $1 order by app_id
;

-- ONE
select u.email, m.role, m.all_apps from memberships m join users u on u.id = m.user_id
        where m.account_id = $1 and m.user_id = $2
;

-- OWNERS
select count(*) from memberships where account_id = $1 and role = 'owner'
;

-- CHANGE
update memberships set role = $3, all_apps = $4 where account_id = $1 and user_id = $2
;

-- REMOVE
delete from memberships where account_id = $1 and user_id = $2
;

-- FORGET_GRANTS
delete from app_grants where account_id = $1 and user_id = $2
;

-- GRANT
insert into app_grants (user_id, account_id, app_id)
        select $1, $2, id from apps where account_id = $2 and id = $3
;

-- OF_USER
select a.id, a.name, a.plan, a.created_ms, m.role, m.all_apps, a.second_factor_required,
            (select count(*) from second_factors f where f.user_id = m.user_id and f.confirmed_ms is not null)
        from memberships m join accounts a on a.id = m.account_id
        where m.user_id = $1 order by m.created_ms, a.id limit $2
;

-- ACCOUNT_OF_APP
select account_id from apps where id = $1
;

-- GRANTED
select app_id from app_grants where user_id = $1 and account_id = $2 order by app_id
;

-- OWNED
select count(*) from memberships where user_id = $1 and role = 'owner'
;

-- RENAME
update accounts set name = $2 where id = $1
;

-- NAME
select name from accounts where id = $1 and deleted_ms is null
;

-- OTHERS
select count(*) from memberships where account_id = $1 and user_id <> $2
;

-- APPS
select id from apps where account_id = $1 order by id
;

-- DELETE_APPS
delete from apps where account_id = $1
;

-- FORGET_INVITATIONS
delete from invitations where account_id = $1
;

-- FORGET_MEMBERS
delete from memberships where account_id = $1
;

-- CLOSE
update accounts set name = '', deleted_ms = $2 where id = $1
;

-- OF_ACCOUNT
select cap, cap_thousands, ready, period_start_ms, extra, extra_day from overage where account_id = $1
;

-- LOCK
update overage set cap = cap where account_id = $1
        returning cap, cap_thousands, ready, period_start_ms, extra, extra_day
;

-- MAKE
insert into overage (account_id) values ($1) on conflict (account_id) do nothing
;

-- SET_CAP
update overage set cap = $2, cap_thousands = $3 where account_id = $1
;

-- SET_STANDING
update overage set ready = $2, period_start_ms = $3 where account_id = $1
;

-- SET_EXTRA
update overage set extra = $2, extra_day = $3 where account_id = $1
;

-- OPEN_DAY
insert into overage_days (account_id, day, allowance) values ($1, $2, $3)
        on conflict (account_id, day) do update set allowance =
            case when excluded.allowance > overage_days.allowance then excluded.allowance else overage_days.allowance end
;

-- DAY
select allowance, thousands from overage_days where account_id = $1 and day = $2
;

-- SET_DAY
update overage_days set thousands = $3 where account_id = $1 and day = $2 and thousands < $3
;

-- BETWEEN
select cast(coalesce(sum(thousands), 0) as bigint) from overage_days
        where account_id = $1 and day >= $2 and day < $3
;

-- SETTLED_AFTER
select o.account_id, a.plan from overage o join accounts a on a.id = o.account_id
        where (o.cap_thousands > 0 or o.extra > 0) and o.account_id > $1 order by o.account_id limit $2
;

-- BEGIN_REPORTS
update overage_days set sending = thousands where sending = reported and thousands > reported
;

-- REPORTS
select d.account_id, b.customer_id, d.day, d.reported, d.sending
        from overage_days d join billing_accounts b on b.account_id = d.account_id
        where d.sending > d.reported order by d.account_id, d.day limit $1
;

-- REPORTED
update overage_days set reported = $4 where account_id = $1 and day = $2 and reported = $3 and sending = $4
;

-- PLACEHOLDER
select u.id, u.email, u.created_ms, a.id, a.name, a.plan, a.created_ms
        from users u join memberships m on m.user_id = u.id join accounts a on a.id = m.account_id
        where u.password_hash = '' order by u.created_ms, u.id limit 1
;

-- TAKE_OVER
update users set email = $1, password_hash = $2 where id = $3 and password_hash = ''
        and not exists (select 1 from users taken where taken.email = $1 and taken.id <> $3)
;

-- RENAME
update accounts set name = $1 where id = $2
;

-- HASH_OF_USER
select password_hash from users where id = $1
;

-- CHANGE
update users set password_hash = $1 where id = $2 and password_hash = $3
;

-- FORGET_LINKS
delete from login_tokens where user_id = $1
;

-- PASSWORD
select password_hash from users where id = $1
;

-- INSERT
insert into pending_sign_ins (token_hash, user_id, password_mark, expires_ms) values ($1, $2, $3, $4)
;

-- PURGE
delete from pending_sign_ins where expires_ms <= $1
;

-- FIND
select u.id, u.email, u.created_ms, u.password_hash, p.password_mark
        from pending_sign_ins p join users u on u.id = p.user_id where p.token_hash = $1 and p.expires_ms > $2
;

-- TAKE
delete from pending_sign_ins where token_hash = $1 and expires_ms > $2
;

-- SET
update accounts set second_factor_required = $2
        where id = $1 and second_factor_required <> $2 and deleted_ms is null
;

-- WITHOUT
select count(*) from memberships m where m.account_id = $1 and not exists (
        select 1 from second_factors f where f.user_id = m.user_id and f.confirmed_ms is not null)
;

-- PUT
insert into mail_tokens (token_hash, user_id, purpose, email, created_ms, expires_ms)
        select $1, u.id, 'reset', u.email, $2, $3 from users u where u.email = $4 and u.email <> $5
            and (select count(*) from mail_outbox m where m.recipient = $4 and m.kind = 'reset' and m.created_ms > $6) < $7
        on conflict (user_id, purpose) do update set token_hash = excluded.token_hash, email = excluded.email,
            created_ms = excluded.created_ms, expires_ms = excluded.expires_ms
;

-- MAIL
insert into mail_outbox (id, kind, account_id, recipient, subject, body, link, state, attempts,
            created_ms, next_try_ms, lease_until_ms, expires_ms, error)
        select $1, 'reset', '', $2, $3, $4, $5, 'waiting', 0, $6, $6, 0, $7, '' where
            exists (select 1 from mail_tokens where token_hash = $8)
            and (select count(*) from mail_outbox where state = 'waiting') < $9
;

-- BY_EMAIL
select id, email, created_ms from users where email = $1
;

-- NEW_HASH
update users set password_hash = $2 where id = $1
;

-- PROVED
update users set email_confirmed_ms = $3 where id = $1 and email = $2 and email_confirmed_ms is null
;

-- COUNTS
select sealed_with, count(*) from app_keys group by sealed_with order by sealed_with
;

-- NOT_YET
select key, app_id, secret, sealed_with from app_keys where sealed_with <> $1 and key > $2
        order by key limit $3
;

-- RESEAL
update app_keys set secret = $1, sealed_with = $2 where key = $3 and secret = $4
;

-- FACTOR_COUNTS
select sealed_with, count(*) from second_factors group by sealed_with order by sealed_with
;

-- FACTORS_NOT_YET
select user_id, secret from second_factors where sealed_with <> $1 and user_id > $2
        order by user_id limit $3
;

-- RESEAL_FACTOR
update second_factors set secret = $1, sealed_with = $2 where user_id = $3 and secret = $4
;

-- RESEAL_INSTANCE
update instance set value = $1 where name = $2 and value = $3
;

-- STANDING
select confirmed_ms, (select count(*) from recovery_codes r where r.user_id = f.user_id)
        from second_factors f where user_id = $1
;

-- SECRET
select secret from second_factors where user_id = $1 and confirmed_ms is not null
;

-- TAKE_STEP
update second_factors set last_step = $2
        where user_id = $1 and last_step < $2 and confirmed_ms is not null
;

-- TAKE_RECOVERY
delete from recovery_codes where user_id = $1 and code_hash = $2
;

-- LEFT
select count(*) from recovery_codes where user_id = $1
;

-- REMOVE
delete from second_factors where user_id = $1
;

-- REQUIRED_BY
select a.name from memberships m join accounts a on a.id = m.account_id
        where m.user_id = $1 and a.second_factor_required = 1 order by m.created_ms, a.id limit 1
;

-- FORGET_PENDING
delete from pending_sign_ins where user_id = $1
;

-- BEGIN
insert into second_factors (user_id, secret, sealed_with, last_step, created_ms) values ($1, $2, $3, 0, $4)
        on conflict (user_id) do update set secret = excluded.secret, sealed_with = excluded.sealed_with,
            last_step = 0, created_ms = excluded.created_ms where second_factors.confirmed_ms is null
;

-- BEGUN
select secret from second_factors where user_id = $1 and confirmed_ms is null
;

-- CONFIRM
update second_factors set confirmed_ms = $2, last_step = $3
        where user_id = $1 and confirmed_ms is null and secret = $4
;

-- STORED
select secret from second_factors where user_id = $1
;

-- FORGET_CODES
delete from recovery_codes where user_id = $1
;

-- INSERT_CODE
insert into recovery_codes (user_id, code_hash) values ($1, $2)
;

-- OWNER_CONFIRMED
update users set email_confirmed_ms = $2 where id = $1 and email_confirmed_ms is null
;

-- FIRST
update users set server_admin = 1 where id = $1
        and not exists (select 1 from users other where other.server_admin = 1)
;

-- GRANT
update users set server_admin = 1 where email = $1
;

-- OTHERS
select count(*) from users where server_admin = 1 and id <> $1
;

-- INSERT
insert into sessions (token_hash, user_id, created_ms, last_seen_ms, address, user_agent)
        values ($1, $2, $3, $3, $4, $5)
;

-- FIND
select u.id, u.email, u.created_ms, s.account_id, s.last_seen_ms, u.server_admin, u.email_confirmed_ms,
            (select count(*) from second_factors f where f.user_id = u.id and f.confirmed_ms is not null)
        from sessions s join users u on u.id = s.user_id
        where s.token_hash = $1 and s.last_seen_ms > $2 and s.created_ms > $3
;

-- WORK_IN
update sessions set account_id = $3 where token_hash = $1 and user_id = $2
;

-- SEEN
update sessions set last_seen_ms = $1 where token_hash = $2 and last_seen_ms < $1
;

-- OF_USER
select token_hash, created_ms, last_seen_ms, address, user_agent from sessions
        where user_id = $1 and last_seen_ms > $2 and created_ms > $3
        order by last_seen_ms desc, created_ms desc, token_hash limit $4
;

-- END
delete from sessions where token_hash = $1 returning consoles
;

-- END_OF_USER
delete from sessions where user_id = $1 and token_hash = $2 returning consoles
;

-- END_ALL_BUT
delete from sessions where user_id = $1 and token_hash <> $2 returning consoles
;

-- PURGE
delete from sessions where last_seen_ms <= $1 or created_ms <= $2 returning consoles
;

-- CONSOLES
select consoles from sessions where token_hash = $1
;

-- WATCH
update sessions set consoles = consoles || $2 || ' ' where token_hash = $1
;

-- OF_ACCOUNT
select account_id, customer_id, subscription_id, plan, status, period_end_ms, cancel_at_period_end, unpaid_since_ms, granted, ended_ms, ended_unpaid, card, checkout_session, checkout_tries, fetched from billing_accounts where account_id = $1
;

-- OF_CUSTOMER
select account_id, customer_id, subscription_id, plan, status, period_end_ms, cancel_at_period_end, unpaid_since_ms, granted, ended_ms, ended_unpaid, card, checkout_session, checkout_tries, fetched from billing_accounts where customer_id = $1
;

-- PUT_CUSTOMER
insert into billing_accounts (account_id, customer_id, created_ms) values ($1, $2, $3)
        on conflict do nothing
;

-- PUT_CHECKOUT
update billing_accounts
        set checkout_session = $3, checkout_tries = checkout_tries + 1, next_check_ms = $4
        where account_id = $1 and checkout_tries = $2
;

-- LOOK_NOW
update billing_accounts set next_check_ms = $2 where account_id = $1
;

-- END_CHECKOUT
update billing_accounts set checkout_session = '' where account_id = $1 and checkout_session = $2
;

-- BEGIN_FETCH
update billing_accounts set fetches = fetches + 1 where account_id = $1 returning fetches
;

-- LOCK
update billing_accounts set customer_id = customer_id where account_id = $1 returning account_id, customer_id, subscription_id, plan, status, period_end_ms, cancel_at_period_end, unpaid_since_ms, granted, ended_ms, ended_unpaid, card, checkout_session, checkout_tries, fetched
;

-- WRITE
update billing_accounts set subscription_id = $2, plan = $3, status = $4, period_end_ms = $5,
            cancel_at_period_end = $6, unpaid_since_ms = $7, granted = $8, ended_ms = $9, ended_unpaid = $10, card = $11,
            fetched = $12, next_check_ms = $13
        where account_id = $1
;

-- REMEMBER_EVENT
insert into stripe_events (id, received_ms) values ($1, $2) on conflict (id) do nothing
;

-- DUE
select account_id, next_check_ms from billing_accounts where next_check_ms <= $1
        order by next_check_ms, account_id limit $2
;

-- CLAIM
update billing_accounts set next_check_ms = $3 where account_id = $1 and next_check_ms = $2
;

-- SEEN
select count(*) from stripe_events where id = $1
;

-- FORGET
delete from stripe_events where received_ms < $1
;

-- OF_ACCOUNT
select t.id, t.user_id, u.email, t.name, t.hint, t.scopes, t.app_id, t.created_ms, t.expires_ms, t.last_used_ms, t.last_used_from, t.revoked_ms from api_tokens t join users u on u.id = t.user_id
        where t.account_id = $1 order by t.created_ms desc, t.id
;

-- BY_ID
select t.id, t.user_id, u.email, t.name, t.hint, t.scopes, t.app_id, t.created_ms, t.expires_ms, t.last_used_ms, t.last_used_from, t.revoked_ms from api_tokens t join users u on u.id = t.user_id
        where t.account_id = $1 and t.id = $2
;

-- BY_HASH
select t.id, t.user_id, u.email, t.name, t.hint, t.scopes, t.app_id, t.created_ms, t.expires_ms, t.last_used_ms, t.last_used_from, t.revoked_ms from api_tokens t join users u on u.id = t.user_id
        where t.token_hash = $1 and t.revoked_ms is null and (t.expires_ms is null or t.expires_ms > $2)
;

-- OWNER_BY_HASH
select u.created_ms, a.id, a.name, a.plan, a.created_ms, m.role, m.all_apps, a.second_factor_required
        from api_tokens t join users u on u.id = t.user_id join accounts a on a.id = t.account_id
            join memberships m on m.user_id = t.user_id and m.account_id = t.account_id
        where t.token_hash = $1 and a.deleted_ms is null and (a.second_factor_required = 0 or exists (
            select 1 from second_factors f where f.user_id = t.user_id and f.confirmed_ms is not null))
;

-- COUNT
select count(*) from api_tokens where account_id = $1 and revoked_ms is null
;

-- HAS_APP
select count(*) from apps where account_id = $1 and id = $2
;

-- INSERT
insert into api_tokens (id, account_id, user_id, name, token_hash, hint, scopes, app_id, created_ms, expires_ms,
            last_used_ms, last_used_from)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 0, '')
;

-- USED
update api_tokens set last_used_ms = $2, last_used_from = $3 where id = $1 and last_used_ms <= $4
;

-- REVOKE
update api_tokens set revoked_ms = $3 where account_id = $1 and id = $2 and revoked_ms is null
;

-- PURGE
delete from api_tokens where account_id = $1 and (revoked_ms <= $2 or expires_ms <= $2)
;

-- OF_APP
select app_id, day, publishes, deliveries, client_events, presence, cached, reads, connections_peak, webhooks
        from usage_days where app_id = $1 and day = $2
;

-- OF_ACCOUNT
select u.app_id, u.day, u.publishes, u.deliveries, u.client_events, u.presence, u.cached, u.reads,
            u.connections_peak, u.webhooks
        from usage_days u join app_ids i on i.id = u.app_id
        where i.account_id = $1 order by u.day desc, u.app_id limit $2
;

-- ACCOUNT_DAYS
select u.day,
            cast(sum(u.publishes + u.deliveries + u.client_events + u.presence + u.cached + u.reads + u.webhooks) as bigint),
            cast(sum(u.connections_peak) as bigint)
        from usage_days u join app_ids i on i.id = u.app_id
        where i.account_id = $1 and i.metered_apart = 0 and u.day > $2 group by u.day order by u.day
;

-- APP_MESSAGES
select cast(coalesce(sum(publishes + deliveries + client_events + presence + cached + reads + webhooks), 0) as bigint)
        from usage_days where app_id = $1 and day = $2
;

-- ACCOUNT_MESSAGES
select cast(coalesce(
            sum(u.publishes + u.deliveries + u.client_events + u.presence + u.cached + u.reads + u.webhooks), 0) as bigint)
        from usage_days u join app_ids i on i.id = u.app_id
        where i.account_id = $1 and i.metered_apart = 0 and u.day = $2
;

-- TAKE
insert into usage_flushes (node, seq, at_ms) values ($1, $2, $3)
        on conflict (node) do update set seq = excluded.seq, at_ms = excluded.at_ms where usage_flushes.seq < excluded.seq
;

-- ADD_MINUTE
insert into usage_minutes (app_id, minute, publishes, deliveries, client_events, presence, cached, reads,
                webhooks, connections_peak)
            values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
            on conflict (app_id, minute) do update set
                publishes = usage_minutes.publishes + excluded.publishes,
                deliveries = usage_minutes.deliveries + excluded.deliveries,
                client_events = usage_minutes.client_events + excluded.client_events,
                presence = usage_minutes.presence + excluded.presence,
                cached = usage_minutes.cached + excluded.cached,
                reads = usage_minutes.reads + excluded.reads,
                webhooks = usage_minutes.webhooks + excluded.webhooks,
                connections_peak = case when excluded.connections_peak > usage_minutes.connections_peak
                    then excluded.connections_peak else usage_minutes.connections_peak end
;

-- ADD_HOUR
insert into usage_hours (app_id, hour, publishes, deliveries, client_events, presence, cached, reads,
                webhooks, connections_peak)
            values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
            on conflict (app_id, hour) do update set
                publishes = usage_hours.publishes + excluded.publishes,
                deliveries = usage_hours.deliveries + excluded.deliveries,
                client_events = usage_hours.client_events + excluded.client_events,
                presence = usage_hours.presence + excluded.presence,
                cached = usage_hours.cached + excluded.cached,
                reads = usage_hours.reads + excluded.reads,
                webhooks = usage_hours.webhooks + excluded.webhooks,
                connections_peak = case when excluded.connections_peak > usage_hours.connections_peak
                    then excluded.connections_peak else usage_hours.connections_peak end
;

-- ADD_DAY
insert into usage_days (app_id, day, publishes, deliveries, client_events, presence, cached, reads,
                webhooks, connections_peak)
            values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
            on conflict (app_id, day) do update set
                publishes = usage_days.publishes + excluded.publishes,
                deliveries = usage_days.deliveries + excluded.deliveries,
                client_events = usage_days.client_events + excluded.client_events,
                presence = usage_days.presence + excluded.presence,
                cached = usage_days.cached + excluded.cached,
                reads = usage_days.reads + excluded.reads,
                webhooks = usage_days.webhooks + excluded.webhooks,
                connections_peak = case when excluded.connections_peak > usage_days.connections_peak
                    then excluded.connections_peak else usage_days.connections_peak end
;

-- SCOPE
select account_id from app_ids where id = $1 and metered_apart = 0
;

-- FORGET_MINUTES
delete from usage_minutes where minute < $1
;

-- FORGET_HOURS
delete from usage_hours where hour < $1
;

-- FORGET_FLUSHES
delete from usage_flushes where at_ms < $1
;

-- APP_MINUTES
select minute, publishes, deliveries, client_events, presence, cached, reads, webhooks, connections_peak
            from usage_minutes where app_id = $1 and minute >= $2 and minute < $3 order by minute
;

-- APP_HOURS
select hour, publishes, deliveries, client_events, presence, cached, reads, webhooks, connections_peak
            from usage_hours where app_id = $1 and hour >= $2 and hour < $3 order by hour
;

-- APP_DAYS
select day, publishes, deliveries, client_events, presence, cached, reads, webhooks, connections_peak
            from usage_days where app_id = $1 and day >= $2 and day < $3 order by day
;

-- ACCOUNT_MINUTES
select u.minute, cast(sum(u.publishes) as bigint), cast(sum(u.deliveries) as bigint),
                cast(sum(u.client_events) as bigint), cast(sum(u.presence) as bigint), cast(sum(u.cached) as bigint),
                cast(sum(u.reads) as bigint), cast(sum(u.webhooks) as bigint), cast(sum(u.connections_peak) as bigint)
            from usage_minutes u join app_ids i on i.id = u.app_id
            where i.account_id = $1 and i.metered_apart = 0 and u.minute >= $2 and u.minute < $3
            group by u.minute order by u.minute
;

-- ACCOUNT_HOURS
select u.hour, cast(sum(u.publishes) as bigint), cast(sum(u.deliveries) as bigint),
                cast(sum(u.client_events) as bigint), cast(sum(u.presence) as bigint), cast(sum(u.cached) as bigint),
                cast(sum(u.reads) as bigint), cast(sum(u.webhooks) as bigint), cast(sum(u.connections_peak) as bigint)
            from usage_hours u join app_ids i on i.id = u.app_id
            where i.account_id = $1 and i.metered_apart = 0 and u.hour >= $2 and u.hour < $3
            group by u.hour order by u.hour
;

-- ACCOUNT_DAYS
select u.day, cast(sum(u.publishes) as bigint), cast(sum(u.deliveries) as bigint),
                cast(sum(u.client_events) as bigint), cast(sum(u.presence) as bigint), cast(sum(u.cached) as bigint),
                cast(sum(u.reads) as bigint), cast(sum(u.webhooks) as bigint), cast(sum(u.connections_peak) as bigint)
            from usage_days u join app_ids i on i.id = u.app_id
            where i.account_id = $1 and i.metered_apart = 0 and u.day >= $2 and u.day < $3
            group by u.day order by u.day
;

-- INSERT
insert into users (id, email, password_hash, created_ms) values ($1, $2, $3, $4)
        on conflict (email) do nothing
;

-- BY_ID
select id, email, created_ms from users where id = $1
;

-- HASH_BY_EMAIL
select id, email, created_ms, password_hash from users where email = $1
;

-- REHASH
update users set password_hash = $1 where id = $2 and password_hash = $3
;

-- FIRST_OWNER
select u.id, u.email, u.created_ms, a.id, a.name, a.plan, a.created_ms
        from users u join memberships m on m.user_id = u.id join accounts a on a.id = m.account_id
        where m.role = 'owner' order by u.created_ms, u.id, m.created_ms limit 1
;

-- WITH_ACCOUNT_BY_EMAIL
select u.id, u.email, u.created_ms, a.id, a.name, a.plan, a.created_ms
        from users u join memberships m on m.user_id = u.id join accounts a on a.id = m.account_id
        where u.email = $1 order by case when m.role = 'owner' then 0 else 1 end, m.created_ms, a.id limit 1
;

-- PLACES
select a.id, a.name, m.role,
            (select count(*) from memberships o where o.account_id = a.id and o.user_id <> $1),
            (select count(*) from memberships o where o.account_id = a.id and o.user_id <> $1 and o.role = 'owner'),
            (select count(*) from apps where apps.account_id = a.id)
        from memberships m join accounts a on a.id = m.account_id where m.user_id = $1 order by m.created_ms, a.id
;

-- OTHERS
select count(*) from (select 1 from users where id <> $1 limit 1) as another
;

-- IS_ADMIN
select count(*) from users where id = $1 and server_admin = 1
;

-- DELETE
delete from users where id = $1 and not exists (select 1 from memberships where user_id = $1)
;

-- FORGET_MAILS
delete from mail_outbox where recipient = $1
;

-- OF_APP
select d.id, d.endpoint_id, d.app_id, d.created_ms, d.time_ms, d.events, d.events_count, d.test, d.by_hand, d.state, d.attempts, d.next_try_ms from webhook_deliveries d join apps a on a.id = d.app_id
        where a.account_id = $1 and d.app_id = $2 and ($3 = '' or d.endpoint_id = $3) and ($4 = '' or d.state = $4)
            and ($5 = '' or d.id < $5)
        order by d.id desc limit $6
;

-- BY_ID
select d.id, d.endpoint_id, d.app_id, d.created_ms, d.time_ms, d.events, d.events_count, d.test, d.by_hand, d.state, d.attempts, d.next_try_ms from webhook_deliveries d join apps a on a.id = d.app_id
        where a.account_id = $1 and d.app_id = $2 and d.id = $3
;

-- ATTEMPTS_BETWEEN
select t.delivery_id, t.at_ms, t.duration_ms, t.status, t.error, '' as q, '' as h, '' as b
        from webhook_attempts t join webhook_deliveries d on d.id = t.delivery_id
        where d.app_id = $1 and d.id >= $2 and d.id <= $3 order by t.delivery_id, t.number
;

-- ATTEMPTS
select delivery_id, at_ms, duration_ms, status, error, request_headers, response_headers, response_body
        from webhook_attempts where delivery_id = $1 order by number
;

-- SUMMARY
select d.endpoint_id, d.state, count(*) from webhook_deliveries d join apps a on a.id = d.app_id
        where a.account_id = $1 and d.app_id = $2 and d.id >= $3 group by d.endpoint_id, d.state
;

-- RESEND
update webhook_deliveries
        set state = 'pending', by_hand = 1, time_ms = $3, next_try_ms = null, lease_node = '', lease_until_ms = 0
        where app_id = $1 and id = $2 and state <> 'pending'
;

-- RECOVER
update webhook_deliveries
        set state = 'pending', by_hand = 1, time_ms = $4, next_try_ms = null, lease_node = '', lease_until_ms = 0
        where app_id = $1 and endpoint_id = $2 and id >= $3 and state = 'failed'
;

-- TEST
insert into webhook_deliveries (id, endpoint_id, app_id, created_ms, time_ms, events, events_count, test, by_hand,
            state, attempts, lease_node, lease_until_ms)
        values ($1, $2, $3, $4, $4, $5, 1, 1, 1, 'pending', 0, '', 0)
;

-- OF_APP
select e.id, e.app_id, e.url, e.kinds, e.channel_filter, e.headers, e.enabled, e.failing_since_ms, e.paused_ms, e.created_ms from webhook_endpoints e join apps a on a.id = e.app_id
        where a.account_id = $1 and e.app_id = $2 order by e.id
;

-- BY_ID
select e.id, e.app_id, e.url, e.kinds, e.channel_filter, e.headers, e.enabled, e.failing_since_ms, e.paused_ms, e.created_ms from webhook_endpoints e join apps a on a.id = e.app_id
        where a.account_id = $1 and e.app_id = $2 and e.id = $3
;

-- FOR_NODE
select e.id, e.app_id, e.url, e.kinds, e.channel_filter, e.headers, e.enabled, e.failing_since_ms, e.paused_ms, e.created_ms from webhook_endpoints e where e.app_id = $1 order by e.id
;

-- LOCK_APP
update apps set version = version where account_id = $1 and id = $2
;

-- COUNT
select count(*) from webhook_endpoints where app_id = $1
;

-- INSERT
insert into webhook_endpoints (id, app_id, url, kinds, channel_filter, headers, enabled, created_ms)
        values ($1, $2, $3, $4, $5, $6, 1, $7)
;

-- UPDATE
update webhook_endpoints set
            url = coalesce($2, url),
            kinds = coalesce($3, kinds),
            channel_filter = coalesce($4, channel_filter),
            headers = coalesce($5, headers),
            enabled = coalesce($6, enabled),
            failing_since_ms = case when coalesce($6, 0) = 1 then null else failing_since_ms end,
            paused_ms = case when coalesce($6, 0) = 1 then null else paused_ms end
        where id = $1
;

-- DELETE
delete from webhook_endpoints where id = $1
;

-- ALL_STORED
select id, headers from webhook_endpoints where headers <> '[]' and id > $1 order by id limit $2
;

-- RESEAL
update webhook_endpoints set headers = $1 where id = $2 and headers = $3
;

-- PENDING
select count(*) from webhook_deliveries where endpoint_id = $1 and state = 'pending'
;

-- INSERT
insert into webhook_deliveries (id, endpoint_id, app_id, created_ms, time_ms, events, events_count, test,
            by_hand, state, attempts, lease_node, lease_until_ms)
        select $1, e.id, e.app_id, $3, $3, $4, $5, 0, 0, 'pending', 0, $6, $7 from webhook_endpoints e where e.id = $2
;

-- WAITING
select distinct endpoint_id from webhook_deliveries where state = 'pending' and lease_until_ms <= $1
        limit $2
;

-- CLAIM
update webhook_deliveries as d set lease_node = $1, lease_until_ms = $2
        where d.state = 'pending' and d.lease_until_ms <= $3 and d.id in (
            select id from webhook_deliveries where endpoint_id = $4 and state = 'pending' and lease_until_ms <= $3
            order by id limit $5)
        returning id, endpoint_id, app_id, created_ms, time_ms, events, events_count, test, by_hand, state, attempts, next_try_ms
;

-- RENEW
update webhook_deliveries set lease_until_ms = $2 where state = 'pending' and lease_node = $1
;

-- RELEASE
update webhook_deliveries set lease_node = '', lease_until_ms = 0 where state = 'pending' and lease_node = $1
;

-- FINISH
update webhook_deliveries set state = $3, next_try_ms = $4, attempts = attempts + $5,
            lease_node = case when $3 = 'pending' then lease_node else '' end,
            lease_until_ms = case when $3 = 'pending' then lease_until_ms else 0 end
        where id = $1 and lease_node = $2 and state = 'pending' returning attempts, test
;

-- INSERT_ATTEMPT
insert into webhook_attempts (delivery_id, number, at_ms, duration_ms, status, error,
            request_headers, response_headers, response_body) values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
;

-- WELL
update webhook_endpoints set failing_since_ms = null where id = $1 and failing_since_ms is not null
;

-- FAILING
update webhook_endpoints set failing_since_ms = $2 where id = $1 and failing_since_ms is null
;

-- PAUSE
update webhook_endpoints set paused_ms = $2
        where id = $1 and enabled = 1 and paused_ms is null and failing_since_ms <= $3 returning app_id
;

-- HOLD
insert into webhook_held (id, app_id, event) select $1, a.id, $3 from apps a where a.id = $2
;

-- TAKE_HELD
delete from webhook_held returning id, app_id, event
;

-- PRUNE_OLD
delete from webhook_deliveries where id < $1 and state <> 'pending'
;

-- PRUNE_MANY
delete from webhook_deliveries where endpoint_id = $1 and state <> 'pending' and id <= (
        select id from webhook_deliveries where endpoint_id = $1 order by id desc limit 1 offset $2)
;

