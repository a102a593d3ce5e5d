//! The tenant: what owns apps and has a plan. Pages call it an organisation. Who belongs to it is in [`crate::membership`] and
//! [`crate::member`], making and ending it in [`crate::organisation`].

use crate::db::DbError;
use crate::plan::Plan;
use crate::statements;

statements::sqls! {
    INSERT = "insert into accounts (id, name, plan, created_ms) values ($1, $2, $3, $4)";
    INSERT_MEMBERSHIP = "insert into memberships (user_id, account_id, role, created_ms) values ($1, $2, $3, $4)";
    /// Changes nothing; holds the account's row until commit, so that two of its writers come one after the other.
    LOCK = "update accounts set name = name where id = $1";
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
    Plan::parse(name).ok_or(DbError::row("plan"))
}
