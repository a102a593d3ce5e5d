//! All organisations as whoever runs the server sees them: listed and searched, put on a plan, suspended and let go on. What it does
//! to one stands in that one's audit log, under the name of who did it. It answers no customer.

use crate::account::{self, Account, AccountId, AccountRow};
use crate::audit::{self, Action, By, Entry};
use crate::clock::now_ms;
use crate::db::{Db, DbError, read, tx};
use crate::plan::Plan;
use crate::{changes, quota, statements};
use serde_json::json;

/// An organisation in the list; search is by part of its name, by its id, or by a member's address.
macro_rules! tenant_rows {
    ($condition:literal) => {
        concat!(
            "select a.id, a.name, a.plan, a.created_ms, a.suspended_ms, a.suspended_why,
                (select count(*) from memberships m where m.account_id = a.id),
                (select count(*) from apps where apps.account_id = a.id)
            from accounts a where a.deleted_ms is null and ",
            $condition
        )
    };
}

statements::sqls! {
    LIST = tenant_rows!("($1 = '' or a.id = $1 or lower(a.name) like $2 escape '!' or exists (
            select 1 from memberships m join users u on u.id = m.user_id where m.account_id = a.id and u.email = $1))
        order by a.created_ms desc, a.id desc limit $3 offset $4");
    BY_ID = tenant_rows!("a.id = $1");
    COUNTS = "select count(*), cast(coalesce(sum(case when suspended_ms is null then 0 else 1 end), 0) as bigint)
        from accounts where deleted_ms is null";
    COUNT_APPS = "select count(*) from apps";
    /// Who has no password may be in by a link. The placeholder of scripts has no way in, and is nobody.
    COUNT_USERS = "select count(*) from users u where u.password_hash <> ''
        or exists (select 1 from login_tokens l where l.user_id = u.id and l.expires_ms > $1)
        or exists (select 1 from sessions s where s.user_id = u.id)";
    SUSPENDED_WHY = "select suspended_why from accounts where id = $1 and suspended_ms is not null";
    SUSPEND = "update accounts set suspended_ms = $2, suspended_why = $3 where id = $1 and deleted_ms is null";
    RESUME = "update accounts set suspended_ms = null, suspended_why = ''
        where id = $1 and suspended_ms is not null and deleted_ms is null";
    ALL_APP_IDS = "select id from apps order by id";
    APP_IDS = "select id from apps where account_id = $1 order by id limit $2";
}

/// Organisations on a page of the list.
pub const PAGE: u32 = 50;
/// Characters of a search.
pub const SEARCH_CHARS_MAX: usize = 100;
/// Characters of the reason of a suspension.
pub const REASON_CHARS_MAX: usize = 300;
/// Apps of one organisation whose connections are added up.
const APPS_MAX: i64 = 10_000;

/// An organisation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// Its record.
    pub account: Account,
    /// Since when it is suspended.
    pub suspended_ms: Option<i64>,
    /// Why; its people read it.
    pub suspended_why: String,
    /// Its people.
    pub members: u64,
    /// Its apps.
    pub apps: u64,
}

/// How much there is on this server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Organisations.
    pub organisations: u64,
    /// Of them suspended.
    pub suspended: u64,
    /// Apps.
    pub apps: u64,
    /// People who can sign in with a password.
    pub people: u64,
}

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum TenantError {
    /// No reason, one that is too long, or one with control characters.
    #[error("a reason has 1 to {REASON_CHARS_MAX} characters")]
    ReasonInvalid,
    /// This server has no such plan.
    #[error("there is no such plan")]
    PlanUnknown,
    /// There is no such organisation, or it was deleted.
    #[error("there is no such organisation")]
    NotFound,
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// A change row for each app of an organisation.
macro_rules! tell_its_apps {
    ($t:ident, $account_id:expr) => {{
        let apps: Vec<i64> = sqlx::query_scalar(APP_IDS)
            .bind($account_id)
            .bind(APPS_MAX)
            .fetch_all(&mut *$t)
            .await
            .map_err(DbError::from)?;
        for app_id in apps {
            changes::record!($t, app_id);
        }
    }};
}

type Row = (String, String, String, i64, Option<i64>, String, i64, i64);

fn from_row(
    (id, name, plan, created_ms, suspended_ms, suspended_why, members, apps): Row,
) -> Result<Tenant, DbError> {
    let row: AccountRow = (id, name, plan, created_ms);
    let count = |n: i64| n.max(0).cast_unsigned();
    Ok(Tenant {
        account: Account::from_row(row)?,
        suspended_ms,
        suspended_why,
        members: count(members),
        apps: count(apps),
    })
}

/// A page of organisations, latest first, and whether there are more. An empty search finds all.
pub async fn list(db: &Db, search: &str, page: u32) -> Result<(Vec<Tenant>, bool), DbError> {
    let search = search.trim().to_lowercase();
    if search.chars().count() > SEARCH_CHARS_MAX || search.chars().any(char::is_control) {
        return Ok((Vec::new(), false));
    }
    let mut like = String::from("%");
    for c in search.chars() {
        if matches!(c, '%' | '_' | '!') {
            like.push('!');
        }
        like.push(c);
    }
    like.push('%');
    let rows: Vec<Row> = read!(db, |p| sqlx::query_as(LIST)
        .bind(&search)
        .bind(&like)
        .bind(i64::from(PAGE) + 1)
        .bind(i64::from(page) * i64::from(PAGE))
        .fetch_all(p)
        .await)?;
    let more = rows.len() > PAGE as usize;
    let found: Result<Vec<Tenant>, DbError> = rows.into_iter().take(PAGE as usize).map(from_row).collect();
    Ok((found?, more))
}

/// One organisation.
pub async fn find(db: &Db, id: &str) -> Result<Option<Tenant>, DbError> {
    // PostgreSQL would answer a NUL with an error.
    if !id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Ok(None);
    }
    let row: Option<Row> = read!(db, |p| sqlx::query_as(BY_ID).bind(id).fetch_optional(p).await)?;
    row.map(from_row).transpose()
}

