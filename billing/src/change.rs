//! What a paying account does with its subscription: another plan, an end at the end of the period, taking that back, the portal for
//! card and address, the invoices.

use tenancy::account::AccountId;
use tenancy::plan::Plan;
use tenancy::quota;
use tenancy::subscription::{self, Subscription};

use crate::stripe::types::Invoice;
use crate::{Billing, BillingError};

impl Billing {
    /// Puts another plan in place of the present one. A larger one is charged for the rest of the period first, and nothing changes if
    /// the card is declined; a smaller one is credited. Gives the billing as it is then.
    pub async fn change(&self, account_id: &AccountId, plan: Plan) -> Result<Subscription, BillingError> {
        let price = self.0.config.price_of(plan).ok_or(BillingError::NotSold)?;
        let known = self.living(account_id).await?;
        let (Some(id), Some(present)) = (known.subscription_id.as_deref(), known.plan) else {
            return Err(BillingError::NoSubscription);
        };
        if present == plan {
            return Ok(known);
        }
        let all = self.0.stripe.subscriptions(&known.customer_id).await?;
        let one = all.iter().find(|one| one.id == id).ok_or(BillingError::NoSubscription)?;
        let item = one.items.data.iter().find(|item| self.0.config.plan_of(&item.price.id).is_some());
        let other = || one.items.data.iter().find(|item| !self.0.config.is_overage(&item.price.id));
        let item = item.or_else(other).ok_or(BillingError::NoSubscription)?;
        let db = self.db();
        let larger = quota::numbers_of(db, plan).await?.are_more_than(quota::numbers_of(db, present).await?);
        self.0.stripe.change_price(id, &item.id, price, larger).await?;
        self.now(account_id).await
    }

    /// Lets the subscription end with its period, or takes that back.
    pub async fn cancel_at_period_end(
        &self,
        account_id: &AccountId,
        cancel: bool,
    ) -> Result<Subscription, BillingError> {
        let known = self.living(account_id).await?;
        let id = known.subscription_id.as_deref().ok_or(BillingError::NoSubscription)?;
        self.0.stripe.cancel_at_period_end(id, cancel).await?;
        self.now(account_id).await
    }

    /// A page at Stripe where the card, the address and the tax number are changed; the browser comes back to `return_url`.
    pub async fn portal(&self, account_id: &AccountId, return_url: &str) -> Result<String, BillingError> {
        let known =
            subscription::of_account(self.db(), account_id).await?.ok_or(BillingError::NoSubscription)?;
        Ok(self.0.stripe.portal(&known.customer_id, return_url).await?.url)
    }

    /// The latest invoices, latest first, and the one to come.
    pub async fn invoices(
        &self,
        known: &Subscription,
    ) -> Result<(Vec<Invoice>, Option<Invoice>), BillingError> {
        let made = self.0.stripe.invoices(&known.customer_id).await?;
        let next =
            match known.subscription_id.as_deref().filter(|_| known.is_live() && !known.cancel_at_period_end)
            {
                Some(id) => self.0.stripe.next_invoice(&known.customer_id, id).await?,
                None => None,
            };
        Ok((made, next))
    }

    /// How it stands right now; there must be a subscription.
    pub(crate) async fn living(&self, account_id: &AccountId) -> Result<Subscription, BillingError> {
        let known = self.now(account_id).await?;
        if known.is_live() { Ok(known) } else { Err(BillingError::NoSubscription) }
    }

    async fn now(&self, account_id: &AccountId) -> Result<Subscription, BillingError> {
        Ok(self.sync(account_id, None).await?.ok_or(BillingError::NoSubscription)?.now)
    }
}
