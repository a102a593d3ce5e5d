//! What was sent to an app's webhook endpoints, and what came back: the log, sending again, and test events. For customers:
//! each finder takes the account. What nodes write and claim is in [`crate::webhook_outbox`].

use crate::account::AccountId;
use crate::clock::{DAY_MS, now_ms};
use crate::db::{Db, DbError, read, tx};
use crate::webhook_endpoint::{self, KINDS, is_id};
use crate::{changes, statements};
use std::fmt;
use uuid::Uuid;

/// The columns of [`DeliveryRow`]; they name their table.
macro_rules! delivery_columns {
    () => {
        "d.id, d.endpoint_id, d.app_id, d.created_ms, d.time_ms, d.events, d.events_count, d.test, d.by_hand, d.state, \
         d.attempts, d.next_try_ms"
    };
}
statements::sqls! {
    /// An empty parameter asks for nothing.
    OF_APP = concat!("select ", delivery_columns!(), " from webhook_deliveries d join apps a on a.id = d.app_id
        where a.account_id = $1 and d.app_id = $2 and ($3 = '' or d.endpoint_id = $3) and ($4 = '' or d.state = $4)
            and ($5 = '' or d.id < $5)
        order by d.id desc limit $6");
    BY_ID = concat!("select ", delivery_columns!(), " from webhook_deliveries d join apps a on a.id = d.app_id
        where a.account_id = $1 and d.app_id = $2 and d.id = $3");
    /// Without the texts, for a list.
    ATTEMPTS_BETWEEN = "select t.delivery_id, t.at_ms, t.duration_ms, t.status, t.error, '' as q, '' as h, '' as b
        from webhook_attempts t join webhook_deliveries d on d.id = t.delivery_id
        where d.app_id = $1 and d.id >= $2 and d.id <= $3 order by t.delivery_id, t.number";
    ATTEMPTS = "select delivery_id, at_ms, duration_ms, status, error, request_headers, response_headers, response_body
        from webhook_attempts where delivery_id = $1 order by number";
    SUMMARY = "select d.endpoint_id, d.state, count(*) from webhook_deliveries d join apps a on a.id = d.app_id
        where a.account_id = $1 and d.app_id = $2 and d.id >= $3 group by d.endpoint_id, d.state";
    RESEND = "update webhook_deliveries
        set state = 'pending', by_hand = 1, time_ms = $3, next_try_ms = null, lease_node = '', lease_until_ms = 0
        where app_id = $1 and id = $2 and state <> 'pending'";
    RECOVER = "update webhook_deliveries
        set state = 'pending', by_hand = 1, time_ms = $4, next_try_ms = null, lease_node = '', lease_until_ms = 0
        where app_id = $1 and endpoint_id = $2 and id >= $3 and state = 'failed'";
    TEST = "insert into webhook_deliveries (id, endpoint_id, app_id, created_ms, time_ms, events, events_count, test, by_hand,
            state, attempts, lease_node, lease_until_ms)
        values ($1, $2, $3, $4, $4, $5, 1, 1, 1, 'pending', 0, '', 0)";
}

/// Deliveries of one page of the log.
pub const PAGE_MAX: u32 = 200;

/// How far a delivery is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not yet tried, or to be tried again.
    Pending,
    /// Answered with 2xx.
    Delivered,
    /// Given up.
    Failed,
}

impl State {
    /// As stored and in addresses.
    pub fn name(self) -> &'static str {
        match self {
            State::Pending => "pending",
            State::Delivered => "delivered",
            State::Failed => "failed",
        }
    }

    /// The state of a name.
    pub fn parse(name: &str) -> Option<State> {
        [State::Pending, State::Delivered, State::Failed].into_iter().find(|state| state.name() == name)
    }
}

