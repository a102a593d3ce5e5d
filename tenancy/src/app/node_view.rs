//! What a realtime node needs of an app: record, keys and effective limits, by id or by key. The operator's side: no
//! account is asked for, so none of this may answer a customer.

use super::{App, AppKey, app_columns};
use crate::account::parse_plan;
use crate::db::{Db, DbError, read};
use crate::limits::Limits;
use crate::plan::Plan;
use crate::statements;

/// One row per key: one statement sees one moment, without a transaction that would take SQLite's only writer.
macro_rules! node_view {
    ($condition:literal) => {
        concat!(
            "select ",
            app_columns!(),
            ", a.plan, k.key, k.sealed_with || ' ' || k.secret, k.created_ms
            from apps join accounts a on a.id = apps.account_id left join app_keys k on k.app_id = apps.id
            where ",
            $condition,
            " order by k.created_ms, k.key"
        )
    };
}

statements::sqls! {
    VIEW_BY_ID = node_view!("apps.id = $1");
    OF_ACCOUNT = "select access_version, cast(case when suspended_ms is null then 0 else 1 end as bigint) from accounts where id = $1";
    VIEW_BY_KEY = node_view!("apps.id = (select app_id from app_keys where key = $1)");
}

/// An app as a node holds it, read at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeView {
    /// The record.
    pub app: App,
    /// Its keys, oldest first.
    pub keys: Vec<AppKey>,
    /// What it may use: its own plan or else the account's, lowered by its caps. Without an own plan the account's
    /// limits are shared by all such apps of the account.
    pub limits: Limits,
    /// The same without its caps.
    pub plan_limits: Limits,
    /// Its organisation is suspended: it refuses as a disabled app does.
    pub suspended: bool,
    /// The account's plan.
    pub account_plan: Plan,
    /// Rises when who may see the account's apps has changed. Read a moment after the rest: it may be too new for it, and
    /// then the change feed has the app again.
    pub access_version: i64,
}

/// The columns of an app, its account's plan, and one of its keys (as a `KeyRow`), if it has any.
type ViewRow = (
    i64,
    String,
    String,
    String,
    i64,
    i64,
    String,
    Option<String>,
    String,
    i64,
    i64,
    String,
    String,
    Option<String>,
    Option<String>,
    Option<i64>,
);

/// An app by its id, disabled ones included.
pub async fn node_view_by_id(db: &Db, id: u64) -> Result<Option<NodeView>, DbError> {
    let rows = read!(db, |p| sqlx::query_as(VIEW_BY_ID).bind(id.cast_signed()).fetch_all(p).await)?;
    with_access(db, from_rows(db, rows)?).await
}

/// An app by one of its keys, disabled ones included.
pub async fn node_view_by_key(db: &Db, key: &str) -> Result<Option<NodeView>, DbError> {
    // Anybody may connect with any text as a key; PostgreSQL would answer a NUL with an error.
    if !super::create::is_key(key) {
        return Ok(None);
    }
    let rows = read!(db, |p| sqlx::query_as(VIEW_BY_KEY).bind(key).fetch_all(p).await)?;
    with_access(db, from_rows(db, rows)?).await
}

async fn with_access(db: &Db, view: Option<NodeView>) -> Result<Option<NodeView>, DbError> {
    let Some(view) = view else { return Ok(None) };
    let account_id = &view.app.account_id;
    let (access_version, suspended): (i64, i64) =
        read!(db, |p| sqlx::query_as(OF_ACCOUNT).bind(account_id).fetch_one(p).await)?;
    let plan = view.app.plan.unwrap_or(view.account_plan);
    let plan_limits = crate::quota::limits_of(db, plan).await?;
    let limits = plan_limits.capped(view.app.connections_max, view.app.messages_day_max);
    Ok(Some(NodeView { access_version, suspended: suspended != 0, plan_limits, limits, ..view }))
}

fn from_rows(db: &Db, rows: Vec<ViewRow>) -> Result<Option<NodeView>, DbError> {
    let mut view: Option<NodeView> = None;
    for (a, b, c, d, e, f, g, h, i, j, k, l, account_plan, key, secret, created_ms) in rows {
        let view = match view {
            Some(ref mut view) => view,
            None => view
                .insert(without_keys(App::from_row((a, b, c, d, e, f, g, h, i, j, k, l))?, &account_plan)?),
        };
        if let (Some(key), Some(secret), Some(created_ms)) = (key, secret, created_ms) {
            view.keys.push(AppKey::from_row(db, view.app.id, (key, secret, created_ms))?);
        }
    }
    Ok(view)
}

fn without_keys(app: App, account_plan: &str) -> Result<NodeView, DbError> {
    let account_plan = parse_plan(account_plan)?;
    let limits =
        Limits::of(app.plan.unwrap_or(account_plan)).capped(app.connections_max, app.messages_day_max);
    let plan_limits = limits;
    Ok(NodeView {
        app,
        keys: Vec::new(),
        limits,
        plan_limits,
        account_plan,
        suspended: false,
        access_version: 0,
    })
}
