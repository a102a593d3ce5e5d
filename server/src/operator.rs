//! The operator's doors: the first owner, apps and their `.env` blocks, from the command line straight into storage.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

use anyhow::{Context, bail};
use tenancy::account::Account;
use tenancy::app::{App, AppKey};
use tenancy::audit::{self, Action, By, Entry, Via};
use tenancy::db::Db;
use tenancy::session::Client;
use tenancy::user::{SignUpError, User};

use crate::config::Config;

/// Makes an owner on the plan without limits.
pub(crate) async fn make_owner(db: &Db, email: &str, password: &str) -> anyhow::Result<(User, Account)> {
    tenancy::owner::make(db, email, password).await.map_err(|error| match error {
        SignUpError::Db(error) => anyhow::Error::new(error),
        other => anyhow::anyhow!("the owner was not made: {other}"),
    })
}

/// Takes away somebody's second factor; each organisation of theirs finds it in its audit log.
pub(crate) async fn reset_second_factor(db: &Db, email: &str) -> anyhow::Result<()> {
    let (user, _) = tenancy::user::find_by_email(db, email)
        .await?
        .with_context(|| format!("nobody has the e-mail {email}"))?;
    if !tenancy::second_factor::reset(db, &user.id).await? {
        bail!("{email} has no second factor");
    }
    let label = "fanfare admin reset-2fa".to_owned();
    let by = By { user_id: None, label, client: Client::default(), via: Via::Cli };
    for place in tenancy::membership::of_user(db, &user.id).await? {
        let (account_id, target) = (&place.account.id, &*user.email);
        let action = Action::SecondFactorReset;
        let entry = Entry { account_id, action, app_id: None, target, details: serde_json::Value::Null };
        audit::record(db, &by, entry).await?;
    }
    Ok(())
}

/// `FANFARE_ADMIN_EMAIL` and `_PASSWORD`: only while nobody exists.
pub(crate) async fn first_owner_from_settings(db: &Db, config: &Config) -> anyhow::Result<()> {
    if let Some((email, password)) = &config.admin
        && !tenancy::instance::setup_done(db).await?
    {
        make_owner(db, email, password.expose()).await?;
        tracing::info!("the first owner was made from the settings");
    }
    Ok(())
}

/// The owner that an app belongs to.
pub(crate) async fn owner(db: &Db, email: Option<&str>) -> anyhow::Result<(User, Account)> {
    match email {
        Some(email) => tenancy::user::find_by_email(db, email)
            .await?
            .with_context(|| format!("nobody has the e-mail {email}")),
        // Scripts may make apps before anybody has an account: whoever becomes the first owner takes them over.
        None => Ok(tenancy::owner::first_or_placeholder(db).await?),
    }
}

/// A link with which the person of an address sets a new password. The organisations they belong to see that it was made.
pub(crate) async fn reset_link(db: &Db, email: &str, base: &str) -> anyhow::Result<String> {
    let made = tenancy::password_reset::link(db, email).await?;
    let (user, path) = made.with_context(|| format!("nobody has the e-mail {email}"))?;
    let label = "fanfare admin reset-link".to_owned();
    let by = By { user_id: None, label, client: Client::default(), via: Via::Cli };
    for place in tenancy::membership::of_user(db, &user.id).await? {
        let entry = Entry {
            account_id: &place.account.id,
            action: Action::ResetLink,
            app_id: None,
            target: &user.email,
            details: serde_json::Value::Null,
        };
        tenancy::audit::record(db, &by, entry).await?;
    }
    Ok(format!("{}{path}", base.trim_end_matches('/')))
}

/// 32 random bytes as hex.
pub(crate) fn random_hex() -> String {
    hex::encode(rand::random::<[u8; 32]>())
}

/// The token that opens `/setup`: kept in the data folder, readable for the owner of the process only.
pub(crate) fn setup_token(config: &Config) -> anyhow::Result<String> {
    let path = config.data_dir.join("setup-token");
    match std::fs::read_to_string(&path) {
        Ok(token) if token.trim().len() >= 32 => return Ok(token.trim().to_owned()),
        _ => {}
    }
    std::fs::create_dir_all(&config.data_dir)?;
    let token = random_hex();
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options
        .open(&path)
        .and_then(|mut file| file.write_all(token.as_bytes()))
        .with_context(|| format!("{} can't be written", path.display()))?;
    Ok(token)
}

/// An app by id, whoever owns it, with its oldest key.
pub(crate) async fn find(db: &Db, id: u64) -> anyhow::Result<(App, AppKey)> {
    let view =
        tenancy::app::node_view_by_id(db, id).await?.with_context(|| format!("there is no app {id}"))?;
    match view.keys.into_iter().next() {
        Some(key) => Ok((view.app, key)),
        None => bail!("app {id} has no key"),
    }
}

/// A snippet of the keys page as text.
pub(crate) fn env_block(
    app: &App,
    key: &AppKey,
    endpoint: &dashboard::Endpoint,
    kind: &str,
) -> anyhow::Result<String> {
    let blocks = dashboard::snippets::blocks(app, key, endpoint);
    let names: Vec<String> = blocks.iter().map(|b| b.id.to_string()).collect();
    let block = blocks.into_iter().find(|b| *b.id == *kind);
    block
        .map(|b| b.code.to_string())
        .with_context(|| format!("there is no block `{kind}`; there are {}", names.join(", ")))
}
