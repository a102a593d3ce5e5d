//! Where an app's webhooks go: address, which kinds of events, which channels, headers of the customer's own. An endpoint has
//! no secret: the app's oldest active key signs. Whether an address may be called is not decided here, and nothing is sent.
//!
//! A change records a change of the app, so that nodes read its endpoints anew at once.

pub(crate) mod headers;

use crate::account::AccountId;
use crate::clock::now_ms;
use crate::db::{Db, DbError, read, tx};
use crate::vault::Vault;
use crate::{changes, statements};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fmt;
use uuid::Uuid;

/// The columns of [`EndpointRow`]; they name their table.
macro_rules! endpoint_columns {
    () => {
        "e.id, e.app_id, e.url, e.kinds, e.channel_filter, e.headers, e.enabled, e.failing_since_ms, e.paused_ms, e.created_ms"
    };
}

statements::sqls! {
    OF_APP = concat!("select ", endpoint_columns!(), " from webhook_endpoints e join apps a on a.id = e.app_id
        where a.account_id = $1 and e.app_id = $2 order by e.id");
    BY_ID = concat!("select ", endpoint_columns!(), " from webhook_endpoints e join apps a on a.id = e.app_id
        where a.account_id = $1 and e.app_id = $2 and e.id = $3");
    FOR_NODE = concat!("select ", endpoint_columns!(), " from webhook_endpoints e where e.app_id = $1 order by e.id");
    /// Changes nothing; holds the app's row until commit, so that two makers of endpoints come one after the other.
    LOCK_APP = "update apps set version = version where account_id = $1 and id = $2";
    COUNT = "select count(*) from webhook_endpoints where app_id = $1";
    INSERT = "insert into webhook_endpoints (id, app_id, url, kinds, channel_filter, headers, enabled, created_ms)
        values ($1, $2, $3, $4, $5, $6, 1, $7)";
    /// A parameter that is null leaves its column alone; switching on also ends a pause.
    UPDATE = "update webhook_endpoints set
            url = coalesce($2, url),
            kinds = coalesce($3, kinds),
            channel_filter = coalesce($4, channel_filter),
            headers = coalesce($5, headers),
            enabled = coalesce($6, enabled),
            failing_since_ms = case when coalesce($6, 0) = 1 then null else failing_since_ms end,
            paused_ms = case when coalesce($6, 0) = 1 then null else paused_ms end
        where id = $1";
    DELETE = "delete from webhook_endpoints where id = $1";
}

/// Endpoints of one app. Each is compared with every event of the app.
pub const ENDPOINTS_PER_APP_MAX: i64 = 20;
/// Characters of an address; longer ones are refused by many servers too.
pub const URL_CHARS_MAX: usize = 2_000;
/// Headers of an endpoint's own; enough for tokens and routing, and small beside the body.
pub const HEADERS_MAX: usize = 10;
/// Characters of a header's name.
pub const HEADER_NAME_CHARS_MAX: usize = 100;
/// Characters of a header's value: room for a token.
pub const HEADER_VALUE_CHARS_MAX: usize = 2_000;
/// Characters of a channel filter: a channel's name has at most 200.
pub const FILTER_CHARS_MAX: usize = 200;
/// Stars in a glob. Matching looks back once for each, for every event of the app.
pub const GLOB_STARS_MAX: usize = 5;

/// The one kind that is about no channel, and ours: a limit of the organisation comes near. Endpoints have it when it is asked
/// for, never because nothing was said.
pub const QUOTA_THRESHOLD: &str = "quota_threshold";

/// The kinds of events, in Pusher's words. Source: webhooks page. The last is [`QUOTA_THRESHOLD`].
pub const KINDS: [&str; 8] = [
    "channel_occupied",
    "channel_vacated",
    "member_added",
    "member_removed",
    "client_event",
    "cache_miss",
    "subscription_count",
    QUOTA_THRESHOLD,
];

/// What an endpoint gets of which nothing was said: all that happens on channels.
pub fn default_kinds() -> Vec<String> {
    KINDS.into_iter().filter(|kind| *kind != QUOTA_THRESHOLD).map(str::to_owned).collect()
}

/// Header names, in lower case, that belong to the delivery itself.
const OWN_HEADERS: [&str; 13] = [
    "host",
    "content-type",
    "content-length",
    "transfer-encoding",
    "content-encoding",
    "connection",
    "keep-alive",
    "upgrade",
    "te",
    "trailer",
    "expect",
    "user-agent",
    "proxy-connection",
];

/// Which channels' events an endpoint gets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChannelFilter {
    /// All.
    #[default]
    None,
    /// Those whose name begins with it.
    Prefix(String),
    /// The one of this name.
    Exact(String),
    /// Those whose whole name matches; `*` stands for any text, the empty one too.
    Glob(String),
}

impl ChannelFilter {
    fn text(&self) -> &str {
        match self {
            ChannelFilter::None => "",
            ChannelFilter::Prefix(text) | ChannelFilter::Exact(text) | ChannelFilter::Glob(text) => text,
        }
    }
}

/// An endpoint of an app.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookEndpoint {
    /// `whe_…`.
    pub id: String,
    /// Whose.
    pub app_id: u64,
    /// `http://…` or `https://…`.
    pub url: String,
    /// Some of [`KINDS`].
    pub kinds: Vec<String>,
    /// Which channels.
    pub channel_filter: ChannelFilter,
    /// The customer's own headers, name and value; a value may be a secret of theirs.
    pub headers: Vec<(String, String)>,
    /// Off: nothing is sent but what is asked for by hand.
    pub enabled: bool,
    /// When its first failure since the last success was; `None` while it is well.
    pub failing_since_ms: Option<i64>,
    /// When it was paused for failing too long. Switching it on again ends the pause.
    pub paused_ms: Option<i64>,
    /// When it was made.
    pub created_ms: i64,
}

