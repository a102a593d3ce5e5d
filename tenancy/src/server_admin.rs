//! Who looks after this server itself: its mail, its nodes, everybody's organisations. It is a mark on a person and no role in an
//! organisation. The first owner has it (see [`crate::owner`]), in whatever way they were made; whoever merely signs up has not.

use crate::clock::now_ms;
use crate::db::{Db, DbError, read, write};
use crate::statements;
use crate::user::{UserId, normal_email};

statements::sqls! {
    /// Who comes through an operator's door needs no mail to prove an address.
    OWNER_CONFIRMED = "update users set email_confirmed_ms = $2 where id = $1 and email_confirmed_ms is null";
    FIRST = "update users set server_admin = 1 where id = $1
        and not exists (select 1 from users other where other.server_admin = 1)";
    GRANT = "update users set server_admin = 1 where email = $1";
    OTHERS = "select count(*) from users where server_admin = 1 and id <> $1";
}

/// Whoever was made owner is the server's admin if there is none yet, and their address counts as confirmed.
pub(crate) async fn owner_made(db: &Db, user_id: &UserId) -> Result<(), DbError> {
    write!(db, |p| sqlx::query(OWNER_CONFIRMED).bind(user_id).bind(now_ms()).execute(p).await.map(drop))?;
    write!(db, |p| sqlx::query(FIRST).bind(user_id).execute(p).await.map(drop))?;
    Ok(())
}

/// Makes the person of an address an admin of the server. False if there is no such person.
pub async fn grant(db: &Db, email: &str) -> Result<bool, DbError> {
    let Some(email) = normal_email(email) else { return Ok(false) };
    let made =
        write!(db, |p| sqlx::query(GRANT).bind(email).execute(p).await.map(|done| done.rows_affected()))?;
    Ok(made > 0)
}

/// Is there another admin than this person?
pub async fn has_other(db: &Db, user_id: &UserId) -> Result<bool, DbError> {
    let others: i64 = read!(db, |p| sqlx::query_scalar(OTHERS).bind(user_id).fetch_one(p).await)?;
    Ok(others > 0)
}