/// One POST of a delivery.
#[derive(Clone, PartialEq, Eq)]
pub struct Attempt {
    /// When it began.
    pub at_ms: i64,
    /// The answer's status, if one came.
    pub status: Option<u16>,
    /// Until the answer was read, or the attempt given up.
    pub duration_ms: i64,
    /// Why there is no success, in one sentence.
    pub error: Option<String>,
    /// As sent. Empty in a list.
    pub request_headers: Vec<(String, String)>,
    /// As received. Empty in a list.
    pub response_headers: Vec<(String, String)>,
    /// The answer's beginning, see [`crate::webhook_outbox::RESPONSE_BYTES_MAX`]. Empty in a list.
    pub response_body: String,
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt")
            .field("at_ms", &self.at_ms)
            .field("status", &self.status)
            .field("duration_ms", &self.duration_ms)
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

/// One body on its way to one endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// `whd_…`; later ones are greater.
    pub id: String,
    /// Where to.
    pub endpoint_id: String,
    /// Whose.
    pub app_id: u64,
    /// When it was first made.
    pub created_ms: i64,
    /// What is posted. Sending again gives it a new `time_ms`, since receivers refuse old ones.
    pub body: String,
    /// Events in it.
    pub events_count: u32,
    /// Made by [`send_test`].
    pub test: bool,
    /// Asked for by a person: goes out even when the endpoint is off or paused.
    pub by_hand: bool,
    /// How far it is.
    pub state: State,
    /// Attempts so far, oldest first.
    pub attempts: Vec<Attempt>,
    /// When it is tried again; `None` means at once while it is pending.
    pub next_try_ms: Option<i64>,
}

/// What of the log to show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filter<'a> {
    /// Only those to this endpoint.
    pub endpoint_id: Option<&'a str>,
    /// Only those in this state.
    pub state: Option<State>,
    /// Only those older than the delivery with this id: the last one of the page before.
    pub before: Option<&'a str>,
    /// At most this many, and at most [`PAGE_MAX`].
    pub limit: u32,
}

/// How an endpoint did since a time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// The endpoint.
    pub endpoint_id: String,
    /// Deliveries on their way.
    pub pending: u64,
    /// Deliveries that arrived.
    pub delivered: u64,
    /// Deliveries given up.
    pub failed: u64,
}

pub(crate) type DeliveryRow =
    (String, String, i64, i64, i64, String, i64, i64, i64, String, i64, Option<i64>);
type AttemptRow = (String, i64, i64, Option<i64>, Option<String>, String, String, String);

/// A fresh id. Ids made by one process grow; those of several are ordered by their millisecond.
pub(crate) fn new_id() -> String {
    format!("whd_{}", Uuid::now_v7().simple())
}

/// Not greater than any id made at this time or later, for ids begin with their time.
pub(crate) fn first_id_at(ms: i64) -> String {
    format!("whd_{:012x}", ms.max(0))
}

