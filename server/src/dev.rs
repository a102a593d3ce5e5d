//! `fanfare dev`: no setting, no other process. Sees to an owner and an app at its first start, prints where to go and what to
//! paste.

use tenancy::app::{App, AppKey, NewApp};
use tenancy::db::Db;

use crate::config::Config;
use crate::operator;
use crate::serve::Running;

/// Sees to an owner and an app, and prints the sign-in address and the `.env` block.
pub(crate) async fn greet(running: &Running, config: &Config) -> anyhow::Result<()> {
    let Some(db) = &running.db else { return Ok(()) };
    let (user, account) = tenancy::owner::first_or_placeholder(db).await?;
    let (app, key) = first_app(db, &account.id, &config.cluster).await?;
    let token = tenancy::login_token::issue(db, &user.id).await?;
    let base = config.base_url(running.address()?);
    let block = match dashboard::Endpoint::parse(&base) {
        Some(endpoint) => operator::env_block(&app, &key, &endpoint, "laravel")?,
        None => String::new(),
    };
    println!("\n  fanfare {} · listening on {base}\n", env!("CARGO_PKG_VERSION"));
    println!("  Dashboard   {base}/login/link?token={token}");
    println!("              (signs you in once, valid for 30 minutes)\n");
    println!("  App         {} \"{}\" · paste into .env:\n", app.id, app.name);
    for line in block.lines() {
        println!("{line}");
    }
    println!();
    Ok(())
}

async fn first_app(
    db: &Db,
    account: &tenancy::account::AccountId,
    cluster: &str,
) -> anyhow::Result<(App, AppKey)> {
    if let Some(app) = tenancy::app::list(db, account).await?.into_iter().min_by_key(|app| app.id) {
        return operator::find(db, app.id).await;
    }
    let new = NewApp { name: "My first app", cluster, client_events: true, ..NewApp::default() };
    Ok(tenancy::app::create(db, account, new).await?)
}
