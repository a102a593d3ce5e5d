//! A person takes another address: asked for with their password, told to the old address, and done when a link that was mailed to the
//! new one is opened. Until then nothing changes. Whether somebody has the new address is said only to who gets its mail.

use crate::clock::{HOUR_MS, now_ms};
use crate::db::{Db, DbError, tx};
use crate::mail::{self, Letter, Mail, MailError};
use crate::mail_token::{self, Purpose};
use crate::password_change::{FORGET_LINKS, fitting_hash};
use crate::secret::{TOKEN_BYTES, is_token, random_hex};
use crate::statements;
use crate::user::{User, normal_email};

statements::sqls! {
    /// Nothing happens if somebody else has the address by now.
    CHANGE = "update users set email = $2, email_confirmed_ms = $3 where id = $1
        and not exists (select 1 from users other where other.email = $2 and other.id <> $1)";
}

const KIND: &str = "change-email";
/// Changes that one person asks for in an hour: each is a mail to somebody who may not have asked.
pub const PER_HOUR_MAX: i64 = 5;

/// Why no address was changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeEmailError {
    /// The password is wrong.
    #[error("the password is wrong")]
    Wrong,
    /// It cannot be an e-mail address, or is the present one.
    #[error("the e-mail address is not valid")]
    AddressInvalid,
    /// [`PER_HOUR_MAX`] in an hour, or too many mails in general.
    #[error("too many mails in an hour")]
    TooMany,
    /// The link is unknown, used, void or out of time.
    #[error("the link is not valid")]
    NotValid,
    /// Somebody else has the address.
    #[error("somebody has this address")]
    Taken,
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

impl From<MailError> for ChangeEmailError {
    fn from(error: MailError) -> Self {
        match error {
            MailError::AddressInvalid => ChangeEmailError::AddressInvalid,
            MailError::TooMany => ChangeEmailError::TooMany,
            MailError::Db(error) => ChangeEmailError::Db(error),
        }
    }
}

/// Mails the link to the new address and a notice to the present one. Gives the new address as it will be kept.
pub async fn ask(
    db: &Db,
    user: &User,
    password: &str,
    new: &str,
    to_new: Letter<'_>,
    to_old: Letter<'_>,
) -> Result<String, ChangeEmailError> {
    let now_ms = now_ms();
    if fitting_hash(db, user, password).await?.is_none() {
        return Err(ChangeEmailError::Wrong);
    }
    let new = normal_email(new).filter(|new| *new != user.email).ok_or(ChangeEmailError::AddressInvalid)?;
    let token = random_hex::<TOKEN_BYTES>();
    let path = mail_token::path(Purpose::Change, &token);
    let asking = Mail {
        to: &new,
        kind: KIND,
        subject: to_new.subject,
        text: to_new.text,
        link: Some(&path),
        lifetime_ms: Some(Purpose::Change.lifetime_ms()),
        ..Mail::default()
    };
    // Counted by this one: it goes to the person's own address.
    let notice = Mail {
        to: &user.email,
        kind: KIND,
        subject: to_old.subject,
        text: to_old.text,
        link: Some("/forgot"),
        ..Mail::default()
    };
    let bounds = [mail::Bound::new(db, &asking, now_ms)?, mail::Bound::new(db, &notice, now_ms)?];
    tx!(db, |t| {
        let before: i64 = sqlx::query_scalar(mail::MAILED_SINCE)
            .bind(&user.email)
            .bind(KIND)
            .bind(now_ms - HOUR_MS)
            .fetch_one(&mut *t)
            .await
            .map_err(DbError::from)?;
        if before >= PER_HOUR_MAX {
            return Err(ChangeEmailError::TooMany);
        }
        mail_token::put!(t, user, Purpose::Change, &new, &token, now_ms);
        for (mail, bound) in [&asking, &notice].into_iter().zip(&bounds) {
            if mail::put!(&mut *t, mail, bound, now_ms).map_err(DbError::from)? == 0 {
                return Err(ChangeEmailError::TooMany);
            }
        }
    });
    Ok(new)
}

/// Gives the person of a link the address that it was mailed to, which is confirmed by that. Their other mailed links and their
/// sign-in links end. Gives them as they were, and the new address.
pub async fn change(db: &Db, token: &str) -> Result<(User, String), ChangeEmailError> {
    change_at(db, token, now_ms()).await
}

/// [`change`] at a given time.
pub async fn change_at(db: &Db, token: &str, now_ms: i64) -> Result<(User, String), ChangeEmailError> {
    if !is_token(token) {
        return Err(ChangeEmailError::NotValid);
    }
    let found = mail_token::look(db, token, Purpose::Change, now_ms).await?;
    let Some((user, new)) = found else { return Err(ChangeEmailError::NotValid) };
    tx!(db, |t| {
        let Some((user_id, new)) = mail_token::take!(t, token, Purpose::Change, now_ms) else {
            return Err(ChangeEmailError::NotValid);
        };
        let changed = sqlx::query(CHANGE)
            .bind(&user_id)
            .bind(&new)
            .bind(now_ms)
            .execute(&mut *t)
            .await
            .map_err(DbError::from)?
            .rows_affected();
        if changed == 0 {
            return Err(ChangeEmailError::Taken);
        }
        for statement in [mail_token::VOID, FORGET_LINKS] {
            sqlx::query(statement).bind(&user_id).execute(&mut *t).await.map_err(DbError::from)?;
        }
    });
    Ok((user, new))
}
