//! Apps and their keys: the records, and every finder. Making one is in [`create`](self::create()), changing and
//! deleting in `app/edit.rs`, further keys in `app/keys.rs`, what a node reads in `app/node_view.rs`, another owner in
//! `app/transfer.rs`. All of those are
//! used through this module.
//!
//! A finder for customers takes the account: the app of another account is the same as one that never was.

pub(crate) mod create;
pub(crate) mod edit;
mod features;
pub(crate) mod key_life;
pub(crate) mod keys;
pub(crate) mod node_view;
pub(crate) mod transfer;

pub use create::{APPS_PER_ACCOUNT_MAX, CreateAppError, NAME_CHARS_MAX, NewApp, create};
pub use edit::{AppChange, ORIGIN_CHARS_MAX, ORIGINS_MAX, UpdateAppError, delete, update};
pub use features::{FeatureChange, Features};
pub use key_life::{
    End, KEY_IDLE_MS, KeyRecord, KeyUse, due_ends, key_records, order_end, record_key_uses, still_due,
};
pub use keys::{
    KEY_NAME_CHARS_MAX, KEYS_PER_APP_MAX, KeyError, create_key, create_named_key, delete_key, rename_key,
};
pub use node_view::{NodeView, node_view_by_id, node_view_by_key};
pub use transfer::{TransferError, transfer};

use crate::account::{AccountId, parse_plan};
use crate::db::{Db, DbError, read};
use crate::plan::Plan;
use crate::secret::Secret;
use crate::statements;
use crate::vault::Purpose;
use serde_json::{Value, json};

/// The columns of [`AppRow`]; they name their table. Both caps are one text, for a row has no room for more columns.
macro_rules! app_columns {
    () => {
        "apps.id, apps.account_id, apps.name, apps.cluster, apps.enabled, apps.client_events, apps.allowed_origins, apps.plan, \
         coalesce(cast(apps.connections_max as text), '') || ' ' || coalesce(cast(apps.messages_day_max as text), ''), \
         apps.created_ms, apps.version, apps.features"
    };
}
pub(crate) use app_columns;

statements::sqls! {
    OF_ACCOUNT = concat!("select ", app_columns!(), " from apps where apps.account_id = $1 order by apps.id");
    ALL_APPS = concat!("select ", app_columns!(), " from apps order by apps.id");
    BY_ID = concat!("select ", app_columns!(), " from apps where apps.account_id = $1 and apps.id = $2");
    KEYS = "select k.key, k.sealed_with || ' ' || k.secret, k.created_ms from app_keys k join apps on apps.id = k.app_id
        where apps.account_id = $1 and apps.id = $2 order by k.created_ms, k.key";
}

/// The smallest id that is given out by itself.
pub const FIRST_ID: u64 = 1001;
/// The id of the system app, over which dashboard pages listen; it is in no table.
pub const SYSTEM_ID: u64 = 1;

/// An app: one customer application with its channels, keys and settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct App {
    /// Its id, as in `/apps/{id}/…`.
    pub id: u64,
    /// Whose it is.
    pub account_id: AccountId,
    /// Its name on pages.
    pub name: String,
    /// The region it lives in.
    pub cluster: String,
    /// Off: nobody connects and nothing is published.
    pub enabled: bool,
    /// Whether clients may send events themselves.
    pub client_events: bool,
    /// Origins that browsers may connect from; empty means all.
    pub allowed_origins: Vec<String>,
    /// A plan of its own: metered apart from the account.
    pub plan: Option<Plan>,
    /// A cap below the plan's; `None` means the plan's.
    pub connections_max: Option<u64>,
    /// A cap of its own on the messages of a UTC day; `None` means that it has none.
    pub messages_day_max: Option<u64>,
    /// When it was made.
    pub created_ms: i64,
    /// Rises with every change, from 1.
    pub version: i64,
    /// What its owner switched on and off.
    pub features: Features,
}

/// A key pair of an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppKey {
    /// Public: clients connect with it.
    pub key: String,
    /// Signs requests and subscriptions. Kept readable, for signing needs it.
    pub secret: Secret,
    /// When it was made.
    pub created_ms: i64,
}

pub(crate) type AppRow =
    (i64, String, String, String, i64, i64, String, Option<String>, String, i64, i64, String);
/// Key, the name of the master key that sealed the secret (empty: none did) with a space and the secret, time of making.
pub(crate) type KeyRow = (String, String, i64);