/// What a new endpoint shall be.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct NewEndpoint {
    /// `http://…` or `https://…`, at most [`URL_CHARS_MAX`] characters of ASCII.
    pub url: String,
    /// At least one of [`KINDS`].
    pub kinds: Vec<String>,
    /// Which channels.
    pub channel_filter: ChannelFilter,
    /// At most [`HEADERS_MAX`], each name once.
    pub headers: Vec<(String, String)>,
}

/// What to change; `None` leaves it as it is.
#[derive(Clone, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are those of `WebhookEndpoint`")]
pub struct EndpointChange {
    pub url: Option<String>,
    pub kinds: Option<Vec<String>>,
    pub channel_filter: Option<ChannelFilter>,
    pub headers: Option<Vec<(String, String)>>,
    /// Switching on also ends a pause.
    pub enabled: Option<bool>,
}

/// Header values are not shown: they may be secrets.
fn names(headers: &[(String, String)]) -> Vec<&str> {
    headers.iter().map(|(name, _)| name.as_str()).collect()
}

impl fmt::Debug for WebhookEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookEndpoint")
            .field("id", &self.id)
            .field("app_id", &self.app_id)
            .field("url", &self.url)
            .field("kinds", &self.kinds)
            .field("channel_filter", &self.channel_filter)
            .field("headers", &names(&self.headers))
            .field("enabled", &self.enabled)
            .field("failing_since_ms", &self.failing_since_ms)
            .field("paused_ms", &self.paused_ms)
            .field("created_ms", &self.created_ms)
            .finish()
    }
}

impl fmt::Debug for NewEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewEndpoint")
            .field("url", &self.url)
            .field("kinds", &self.kinds)
            .field("channel_filter", &self.channel_filter)
            .field("headers", &names(&self.headers))
            .finish()
    }
}

