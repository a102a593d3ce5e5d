//! The people of an organisation: who they are, changing what they may do, and their leaving. The last Owner stays one. Each
//! change is written to the audit log in its own transaction.
//!
//! How somebody becomes a member is in [`crate::invitation`].

use crate::account::{self, AccountId};
use crate::audit::{self, Action, By, Entry};
use crate::db::{Db, DbError, read, tx};
use crate::role::Role;
use crate::user::UserId;
use crate::{access, statements};
use serde_json::{Value, json};

statements::sqls! {
    OF_ACCOUNT = "select u.id, u.email, m.role, m.all_apps, m.created_ms
        from memberships m join users u on u.id = m.user_id
        where m.account_id = $1 order by m.created_ms, u.id";
    GRANTS_OF_ACCOUNT = "select user_id, app_id from app_grants where account_id = $1 order by app_id";
    ONE = "select u.email, m.role, m.all_apps from memberships m join users u on u.id = m.user_id
        where m.account_id = $1 and m.user_id = $2";
    OWNERS = "select count(*) from memberships where account_id = $1 and role = 'owner'";
    CHANGE = "update memberships set role = $3, all_apps = $4 where account_id = $1 and user_id = $2";
    REMOVE = "delete from memberships where account_id = $1 and user_id = $2";
    FORGET_GRANTS = "delete from app_grants where account_id = $1 and user_id = $2";
    /// Only an app of the same organisation.
    GRANT = "insert into app_grants (user_id, account_id, app_id)
        select $1, $2, id from apps where account_id = $2 and id = $3";
}

/// People of one organisation. All are listed on one page.
pub const MEMBERS_MAX: i64 = 200;

/// Somebody who belongs to an organisation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub user_id: UserId,
    /// Their address.
    pub email: String,
    /// What they may do.
    pub role: Role,
    /// Sees all apps; otherwise [`Member::granted`]. Without effect on a role that can't be narrowed.
    pub all_apps: bool,
    /// The apps they were granted.
    pub granted: Vec<u64>,
    /// When they joined.
    pub since_ms: i64,
}

