//! What the sender does with the outbox: take mails that are due, and write down how each ended. Of several nodes one gets a mail,
//! by a lease; a node that dies with one leaves it to the others. Twice is possible then, never is not.

use super::KEPT_MS;
use crate::clock::{HOUR_MS, MINUTE_MS, SECOND_MS};
use crate::db::{Db, DbError, write};
use crate::secret::Secret;
use crate::statements;
use crate::vault::Purpose;

statements::sqls! {
    TOO_LATE = "update mail_outbox set state = 'failed', error = $2 where state = 'waiting' and expires_ms <= $1";
    /// The outer conditions count when another node took one between the two looks.
    CLAIM = "update mail_outbox set lease_until_ms = $2, attempts = attempts + 1
        where state = 'waiting' and lease_until_ms <= $1 and next_try_ms <= $1 and id in (
            select id from mail_outbox where state = 'waiting' and lease_until_ms <= $1 and next_try_ms <= $1
            order by next_try_ms, id limit $3)
        returning id, kind, recipient, subject, body, link, attempts";
    /// What was sent is in somebody's mailbox and need not be here.
    SENT = "update mail_outbox set state = 'sent', sent_ms = $2, error = '', body = '', link = '' where id = $1";
    SHOWN = "update mail_outbox set state = 'shown' where id = $1";
    AGAIN = "update mail_outbox set next_try_ms = $2, lease_until_ms = 0, error = $3 where id = $1";
    FAILED = "update mail_outbox set state = 'failed', error = $2 where id = $1";
    FORGET_TEXTS = "update mail_outbox set body = '', link = '' where expires_ms <= $1 and (body <> '' or link <> '')";
    FORGET = "delete from mail_outbox where created_ms <= $1";
}

/// How long to wait after each failed try; after the last there is none. About five hours in all.
pub const RETRY_AFTER_MS: &[i64] =
    &[10 * SECOND_MS, 30 * SECOND_MS, 2 * MINUTE_MS, 10 * MINUTE_MS, 30 * MINUTE_MS, HOUR_MS, 3 * HOUR_MS];
/// Whoever takes a mail and dies leaves it to others after this time; longer than any try lasts.
const LEASE_MS: i64 = 2 * MINUTE_MS;
/// Mails taken at once: they go out one after the other.
const AT_ONCE_MAX: i64 = 5;
/// Characters of a mail server's answer that are kept.
const ERROR_CHARS_MAX: usize = 300;

/// A mail that is to be sent now.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// Its id.
    pub id: String,
    /// What it is about in a word.
    pub kind: String,
    /// Whom to.
    pub to: String,
    /// One line.
    pub subject: String,
    /// Plain text, without the link.
    pub text: String,
    /// A path of this server, or a whole address.
    pub link: Option<Secret>,
    /// Which try this is, from 1.
    pub attempt: u32,
}

type Row = (String, String, String, String, String, String, i64);

/// Takes mails that are due, a few at once. One whose link can't be opened any more has failed.
pub async fn claim(db: &Db, now_ms: i64) -> Result<Vec<Claimed>, DbError> {
    write!(db, |p| sqlx::query(TOO_LATE)
        .bind(now_ms)
        .bind("its time was over before a mail server took it")
        .execute(p)
        .await
        .map(drop))?;
    let rows: Vec<Row> = write!(db, |p| sqlx::query_as(CLAIM)
        .bind(now_ms)
        .bind(now_ms + LEASE_MS)
        .bind(AT_ONCE_MAX)
        .fetch_all(p)
        .await)?;
    let mut claimed = Vec::with_capacity(rows.len());
    for (id, kind, to, subject, text, link, attempts) in rows {
        let link = match link.as_str() {
            "" => None,
            sealed => match db.vault().open(Purpose::MailLink, &id, sealed) {
                Ok(link) => Some(link),
                Err(error) => {
                    failed(db, &id, &error.to_string()).await?;
                    continue;
                }
            },
        };
        let attempt = u32::try_from(attempts).unwrap_or(u32::MAX);
        claimed.push(Claimed { id, kind, to, subject, text, link, attempt });
    }
    Ok(claimed)
}

/// A mail server took it.
pub async fn sent(db: &Db, id: &str, now_ms: i64) -> Result<(), DbError> {
    write!(db, |p| sqlx::query(SENT).bind(id).bind(now_ms).execute(p).await.map(drop))?;
    Ok(())
}

/// There is no mail server: it was written to the log, and the server's admin passes it on.
pub async fn shown(db: &Db, id: &str) -> Result<(), DbError> {
    write!(db, |p| sqlx::query(SHOWN).bind(id).execute(p).await.map(drop))?;
    Ok(())
}

/// It was not taken; tries again later unless that is in vain (`for_good`) or this was the last try. True: there will be another.
pub async fn try_again(
    db: &Db,
    mail: &Claimed,
    for_good: bool,
    error: &str,
    now_ms: i64,
) -> Result<bool, DbError> {
    let error: String = error.chars().filter(|c| !c.is_control()).take(ERROR_CHARS_MAX).collect();
    let wait_ms = RETRY_AFTER_MS.get(mail.attempt.saturating_sub(1) as usize).filter(|_| !for_good);
    match wait_ms {
        Some(wait_ms) => {
            write!(db, |p| sqlx::query(AGAIN)
                .bind(&mail.id)
                .bind(now_ms + wait_ms)
                .bind(&error)
                .execute(p)
                .await
                .map(drop))?;
        }
        None => failed(db, &mail.id, &error).await?,
    }
    Ok(wait_ms.is_some())
}

async fn failed(db: &Db, id: &str, error: &str) -> Result<(), DbError> {
    write!(db, |p| sqlx::query(FAILED).bind(id).bind(error).execute(p).await.map(drop))?;
    Ok(())
}

/// Forgets texts and links whose time is over, rows older than [`KEPT_MS`], and tokens that ran out.
pub async fn forget(db: &Db, now_ms: i64) -> Result<(), DbError> {
    for (statement, ms) in
        [(FORGET_TEXTS, now_ms), (FORGET, now_ms - KEPT_MS), (crate::mail_token::FORGET, now_ms)]
    {
        write!(db, |p| sqlx::query(statement).bind(ms).execute(p).await.map(drop))?;
    }
    Ok(())
}