impl fmt::Debug for EndpointChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointChange")
            .field("url", &self.url)
            .field("kinds", &self.kinds)
            .field("channel_filter", &self.channel_filter)
            .field("headers", &self.headers.as_deref().map(names))
            .field("enabled", &self.enabled)
            .finish()
    }
}

/// Why an endpoint was not made or changed. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// Not an address of http or https, too long, or with characters that an address can't have.
    #[error(
        "the address must be http://… or https://… with at most {URL_CHARS_MAX} characters, spaces as %20"
    )]
    UrlInvalid,
    /// No kind.
    #[error("choose at least one kind of event")]
    NoKind,
    /// It names a kind that there is not.
    #[error("there is no kind of event {0:?}")]
    KindUnknown(String),
    /// Empty, too long, or a glob with too many stars.
    #[error(
        "the channel filter must have 1 to {FILTER_CHARS_MAX} characters and at most {GLOB_STARS_MAX} stars"
    )]
    FilterInvalid,
    /// It names the header.
    #[error("{0:?} is not a header that can be set, or its value has characters that a header can't have")]
    HeaderInvalid(String),
    /// More than [`HEADERS_MAX`].
    #[error("there are more than {HEADERS_MAX} headers")]
    TooManyHeaders,
    /// The app has [`ENDPOINTS_PER_APP_MAX`].
    #[error("the app has {ENDPOINTS_PER_APP_MAX} endpoints, as many as it may have")]
    TooMany,
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

type EndpointRow = (String, i64, String, String, String, String, i64, Option<i64>, Option<i64>, i64);

impl WebhookEndpoint {
    /// As the audit log tells it: of headers only the names, and of the address no query, where tokens stand.
    pub fn told(&self) -> Value {
        json!({
            "url": self.url.split('?').next(),
            "kinds": self.kinds,
            "channels": self.channel_filter,
            "headers": names(&self.headers),
            "enabled": self.enabled,
        })
    }

    fn from_row(vault: &Vault, row: EndpointRow) -> Result<WebhookEndpoint, DbError> {
        let (id, app_id, url, kinds, filter, headers, enabled, failing_since_ms, paused_ms, created_ms) = row;
        let headers = headers::opened(vault, &id, &headers)?;
        Ok(WebhookEndpoint {
            id,
            app_id: app_id.cast_unsigned(),
            url,
            kinds: serde_json::from_str(&kinds).map_err(|_| DbError::row("webhook kinds"))?,
            channel_filter: serde_json::from_str(&filter).map_err(|_| DbError::row("webhook filter"))?,
            headers,
            enabled: enabled != 0,
            failing_since_ms,
            paused_ms,
            created_ms,
        })
    }
}

/// A value of ours as the text of a column.
fn column(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "null".into())
}

/// Makes an endpoint of an app of an account, switched on. `None` for an unknown app and another account's alike.
pub async fn create(
    db: &Db,
    account_id: &AccountId,
    app_id: u64,
    new: NewEndpoint,
) -> Result<Option<WebhookEndpoint>, EndpointError> {
    let made = WebhookEndpoint {
        id: format!("whe_{}", Uuid::now_v7().simple()),
        app_id,
        url: normal_url(&new.url)?,
        kinds: normal_kinds(&new.kinds)?,
        channel_filter: normal_filter(new.channel_filter)?,
        headers: normal_headers(new.headers)?,
        enabled: true,
        failing_since_ms: None,
        paused_ms: None,
        created_ms: now_ms(),
    };
    let app = app_id.cast_signed();
    let sealed = headers::stored(db.vault(), &made.id, &made.headers).map_err(DbError::from)?;
    tx!(db, |t| {
        let held =
            sqlx::query(LOCK_APP).bind(account_id).bind(app).execute(&mut *t).await.map_err(DbError::from)?;
        if held.rows_affected() == 0 {
            return Ok(None);
        }
        let held: i64 =
            sqlx::query_scalar(COUNT).bind(app).fetch_one(&mut *t).await.map_err(DbError::from)?;
        if held >= ENDPOINTS_PER_APP_MAX {
            return Err(EndpointError::TooMany);
        }
        sqlx::query(INSERT)
            .bind(&made.id)
            .bind(app)
            .bind(&made.url)
            .bind(column(&made.kinds))
            .bind(column(&made.channel_filter))
            .bind(&sealed)
            .bind(made.created_ms)
            .execute(&mut *t)
            .await
            .map_err(DbError::from)?;
        changes::record!(t, app);
    });
    db.notice().notify();
    Ok(Some(made))
}

