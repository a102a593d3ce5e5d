//! The tenant: what owns apps and has a plan. Pages call it an organisation. Who belongs to it is in [`crate::membership`] and
//! [`crate::member`], making and ending it in [`crate::organisation`].

use crate::db::{Db, DbError, read};
use crate::plan::Plan;
use crate::statements;

statements::sqls! {
    INSERT = "insert into accounts (id, name, plan, created_ms) values ($1, $2, $3, $4)";
    INSERT_MEMBERSHIP = "insert into memberships (user_id, account_id, role, created_ms) values ($1, $2, $3, $4)";
    /// Changes nothing; holds the account's row until commit, so that two of its writers come one after the other.
    LOCK = "update accounts set name = name where id = $1";
    IS_CLOSED = "select count(*) from accounts where id = $1 and deleted_ms is not null";
    BY_ID = "select id, name, plan, created_ms from accounts where id = $1";
    SET_PLAN = "update accounts set plan = $2 where id = $1 and plan <> $2";
    /// Those that the account's plan is for, in one order everywhere.
    APPS_ON_ITS_PLAN = "select id from apps where account_id = $1 and plan is null order by id";
}

/// An account's id: UUIDv7 as text.
pub type AccountId = String;

/// A tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its id.
    pub id: AccountId,
    /// Its name on pages, such as `ana's workspace`.
    pub name: String,
    /// What it may use, all its apps together.
    pub plan: Plan,
    /// When it was made.
    pub created_ms: i64,
}

/// An account as a row: id, name, plan, created_ms.
pub(crate) type AccountRow = (String, String, String, i64);

impl Account {
    pub(crate) fn from_row((id, name, plan, created_ms): AccountRow) -> Result<Account, DbError> {
        Ok(Account { id, name, plan: parse_plan(&plan)?, created_ms })
    }
}

/// Reads a plan's name from a row.
pub(crate) fn parse_plan(name: &str) -> Result<Plan, DbError> {
    Plan::stored(name).ok_or(DbError::row("plan"))
}

/// An account by its id; for the operator and for billing, never by an id that a customer sent.
pub async fn find(db: &Db, id: &AccountId) -> Result<Option<Account>, DbError> {
    let row: Option<AccountRow> = read!(db, |p| sqlx::query_as(BY_ID).bind(id).fetch_optional(p).await)?;
    row.map(Account::from_row).transpose()
}

/// Was the organisation ended?
pub async fn is_closed(db: &Db, id: &AccountId) -> Result<bool, DbError> {
    let closed: i64 = read!(db, |p| sqlx::query_scalar(IS_CLOSED).bind(id).fetch_one(p).await)?;
    Ok(closed > 0)
}

/// Gives an account a plan in the caller's transaction, with a change row for each app that the plan is for, so that every node
/// looks at all of them again. Make it the last statement, and wake the nodes after the commit.
macro_rules! set_plan {
    ($t:ident, $account_id:expr, $plan:expr) => {{
        let changed = sqlx::query($crate::account::SET_PLAN)
            .bind($account_id)
            .bind($plan.name())
            .execute(&mut *$t)
            .await
            .map_err($crate::db::DbError::from)?
            .rows_affected();
        if changed > 0 {
            let apps: Vec<i64> = sqlx::query_scalar($crate::account::APPS_ON_ITS_PLAN)
                .bind($account_id)
                .fetch_all(&mut *$t)
                .await
                .map_err($crate::db::DbError::from)?;
            for app_id in apps {
                $crate::changes::record!($t, app_id);
            }
        }
    }};
}
pub(crate) use set_plan;
