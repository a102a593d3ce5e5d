//! The end of a person's account, asked for by themselves with their password. Organisations in which they are alone end with it,
//! others they leave. Nobody is left with an organisation that has no Owner, and no server without somebody who looks after it: then
//! nothing happens, and it is said what to do first.

use crate::account::AccountId;
use crate::audit::{self, Action, By, Entry};
use crate::db::{Db, DbError, read, tx};
use crate::member::{self, MemberError};
use crate::password_change::fitting_hash;
use crate::role::Role;
use crate::user::{User, UserId};
use crate::{organisation, server_admin, statements};
use serde_json::Value;

statements::sqls! {
    PLACES = "select a.id, a.name, m.role,
            (select count(*) from memberships o where o.account_id = a.id and o.user_id <> $1),
            (select count(*) from memberships o where o.account_id = a.id and o.user_id <> $1 and o.role = 'owner'),
            (select count(*) from apps where apps.account_id = a.id)
        from memberships m join accounts a on a.id = m.account_id where m.user_id = $1 order by m.created_ms, a.id";
    OTHERS = "select count(*) from (select 1 from users where id <> $1 limit 1) as another";
    IS_ADMIN = "select count(*) from users where id = $1 and server_admin = 1";
    /// Who joined something meanwhile stays.
    DELETE = "delete from users where id = $1 and not exists (select 1 from memberships where user_id = $1)";
    FORGET_MAILS = "delete from mail_outbox where recipient = $1";
}

/// An organisation of a person who goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its id.
    pub account_id: AccountId,
    /// Its name.
    pub name: String,
    /// Apps in it.
    pub apps: u64,
    role: Role,
}

/// What the end of a person comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outlook {
    /// Organisations that end with them: nobody else is in them.
    pub ends: Vec<Place>,
    /// Organisations that go on without them.
    pub left: Vec<Place>,
    /// Organisations with other people in which they are the only Owner: they can't go.
    pub stuck: Vec<Place>,
    /// Other people are on this server, and nobody else looks after it: they can't go.
    pub last_admin: bool,
}

impl Outlook {
    /// May they go?
    pub fn is_free(&self) -> bool {
        self.stuck.is_empty() && !self.last_admin
    }
}

/// Why nobody was deleted. Organisations that had ended by then stay so.
#[derive(Debug, thiserror::Error)]
pub enum EndError {
    /// The password is wrong. Nothing was changed.
    #[error("the password is wrong")]
    Wrong,
    /// They can't go now, see [`outlook`].
    #[error("they are needed here")]
    Needed,
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

type Row = (String, String, String, i64, i64, i64);

/// What the end of this person would come to now.
pub async fn outlook(db: &Db, user_id: &UserId) -> Result<Outlook, DbError> {
    let rows: Vec<Row> = read!(db, |p| sqlx::query_as(PLACES).bind(user_id).fetch_all(p).await)?;
    let mut outlook = Outlook::default();
    for (account_id, name, role, others, other_owners, apps) in rows {
        let role = Role::parse(&role).ok_or(DbError::row("role"))?;
        let place = Place { account_id, name, apps: apps.max(0).cast_unsigned(), role };
        match (others, role, other_owners) {
            (0, _, _) => outlook.ends.push(place),
            (_, Role::Owner, 0) => outlook.stuck.push(place),
            _ => outlook.left.push(place),
        }
    }
    let admin: i64 = read!(db, |p| sqlx::query_scalar(IS_ADMIN).bind(user_id).fetch_one(p).await)?;
    if admin > 0 && !server_admin::has_other(db, user_id).await? {
        let others: i64 = read!(db, |p| sqlx::query_scalar(OTHERS).bind(user_id).fetch_one(p).await)?;
        outlook.last_admin = others > 0;
    }
    Ok(outlook)
}

/// Deletes a person: ends the organisations of which they are the only member (sockets of their apps are closed, a subscription
/// is ended by billing's next look), leaves the others, and forgets sessions, links and mails. Each organisation is a step of its
/// own; who is stopped in between tries again.
pub async fn delete(db: &Db, by: &By, user: &User, password: &str) -> Result<(), EndError> {
    if fitting_hash(db, user, password).await?.is_none() {
        return Err(EndError::Wrong);
    }
    let outlook = outlook(db, &user.id).await?;
    if !outlook.is_free() {
        return Err(EndError::Needed);
    }
    for place in &outlook.left {
        let entry = Entry {
            account_id: &place.account_id,
            action: Action::PersonDelete,
            app_id: None,
            target: "",
            details: Value::Null,
        };
        audit::record(db, by, entry).await?;
        match member::remove(db, by, place.role, &place.account_id, &user.id).await {
            // Somebody was quicker.
            Ok(()) | Err(MemberError::NotFound) => {}
            Err(MemberError::LastOwner | MemberError::OwnersOnly) => return Err(EndError::Needed),
            Err(MemberError::Db(error)) => return Err(error.into()),
        }
    }
    for place in &outlook.ends {
        if !organisation::delete_of_one(db, by, &place.account_id, &user.id).await? {
            return Err(EndError::Needed);
        }
    }
    let deleted = tx!(db, |t| {
        let deleted =
            sqlx::query(DELETE).bind(&user.id).execute(&mut *t).await.map_err(DbError::from)?.rows_affected();
        if deleted > 0 {
            sqlx::query(FORGET_MAILS).bind(&user.email).execute(&mut *t).await.map_err(DbError::from)?;
        }
        deleted
    });
    if deleted > 0 { Ok(()) } else { Err(EndError::Needed) }
}
