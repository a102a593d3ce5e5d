//! Ends of key pairs that were ordered: carried out when their time has come, or when nothing uses them any more. On every
//! process; of two that try at once, one finds the pair gone.

use std::time::Duration;

use tenancy::app::{End, KeyError, due_ends, still_due};
use tenancy::db::{Db, DbError};

/// How often is looked: an end may be this late.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Carries out orders until the process ends.
pub async fn carry_out(db: Db) {
    let mut tick = tokio::time::interval(LOOK_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        if let Err(error) = round(&db).await {
            tracing::warn!(%error, "ordered ends of key pairs can't be carried out; it is tried again");
        }
    }
}

async fn round(db: &Db) -> Result<(), DbError> {
    let now_ms = tenancy::now_ms();
    for due in due_ends(db, now_ms).await? {
        if !still_due(db, &due, now_ms).await? {
            continue;
        }
        match tenancy::app::delete_key(db, &due.account_id, due.app_id, &due.key).await {
            Ok(_) => tracing::info!(app.id = due.app_id, "a key pair was revoked as ordered"),
            // Its successors were revoked meanwhile: an app keeps one.
            Err(KeyError::Last | KeyError::TooMany) => {
                let kept =
                    tenancy::app::order_end(db, &due.account_id, due.app_id, &due.key, End::Never).await;
                if let Err(KeyError::Db(error)) = kept {
                    return Err(error);
                }
            }
            Err(KeyError::Db(error)) => return Err(error),
        }
    }
    Ok(())
}