/// How much there is.
pub async fn counts(db: &Db) -> Result<Counts, DbError> {
    let count = |n: i64| n.max(0).cast_unsigned();
    let (organisations, suspended): (i64, i64) = read!(db, |p| sqlx::query_as(COUNTS).fetch_one(p).await)?;
    let apps: i64 = read!(db, |p| sqlx::query_scalar(COUNT_APPS).fetch_one(p).await)?;
    let people: i64 = read!(db, |p| sqlx::query_scalar(COUNT_USERS).bind(now_ms()).fetch_one(p).await)?;
    Ok(Counts {
        organisations: count(organisations),
        suspended: count(suspended),
        apps: count(apps),
        people: count(people),
    })
}

/// The apps of an organisation, to add up what they use.
pub async fn app_ids(db: &Db, id: &AccountId) -> Result<Vec<u64>, DbError> {
    let ids: Vec<i64> =
        read!(db, |p| sqlx::query_scalar(APP_IDS).bind(id).bind(APPS_MAX).fetch_all(p).await)?;
    Ok(ids.into_iter().map(i64::cast_unsigned).collect())
}

/// All apps of this server.
pub async fn all_app_ids(db: &Db) -> Result<Vec<u64>, DbError> {
    let ids: Vec<i64> = read!(db, |p| sqlx::query_scalar(ALL_APP_IDS).fetch_all(p).await)?;
    Ok(ids.into_iter().map(i64::cast_unsigned).collect())
}

/// Why an organisation is suspended; `None`: it is not.
pub async fn suspended_why(db: &Db, id: &AccountId) -> Result<Option<String>, DbError> {
    Ok(read!(db, |p| sqlx::query_scalar(SUSPENDED_WHY).bind(id).fetch_optional(p).await)?)
}

/// Puts an organisation on a plan of this server. Nobody is disconnected.
pub async fn set_plan(db: &Db, by: &By, id: &str, plan: &str) -> Result<(), TenantError> {
    let plan: Plan = quota::find(db, plan).await?.ok_or(TenantError::PlanUnknown)?;
    let before = find(db, id).await?.ok_or(TenantError::NotFound)?.account;
    if before.plan == plan {
        return Ok(());
    }
    tx!(db, |t| {
        let details = json!({ "plan": { "from": before.plan.name(), "to": plan.name() } });
        let action = Action::OrganisationPlan;
        let entry = Entry { account_id: &before.id, action, app_id: None, target: &before.name, details };
        audit::insert!(&mut *t, by, &entry, None).map_err(DbError::from)?;
        account::set_plan!(t, &before.id, plan);
    });
    db.notice().notify();
    Ok(())
}

/// All apps of an organisation refuse from now on: connections with 4003, calls with 403. Its people read `why`.
pub async fn suspend(db: &Db, by: &By, id: &str, why: &str) -> Result<(), TenantError> {
    let why = why.trim();
    if why.is_empty() || why.chars().count() > REASON_CHARS_MAX || why.chars().any(char::is_control) {
        return Err(TenantError::ReasonInvalid);
    }
    let account = find(db, id).await?.ok_or(TenantError::NotFound)?.account;
    tx!(db, |t| {
        let done = sqlx::query(SUSPEND)
            .bind(&account.id)
            .bind(now_ms())
            .bind(why)
            .execute(&mut *t)
            .await
            .map_err(DbError::from)?
            .rows_affected();
        if done == 0 {
            return Err(TenantError::NotFound);
        }
        let action = Action::OrganisationSuspend;
        let details = json!({ "why": why });
        let entry = Entry { account_id: &account.id, action, app_id: None, target: &account.name, details };
        audit::insert!(&mut *t, by, &entry, None).map_err(DbError::from)?;
        tell_its_apps!(t, &account.id);
    });
    db.notice().notify();
    Ok(())
}

/// A suspended organisation goes on as before.
pub async fn resume(db: &Db, by: &By, id: &str) -> Result<(), TenantError> {
    let account = find(db, id).await?.ok_or(TenantError::NotFound)?.account;
    tx!(db, |t| {
        let done = sqlx::query(RESUME)
            .bind(&account.id)
            .execute(&mut *t)
            .await
            .map_err(DbError::from)?
            .rows_affected();
        if done == 0 {
            return Ok(());
        }
        let action = Action::OrganisationResume;
        let details = serde_json::Value::Null;
        let entry = Entry { account_id: &account.id, action, app_id: None, target: &account.name, details };
        audit::insert!(&mut *t, by, &entry, None).map_err(DbError::from)?;
        tell_its_apps!(t, &account.id);
    });
    db.notice().notify();
    Ok(())
}
