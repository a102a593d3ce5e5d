//! Writing down what a person does on a page, for the audit log of their organisation.
//!
//! It comes right after the act. When the row can't be written, the act has happened all the same: the error goes to the log
//! of the server, and the page answers as it would have.

use serde_json::Value;
use tenancy::account::Account;
use tenancy::app::App;
use tenancy::audit::{self, Action, By, Entry};
use tenancy::clock::HOUR_MS;
use tenancy::db::DbError;
use tenancy::session::Client;
use tenancy::user::User;

use crate::Dashboard;

/// That a person was shown an app's secrets is written down once in this time, however often they open the page.
const REVEAL_EVERY_MS: i64 = HOUR_MS;

/// A person at a page.
pub(crate) fn by(user: &User, client: Client) -> By {
    By { user_id: Some(user.id.clone()), label: user.email.clone(), client, via: audit::Via::Dash }
}

/// Something done to an app.
pub(crate) async fn in_app(
    dashboard: &Dashboard,
    by: &By,
    action: Action,
    app: &App,
    target: &str,
    details: Value,
) {
    let entry = Entry { account_id: &app.account_id, action, app_id: Some(app.id), target, details };
    kept(audit::record(dashboard.db(), by, entry).await);
}

/// Something done to the organisation itself.
pub(crate) async fn in_organisation(
    dashboard: &Dashboard,
    by: &By,
    action: Action,
    account: &Account,
    target: &str,
) {
    let entry = Entry { account_id: &account.id, action, app_id: None, target, details: Value::Null };
    kept(audit::record(dashboard.db(), by, entry).await);
}

/// The page that is about to be sent holds the app's secrets.
pub(crate) async fn shown_secrets(dashboard: &Dashboard, by: &By, app: &App) {
    let action = Action::KeyReveal;
    let (target, details) = (&*app.name, Value::Null);
    let entry = Entry { account_id: &app.account_id, action, app_id: Some(app.id), target, details };
    kept(audit::record_seldom(dashboard.db(), by, entry, REVEAL_EVERY_MS).await);
}

/// Something a person did that concerns no one organisation: each of theirs learns it.
pub(crate) async fn of_person(dashboard: &Dashboard, by: &By, action: Action, details: Value) {
    kept(audit::record_of_person(dashboard.db(), by, action, details).await);
}

fn kept(outcome: Result<(), DbError>) {
    if let Err(error) = outcome {
        tracing::error!(%error, "an act could not be written to the audit log");
    }
}
