//! Organisations as a whole: making a further one, renaming it, and its end. The first one comes with the sign-up.

use crate::account::{self, Account, AccountId};
use crate::app;
use crate::audit::{self, Action, By, Entry};
use crate::clock::now_ms;
use crate::db::{Db, DbError, tx};
use crate::plan::Plan;
use crate::role::Role;
use crate::user::{UserId, new_id};
use crate::{access, changes, statements, subscription};
use serde_json::json;

statements::sqls! {
    OWNED = "select count(*) from memberships where user_id = $1 and role = 'owner'";
    RENAME = "update accounts set name = $2 where id = $1";
    /// Gives the name of before.
    NAME = "select name from accounts where id = $1 and deleted_ms is null";
    OTHERS = "select count(*) from memberships where account_id = $1 and user_id <> $2";
    APPS = "select id from apps where account_id = $1 order by id";
    DELETE_APPS = "delete from apps where account_id = $1";
    FORGET_INVITATIONS = "delete from invitations where account_id = $1";
    FORGET_MEMBERS = "delete from memberships where account_id = $1";
    /// The row stays: ids and usage of its apps name it for ever. The name may be a person's, so it goes.
    CLOSE = "update accounts set name = '', deleted_ms = $2 where id = $1";
}

/// Organisations that one person may own. Each has a plan of its own, the free one too.
pub const OWNED_MAX: i64 = 10;

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum OrganisationError {
    /// Empty, too long, or with control characters.
    #[error("the name must have 1 to 60 characters")]
    NameInvalid,
    /// The person owns [`OWNED_MAX`].
    #[error("one person owns at most {OWNED_MAX} organisations")]
    TooMany,
    /// It was deleted.
    #[error("there is no such organisation")]
    NotFound,
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Makes another organisation, with `user_id` as its Owner.
pub async fn create(
    db: &Db,
    by: &By,
    user_id: &UserId,
    name: &str,
    plan: Plan,
) -> Result<Account, OrganisationError> {
    let name = app::normal_name(name).ok_or(OrganisationError::NameInvalid)?;
    let made = Account { id: new_id(), name, plan, created_ms: now_ms() };
    tx!(db, |t| {
        let owned: i64 =
            sqlx::query_scalar(OWNED).bind(user_id).fetch_one(&mut *t).await.map_err(DbError::from)?;
        if owned >= OWNED_MAX {
            return Err(OrganisationError::TooMany);
        }
        sqlx::query(account::INSERT)
            .bind(&made.id)
            .bind(&made.name)
            .bind(plan.name())
            .bind(made.created_ms)
            .execute(&mut *t)
            .await
            .map_err(DbError::from)?;
        sqlx::query(account::INSERT_MEMBERSHIP)
            .bind(user_id)
            .bind(&made.id)
            .bind(Role::Owner.name())
            .bind(made.created_ms)
            .execute(&mut *t)
            .await
            .map_err(DbError::from)?;
        let details = json!({ "plan": plan.name() });
        let action = Action::OrganisationCreate;
        let entry = Entry { account_id: &made.id, action, app_id: None, target: &made.name, details };
        audit::insert!(&mut *t, by, &entry, None).map_err(DbError::from)?;
    });
    Ok(made)
}

/// Gives it another name.
pub async fn rename(db: &Db, by: &By, account_id: &AccountId, name: &str) -> Result<(), OrganisationError> {
    let name = app::normal_name(name).ok_or(OrganisationError::NameInvalid)?;
    tx!(db, |t| {
        sqlx::query(account::LOCK).bind(account_id).execute(&mut *t).await.map_err(DbError::from)?;
        let before: Option<String> =
            sqlx::query_scalar(NAME).bind(account_id).fetch_optional(&mut *t).await.map_err(DbError::from)?;
        let Some(before) = before else { return Err(OrganisationError::NotFound) };
        sqlx::query(RENAME).bind(account_id).bind(&name).execute(&mut *t).await.map_err(DbError::from)?;
        let details = json!({ "name": { "from": before, "to": name } });
        let action = Action::OrganisationRename;
        let entry = Entry { account_id, action, app_id: None, target: &name, details };
        audit::insert!(&mut *t, by, &entry, None).map_err(DbError::from)?;
    });
    Ok(())
}

/// Ends it: its apps with keys and webhooks, memberships and invitations go; sockets are closed by the nodes. The row of the
/// account, ids, usage and the audit log stay. False if it was deleted already.
pub async fn delete(db: &Db, by: &By, account_id: &AccountId) -> Result<bool, DbError> {
    end(db, by, account_id, None).await
}

/// [`delete`], only while `user_id` is its only member. False also if somebody joined.
pub(crate) async fn delete_of_one(
    db: &Db,
    by: &By,
    account_id: &AccountId,
    user_id: &UserId,
) -> Result<bool, DbError> {
    end(db, by, account_id, Some(user_id)).await
}

async fn end(
    db: &Db,
    by: &By,
    account_id: &AccountId,
    only_member: Option<&UserId>,
) -> Result<bool, DbError> {
    tx!(db, |t| {
        sqlx::query(account::LOCK).bind(account_id).execute(&mut *t).await?;
        let name: Option<String> = sqlx::query_scalar(NAME).bind(account_id).fetch_optional(&mut *t).await?;
        let Some(name) = name else { return Ok(false) };
        if let Some(user_id) = only_member {
            let others: i64 =
                sqlx::query_scalar(OTHERS).bind(account_id).bind(user_id).fetch_one(&mut *t).await?;
            if others > 0 {
                return Ok(false);
            }
        }
        let apps: Vec<i64> = sqlx::query_scalar(APPS).bind(account_id).fetch_all(&mut *t).await?;
        for statement in [DELETE_APPS, FORGET_INVITATIONS, FORGET_MEMBERS] {
            sqlx::query(statement).bind(account_id).execute(&mut *t).await?;
        }
        // Nothing may be charged any more: whoever looks after payments ends the subscription.
        sqlx::query(subscription::LOOK_NOW).bind(account_id).bind(now_ms()).execute(&mut *t).await?;
        sqlx::query(CLOSE).bind(account_id).bind(now_ms()).execute(&mut *t).await?;
        let details = json!({ "apps": apps });
        let action = Action::OrganisationDelete;
        let entry = Entry { account_id, action, app_id: None, target: &name, details };
        audit::insert!(&mut *t, by, &entry, None)?;
        access::changed!(t, account_id);
        for app_id in apps {
            changes::record!(t, app_id);
        }
    });
    db.notice().notify();
    Ok(true)
}
