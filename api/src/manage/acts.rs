//! Writing down what a token does, for the audit log of its organisation.
//!
//! It comes right after the act. When the row can't be written, the act has happened all the same: the error goes to the log
//! of the server, and the API answers as it would have.

use serde_json::Value;
use tenancy::app::App;
use tenancy::audit::{self, Action, Entry};
use tenancy::clock::HOUR_MS;
use tenancy::db::DbError;

use super::Manage;
use super::scope::Caller;

/// That a token published or read secrets is written down once in this time for each app: it may do so all day.
const OFTEN_EVERY_MS: i64 = HOUR_MS;

/// Something done to an app.
pub(super) async fn in_app(
    manage: &Manage,
    caller: &Caller,
    action: Action,
    app: &App,
    target: &str,
    details: Value,
) {
    let entry = Entry { account_id: &app.account_id, action, app_id: Some(app.id), target, details };
    kept(audit::record(&manage.db, &caller.by(), entry).await);
}

/// Something that is done to an app again and again.
pub(super) async fn often_in_app(manage: &Manage, caller: &Caller, action: Action, app: &App) {
    let (target, details) = (&*app.name, Value::Null);
    let entry = Entry { account_id: &app.account_id, action, app_id: Some(app.id), target, details };
    kept(audit::record_seldom(&manage.db, &caller.by(), entry, OFTEN_EVERY_MS).await);
}

fn kept(outcome: Result<(), DbError>) {
    if let Err(error) = outcome {
        tracing::error!(%error, "an act could not be written to the audit log");
    }
}
