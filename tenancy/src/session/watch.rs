//! In whose consoles a session was let: written down before it is let in, so that its end finds them. Whether it may see a
//! console is not asked here.

use crate::account::AccountId;
use crate::db::{Db, DbError, read, write};
use crate::statements;

statements::sqls! {
    CONSOLES = "select consoles from sessions where token_hash = $1";
    /// The row is locked by whoever comes first: who ends the session sees this, or this finds no session.
    WATCH = "update sessions set consoles = consoles || $2 || ' ' where token_hash = $1";
}

/// Writes down that a session watches an app of this organisation. False: the session has ended, let nobody in.
pub async fn watches(db: &Db, id_hash: &str, account_id: &AccountId) -> Result<bool, DbError> {
    let consoles: Option<String> =
        read!(db, |p| sqlx::query_scalar(CONSOLES).bind(id_hash).fetch_optional(p).await)?;
    let Some(consoles) = consoles else { return Ok(false) };
    if consoles.split(' ').any(|one| one == account_id) {
        return Ok(true);
    }
    // Two at once write it twice, which nobody minds: a page joins six channels at its start, and then never again.
    let written = write!(db, |p| sqlx::query(WATCH)
        .bind(id_hash)
        .bind(account_id)
        .execute(p)
        .await
        .map(|done| done.rows_affected()))?;
    Ok(written > 0)
}