/// The endpoints of an app of an account, oldest first; none for the app of another account.
pub async fn list(db: &Db, account_id: &AccountId, app_id: u64) -> Result<Vec<WebhookEndpoint>, DbError> {
    let rows: Vec<EndpointRow> =
        read!(db, |p| sqlx::query_as(OF_APP).bind(account_id).bind(app_id.cast_signed()).fetch_all(p).await)?;
    rows.into_iter().map(|row| WebhookEndpoint::from_row(db.vault(), row)).collect()
}

/// The endpoints of an app, oldest first. For nodes, never for a page of a customer.
pub async fn list_for_node(db: &Db, app_id: u64) -> Result<Vec<WebhookEndpoint>, DbError> {
    let rows: Vec<EndpointRow> =
        read!(db, |p| sqlx::query_as(FOR_NODE).bind(app_id.cast_signed()).fetch_all(p).await)?;
    rows.into_iter().map(|row| WebhookEndpoint::from_row(db.vault(), row)).collect()
}

/// An endpoint of an app of an account. `None` for an unknown one, another app's and another account's alike.
pub async fn find(
    db: &Db,
    account_id: &AccountId,
    app_id: u64,
    id: &str,
) -> Result<Option<WebhookEndpoint>, DbError> {
    if !is_id(id, "whe_") {
        return Ok(None);
    }
    let row: Option<EndpointRow> = read!(db, |p| sqlx::query_as(BY_ID)
        .bind(account_id)
        .bind(app_id.cast_signed())
        .bind(id)
        .fetch_optional(p)
        .await)?;
    row.map(|row| WebhookEndpoint::from_row(db.vault(), row)).transpose()
}

/// Changes an endpoint and gives it back as it is now. `None` for one that [`find`] does not find.
pub async fn update(
    db: &Db,
    account_id: &AccountId,
    app_id: u64,
    id: &str,
    change: EndpointChange,
) -> Result<Option<WebhookEndpoint>, EndpointError> {
    let url = change.url.as_deref().map(normal_url).transpose()?;
    let kinds = change.kinds.as_deref().map(normal_kinds).transpose()?;
    let filter = change.channel_filter.map(normal_filter).transpose()?;
    let headers = change.headers.map(normal_headers).transpose()?;
    if !is_id(id, "whe_") {
        return Ok(None);
    }
    let app = app_id.cast_signed();
    let headers =
        headers.map(|all| headers::stored(db.vault(), id, &all)).transpose().map_err(DbError::from)?;
    let row: EndpointRow = tx!(db, |t| {
        let held =
            sqlx::query(LOCK_APP).bind(account_id).bind(app).execute(&mut *t).await.map_err(DbError::from)?;
        if held.rows_affected() == 0 {
            return Ok(None);
        }
        let found: Option<EndpointRow> = sqlx::query_as(BY_ID)
            .bind(account_id)
            .bind(app)
            .bind(id)
            .fetch_optional(&mut *t)
            .await
            .map_err(DbError::from)?;
        if found.is_none() {
            return Ok(None);
        }
        sqlx::query(UPDATE)
            .bind(id)
            .bind(&url)
            .bind(kinds.as_ref().map(column))
            .bind(filter.as_ref().map(column))
            .bind(&headers)
            .bind(change.enabled.map(i64::from))
            .execute(&mut *t)
            .await
            .map_err(DbError::from)?;
        let row = sqlx::query_as(BY_ID)
            .bind(account_id)
            .bind(app)
            .bind(id)
            .fetch_one(&mut *t)
            .await
            .map_err(DbError::from)?;
        changes::record!(t, app);
        row
    });
    db.notice().notify();
    Ok(Some(WebhookEndpoint::from_row(db.vault(), row)?))
}

