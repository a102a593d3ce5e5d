//! What the log has of a person, in whichever organisation: for them alone, to take along.

use crate::account::AccountId;
use crate::audit::{KEPT_MS, PAGE_MAX, Row, first_id_at, from_row};
use crate::clock::now_ms;
use crate::db::{Db, DbError, read};
use crate::statements;
use crate::user::UserId;

statements::sqls! {
    OF_PERSON = "select account_id, id, at_ms, actor_id, actor, action, app_id, target, details, network, user_agent, via
        from audit_log where actor_id = $1 and id >= $2 and ($3 = '' or id < $3) order by id desc limit $4";
}

type PersonRow =
    (String, String, i64, String, String, String, Option<i64>, String, String, String, String, String);

/// What a person did, latest first, at most `max` rows, each with its organisation; also in those that they left.
pub async fn of_person(db: &Db, user_id: &UserId, max: usize) -> Result<Vec<(AccountId, Row)>, DbError> {
    let since = first_id_at(now_ms() - KEPT_MS);
    let (mut found, mut before) = (Vec::new(), String::new());
    // Rows of commands and of the server itself have an empty id.
    while !user_id.is_empty() && found.len() < max {
        let limit = i64::from(PAGE_MAX).min(i64::try_from(max - found.len()).unwrap_or(i64::MAX));
        let rows: Vec<PersonRow> = read!(db, |p| sqlx::query_as(OF_PERSON)
            .bind(user_id)
            .bind(&since)
            .bind(&before)
            .bind(limit)
            .fetch_all(p)
            .await)?;
        let Some(last) = rows.last() else { break };
        before.clone_from(&last.1);
        found.extend(rows.into_iter().map(|(account_id, a, b, c, d, e, f, g, h, i, j, k)| {
            (account_id, from_row((a, b, c, d, e, f, g, h, i, j, k)))
        }));
    }
    Ok(found)
}
