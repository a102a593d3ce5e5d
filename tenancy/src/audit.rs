//! What was done in an organisation: by whom, to what, from which network, and what it changed. Written by whoever did it, in
//! the same transaction or right after. It holds no secret and no payload, and nothing is decided by it.
//!
//! Rows live [`KEPT_MS`], and an organisation has at most [`ROWS_PER_ACCOUNT_MAX`]; older ones are swept on the way.

mod action;
mod of_person;

pub use action::Action;
pub(crate) use of_person::ALL as OF_PERSON;
pub use of_person::of_person;

use crate::account::AccountId;
use crate::clock::{DAY_MS, now_ms};
use crate::db::{Db, DbError, read, write};
use crate::session::Client;
use crate::statements;
use crate::user::UserId;
use serde_json::{Map, Value};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use uuid::Uuid;

statements::sqls! {
    INSERT = "insert into audit_log
            (id, account_id, at_ms, actor_id, actor, action, app_id, target, details, network, user_agent, via)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
    SEEN_SINCE = "select count(*) from (select 1 from audit_log
        where account_id = $1 and id >= $2 and actor_id = $3 and action = $4 and app_id = $5 limit 1) as seen";
    ACCOUNTS_OF = "select account_id from memberships where user_id = $1 order by created_ms, account_id";
    /// An empty parameter asks for nothing. An action is asked for by its name or by the part before its dot.
    OF_ACCOUNT = "select id, at_ms, actor_id, actor, action, app_id, target, details, network, user_agent, via
        from audit_log
        where account_id = $1 and id >= $2 and ($3 = '' or id < $3) and ($4 = '' or actor = $4)
            and ($5 = '' or action = $5 or action like $6) and ($7 = 0 or app_id = $7)
        order by id desc limit $8";
    ACTORS = "select distinct actor from audit_log where account_id = $1 and id >= $2 order by actor limit $3";
    PRUNE_OLD = "delete from audit_log where id < $1";
    PRUNE_MANY = "delete from audit_log where account_id = $1 and id <= (
        select id from audit_log where account_id = $1 order by id desc limit 1 offset $2)";
}

/// How long a row is kept.
pub const KEPT_MS: i64 = 90 * DAY_MS;
/// Rows of one organisation: 200 a day for the whole time. Whoever makes more loses the oldest.
pub const ROWS_PER_ACCOUNT_MAX: i64 = 18_000;
/// Rows that are read at once.
pub const PAGE_MAX: u32 = 1_000;
/// Actors that are offered as a filter.
pub const ACTORS_MAX: u32 = 200;
/// Bytes of the details of a row; more is replaced by a note of its size.
pub const DETAILS_BYTES_MAX: usize = 4 * 1024;
/// Characters of an actor's label or of a target: an e-mail address, or a name and an id.
pub const LABEL_CHARS_MAX: usize = 254;
/// A sweep of old rows comes with one of so many new ones.
const SWEEP_EVERY: u64 = 50;

/// The door through which something was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// A page of the dashboard.
    Dash,
    /// A command on the server's machine.
    Cli,
    /// The management API.
    Api,
    /// The server by itself.
    System,
}

impl Via {
    /// As stored.
    pub fn name(self) -> &'static str {
        match self {
            Via::Dash => "dash",
            Via::Cli => "cli",
            Via::Api => "api",
            Via::System => "system",
        }
    }
}

/// Who does something, and from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct By {
    /// The person; `None` for a command or the server itself.
    pub user_id: Option<UserId>,
    /// How they are called in the log: an e-mail address, the name of a token, `fanfare apps create`.
    pub label: String,
    /// Their network and browser, as far as they are kept.
    pub client: Client,
    /// The door.
    pub via: Via,
}

/// One thing that was done.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry<'a> {
    /// In which organisation.
    pub account_id: &'a AccountId,
    /// What.
    pub action: Action,
    /// In which app, if in one.
    pub app_id: Option<u64>,
    /// To what: an e-mail address, a key, an endpoint's id, an app's name. Never a secret.
    pub target: &'a str,
    /// More about it, such as what [`changed`] gives; `Value::Null` for nothing. Never a secret and no payload.
    pub details: Value,
}

/// A row of the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// `aud_…`; later ones are greater.
    pub id: String,
    /// When.
    pub at_ms: i64,
    /// The person; empty for a command or the server itself.
    pub actor_id: String,
    /// What they are called, at that time.
    pub actor: String,
    /// The name of an [`Action`]; of a newer release perhaps one that this one doesn't know.
    pub action: String,
    /// The app.
    pub app_id: Option<u64>,
    /// To what.
    pub target: String,
    /// More about it; `Null` for nothing.
    pub details: Value,
    /// Network and browser.
    pub client: Client,
    /// The name of a [`Via`].
    pub via: String,
}

