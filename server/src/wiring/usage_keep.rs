//! Forgets what is older than it is kept: minutes and hours of use. On every process; of two that try at once, one finds nothing.

use std::time::Duration;

use tenancy::db::Db;

/// How often is looked.
const LOOK_EVERY: Duration = Duration::from_secs(600);

/// Forgets old use until the process ends.
pub async fn keep(db: Db) {
    let mut tick = tokio::time::interval(LOOK_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        if let Err(error) = tenancy::usage::report::forget_old(&db, tenancy::now_ms()).await {
            tracing::warn!(%error, "old use can't be forgotten; it is tried again");
        }
    }
}
