//! Buying a plan: a customer and one open checkout at Stripe per account, however often the button is pressed and on how many
//! nodes; and the return from it, which asks Stripe at once instead of waiting for the event.

use tenancy::account::Account;
use tenancy::clock::SECOND_MS;
use tenancy::plan::Plan;
use tenancy::subscription::{self, Subscription};

use crate::config::is_id;
use crate::stripe::NewCheckout;
use crate::{Billing, BillingError};

/// The first look without an event: about when a quick person has paid.
const FIRST_CHECK_MS: i64 = 20 * SECOND_MS;
/// Presses of the button at the same moment that are sorted out before one is told to try again.
const ROUNDS_MAX: u32 = 4;

/// Who buys, and where the browser comes back to.
#[derive(Clone, Debug)]
pub struct Buyer<'a> {
    /// For whom.
    pub account: &'a Account,
    /// Where Stripe sends receipts.
    pub email: &'a str,
    /// After paying; `{CHECKOUT_SESSION_ID}` in it becomes the checkout's id.
    pub success_url: &'a str,
    /// After leaving without paying.
    pub cancel_url: &'a str,
}

/// Where to send the browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// A page at Stripe.
    pub url: String,
}

/// How the return from a checkout found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Returned {
    /// Paid; the account has this plan now.
    Granted(Plan),
    /// Not yet; an event or the next look will tell.
    Waiting,
}

impl Billing {
    /// Opens a checkout for a plan, or gives the one back that is open for it. *Errors*: also `Subscribed`, when it turns out that
    /// the account pays already.
    pub async fn checkout(&self, buyer: Buyer<'_>, plan: Plan) -> Result<Opened, BillingError> {
        let price = self.0.config.price_of(plan).ok_or(BillingError::NotSold)?;
        if buyer.account.plan == Plan::Unlimited {
            return Err(BillingError::NotSold);
        }
        self.customer(buyer.account, buyer.email).await?;
        for _ in 0..ROUNDS_MAX {
            // The event of a payment may be lost, so ask before charging a second time.
            let synced = self.sync(&buyer.account.id, None).await?;
            let known = synced.ok_or(BillingError::NoSubscription)?.now;
            if known.is_live() {
                return Err(BillingError::Subscribed);
            }
            if let Some(open) = &known.checkout {
                let session = self.0.stripe.checkout(open).await?;
                if let (true, true, Some(url)) = (session.is_open(), session.is_for(price), session.url) {
                    return Ok(Opened { url });
                }
                // For another plan. If it was paid in this very moment, closing it fails and the next round finds the subscription.
                if let Err(error) = self.0.stripe.expire_checkout(open).await
                    && matches!(error, crate::StripeError::Away(_))
                {
                    return Err(error.into());
                }
                subscription::end_checkout(self.db(), &buyer.account.id, open).await?;
                continue;
            }
            if let Some(opened) = self.open(&buyer, &known, price).await? {
                return Ok(opened);
            }
        }
        // Perhaps this number was used and its checkout never remembered: the next press takes another one.
        if let Some(known) = subscription::of_account(self.db(), &buyer.account.id).await?
            && known.checkout.is_none()
        {
            let tries = known.checkout_tries;
            subscription::put_checkout(self.db(), &buyer.account.id, tries, "", tenancy::now_ms()).await?;
        }
        Err(BillingError::Busy)
    }

    /// `None`: somebody else opened one at the same moment.
    async fn open(
        &self,
        buyer: &Buyer<'_>,
        known: &Subscription,
        price: &str,
    ) -> Result<Option<Opened>, BillingError> {
        let tries = known.checkout_tries;
        let new = NewCheckout {
            account: &buyer.account.id,
            customer: &known.customer_id,
            price,
            success_url: buyer.success_url,
            cancel_url: buyer.cancel_url,
            // Who presses at the same moment gets the same one; with another plan, a refusal.
            key: format!("fanfare-checkout-{}-{tries}", buyer.account.id),
        };
        let session = match self.0.stripe.open_checkout(new).await {
            Ok(session) => session,
            Err(error) if error.is_other_use_of_key() => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let check_ms = tenancy::now_ms() + FIRST_CHECK_MS;
        if !subscription::put_checkout(self.db(), &buyer.account.id, tries, &session.id, check_ms).await? {
            let known = subscription::of_account(self.db(), &buyer.account.id).await?;
            if known.and_then(|known| known.checkout).as_deref() != Some(&*session.id) {
                // The number was given up meanwhile; two open checkouts could both be paid.
                self.0.stripe.expire_checkout(&session.id).await?;
                return Ok(None);
            }
        }
        Ok(session.url.map(|url| Opened { url }))
    }

    async fn customer(&self, account: &Account, email: &str) -> Result<Subscription, BillingError> {
        if let Some(known) = subscription::of_account(self.db(), &account.id).await? {
            return Ok(known);
        }
        let made = self.0.stripe.create_customer(&account.id, email, &account.name).await?;
        Ok(subscription::put_customer(self.db(), &account.id, &made.id, tenancy::now_ms()).await?)
    }

    /// The browser came back from a checkout: asks Stripe whether it is paid. *Errors*: `Foreign` for a checkout of another account,
    /// or of none.
    pub async fn returned(&self, account: &Account, session_id: &str) -> Result<Returned, BillingError> {
        let known = subscription::of_account(self.db(), &account.id).await?.ok_or(BillingError::Foreign)?;
        if !is_id(session_id) {
            return Err(BillingError::Foreign);
        }
        let session = match self.0.stripe.checkout(session_id).await {
            Ok(session) => session,
            Err(error) if error.is_missing() => return Err(BillingError::Foreign),
            Err(error) => return Err(error.into()),
        };
        if session.customer.as_deref() != Some(&*known.customer_id) {
            return Err(BillingError::Foreign);
        }
        if !session.is_complete() {
            return Ok(Returned::Waiting);
        }
        let applied = self.sync(&account.id, None).await?;
        Ok(match applied.and_then(|applied| applied.now.granted) {
            Some(plan) => Returned::Granted(plan),
            None => Returned::Waiting,
        })
    }
}