/// Which rows are asked for. The default asks for all.
#[derive(Clone, Copy, Debug, Default)]
pub struct Filter<'a> {
    /// Those of this actor's label.
    pub actor: Option<&'a str>,
    /// Those of an action's name, or of all that begin with it and a dot (`key` for `key.create`).
    pub action: Option<&'a str>,
    /// Those of an app.
    pub app_id: Option<u64>,
    /// Those before the row of this id.
    pub before: Option<&'a str>,
    /// At most so many, up to [`PAGE_MAX`].
    pub limit: u32,
}

/// The fields that differ, each with what it was and what it is now.
pub fn changed(before: &Value, after: &Value) -> Value {
    let (Value::Object(before), Value::Object(after)) = (before, after) else { return Value::Null };
    let differs = after.iter().filter(|(name, value)| before.get(*name) != Some(value));
    let pairs = differs
        .map(|(name, value)| (name.clone(), serde_json::json!({ "from": before.get(name), "to": value })));
    Value::Object(pairs.collect::<Map<_, _>>())
}

/// The parameters of [`INSERT`], within their bounds.
pub(crate) struct Bound {
    pub(crate) id: String,
    pub(crate) at_ms: i64,
    pub(crate) actor: String,
    pub(crate) target: String,
    pub(crate) details: String,
}

impl Bound {
    /// Without a time it is now; the ids of one process then come in the order of their making.
    pub(crate) fn new(by: &By, entry: &Entry<'_>, at_ms: Option<i64>) -> Bound {
        let text = entry.details.to_string();
        let details = if text.len() > DETAILS_BYTES_MAX {
            serde_json::json!({ "left_out_bytes": text.len() }).to_string()
        } else {
            text
        };
        let short =
            |text: &str| text.chars().filter(|c| !c.is_control()).take(LABEL_CHARS_MAX).collect::<String>();
        let uuid = Uuid::now_v7().simple().to_string();
        let (time, rest) = uuid.split_at(12);
        let now_ms = i64::from_str_radix(time, 16).unwrap_or_else(|_| now_ms());
        let at_ms = at_ms.unwrap_or(now_ms);
        let id = format!("aud_{at_ms:012x}{rest}");
        Bound { id, at_ms, actor: short(&by.label), target: short(entry.target), details }
    }
}

