//! The change feed: which apps a node must look at again. A row in the writer's transaction, a notice after commit.
//! It holds one row per app, the latest: a reader learns that an app changed, not how often nor what.

use crate::db::{Db, DbError, read};
use crate::statements;
use std::sync::Arc;
use tokio::sync::Notify;

statements::sqls! {
    /// The counter's row stays locked until commit, so numbers become visible in their order.
    NEXT_SEQ = "update counters set value = value + 1 where name = 'change' returning value";
    RECORD = "insert into changes (app_id, seq) values ($1, $2)
        on conflict (app_id) do update set seq = excluded.seq";
    LAST = "select value from counters where name = 'change'";
    SINCE = "select seq, app_id from changes where seq > $1 order by seq limit $2";
}

/// An app changed: was made, updated or deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its place in the feed; ask for what came after it next time.
    pub seq: i64,
    /// The app to look at again.
    pub app_id: u64,
}

/// Wakes the poller of this process at once after a change that this process wrote.
#[derive(Clone, Debug, Default)]
pub struct ChangeNotice(Arc<Notify>);

impl ChangeNotice {
    /// See [`Db::changed`].
    pub async fn changed(&self) {
        self.0.notified().await;
    }

    /// Call it after the commit.
    pub(crate) fn notify(&self) {
        // All who wait now, and one permit for a poller that is between two waits.
        self.0.notify_waiters();
        self.0.notify_one();
    }
}

/// The number of the latest change; 0 if there was none.
pub async fn last(db: &Db) -> Result<i64, DbError> {
    Ok(read!(db, |p| sqlx::query_scalar(LAST).fetch_one(p).await)?)
}

/// Changes after `seq`, oldest first, at most `limit`.
pub async fn since(db: &Db, seq: i64, limit: u32) -> Result<Vec<Change>, DbError> {
    let rows: Vec<(i64, i64)> =
        read!(db, |p| sqlx::query_as(SINCE).bind(seq).bind(i64::from(limit)).fetch_all(p).await)?;
    Ok(rows.into_iter().map(|(seq, app_id)| Change { seq, app_id: app_id.cast_unsigned() }).collect())
}

/// Writes a change row in the caller's transaction. Make it the last statement: every other writer of a change waits
/// from here to the commit.
macro_rules! record {
    ($t:ident, $app_id:expr) => {{
        let seq: i64 = sqlx::query_scalar($crate::changes::NEXT_SEQ)
            .fetch_one(&mut *$t)
            .await
            .map_err($crate::db::DbError::from)?;
        sqlx::query($crate::changes::RECORD)
            .bind($app_id)
            .bind(seq)
            .execute(&mut *$t)
            .await
            .map_err($crate::db::DbError::from)?;
    }};
}
pub(crate) use record;
