//! The headers of an endpoint as the database keeps them: sealed, for a value may be a token of the customer's. None at all is
//! `[]`; JSON in clear is what was written before they were sealed, and is sealed at the next start.

use crate::db::{Db, DbError, read, write};
use crate::secret::Secret;
use crate::statements;
use crate::vault::{Purpose, Vault, VaultError, sealed_with};

statements::sqls! {
    ALL_STORED = "select id, headers from webhook_endpoints where headers <> '[]' and id > $1 order by id limit $2";
    /// Only if nobody was quicker.
    RESEAL = "update webhook_endpoints set headers = $1 where id = $2 and headers = $3";
}

/// Endpoints that are looked at in one go.
const BATCH: i64 = 200;
/// No headers.
const NOTHING: &str = "[]";

/// As the column has them.
pub(super) fn stored(vault: &Vault, id: &str, headers: &[(String, String)]) -> Result<String, VaultError> {
    if headers.is_empty() {
        return Ok(NOTHING.to_owned());
    }
    vault.seal(Purpose::WebhookHeaders, id, &Secret::new(super::column(&headers)))
}

/// Out of the column.
pub(super) fn opened(vault: &Vault, id: &str, stored: &str) -> Result<Vec<(String, String)>, DbError> {
    let clear = clear(vault, id, stored)?;
    serde_json::from_str(clear.expose()).map_err(|_| DbError::row("webhook headers"))
}

fn clear(vault: &Vault, id: &str, stored: &str) -> Result<Secret, VaultError> {
    match sealed_with(stored) {
        Some(_) => vault.open(Purpose::WebhookHeaders, id, stored),
        None => Ok(Secret::new(stored)),
    }
}

async fn after(db: &Db, last: &str) -> Result<Vec<(String, String)>, DbError> {
    Ok(read!(db, |p| sqlx::query_as(ALL_STORED).bind(last).bind(BATCH).fetch_all(p).await)?)
}

/// For each endpoint with headers the master key that sealed them; empty: none.
pub(crate) async fn sealed_by(db: &Db) -> Result<Vec<String>, DbError> {
    let (mut all, mut last) = (Vec::new(), String::new());
    loop {
        let rows = after(db, &last).await?;
        let Some((id, _)) = rows.last() else { return Ok(all) };
        last.clone_from(id);
        all.extend(rows.iter().map(|(_, stored)| sealed_with(stored).unwrap_or_default().to_owned()));
    }
}

/// What sealing anew came to.
#[derive(Debug, Default)]
pub(crate) struct Resealed {
    pub(crate) count: u64,
    pub(crate) were_clear: bool,
    /// The last that could not be opened; it stays as it is.
    pub(crate) failed: Option<VaultError>,
}

/// Seals with the master key of this name all that isn't.
pub(crate) async fn seal_all(db: &Db, with: &str) -> Result<Resealed, DbError> {
    let (mut done, mut last) = (Resealed::default(), String::new());
    loop {
        let rows = after(db, &last).await?;
        let Some((id, _)) = rows.last() else { return Ok(done) };
        last.clone_from(id);
        for (id, stored) in rows {
            if sealed_with(&stored) == Some(with) {
                continue;
            }
            let fresh = clear(db.vault(), &id, &stored)
                .and_then(|clear| db.vault().seal(Purpose::WebhookHeaders, &id, &clear));
            match fresh {
                Ok(fresh) => {
                    done.were_clear |= sealed_with(&stored).is_none();
                    done.count += write!(db, |p| sqlx::query(RESEAL)
                        .bind(&fresh)
                        .bind(&id)
                        .bind(&stored)
                        .execute(p)
                        .await
                        .map(|done| done.rows_affected()))?;
                }
                Err(error) => done.failed = Some(error),
            }
        }
    }
}