/// What somebody shall be from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// What they may do.
    pub role: Role,
    /// `None`: all apps. Otherwise these; ids of other organisations count for nothing.
    pub apps: Option<Vec<u64>>,
}

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum MemberError {
    /// Not a member, or of another organisation.
    #[error("there is no such member")]
    NotFound,
    /// An organisation keeps one Owner.
    #[error("the last owner stays")]
    LastOwner,
    /// Only an Owner makes or unmakes Owners.
    #[error("only an owner may do that")]
    OwnersOnly,
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// The people of an organisation, oldest member first.
pub async fn list(db: &Db, account_id: &AccountId) -> Result<Vec<Member>, DbError> {
    let rows: Vec<(String, String, String, i64, i64)> =
        read!(db, |p| sqlx::query_as(OF_ACCOUNT).bind(account_id).fetch_all(p).await)?;
    let grants: Vec<(String, i64)> =
        read!(db, |p| sqlx::query_as(GRANTS_OF_ACCOUNT).bind(account_id).fetch_all(p).await)?;
    let member = |(user_id, email, role, all_apps, since_ms): (String, String, String, i64, i64)| {
        let granted = grants.iter().filter(|(whose, _)| *whose == user_id);
        Ok(Member {
            granted: granted.map(|(_, id)| id.cast_unsigned()).collect(),
            role: Role::parse(&role).ok_or(DbError::row("role"))?,
            all_apps: all_apps != 0,
            user_id,
            email,
            since_ms,
        })
    };
    rows.into_iter().map(member).collect()
}

/// A place as the audit log tells it.
pub(crate) fn told(place: &Place) -> Value {
    match &place.apps {
        Some(apps) if place.role.can_be_narrowed() => json!({ "role": place.role.name(), "apps": apps }),
        _ => json!({ "role": place.role.name() }),
    }
}

/// Reads a membership in a transaction: address and role, or an error out of the caller.
macro_rules! one {
    ($t:ident, $account_id:expr, $user_id:expr) => {{
        let row: Option<(String, String, i64)> = sqlx::query_as(ONE)
            .bind($account_id)
            .bind($user_id)
            .fetch_optional(&mut *$t)
            .await
            .map_err(DbError::from)?;
        let Some((email, role, _)) = row else { return Err(MemberError::NotFound) };
        (email, Role::parse(&role).ok_or(DbError::row("role"))?)
    }};
}

/// Writes which apps somebody was granted.
macro_rules! grant {
    ($t:ident, $account_id:expr, $user_id:expr, $apps:expr) => {
        for app_id in $apps {
            sqlx::query($crate::member::GRANT)
                .bind($user_id)
                .bind($account_id)
                .bind(app_id.cast_signed())
                .execute(&mut *$t)
                .await
                .map_err($crate::db::DbError::from)?;
        }
    };
}

macro_rules! refuse_without_owner {
    ($t:ident, $account_id:expr) => {
        let owners: i64 =
            sqlx::query_scalar(OWNERS).bind($account_id).fetch_one(&mut *$t).await.map_err(DbError::from)?;
        if owners == 0 {
            return Err(MemberError::LastOwner);
        }
    };
}

/// Gives a member another place. `giver` is the role of who does it.
pub async fn change(
    db: &Db,
    by: &By,
    giver: Role,
    account_id: &AccountId,
    user_id: &UserId,
    place: &Place,
) -> Result<(), MemberError> {
    let mut apps = place.apps.clone().unwrap_or_default();
    apps.sort_unstable();
    apps.dedup();
    tx!(db, |t| {
        // One change of an organisation's people at a time, or two Owners could unmake each other.
        sqlx::query(account::LOCK).bind(account_id).execute(&mut *t).await.map_err(DbError::from)?;
        let (email, before) = one!(t, account_id, user_id);
        if !giver.may_give(before) || !giver.may_give(place.role) {
            return Err(MemberError::OwnersOnly);
        }
        let all_apps = i64::from(place.apps.is_none());
        sqlx::query(CHANGE)
            .bind(account_id)
            .bind(user_id)
            .bind(place.role.name())
            .bind(all_apps)
            .execute(&mut *t)
            .await
            .map_err(DbError::from)?;
        sqlx::query(FORGET_GRANTS)
            .bind(account_id)
            .bind(user_id)
            .execute(&mut *t)
            .await
            .map_err(DbError::from)?;
        grant!(t, account_id, user_id, &apps);
        refuse_without_owner!(t, account_id);
        let details = json!({ "from": before.name(), "to": told(place) });
        let entry = Entry { account_id, action: Action::MemberChange, app_id: None, target: &email, details };
        audit::insert!(&mut *t, by, &entry, None).map_err(DbError::from)?;
        access::changed!(t, account_id);
    });
    db.notice().notify();
    Ok(())
}

/// Ends a membership: of somebody else, or one's own. What they made stays; their invitations stay open.
pub async fn remove(
    db: &Db,
    by: &By,
    remover: Role,
    account_id: &AccountId,
    user_id: &UserId,
) -> Result<(), MemberError> {
    let own = by.user_id.as_ref() == Some(user_id);
    tx!(db, |t| {
        sqlx::query(account::LOCK).bind(account_id).execute(&mut *t).await.map_err(DbError::from)?;
        let (email, role) = one!(t, account_id, user_id);
        if !own && !remover.may_give(role) {
            return Err(MemberError::OwnersOnly);
        }
        sqlx::query(REMOVE).bind(account_id).bind(user_id).execute(&mut *t).await.map_err(DbError::from)?;
        refuse_without_owner!(t, account_id);
        let action = if own { Action::MemberLeave } else { Action::MemberRemove };
        let details = json!({ "role": role.name() });
        let entry = Entry { account_id, action, app_id: None, target: &email, details };
        audit::insert!(&mut *t, by, &entry, None).map_err(DbError::from)?;
        access::changed!(t, account_id);
    });
    db.notice().notify();
    Ok(())
}
