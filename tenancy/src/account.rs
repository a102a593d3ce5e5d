//! The tenant: what owns apps and has a plan. Today an account has one member, its owner; the membership between
//! user and account is there so that teams need no other tables.

use crate::db::{Db, DbError, read};
use crate::plan::Plan;
use crate::statements;
use crate::user::UserId;

statements::sqls! {
    INSERT = "insert into accounts (id, name, plan, created_ms) values ($1, $2, $3, $4)";
    INSERT_MEMBERSHIP = "insert into memberships (user_id, account_id, role, created_ms) values ($1, $2, $3, $4)";
    OF_USER = "select a.id, a.name, a.plan, a.created_ms
        from accounts a join memberships m on m.account_id = a.id
        where m.user_id = $1 order by m.created_ms, a.id limit 1";
    /// Changes nothing; holds the account's row until commit, so that two of its writers come one after the other.
    LOCK = "update accounts set name = name where id = $1";
}

/// An account's id: UUIDv7 as text.
pub type AccountId = String;

/// The role of who made the account.
pub(crate) const ROLE_OWNER: &str = "owner";

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
    Plan::parse(name).ok_or(DbError::row("plan"))
}

/// The account of a user. Errors: also when the user is unknown, for every user has an account.
pub async fn load_for_user(db: &Db, user_id: &UserId) -> Result<Account, DbError> {
    Account::from_row(read!(db, |p| sqlx::query_as(OF_USER).bind(user_id).fetch_one(p).await)?)
}