/// Deletes an endpoint with its log; what waits for it is not sent. False for one that [`find`] does not find.
pub async fn delete(db: &Db, account_id: &AccountId, app_id: u64, id: &str) -> Result<bool, DbError> {
    if find(db, account_id, app_id, id).await?.is_none() {
        return Ok(false);
    }
    let app = app_id.cast_signed();
    tx!(db, |t| {
        if sqlx::query(DELETE).bind(id).execute(&mut *t).await?.rows_affected() == 0 {
            return Ok(false);
        }
        changes::record!(t, app);
    });
    db.notice().notify();
    Ok(true)
}

/// Can it be an id of ours at all? Spares the database absurd input; PostgreSQL would answer a NUL with an error.
pub(crate) fn is_id(text: &str, prefix: &str) -> bool {
    text.strip_prefix(prefix)
        .is_some_and(|rest| rest.len() == 32 && rest.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
}

fn normal_url(url: &str) -> Result<String, EndpointError> {
    let url = url.trim();
    let head = |n: usize| url.get(..n).unwrap_or_default().to_ascii_lowercase();
    let known = (head(7) == "http://" && url.len() > 7) || (head(8) == "https://" && url.len() > 8);
    if !known || url.len() > URL_CHARS_MAX || !url.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(EndpointError::UrlInvalid);
    }
    Ok(url.to_owned())
}

/// Each kind once, in the order of [`KINDS`].
fn normal_kinds(kinds: &[String]) -> Result<Vec<String>, EndpointError> {
    if let Some(unknown) = kinds.iter().find(|kind| !KINDS.contains(&kind.as_str())) {
        return Err(EndpointError::KindUnknown(unknown.chars().take(40).collect()));
    }
    let kept: Vec<String> =
        KINDS.iter().filter(|known| kinds.iter().any(|kind| kind == *known)).map(|&k| k.to_owned()).collect();
    if kept.is_empty() { Err(EndpointError::NoKind) } else { Ok(kept) }
}

