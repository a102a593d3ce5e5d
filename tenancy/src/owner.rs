//! The owner of a server. Scripts may make apps before any person has an account; a placeholder owns them until the first
//! owner is made, who then takes its account over with all its apps. Nobody can sign in as the placeholder with a password.

use crate::account::Account;
use crate::db::{Db, DbError, read, tx};
use crate::plan::Plan;
use crate::user::{self, SignUpError, User};
use crate::{server_admin, statements};

statements::sqls! {
    PLACEHOLDER = "select u.id, u.email, u.created_ms, a.id, a.name, a.plan, a.created_ms
        from users u join memberships m on m.user_id = u.id join accounts a on a.id = m.account_id
        where u.password_hash = '' order by u.created_ms, u.id limit 1";
    /// Nothing happens if somebody took the placeholder over meanwhile, or has the address.
    TAKE_OVER = "update users set email = $1, password_hash = $2 where id = $3 and password_hash = ''
        and not exists (select 1 from users taken where taken.email = $1 and taken.id <> $3)";
    RENAME = "update accounts set name = $1 where id = $2";
}

/// The e-mail of the placeholder: an address that no mail reaches.
pub(crate) const EMAIL: &str = "owner@localhost";
/// Whoever runs the server isn't limited by it.
pub const OWNER_PLAN: Plan = Plan::Unlimited;

async fn find_placeholder(db: &Db) -> Result<Option<(User, Account)>, DbError> {
    let row: Option<user::UserAccountRow> =
        read!(db, |p| sqlx::query_as(PLACEHOLDER).fetch_optional(p).await)?;
    row.map(user::from_row).transpose()
}

/// The first owner, or a placeholder for one who is still to come.
pub async fn first_or_placeholder(db: &Db) -> Result<(User, Account), DbError> {
    if let Some(owner) = user::first_owner(db).await? {
        return Ok(owner);
    }
    match user::insert(db, EMAIL.to_owned(), "", OWNER_PLAN).await {
        Ok(owner) => {
            server_admin::owner_made(db, &owner.0.id).await?;
            Ok(owner)
        }
        // Another process was quicker.
        Err(SignUpError::EmailTaken) => {
            user::first_owner(db).await?.ok_or_else(|| DbError::row("the first owner"))
        }
        Err(SignUpError::Db(error)) => Err(error),
        Err(_) => Err(DbError::row("the placeholder's address")),
    }
}

/// Makes an owner on the plan without limits. The first one takes over what the placeholder holds.
pub async fn make(db: &Db, email: &str, password: &str) -> Result<(User, Account), SignUpError> {
    let Some((holder, account)) = find_placeholder(db).await? else {
        let owner = user::sign_up(db, email, password, OWNER_PLAN).await?;
        server_admin::owner_made(db, &owner.0.id).await?;
        return Ok(owner);
    };
    let (email, hash) = user::judge_and_hash(email, password).await?;
    let name = user::workspace_name(&email);
    tx!(db, |t| {
        let taken_over = sqlx::query(TAKE_OVER)
            .bind(&email)
            .bind(&hash)
            .bind(&holder.id)
            .execute(&mut *t)
            .await
            .map_err(DbError::from)?
            .rows_affected();
        if taken_over == 0 {
            return Err(SignUpError::EmailTaken);
        }
        sqlx::query(RENAME).bind(&name).bind(&account.id).execute(&mut *t).await.map_err(DbError::from)?;
    });
    server_admin::owner_made(db, &holder.id).await?;
    let user = User { id: holder.id, email, created_ms: holder.created_ms };
    Ok((user, Account { name, ..account }))
}
