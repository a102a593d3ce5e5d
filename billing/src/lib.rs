//! Payments through Stripe, and nothing else: what an account buys, how it pays, and which plan follows.
//!
//! Stripe is asked and never believed unasked: an event says only *that* something changed; what it is now is fetched. No page and
//! no socket is known here. What was fetched is kept by [`tenancy::subscription`], which also changes the account's plan, and
//! nodes learn of that through the change feed.

mod change;
mod checkout;
mod config;
mod notices;
mod overage;
mod prices;
mod reconcile;
mod stripe;
mod sync;
mod webhook;

use std::sync::{Arc, OnceLock};

use axum::Router;
use tenancy::Db;
use tenancy::db::DbError;

pub use checkout::{Buyer, Opened, Returned};
pub use config::{BillingConfig, ConfigError};
pub use overage::{CAP_MAX, OverageFacts, OveragePrice};
pub use prices::{Amount, Offer};
pub use stripe::client::StripeError;
pub use stripe::types::{Invoice, Money};

/// Billing of this server. Cloning is cheap.
#[derive(Clone)]
pub struct Billing(Arc<Inner>);

struct Inner {
    db: Db,
    config: BillingConfig,
    stripe: stripe::Stripe,
    prices: prices::Cache,
    /// Read once: a price of Stripe never changes.
    overage_price: OnceLock<OveragePrice>,
}

impl std::fmt::Debug for Billing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Billing").field("config", &self.0.config).finish_non_exhaustive()
    }
}

/// Why something was not done. Nothing was changed here; what Stripe did meanwhile is found by the next look.
#[derive(Debug, thiserror::Error)]
pub enum BillingError {
    /// Stripe did not answer, or refused.
    #[error(transparent)]
    Stripe(#[from] StripeError),
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
    /// The plan has no price here, or is no plan to buy.
    #[error("this plan is not sold here")]
    NotSold,
    /// The account pays already: its plan is changed, not bought anew.
    #[error("the account has a subscription already")]
    Subscribed,
    /// There is nothing to change.
    #[error("the account has no subscription")]
    NoSubscription,
    /// A checkout, or a customer, of somebody else.
    #[error("this checkout is not of this account")]
    Foreign,
    /// The same was being done at the same moment, several times.
    #[error("another checkout was being opened at the same moment")]
    Busy,
}

impl Billing {
    /// Billing over this database. It asks nothing yet.
    pub fn new(db: Db, config: BillingConfig) -> Billing {
        let stripe = stripe::Stripe::new(&config);
        Billing(Arc::new(Inner {
            db,
            config,
            stripe,
            prices: prices::Cache::default(),
            overage_price: OnceLock::new(),
        }))
    }

    /// `POST /stripe/webhook`.
    pub fn router(&self) -> Router {
        webhook::router(self.clone())
    }

    /// Origins that a form of ours may lead to: Stripe's pages, or those of the server in its place.
    pub fn page_origins(&self) -> &[String] {
        &self.0.config.page_origins
    }

    fn db(&self) -> &Db {
        &self.0.db
    }
}