/// Sends [`INSERT`] to an executor.
macro_rules! insert {
    ($executor:expr, $by:expr, $entry:expr, $at_ms:expr) => {{
        let (by, entry): (&$crate::audit::By, &$crate::audit::Entry<'_>) = ($by, $entry);
        let bound = $crate::audit::Bound::new(by, entry, $at_ms);
        sqlx::query($crate::audit::INSERT)
            .bind(bound.id)
            .bind(entry.account_id)
            .bind(bound.at_ms)
            .bind(by.user_id.as_deref().unwrap_or_default())
            .bind(bound.actor)
            .bind(entry.action.name())
            .bind(entry.app_id.map(u64::cast_signed))
            .bind(bound.target)
            .bind(bound.details)
            .bind(&by.client.address)
            .bind(&by.client.user_agent)
            .bind(by.via.name())
            .execute($executor)
            .await
            .map(drop)
    }};
}
pub(crate) use insert;

/// Writes down that something was done.
pub async fn record(db: &Db, by: &By, entry: Entry<'_>) -> Result<(), DbError> {
    write!(db, |p| insert!(p, by, &entry, None))?;
    sweep(db, entry.account_id).await;
    Ok(())
}

/// [`record`] at a given time, and without sweeping.
pub async fn record_at(db: &Db, by: &By, entry: Entry<'_>, now_ms: i64) -> Result<(), DbError> {
    write!(db, |p| insert!(p, by, &entry, Some(now_ms)))?;
    Ok(())
}

/// Writes down what a person did that belongs to no one organisation, such as signing in: in each they belong to.
pub async fn record_of_person(db: &Db, by: &By, action: Action, details: Value) -> Result<(), DbError> {
    let Some(user_id) = &by.user_id else { return Ok(()) };
    let accounts: Vec<AccountId> =
        read!(db, |p| sqlx::query_scalar(ACCOUNTS_OF).bind(user_id).fetch_all(p).await)?;
    for account_id in &accounts {
        let entry = Entry { account_id, action, app_id: None, target: "", details: details.clone() };
        record(db, by, entry).await?;
    }
    Ok(())
}

/// Writes it down unless the same person did the same in the same app within `within_ms`: for what happens at every look
/// at a page.
pub async fn record_seldom(db: &Db, by: &By, entry: Entry<'_>, within_ms: i64) -> Result<(), DbError> {
    let seen: i64 = read!(db, |p| sqlx::query_scalar(SEEN_SINCE)
        .bind(entry.account_id)
        .bind(first_id_at(now_ms() - within_ms))
        .bind(by.user_id.as_deref().unwrap_or_default())
        .bind(entry.action.name())
        .bind(entry.app_id.map(u64::cast_signed))
        .fetch_one(p)
        .await)?;
    if seen > 0 { Ok(()) } else { record(db, by, entry).await }
}

type ListRow = (String, i64, String, String, String, Option<i64>, String, String, String, String, String);

/// Rows of an organisation, latest first.
pub async fn list(db: &Db, account_id: &AccountId, filter: Filter<'_>) -> Result<Vec<Row>, DbError> {
    list_at(db, account_id, filter, now_ms()).await
}

/// [`list`] at a given time.
pub async fn list_at(
    db: &Db,
    account_id: &AccountId,
    filter: Filter<'_>,
    now_ms: i64,
) -> Result<Vec<Row>, DbError> {
    // Texts that no row has; PostgreSQL would answer a NUL with an error, and `like` has signs of its own.
    let plain = |text: &str| text.len() <= 4 * LABEL_CHARS_MAX && !text.chars().any(char::is_control);
    let word = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_'));
    let (actor, action, before) =
        (filter.actor.unwrap_or(""), filter.action.unwrap_or(""), filter.before.unwrap_or(""));
    if !plain(actor) || !word(action) || !word(before) {
        return Ok(Vec::new());
    }
    // An underscore would stand for any letter.
    let is_family = action.bytes().all(|b| b.is_ascii_alphanumeric());
    let family = if is_family { format!("{action}.%") } else { String::new() };
    let rows: Vec<ListRow> = read!(db, |p| sqlx::query_as(OF_ACCOUNT)
        .bind(account_id)
        .bind(first_id_at(now_ms - KEPT_MS))
        .bind(before)
        .bind(actor)
        .bind(action)
        .bind(family)
        .bind(filter.app_id.map_or(0, u64::cast_signed))
        .bind(i64::from(filter.limit.min(PAGE_MAX)))
        .fetch_all(p)
        .await)?;
    Ok(rows.into_iter().map(from_row).collect())
}

fn from_row(row: ListRow) -> Row {
    let (id, at_ms, actor_id, actor, action, app_id, target, details, address, user_agent, via) = row;
    Row {
        id,
        at_ms,
        actor_id,
        actor,
        action,
        app_id: app_id.map(i64::cast_unsigned),
        target,
        details: serde_json::from_str(&details).unwrap_or_default(),
        client: Client { address, user_agent },
        via,
    }
}

/// Whose rows the log of an organisation has, by label, at most [`ACTORS_MAX`].
pub async fn actors(db: &Db, account_id: &AccountId) -> Result<Vec<String>, DbError> {
    Ok(read!(db, |p| sqlx::query_scalar(ACTORS)
        .bind(account_id)
        .bind(first_id_at(now_ms() - KEPT_MS))
        .bind(i64::from(ACTORS_MAX))
        .fetch_all(p)
        .await)?)
}

/// Now and then removes what is too old or too much; a sweep that fails must not undo what was recorded.
async fn sweep(db: &Db, account_id: &AccountId) {
    static RECORDED: AtomicU64 = AtomicU64::new(0);
    if RECORDED.fetch_add(1, Relaxed).is_multiple_of(SWEEP_EVERY)
        && let Err(error) = prune(db, account_id, ROWS_PER_ACCOUNT_MAX, now_ms()).await
    {
        tracing::warn!(%error, "old rows of the audit log could not be removed");
    }
}

/// Removes all rows older than [`KEPT_MS`], and of this organisation all but the latest `rows_max`.
pub async fn prune(db: &Db, account_id: &AccountId, rows_max: i64, now_ms: i64) -> Result<(), DbError> {
    write!(db, |p| sqlx::query(PRUNE_OLD).bind(first_id_at(now_ms - KEPT_MS)).execute(p).await.map(drop))?;
    write!(db, |p| sqlx::query(PRUNE_MANY).bind(account_id).bind(rows_max).execute(p).await.map(drop))?;
    Ok(())
}

/// The least id of a time; ids begin with it.
pub(crate) fn first_id_at(ms: i64) -> String {
    format!("aud_{:012x}", ms.max(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_differs_is_a_change() {
        let before = json!({ "name": "shop", "on": true, "list": [1] });
        let after = json!({ "name": "store", "on": true, "list": [1, 2] });
        assert_eq!(
            changed(&before, &after),
            json!({ "name": { "from": "shop", "to": "store" }, "list": { "from": [1], "to": [1, 2] } })
        );
        assert_eq!(changed(&before, &before), json!({}));
    }
}
