//! Handing an app to another organisation, with its id, keys, webhooks and history. From then on it counts there, its usage of
//! the day included; its sockets are closed with 4200 by the nodes and come back at once.

use super::create::{APPS_PER_ACCOUNT_MAX, COUNT};
use super::{App, AppRow, app_columns};
use crate::account::{self, AccountId};
use crate::audit::{self, Action, By, Entry};
use crate::db::{Db, DbError, tx};
use crate::{access, changes, statements};
use serde_json::json;

statements::sqls! {
    NAMES = "select id, name from accounts where id in ($1, $2) and deleted_ms is null";
    MOVE = concat!("update apps set account_id = $3, version = version + 1
        where apps.account_id = $1 and apps.id = $2 returning ", app_columns!());
    MOVE_ID = "update app_ids set account_id = $2 where id = $1";
    FORGET_GRANTS = "delete from app_grants where app_id = $1";
}

/// Why an app stayed where it is.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// No such app in the organisation, or no such organisation.
    #[error("there is no such app or organisation")]
    NotFound,
    /// The other organisation has as many apps as it may have.
    #[error("the other organisation has as many apps as it may have")]
    TooMany,
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Moves an app; whether the person may take it from `from` and put it into `to` is asked by the caller. Both organisations'
/// audit logs have it.
pub async fn transfer(
    db: &Db,
    by: &By,
    from: &AccountId,
    id: u64,
    to: &AccountId,
) -> Result<App, TransferError> {
    if from == to {
        return Err(TransferError::NotFound);
    }
    let app_id = id.cast_signed();
    let row: AppRow = tx!(db, |t| {
        // In one order, so that two transfers between the same two don't wait for each other.
        for account_id in [from.min(to), from.max(to)] {
            sqlx::query(account::LOCK).bind(account_id).execute(&mut *t).await.map_err(DbError::from)?;
        }
        let names: Vec<(String, String)> =
            sqlx::query_as(NAMES).bind(from).bind(to).fetch_all(&mut *t).await.map_err(DbError::from)?;
        let name_of = |id: &str| names.iter().find(|(one, _)| one == id).map(|(_, name)| name.clone());
        let (Some(from_name), Some(to_name)) = (name_of(from), name_of(to)) else {
            return Err(TransferError::NotFound);
        };
        let apps: i64 = sqlx::query_scalar(COUNT).bind(to).fetch_one(&mut *t).await.map_err(DbError::from)?;
        if apps >= APPS_PER_ACCOUNT_MAX {
            return Err(TransferError::TooMany);
        }
        let moved: Option<AppRow> = sqlx::query_as(MOVE)
            .bind(from)
            .bind(app_id)
            .bind(to)
            .fetch_optional(&mut *t)
            .await
            .map_err(DbError::from)?;
        let Some(row) = moved else { return Err(TransferError::NotFound) };
        sqlx::query(MOVE_ID).bind(app_id).bind(to).execute(&mut *t).await.map_err(DbError::from)?;
        sqlx::query(FORGET_GRANTS).bind(app_id).execute(&mut *t).await.map_err(DbError::from)?;
        for account_id in [from, to] {
            let details = json!({ "from": from_name, "to": to_name });
            let action = Action::AppTransfer;
            let entry = Entry { account_id, action, app_id: Some(id), target: &row.2, details };
            audit::insert!(&mut *t, by, &entry, None).map_err(DbError::from)?;
        }
        access::changed!(t, to);
        changes::record!(t, app_id);
        row
    });
    db.notice().notify();
    Ok(App::from_row(row)?)
}
