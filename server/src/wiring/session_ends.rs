//! Ends sessions whose time is over while nobody looks: their consoles close with them. On every process; of two that sweep at
//! once, one finds nothing.

use std::time::Duration;

use tenancy::db::Db;

/// How often is looked. A request with such a session finds it ended at any time; only an open console lasts this much longer.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Sweeps until the process ends.
pub async fn sweep_sessions(db: Db) {
    let mut tick = tokio::time::interval(LOOK_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        if let Err(error) = tenancy::session::sweep(&db).await {
            tracing::warn!(%error, "expired sessions could not be removed; it is tried again");
        }
    }
}
