//! Changing and deleting an app: each writes a change row in its transaction and wakes the nodes.

use super::{App, AppRow, FeatureChange, Features, app_columns, normal_name};
use crate::account::AccountId;
use crate::db::{Db, DbError, tx};
use crate::{changes, statements};

statements::sqls! {
    /// A parameter that is null leaves its column alone.
    UPDATE = concat!(
        "update apps set
            name = coalesce($3, name),
            client_events = coalesce($4, client_events),
            allowed_origins = coalesce($5, allowed_origins),
            enabled = coalesce($6, enabled),
            features = $7,
            connections_max = case when $8 = 1 then $9 else connections_max end,
            messages_day_max = case when $10 = 1 then $11 else messages_day_max end,
            version = version + 1
        where apps.account_id = $1 and apps.id = $2 returning ", app_columns!());
    /// Taking the row for writing keeps two changes of different switches from undoing each other.
    LOCK = "update apps set version = version where account_id = $1 and id = $2 returning features";
    DELETE = "delete from apps where account_id = $1 and id = $2";
}

/// Origins that one app may list; a node compares each new connection with all of them.
pub const ORIGINS_MAX: usize = 50;
/// Characters of one origin: a host name has at most 253, scheme and port come on top.
pub const ORIGIN_CHARS_MAX: usize = 270;

/// What to change of an app; `None` leaves it as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppChange {
    /// A new name.
    pub name: Option<String>,
    /// Whether clients may send events themselves.
    pub client_events: Option<bool>,
    /// The whole new list; empty means all origins.
    pub allowed_origins: Option<Vec<String>>,
    /// On or off.
    pub enabled: Option<bool>,
    /// A cap on its connections below the plan's limit; `Some(None)` takes it away.
    pub connections_max: Option<Option<u64>>,
    /// A cap on its messages of a UTC day; `Some(None)` takes it away.
    pub messages_day_max: Option<Option<u64>>,
    /// Switches to set.
    pub features: FeatureChange,
}

/// Why an app was not changed. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum UpdateAppError {
    /// Empty, too long, or with control characters.
    #[error("the name must have 1 to 60 characters")]
    NameInvalid,
    /// The origin it carries has spaces, control or non-ASCII characters, or is too long.
    #[error("{0:?} is not an origin")]
    OriginInvalid(String),
    /// More than [`ORIGINS_MAX`].
    #[error("there are more than {ORIGINS_MAX} origins")]
    TooManyOrigins,
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Changes an app of an account and gives it back as it is now. `None` for an unknown id and another account's alike.
pub async fn update(
    db: &Db,
    account_id: &AccountId,
    id: u64,
    change: AppChange,
) -> Result<Option<App>, UpdateAppError> {
    let name = match change.name {
        Some(name) => Some(normal_name(&name).ok_or(UpdateAppError::NameInvalid)?),
        None => None,
    };
    let origins = match change.allowed_origins {
        Some(origins) => Some(serde_json::Value::from(normal_origins(origins)?).to_string()),
        None => None,
    };
    let id = id.cast_signed();
    let row: AppRow = tx!(db, |t| {
        let held: Option<(String,)> = sqlx::query_as(LOCK)
            .bind(account_id)
            .bind(id)
            .fetch_optional(&mut *t)
            .await
            .map_err(DbError::from)?;
        let Some((features,)) = held else { return Ok(None) };
        let features = Features::from_column(&features)?.changed(change.features).to_column();
        let row = sqlx::query_as(UPDATE)
            .bind(account_id)
            .bind(id)
            .bind(&name)
            .bind(change.client_events.map(i64::from))
            .bind(&origins)
            .bind(change.enabled.map(i64::from))
            .bind(&features)
            .bind(i64::from(change.connections_max.is_some()))
            .bind(change.connections_max.flatten().map(cap_column))
            .bind(i64::from(change.messages_day_max.is_some()))
            .bind(change.messages_day_max.flatten().map(cap_column))
            .fetch_optional(&mut *t)
            .await
            .map_err(DbError::from)?;
        let Some(row) = row else { return Ok(None) };
        changes::record!(t, id);
        row
    });
    db.notice().notify();
    Ok(Some(App::from_row(row)?))
}

fn cap_column(max: u64) -> i64 {
    i64::try_from(max).unwrap_or(i64::MAX)
}

/// Deletes an app of an account with its keys; its id stays taken and its usage stays counted. False for an unknown id
/// and another account's alike.
pub async fn delete(db: &Db, account_id: &AccountId, id: u64) -> Result<bool, DbError> {
    let id = id.cast_signed();
    tx!(db, |t| {
        let deleted = sqlx::query(DELETE).bind(account_id).bind(id).execute(&mut *t).await?.rows_affected();
        if deleted == 0 {
            return Ok(false);
        }
        changes::record!(t, id);
    });
    db.notice().notify();
    Ok(true)
}

/// Origins as we keep them: trimmed, lower-cased, without a slash at the end, each once, empty lines left out.
fn normal_origins(origins: Vec<String>) -> Result<Vec<String>, UpdateAppError> {
    let mut kept: Vec<String> = Vec::new();
    for origin in origins {
        let origin = origin.trim();
        if origin.is_empty() {
            continue;
        }
        if origin.len() > ORIGIN_CHARS_MAX || !origin.bytes().all(|b| b.is_ascii_graphic()) {
            let shown = origin.chars().take(ORIGIN_CHARS_MAX).collect();
            return Err(UpdateAppError::OriginInvalid(shown));
        }
        let origin = origin.trim_end_matches('/').to_ascii_lowercase();
        if !kept.contains(&origin) {
            kept.push(origin);
        }
        if kept.len() > ORIGINS_MAX {
            return Err(UpdateAppError::TooManyOrigins);
        }
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(origins: &[&str]) -> Result<Vec<String>, UpdateAppError> {
        normal_origins(origins.iter().map(|&origin| origin.to_owned()).collect())
    }

    #[test]
    fn origins_are_trimmed_lower_cased_and_kept_once() {
        let kept = normal(&[" https://App.Example.com/ ", "", "https://app.example.com", "*.example.org"]);
        assert_eq!(kept.unwrap(), ["https://app.example.com", "*.example.org"]);
    }

    #[test]
    fn an_origin_with_a_space_is_named_and_too_many_are_refused() {
        assert!(matches!(normal(&["a b"]), Err(UpdateAppError::OriginInvalid(shown)) if shown == "a b"));
        assert!(matches!(normal(&[&"x".repeat(300)]), Err(UpdateAppError::OriginInvalid(_))));
        assert!(matches!(normal(&["bücher.example"]), Err(UpdateAppError::OriginInvalid(_))));
        let many: Vec<String> = (0..=ORIGINS_MAX).map(|n| format!("https://{n}.example.com")).collect();
        assert!(matches!(normal_origins(many), Err(UpdateAppError::TooManyOrigins)));
    }
}
