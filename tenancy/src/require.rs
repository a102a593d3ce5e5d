//! An organisation asks all its people for a second factor. Who has none sees nothing of it until they have
//! ([`crate::membership::Membership`], `is_locked`); they stay members.

use crate::account::{self, AccountId};
use crate::audit::{self, Action, By, Entry};
use crate::db::{Db, DbError, read, tx};
use crate::{access, statements};
use serde_json::Value;

statements::sqls! {
    SET = "update accounts set second_factor_required = $2
        where id = $1 and second_factor_required <> $2 and deleted_ms is null";
    WITHOUT = "select count(*) from memberships m where m.account_id = $1 and not exists (
        select 1 from second_factors f where f.user_id = m.user_id and f.confirmed_ms is not null)";
}

/// Asks for it, or stops asking; open consoles are asked anew. False: so it was already.
pub async fn second_factor(db: &Db, by: &By, account: &account::Account, on: bool) -> Result<bool, DbError> {
    let account_id: &AccountId = &account.id;
    tx!(db, |t| {
        sqlx::query(account::LOCK).bind(account_id).execute(&mut *t).await?;
        let changed =
            sqlx::query(SET).bind(account_id).bind(i64::from(on)).execute(&mut *t).await?.rows_affected();
        if changed == 0 {
            return Ok(false);
        }
        let action = if on { Action::SecondFactorRequire } else { Action::SecondFactorRelease };
        let entry = Entry { account_id, action, app_id: None, target: &account.name, details: Value::Null };
        audit::insert!(&mut *t, by, &entry, None)?;
        access::changed!(t, account_id);
    });
    db.notice().notify();
    Ok(true)
}

/// Members who have none: they would be locked out until they do.
pub async fn members_without(db: &Db, account_id: &AccountId) -> Result<u64, DbError> {
    let count: i64 = read!(db, |p| sqlx::query_scalar(WITHOUT).bind(account_id).fetch_one(p).await)?;
    Ok(count.max(0).cast_unsigned())
}