impl Delivery {
    fn from_row(row: DeliveryRow) -> Result<Delivery, DbError> {
        let (
            id,
            endpoint_id,
            app_id,
            created_ms,
            time_ms,
            events,
            count,
            test,
            by_hand,
            state,
            _,
            next_try_ms,
        ) = row;
        Ok(Delivery {
            id,
            endpoint_id,
            app_id: app_id.cast_unsigned(),
            created_ms,
            body: format!(r#"{{"time_ms":{time_ms},"events":{events}}}"#),
            events_count: u32::try_from(count).unwrap_or(0),
            test: test != 0,
            by_hand: by_hand != 0,
            state: State::parse(&state).ok_or(DbError::row("delivery state"))?,
            attempts: Vec::new(),
            next_try_ms,
        })
    }
}

fn attempt((_, at_ms, duration_ms, status, error, request, response, body): AttemptRow) -> Attempt {
    let pairs = |text: &str| serde_json::from_str(text).unwrap_or_default();
    Attempt {
        at_ms,
        status: status.and_then(|status| u16::try_from(status).ok()),
        duration_ms,
        error,
        request_headers: pairs(&request),
        response_headers: pairs(&response),
        response_body: body,
    }
}

/// Deliveries of an app of an account, newest first; none for another account's. Their attempts come without headers and
/// answers, which [`find`] gives.
pub async fn list(
    db: &Db,
    account_id: &AccountId,
    app_id: u64,
    filter: Filter<'_>,
) -> Result<Vec<Delivery>, DbError> {
    let bad = |id: Option<&str>, prefix: &str| id.is_some_and(|id| !is_id(id, prefix));
    if bad(filter.endpoint_id, "whe_") || bad(filter.before, "whd_") {
        return Ok(Vec::new());
    }
    let app = app_id.cast_signed();
    let rows: Vec<DeliveryRow> = read!(db, |p| sqlx::query_as(OF_APP)
        .bind(account_id)
        .bind(app)
        .bind(filter.endpoint_id.unwrap_or_default())
        .bind(filter.state.map_or("", State::name))
        .bind(filter.before.unwrap_or_default())
        .bind(i64::from(filter.limit.min(PAGE_MAX)))
        .fetch_all(p)
        .await)?;
    let mut found = rows.into_iter().map(Delivery::from_row).collect::<Result<Vec<_>, _>>()?;
    let (Some(newest), Some(oldest)) = (found.first(), found.last()) else { return Ok(found) };
    let attempts: Vec<AttemptRow> = read!(db, |p| sqlx::query_as(ATTEMPTS_BETWEEN)
        .bind(app)
        .bind(&oldest.id)
        .bind(&newest.id)
        .fetch_all(p)
        .await)?;
    for row in attempts {
        // Newest first, so ids fall.
        if let Ok(at) = found.binary_search_by(|delivery| row.0.cmp(&delivery.id)) {
            found[at].attempts.push(attempt(row));
        }
    }
    Ok(found)
}

/// A delivery of an app of an account with all of its attempts. `None` for an unknown one and another account's alike.
pub async fn find(
    db: &Db,
    account_id: &AccountId,
    app_id: u64,
    id: &str,
) -> Result<Option<Delivery>, DbError> {
    if !is_id(id, "whd_") {
        return Ok(None);
    }
    let row: Option<DeliveryRow> = read!(db, |p| sqlx::query_as(BY_ID)
        .bind(account_id)
        .bind(app_id.cast_signed())
        .bind(id)
        .fetch_optional(p)
        .await)?;
    let Some(row) = row else { return Ok(None) };
    let mut delivery = Delivery::from_row(row)?;
    let rows: Vec<AttemptRow> = read!(db, |p| sqlx::query_as(ATTEMPTS).bind(id).fetch_all(p).await)?;
    delivery.attempts = rows.into_iter().map(attempt).collect();
    Ok(Some(delivery))
}

/// How the endpoints of an app did with what was made since `since_ms`. Endpoints without deliveries are left out.
pub async fn summary(
    db: &Db,
    account_id: &AccountId,
    app_id: u64,
    since_ms: i64,
) -> Result<Vec<Summary>, DbError> {
    let rows: Vec<(String, String, i64)> = read!(db, |p| sqlx::query_as(SUMMARY)
        .bind(account_id)
        .bind(app_id.cast_signed())
        .bind(first_id_at(since_ms))
        .fetch_all(p)
        .await)?;
    let mut found: Vec<Summary> = Vec::new();
    for (endpoint_id, state, count) in rows {
        let at = found.iter().position(|one| one.endpoint_id == endpoint_id).unwrap_or_else(|| {
            found.push(Summary { endpoint_id, ..Summary::default() });
            found.len() - 1
        });
        let count = u64::try_from(count).unwrap_or(0);
        match State::parse(&state).ok_or(DbError::row("delivery state"))? {
            State::Pending => found[at].pending = count,
            State::Delivered => found[at].delivered = count,
            State::Failed => found[at].failed = count,
        }
    }
    Ok(found)
}

/// Has a delivery sent once more, with a new `time_ms` and all retries, whether it failed or arrived. False for one that
/// [`find`] does not find and for one that is still on its way.
pub async fn resend(db: &Db, account_id: &AccountId, app_id: u64, id: &str) -> Result<bool, DbError> {
    if find(db, account_id, app_id, id).await?.is_none() {
        return Ok(false);
    }
    let app = app_id.cast_signed();
    tx!(db, |t| {
        let again = sqlx::query(RESEND).bind(app).bind(id).bind(now_ms()).execute(&mut *t).await?;
        if again.rows_affected() == 0 {
            return Ok(false);
        }
        changes::record!(t, app);
    });
    db.notice().notify();
    Ok(true)
}

/// Has all deliveries sent again that were made since `since_ms` and given up. How many; 0 for an endpoint of another
/// account.
pub async fn recover(
    db: &Db,
    account_id: &AccountId,
    app_id: u64,
    endpoint_id: &str,
    since_ms: i64,
) -> Result<u64, DbError> {
    if webhook_endpoint::find(db, account_id, app_id, endpoint_id).await?.is_none() {
        return Ok(0);
    }
    let app = app_id.cast_signed();
    let count = tx!(db, |t| {
        let again = sqlx::query(RECOVER)
            .bind(app)
            .bind(endpoint_id)
            .bind(first_id_at(since_ms))
            .bind(now_ms())
            .execute(&mut *t)
            .await?
            .rows_affected();
        if again == 0 {
            return Ok(0);
        }
        changes::record!(t, app);
        again
    });
    db.notice().notify();
    Ok(count)
}

/// Has a made-up event of a kind sent to an endpoint, on the same way as real ones, also when the endpoint is off or does not
/// want the kind. The delivery's id; `None` for an endpoint of another account and for a kind that there is not.
pub async fn send_test(
    db: &Db,
    account_id: &AccountId,
    app_id: u64,
    endpoint_id: &str,
    kind: &str,
) -> Result<Option<String>, DbError> {
    let Some(events) = test_events(kind) else { return Ok(None) };
    if webhook_endpoint::find(db, account_id, app_id, endpoint_id).await?.is_none() {
        return Ok(None);
    }
    let (id, app) = (new_id(), app_id.cast_signed());
    tx!(db, |t| {
        sqlx::query(TEST)
            .bind(&id)
            .bind(endpoint_id)
            .bind(app)
            .bind(now_ms())
            .bind(&events)
            .execute(&mut *t)
            .await?;
        changes::record!(t, app);
    });
    db.notice().notify();
    Ok(Some(id))
}

/// An event of each kind as real ones look, on a channel that says what it is.
fn test_events(kind: &str) -> Option<String> {
    use serde_json::json;
    let kind = KINDS.into_iter().find(|known| *known == kind)?;
    let event = match kind {
        "member_added" | "member_removed" => {
            json!({ "name": kind, "channel": "presence-webhook-test", "user_id": "test-user" })
        }
        "client_event" => json!({
            "name": kind, "channel": "private-webhook-test", "event": "client-test", "data": r#"{"test":true}"#,
            "socket_id": "1.1",
        }),
        "cache_miss" => json!({ "name": kind, "channel": "cache-webhook-test" }),
        "subscription_count" => json!({ "name": kind, "channel": "webhook-test", "subscription_count": 1 }),
        webhook_endpoint::QUOTA_THRESHOLD => json!({
            "name": kind, "resource": "messages", "threshold": 80, "used": 80, "limit": 100,
            "period_start_ms": now_ms() - now_ms().rem_euclid(DAY_MS),
        }),
        _ => json!({ "name": kind, "channel": "webhook-test" }),
    };
    Some(json!([event]).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_test_event_of_each_kind() {
        for kind in KINDS {
            let events: serde_json::Value = serde_json::from_str(&test_events(kind).unwrap()).unwrap();
            assert_eq!(events[0]["name"], kind);
            assert_eq!(events[0]["channel"].is_string(), kind != webhook_endpoint::QUOTA_THRESHOLD);
        }
        assert_eq!(test_events("channel_existence"), None);
    }

    #[test]
    fn ids_are_ordered_by_time() {
        let now = now_ms();
        let id = new_id();
        assert!(first_id_at(now) <= id && id < first_id_at(now + 60_000), "{id}");
        assert!(new_id() > id);
    }
}
