//! That an address belongs to its person: a mail with a link arrived there. Nothing waits for it; whoever has not confirmed yet is
//! reminded by the pages. What an address was changed to is confirmed by [`crate::email_change`].

use crate::clock::{HOUR_MS, now_ms};
use crate::db::{Db, DbError, tx};
use crate::mail::{self, Letter, Mail, MailError};
use crate::mail_token::{self, Purpose};
use crate::secret::{TOKEN_BYTES, is_token, random_hex};
use crate::statements;
use crate::user::User;

statements::sqls! {
    /// Only if it is still the address that the mail went to.
    CONFIRMED = "update users set email_confirmed_ms = $3 where id = $1 and email = $2";
}

/// What these mails are called in the list of the server's admin.
const KIND: &str = "confirm";
/// Such mails to one person in an hour: "send again" is a button.
pub const PER_HOUR_MAX: i64 = 5;

/// Mails a person the link that confirms their address. Errors: [`MailError::TooMany`] after [`PER_HOUR_MAX`]; the last link works on.
pub async fn ask(db: &Db, user: &User, letter: Letter<'_>) -> Result<(), MailError> {
    ask_at(db, user, letter, now_ms()).await
}

/// [`ask`] at a given time.
pub async fn ask_at(db: &Db, user: &User, letter: Letter<'_>, now_ms: i64) -> Result<(), MailError> {
    let token = random_hex::<TOKEN_BYTES>();
    let path = mail_token::path(Purpose::Confirm, &token);
    let mail = Mail {
        to: &user.email,
        kind: KIND,
        subject: letter.subject,
        text: letter.text,
        link: Some(&path),
        lifetime_ms: Some(Purpose::Confirm.lifetime_ms()),
        ..Mail::default()
    };
    let bound = mail::Bound::new(db, &mail, now_ms)?;
    tx!(db, |t| {
        let before: i64 = sqlx::query_scalar(mail::MAILED_SINCE)
            .bind(&user.email)
            .bind(KIND)
            .bind(now_ms - HOUR_MS)
            .fetch_one(&mut *t)
            .await
            .map_err(DbError::from)?;
        if before >= PER_HOUR_MAX {
            return Err(MailError::TooMany);
        }
        mail_token::put!(t, user, Purpose::Confirm, &user.email, &token, now_ms);
        if mail::put!(&mut *t, &mail, &bound, now_ms).map_err(DbError::from)? == 0 {
            return Err(MailError::TooMany);
        }
    });
    Ok(())
}

/// Confirms the address of whose token it is. `None` if it is not valid (any more), or they have another address by now.
pub async fn confirm(db: &Db, token: &str) -> Result<Option<User>, DbError> {
    confirm_at(db, token, now_ms()).await
}

/// [`confirm`] at a given time.
pub async fn confirm_at(db: &Db, token: &str, now_ms: i64) -> Result<Option<User>, DbError> {
    if !is_token(token) {
        return Ok(None);
    }
    let Some((user, _)) = mail_token::look(db, token, Purpose::Confirm, now_ms).await? else {
        return Ok(None);
    };
    let confirmed = tx!(db, |t| {
        match mail_token::take!(t, token, Purpose::Confirm, now_ms) {
            Some((user_id, email)) => sqlx::query(CONFIRMED)
                .bind(user_id)
                .bind(email)
                .bind(now_ms)
                .execute(&mut *t)
                .await?
                .rows_affected(),
            None => 0,
        }
    });
    Ok((confirmed > 0).then_some(user))
}
