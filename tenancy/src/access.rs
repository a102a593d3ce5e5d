//! Tells nodes that who may see an organisation's apps has changed, so that open consoles are asked for their permission again.
//! Deciding who may is not done here.

use crate::statements;

statements::sqls! {
    RISE = "update accounts set access_version = access_version + 1 where id = $1";
    APPS = "select id from apps where account_id = $1 order by id";
}

/// In the caller's transaction, after the version of this organisation rose: a change row for each of its apps. The change
/// feed waits from here to the commit.
macro_rules! tell_apps {
    ($t:ident, $account_id:expr) => {{
        let apps: Vec<i64> = sqlx::query_scalar($crate::access::APPS)
            .bind($account_id)
            .fetch_all(&mut *$t)
            .await
            .map_err($crate::db::DbError::from)?;
        for app_id in apps {
            $crate::changes::record!($t, app_id);
        }
    }};
}
pub(crate) use tell_apps;

/// In the caller's transaction: make it the last statements, as the change feed waits from here to the commit. Call the notice
/// after it.
macro_rules! changed {
    ($t:ident, $account_id:expr) => {{
        sqlx::query($crate::access::RISE)
            .bind($account_id)
            .execute(&mut *$t)
            .await
            .map_err($crate::db::DbError::from)?;
        $crate::access::tell_apps!($t, $account_id);
    }};
}
pub(crate) use changed;
