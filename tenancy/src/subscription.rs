//! What an account pays for, as Stripe last said when it was asked: customer, subscription, payment. Asking is the work of
//! `billing`; here it is kept. Writing what was fetched is in `subscription/apply.rs`, whom to ask about again in
//! `subscription/due.rs`.
//!
//! An account without a row here never paid, and nothing here touches its plan.

pub(crate) mod apply;
pub(crate) mod due;
mod standing;

pub use apply::{Applied, Fetched, Turn, apply, begin_fetch, end_grace};
pub use due::{CHECKS_AT_ONCE_MAX, EVENTS_KEPT_MS, claim_due, event_seen, forget_old_events};
pub use standing::{GRACE_MS, SHOWN_ENDED_MS, Standing, Status};

use crate::account::AccountId;
use crate::db::{Db, DbError, read, write};
use crate::plan::Plan;
use crate::statements;

/// The columns of [`Row`].
macro_rules! columns {
    () => {
        "account_id, customer_id, subscription_id, plan, status, period_end_ms, cancel_at_period_end, unpaid_since_ms, granted, \
         ended_ms, ended_unpaid, card, checkout_session, checkout_tries, fetched"
    };
}
pub(crate) use columns;

statements::sqls! {
    OF_ACCOUNT = concat!("select ", columns!(), " from billing_accounts where account_id = $1");
    OF_CUSTOMER = concat!("select ", columns!(), " from billing_accounts where customer_id = $1");
    PUT_CUSTOMER = "insert into billing_accounts (account_id, customer_id, created_ms) values ($1, $2, $3)
        on conflict do nothing";
    /// Only if no other press of the button was quicker.
    PUT_CHECKOUT = "update billing_accounts
        set checkout_session = $3, checkout_tries = checkout_tries + 1, next_check_ms = $4
        where account_id = $1 and checkout_tries = $2";
    /// Due at once.
    LOOK_NOW = "update billing_accounts set next_check_ms = $2 where account_id = $1";
    END_CHECKOUT = "update billing_accounts set checkout_session = '' where account_id = $1 and checkout_session = $2";
}

/// An account's side of the billing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Whose.
    pub account_id: AccountId,
    /// Stripe's id of the customer.
    pub customer_id: String,
    /// Stripe's id of the subscription, the present one or the last.
    pub subscription_id: Option<String>,
    /// What the subscription is for.
    pub plan: Option<Plan>,
    /// How it stands.
    pub status: Status,
    /// Until when it is paid.
    pub period_end_ms: Option<i64>,
    /// It ends then and is not renewed.
    pub cancel_at_period_end: bool,
    /// Since when a payment is missing.
    pub unpaid_since_ms: Option<i64>,
    /// The plan that the account has because it pays.
    pub granted: Option<Plan>,
    /// When the last granted plan was taken back.
    pub ended_ms: Option<i64>,
    /// It was taken back for a missing payment.
    pub ended_unpaid: bool,
    /// The card that is charged, such as `visa •••• 4242`; empty: not known.
    pub card: String,
    /// Stripe's id of the checkout that was opened last and is not known to have ended.
    pub checkout: Option<String>,
    /// Checkouts opened so far.
    pub checkout_tries: i64,
    pub(crate) fetched: i64,
}

pub(crate) type Row = (
    String,
    String,
    String,
    String,
    String,
    Option<i64>,
    i64,
    Option<i64>,
    String,
    Option<i64>,
    i64,
    String,
    String,
    i64,
    i64,
);

fn plan_or_none(name: &str) -> Result<Option<Plan>, DbError> {
    (!name.is_empty()).then(|| crate::account::parse_plan(name)).transpose()
}

impl Subscription {
    pub(crate) fn from_row(row: Row) -> Result<Subscription, DbError> {
        let (
            account_id,
            customer_id,
            subscription_id,
            plan,
            status,
            period_end_ms,
            cancel,
            unpaid_since_ms,
            granted,
            ended_ms,
            ended_unpaid,
            card,
            checkout,
            checkout_tries,
            fetched,
        ) = row;
        Ok(Subscription {
            account_id,
            customer_id,
            subscription_id: Some(subscription_id).filter(|id| !id.is_empty()),
            plan: plan_or_none(&plan)?,
            status: Status::parse(&status),
            period_end_ms,
            cancel_at_period_end: cancel != 0,
            unpaid_since_ms,
            granted: plan_or_none(&granted)?,
            ended_ms,
            ended_unpaid: ended_unpaid != 0,
            card,
            checkout: Some(checkout).filter(|id| !id.is_empty()),
            checkout_tries,
            fetched,
        })
    }

    /// Is there a subscription that Stripe goes on charging for?
    pub fn is_live(&self) -> bool {
        self.subscription_id.is_some() && self.status.is_live()
    }
}

/// The billing of an account; `None`: it never came near a payment.
pub async fn of_account(db: &Db, account_id: &AccountId) -> Result<Option<Subscription>, DbError> {
    let row: Option<Row> =
        read!(db, |p| sqlx::query_as(OF_ACCOUNT).bind(account_id).fetch_optional(p).await)?;
    row.map(Subscription::from_row).transpose()
}

/// The account that Stripe knows as this customer.
pub async fn of_customer(db: &Db, customer_id: &str) -> Result<Option<Subscription>, DbError> {
    let row: Option<Row> =
        read!(db, |p| sqlx::query_as(OF_CUSTOMER).bind(customer_id).fetch_optional(p).await)?;
    row.map(Subscription::from_row).transpose()
}

/// Remembers which customer of Stripe an account is. The first one stays: whoever comes later gets that one back.
pub async fn put_customer(
    db: &Db,
    account_id: &AccountId,
    customer_id: &str,
    now_ms: i64,
) -> Result<Subscription, DbError> {
    write!(db, |p| sqlx::query(PUT_CUSTOMER)
        .bind(account_id)
        .bind(customer_id)
        .bind(now_ms)
        .execute(p)
        .await
        .map(drop))?;
    of_account(db, account_id).await?.ok_or_else(|| DbError::row("the customer of an account"))
}

/// Remembers a checkout that was opened as number `tries`. False if another one was remembered meanwhile: then this one is to be
/// closed. The account is asked about at `check_ms`, should no event come.
pub async fn put_checkout(
    db: &Db,
    account_id: &AccountId,
    tries: i64,
    session_id: &str,
    check_ms: i64,
) -> Result<bool, DbError> {
    let changed = write!(db, |p| sqlx::query(PUT_CHECKOUT)
        .bind(account_id)
        .bind(tries)
        .bind(session_id)
        .bind(check_ms)
        .execute(p)
        .await
        .map(|done| done.rows_affected()))?;
    Ok(changed > 0)
}

/// Forgets a checkout that has ended.
pub async fn end_checkout(db: &Db, account_id: &AccountId, session_id: &str) -> Result<(), DbError> {
    write!(db, |p| sqlx::query(END_CHECKOUT).bind(account_id).bind(session_id).execute(p).await.map(drop))?;
    Ok(())
}
