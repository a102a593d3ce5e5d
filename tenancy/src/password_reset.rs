//! A new password for who forgot theirs: a link that works once and for an hour, mailed to their address or made by who runs the
//! server. An address that nobody has costs the same statements as one that somebody has, and is not told apart by anything that is
//! given back. Slowing strangers down is the caller's work.

use crate::clock::{HOUR_MS, now_ms};
use crate::db::{Db, DbError, read, tx};
use crate::mail::{self, Letter, Mail, MailError, WAITING_MAX};
use crate::mail_token::{self, Purpose};
use crate::password::{self, Refused};
use crate::secret::{TOKEN_BYTES, is_token, random_hex, token_hash};
use crate::user::{User, UserId, normal_email};
use crate::{owner, password_change, session, statements};

statements::sqls! {
    /// No row for an address that nobody has, for the placeholder of `owner`, and after too many in an hour.
    PUT = "insert into mail_tokens (token_hash, user_id, purpose, email, created_ms, expires_ms)
        select $1, u.id, 'reset', u.email, $2, $3 from users u where u.email = $4 and u.email <> $5
            and (select count(*) from mail_outbox m where m.recipient = $4 and m.kind = 'reset' and m.created_ms > $6) < $7
        on conflict (user_id, purpose) do update set token_hash = excluded.token_hash, email = excluded.email,
            created_ms = excluded.created_ms, expires_ms = excluded.expires_ms";
    /// A mail only where there is a token.
    MAIL = "insert into mail_outbox (id, kind, account_id, recipient, subject, body, link, state, attempts,
            created_ms, next_try_ms, lease_until_ms, expires_ms, error)
        select $1, 'reset', '', $2, $3, $4, $5, 'waiting', 0, $6, $6, 0, $7, '' where
            exists (select 1 from mail_tokens where token_hash = $8)
            and (select count(*) from mail_outbox where state = 'waiting') < $9";
    BY_EMAIL = "select id, email, created_ms from users where email = $1";
    NEW_HASH = "update users set password_hash = $2 where id = $1";
    /// A link that came by mail proves the address too.
    PROVED = "update users set email_confirmed_ms = $3 where id = $1 and email = $2 and email_confirmed_ms is null";
}

/// Links that are mailed to one address in an hour. What is asked beyond it is answered as ever, and the last link works on.
pub const PER_HOUR_MAX: i64 = 5;

/// Why a password was not reset.
#[derive(Debug, thiserror::Error)]
pub enum ResetError {
    /// The link is unknown, used, void or out of time.
    #[error("the link is not valid")]
    NotValid,
    /// The new password is too short. The link is still good.
    #[error("the new password is too short")]
    TooShort,
    /// Too long.
    #[error("the new password is too long")]
    TooLong,
    /// Among those that attackers try first.
    #[error("the new password is too common")]
    TooCommon,
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

impl From<Refused> for ResetError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Short => ResetError::TooShort,
            Refused::Long => ResetError::TooLong,
            Refused::Common => ResetError::TooCommon,
        }
    }
}

/// Mails the link to who has this address. `Ok` says nothing about whether that is anybody.
pub async fn ask(db: &Db, email: &str, letter: Letter<'_>) -> Result<(), DbError> {
    ask_at(db, email, letter, now_ms()).await
}

/// [`ask`] at a given time.
pub async fn ask_at(db: &Db, email: &str, letter: Letter<'_>, now_ms: i64) -> Result<(), DbError> {
    let token = random_hex::<TOKEN_BYTES>();
    let path = mail_token::path(Purpose::Reset, &token);
    let lifetime_ms = Purpose::Reset.lifetime_ms();
    let mail = Mail {
        to: email,
        kind: "reset",
        subject: letter.subject,
        text: letter.text,
        link: Some(&path),
        lifetime_ms: Some(lifetime_ms),
        ..Mail::default()
    };
    let bound = match mail::Bound::new(db, &mail, now_ms) {
        Ok(bound) => bound,
        // Nobody has what can't be an address.
        Err(MailError::AddressInvalid | MailError::TooMany) => return Ok(()),
        Err(MailError::Db(error)) => return Err(error),
    };
    tx!(db, |t| {
        sqlx::query(PUT)
            .bind(token_hash(&token))
            .bind(now_ms)
            .bind(now_ms + lifetime_ms)
            .bind(&bound.to)
            .bind(owner::EMAIL)
            .bind(now_ms - HOUR_MS)
            .bind(PER_HOUR_MAX)
            .execute(&mut *t)
            .await?;
        sqlx::query(MAIL)
            .bind(&bound.id)
            .bind(&bound.to)
            .bind(&bound.subject)
            .bind(&bound.text)
            .bind(&bound.link)
            .bind(now_ms)
            .bind(bound.expires_ms)
            .bind(token_hash(&token))
            .bind(WAITING_MAX)
            .execute(&mut *t)
            .await?;
    });
    Ok(())
}

/// Makes the link for a person, to be handed over by who runs the server: gives the person and the path. It proves no address.
/// `None` if nobody has the address.
pub async fn link(db: &Db, email: &str) -> Result<Option<(User, String)>, DbError> {
    let now_ms = now_ms();
    let Some(email) = normal_email(email) else { return Ok(None) };
    let row: Option<(UserId, String, i64)> =
        read!(db, |p| sqlx::query_as(BY_EMAIL).bind(email).fetch_optional(p).await)?;
    let Some((id, email, created_ms)) = row else { return Ok(None) };
    let user = User { id, email, created_ms };
    let token = random_hex::<TOKEN_BYTES>();
    tx!(db, |t| {
        mail_token::put!(t, user, Purpose::Reset, "", &token, now_ms);
    });
    Ok(Some((user, mail_token::path(Purpose::Reset, &token))))
}

/// Gives the person of a link a new password. In the same transaction all their sessions, sign-in links and mailed links end.
/// Whoever is refused for the password keeps the link. Gives the person and how many sessions ended.
pub async fn reset(db: &Db, token: &str, new: &str) -> Result<(User, u64), ResetError> {
    reset_at(db, token, new, now_ms()).await
}

/// [`reset`] at a given time.
pub async fn reset_at(db: &Db, token: &str, new: &str, now_ms: i64) -> Result<(User, u64), ResetError> {
    if !is_token(token) {
        return Err(ResetError::NotValid);
    }
    let found = mail_token::look(db, token, Purpose::Reset, now_ms).await?;
    let Some((user, _)) = found else { return Err(ResetError::NotValid) };
    password::judge(new, &user.email)?;
    let hash = password::hash(new).await?;
    let (ended, watched) = tx!(db, |t| {
        let Some((user_id, proves)) = mail_token::take!(t, token, Purpose::Reset, now_ms) else {
            return Err(ResetError::NotValid);
        };
        sqlx::query(NEW_HASH).bind(&user_id).bind(&hash).execute(&mut *t).await.map_err(DbError::from)?;
        sqlx::query(PROVED)
            .bind(&user_id)
            .bind(&proves)
            .bind(now_ms)
            .execute(&mut *t)
            .await
            .map_err(DbError::from)?;
        for statement in [mail_token::VOID, password_change::FORGET_LINKS] {
            sqlx::query(statement).bind(&user_id).execute(&mut *t).await.map_err(DbError::from)?;
        }
        session::end::all_but!(t, &user_id, "")
    });
    session::end::tell(db, watched);
    Ok((user, ended))
}