impl App {
    /// Its settings, as the audit log tells their changes.
    pub fn told(&self) -> Value {
        let mut told = json!({
            "name": self.name,
            "enabled": self.enabled,
            "client_events": self.client_events,
            "allowed_origins": self.allowed_origins,
            "connections_cap": self.connections_max,
            "messages_day_cap": self.messages_day_max,
        });
        if let (Some(told), Ok(Value::Object(features))) =
            (told.as_object_mut(), serde_json::to_value(self.features))
        {
            told.extend(features);
        }
        told
    }

    pub(crate) fn from_row(row: AppRow) -> Result<App, DbError> {
        let (
            id,
            account_id,
            name,
            cluster,
            enabled,
            client_events,
            origins,
            plan,
            caps,
            created_ms,
            version,
            features,
        ) = row;
        let (connections_max, messages_day_max) = read_caps(&caps)?;
        Ok(App {
            id: id.cast_unsigned(),
            account_id,
            name,
            cluster,
            enabled: enabled != 0,
            client_events: client_events != 0,
            allowed_origins: serde_json::from_str(&origins).map_err(|_| DbError::row("allowed origins"))?,
            plan: plan.as_deref().map(parse_plan).transpose()?,
            connections_max,
            messages_day_max,
            created_ms,
            version,
            features: Features::from_column(&features)?,
        })
    }
}

/// The caps on connections and on messages a day, as [`app_columns`] reads them.
fn read_caps(text: &str) -> Result<(Option<u64>, Option<u64>), DbError> {
    let read = |cap: &str| match cap {
        "" => Ok(None),
        number => number.parse().map(Some).map_err(|_| DbError::row("a cap")),
    };
    let (connections, messages) = text.split_once(' ').ok_or_else(|| DbError::row("the caps"))?;
    Ok((read(connections)?, read(messages)?))
}

impl AppKey {
    /// Opens the secret, if it's sealed.
    pub(crate) fn from_row(db: &Db, app_id: u64, row: KeyRow) -> Result<AppKey, DbError> {
        let (key, secret, created_ms) = row;
        let secret = match secret.split_once(' ') {
            Some(("", clear)) => Secret::new(clear),
            Some((_, sealed)) => db.vault().open(Purpose::AppSecret, &vault_row(app_id, &key), sealed)?,
            None => return Err(DbError::row("a secret")),
        };
        Ok(AppKey { key, secret, created_ms })
    }
}

/// The apps of an account, oldest id first.
pub async fn list(db: &Db, account_id: &AccountId) -> Result<Vec<App>, DbError> {
    let rows: Vec<AppRow> = read!(db, |p| sqlx::query_as(OF_ACCOUNT).bind(account_id).fetch_all(p).await)?;
    rows.into_iter().map(App::from_row).collect()
}

/// All apps of all accounts. For the operator and for nodes, never for a page of a customer.
pub async fn list_all(db: &Db) -> Result<Vec<App>, DbError> {
    let rows: Vec<AppRow> = read!(db, |p| sqlx::query_as(ALL_APPS).fetch_all(p).await)?;
    rows.into_iter().map(App::from_row).collect()
}

/// An app of an account. `None` for an unknown id and for the app of another account alike.
pub async fn find(db: &Db, account_id: &AccountId, id: u64) -> Result<Option<App>, DbError> {
    let row: Option<AppRow> =
        read!(db, |p| sqlx::query_as(BY_ID).bind(account_id).bind(id.cast_signed()).fetch_optional(p).await)?;
    row.map(App::from_row).transpose()
}

/// The keys of an app of an account, oldest first; none for the app of another account.
pub async fn keys(db: &Db, account_id: &AccountId, id: u64) -> Result<Vec<AppKey>, DbError> {
    let rows: Vec<KeyRow> =
        read!(db, |p| sqlx::query_as(KEYS).bind(account_id).bind(id.cast_signed()).fetch_all(p).await)?;
    rows.into_iter().map(|row| AppKey::from_row(db, id, row)).collect()
}

/// What the secret of a key pair is bound to when it is sealed: put into another row, it does not open.
pub(crate) fn vault_row(app_id: u64, key: &str) -> String {
    format!("{app_id}/{key}")
}

/// A name as we keep it: trimmed. `None` if it is empty, too long or holds control characters.
pub(crate) fn normal_name(name: &str) -> Option<String> {
    let name = name.trim();
    let fits = (1..=NAME_CHARS_MAX).contains(&name.chars().take(NAME_CHARS_MAX + 1).count());
    (fits && !name.chars().any(char::is_control)).then(|| name.to_owned())
}
