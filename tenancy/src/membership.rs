//! What a person belongs to, and which apps that lets them see. The one way from a person to an app: whoever asks for an app
//! without a membership asks as the operator.
//!
//! Changing memberships is in [`crate::member`].

use crate::account::{Account, AccountRow};
use crate::app::{self, App};
use crate::db::{Db, DbError, read};
use crate::role::Role;
use crate::statements;
use crate::user::UserId;

statements::sqls! {
    OF_USER = "select a.id, a.name, a.plan, a.created_ms, m.role, m.all_apps, a.second_factor_required,
            (select count(*) from second_factors f where f.user_id = m.user_id and f.confirmed_ms is not null)
        from memberships m join accounts a on a.id = m.account_id
        where m.user_id = $1 order by m.created_ms, a.id limit $2";
    ACCOUNT_OF_APP = "select account_id from apps where id = $1";
    GRANTED = "select app_id from app_grants where user_id = $1 and account_id = $2 order by app_id";
}

/// Organisations that one person can belong to.
pub const PER_PERSON_MAX: i64 = 50;

/// A person's place in an organisation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// Whose place it is.
    pub user_id: UserId,
    /// The organisation.
    pub account: Account,
    /// What they may do there.
    pub role: Role,
    /// They see all apps; otherwise those that they were granted. Narrows only a role that [`Role::can_be_narrowed`].
    pub all_apps: bool,
    /// The organisation asks all its people for a second factor.
    pub second_factor_required: bool,
    /// It does, and they have none: they see nothing of it until they do.
    pub is_locked: bool,
}

impl Membership {
    /// Do they see only the apps that they were granted?
    pub fn is_narrowed(&self) -> bool {
        !self.all_apps && self.role.can_be_narrowed()
    }
}

type Row = (String, String, String, i64, String, i64, i64, i64);

/// Everything a person belongs to, oldest first.
pub async fn of_user(db: &Db, user_id: &UserId) -> Result<Vec<Membership>, DbError> {
    let rows: Vec<Row> =
        read!(db, |p| sqlx::query_as(OF_USER).bind(user_id).bind(PER_PERSON_MAX).fetch_all(p).await)?;
    let membership = |(id, name, plan, created_ms, role, all_apps, required, factors): Row| {
        let account: AccountRow = (id, name, plan, created_ms);
        Ok(Membership {
            user_id: user_id.clone(),
            account: Account::from_row(account)?,
            role: Role::parse(&role).ok_or(DbError::row("role"))?,
            all_apps: all_apps != 0,
            second_factor_required: required != 0,
            is_locked: required != 0 && factors == 0,
        })
    };
    rows.into_iter().map(membership).collect()
}

/// The id of the organisation that has an app, whoever asks: to choose among memberships, never to find the app.
pub async fn account_of_app(db: &Db, app_id: u64) -> Result<Option<String>, DbError> {
    let id = app_id.cast_signed();
    Ok(read!(db, |p| sqlx::query_scalar(ACCOUNT_OF_APP).bind(id).fetch_optional(p).await)?)
}

/// The apps that a member sees, oldest id first.
pub async fn apps(db: &Db, of: &Membership) -> Result<Vec<App>, DbError> {
    if of.is_locked {
        return Ok(Vec::new());
    }
    let mut apps = app::list(db, &of.account.id).await?;
    if of.is_narrowed() {
        let granted = granted(db, of).await?;
        apps.retain(|app| granted.contains(&app.id));
    }
    Ok(apps)
}

/// An app that a member sees. `None` for an unknown one, another organisation's, and one that they were not granted alike; and
/// for all while they are locked out.
pub async fn app(db: &Db, of: &Membership, id: u64) -> Result<Option<App>, DbError> {
    if of.is_locked || (of.is_narrowed() && !granted(db, of).await?.contains(&id)) {
        return Ok(None);
    }
    app::find(db, &of.account.id, id).await
}

/// An app in any organisation of a person, with their place there.
pub async fn for_app(db: &Db, user_id: &UserId, id: u64) -> Result<Option<(Membership, App)>, DbError> {
    let Some(account_id) = account_of_app(db, id).await? else { return Ok(None) };
    let all = of_user(db, user_id).await?;
    let Some(membership) = all.into_iter().find(|one| one.account.id == account_id) else { return Ok(None) };
    Ok(app(db, &membership, id).await?.map(|app| (membership, app)))
}

async fn granted(db: &Db, of: &Membership) -> Result<Vec<u64>, DbError> {
    let rows: Vec<i64> =
        read!(db, |p| sqlx::query_scalar(GRANTED).bind(&of.user_id).bind(&of.account.id).fetch_all(p).await)?;
    Ok(rows.into_iter().map(i64::cast_unsigned).collect())
}
