//! Changes of apps to the node: at once when this process made them, within half a second when another did (the command
//! line, for instance).

use std::time::Duration;

use realtime::Node;
use tenancy::db::Db;

/// How often the change feed is read when nobody rings.
const POLL_EVERY: Duration = Duration::from_millis(500);
/// Changes read at once.
const PAGE: u32 = 500;

/// Follows the change feed from `seq` on, until the process ends.
pub async fn follow(db: Db, node: Node, mut seq: i64) {
    loop {
        match tenancy::changes::since(&db, seq, PAGE).await {
            Ok(changes) => {
                for change in changes {
                    seq = change.seq;
                    if let Err(error) = node.refresh(change.app_id).await {
                        tracing::warn!(%error, app.id = change.app_id, "an app could not be read anew");
                    }
                    // A new app is known before its first client, so that pages show its limits.
                    let _ = node.apps().find_by_id(change.app_id).await;
                }
            }
            Err(error) => tracing::warn!(%error, "the change feed can't be read"),
        }
        let _ = tokio::time::timeout(POLL_EVERY, db.changed()).await;
    }
}