fn normal_filter(filter: ChannelFilter) -> Result<ChannelFilter, EndpointError> {
    let text = filter.text();
    let stars = text.bytes().filter(|b| *b == b'*').count();
    let fits = (1..=FILTER_CHARS_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    match filter {
        ChannelFilter::None => Ok(filter),
        ChannelFilter::Glob(_) if stars > GLOB_STARS_MAX => Err(EndpointError::FilterInvalid),
        filter if fits => Ok(filter),
        _ => Err(EndpointError::FilterInvalid),
    }
}

fn normal_headers(headers: Vec<(String, String)>) -> Result<Vec<(String, String)>, EndpointError> {
    if headers.len() > HEADERS_MAX {
        return Err(EndpointError::TooManyHeaders);
    }
    let mut kept: Vec<(String, String)> = Vec::new();
    for (name, value) in headers {
        let (name, value) = (name.trim(), value.trim());
        let lower = name.to_ascii_lowercase();
        let is_name = (1..=HEADER_NAME_CHARS_MAX).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
        let is_value = value.len() <= HEADER_VALUE_CHARS_MAX
            && value.bytes().all(|b| b.is_ascii_graphic() || b == b' ' || b == b'\t');
        let own = OWN_HEADERS.contains(&lower.as_str()) || lower.starts_with("x-pusher-");
        let twice = kept.iter().any(|(held, _)| held.eq_ignore_ascii_case(name));
        if !is_name || !is_value || own || twice {
            return Err(EndpointError::HeaderInvalid(name.chars().take(HEADER_NAME_CHARS_MAX).collect()));
        }
        kept.push((name.to_owned(), value.to_owned()));
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_of_http_or_https_and_of_visible_ascii() {
        assert_eq!(normal_url(" https://a.example/x?y=1 ").unwrap(), "https://a.example/x?y=1");
        assert_eq!(normal_url("HTTP://a.example").unwrap(), "HTTP://a.example");
        let long = format!("https://a.example/{}", "x".repeat(URL_CHARS_MAX));
        for bad in [
            "",
            "a.example",
            "ftp://a",
            "http://",
            "https://",
            "https://a b",
            "https://bücher.example",
            &long,
        ] {
            assert!(matches!(normal_url(bad), Err(EndpointError::UrlInvalid)), "{bad}");
        }
    }

    #[test]
    fn kinds_are_kept_once_and_in_order() {
        let of = |kinds: &[&str]| normal_kinds(&kinds.iter().map(|&k| k.to_owned()).collect::<Vec<_>>());
        assert_eq!(
            of(&["member_added", "channel_occupied", "member_added"]).unwrap(),
            ["channel_occupied", "member_added"]
        );
        assert!(matches!(of(&[]), Err(EndpointError::NoKind)));
        assert!(matches!(of(&["member_added", "x"]), Err(EndpointError::KindUnknown(kind)) if kind == "x"));
    }

    #[test]
    fn the_deliverys_own_headers_cannot_be_set_and_no_value_can_begin_a_line() {
        let of = |name: &str, value: &str| normal_headers(vec![(name.to_owned(), value.to_owned())]);
        assert_eq!(of(" X-Token ", " a b ").unwrap(), [("X-Token".to_owned(), "a b".to_owned())]);
        for name in [
            "Host",
            "content-type",
            "X-Pusher-Key",
            "x-pusher-signature",
            "X-PUSHER-other",
            "Expect",
            "",
            "a b",
            "a:",
            "é",
        ] {
            assert!(matches!(of(name, "v"), Err(EndpointError::HeaderInvalid(_))), "{name}");
        }
        for value in ["a\r\nX-Pusher-Key: b", "a\0", "é"] {
            assert!(matches!(of("X-Token", value), Err(EndpointError::HeaderInvalid(_))), "{value}");
        }
        let twice = vec![("X-A".to_owned(), "1".to_owned()), ("x-a".to_owned(), "2".to_owned())];
        assert!(matches!(normal_headers(twice), Err(EndpointError::HeaderInvalid(_))));
        let many = (0..=HEADERS_MAX).map(|n| (format!("X-{n}"), String::new())).collect();
        assert!(matches!(normal_headers(many), Err(EndpointError::TooManyHeaders)));
    }

    #[test]
    fn a_filter_has_a_text_and_few_stars() {
        for good in [
            ChannelFilter::None,
            ChannelFilter::Prefix("presence-".into()),
            ChannelFilter::Exact("#x".into()),
            ChannelFilter::Glob("a*b*".into()),
        ] {
            assert_eq!(normal_filter(good.clone()).unwrap(), good);
        }
        for bad in [
            ChannelFilter::Prefix(String::new()),
            ChannelFilter::Exact("a b".into()),
            ChannelFilter::Prefix("x".repeat(FILTER_CHARS_MAX + 1)),
            ChannelFilter::Glob("*".repeat(GLOB_STARS_MAX + 1)),
        ] {
            assert!(matches!(normal_filter(bad), Err(EndpointError::FilterInvalid)));
        }
    }

    #[test]
    fn header_values_do_not_show_in_debug_output() {
        let new = NewEndpoint { headers: vec![("X-Token".into(), "hush".into())], ..NewEndpoint::default() };
        let change = EndpointChange { headers: Some(new.headers.clone()), ..EndpointChange::default() };
        let shown = format!("{new:?}{change:?}");
        assert!(shown.contains("X-Token") && !shown.contains("hush"), "{shown}");
    }
}
