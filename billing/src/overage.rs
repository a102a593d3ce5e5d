//! Messages beyond the plan, for those who want to go on: what a million costs, what an account allows in a billing period, and
//! telling Stripe's meter what was used. How much was used is reckoned by [`tenancy::overage`].

use std::time::Duration;

use tenancy::account::{AccountId, find};
use tenancy::clock::DAY_MS;
use tenancy::overage::{self, Overage, THOUSAND};
use tenancy::subscription::Subscription;

use crate::stripe::NewMeterEvent;
use crate::stripe::types::{self, Price};
use crate::{Billing, BillingConfig, BillingError, Money};

/// Parts of the smallest coin that Stripe reckons with: twelve digits behind the point.
const PARTS: i128 = 1_000_000_000_000;
/// The most that can be allowed in a billing period, in the currency's smallest unit: a million of whole ones.
pub const CAP_MAX: i64 = 100_000_000;
/// Between two reckonings of an account: so much longer than the second that a node needs to hear of it can the limit of yesterday
/// stand after midnight.
pub(crate) const EVERY: Duration = Duration::from_secs(5);

/// What a thousand messages beyond the plan cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OveragePrice {
    /// Of the smallest unit, in parts of 10⁻¹².
    parts: i128,
    currency: String,
}

/// What a customer sees of it.
#[derive(Clone, Debug)]
pub struct OverageFacts {
    /// What it costs; `None`: Stripe did not say.
    pub price: Option<OveragePrice>,
    /// What the account allowed; 0 at first.
    pub known: Overage,
    /// Thousands of messages beyond the plan in this period.
    pub thousands: i64,
}

impl OveragePrice {
    fn read(price: &Price) -> Option<OveragePrice> {
        let metered = price.recurring.as_ref().and_then(|recurring| recurring.usage_type.as_deref());
        let parts = match (&price.unit_amount_decimal, price.unit_amount) {
            (Some(text), _) => decimal(text)?,
            (None, Some(amount)) => i128::from(amount) * PARTS,
            (None, None) => return None,
        };
        (metered == Some("metered") && parts > 0)
            .then(|| OveragePrice { parts, currency: price.currency.clone() })
    }

    /// What so many thousands cost, rounded up.
    pub fn of(&self, thousands: i64) -> Money {
        let amount = (i128::from(thousands) * self.parts + PARTS - 1) / PARTS;
        Money { amount: i64::try_from(amount).unwrap_or(i64::MAX), currency: self.currency.clone() }
    }

    /// What a million costs.
    pub fn of_million(&self) -> Money {
        self.of(THOUSAND)
    }

    /// Three lower-case letters.
    pub fn currency(&self) -> &str {
        &self.currency
    }

    /// An amount of its currency.
    pub fn money(&self, amount: i64) -> Money {
        Money { amount, currency: self.currency.clone() }
    }

    /// Thousands of messages that an amount buys, whole ones.
    fn thousands(&self, amount: i64) -> i64 {
        i64::try_from(i128::from(amount.max(0)) * PARTS / self.parts).unwrap_or(i64::MAX / THOUSAND)
    }
}

/// `0.5` as parts.
fn decimal(text: &str) -> Option<i128> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || whole.len() > 12 || part.len() > 12 || !digits(whole) || !digits(part) {
        return None;
    }
    format!("{whole}{part:0<12}").parse().ok()
}

impl BillingConfig {
    /// Is this the price of messages beyond the plan?
    pub(crate) fn is_overage(&self, price: &str) -> bool {
        self.overage.as_ref().is_some_and(|(_, id)| id == price)
    }
}

/// A subscription as to overage: when its period began, and whether it has the metered price.
pub(crate) fn standing(config: &BillingConfig, one: &types::Subscription) -> (Option<i64>, bool) {
    let plan = one.items.data.iter().find(|item| !config.is_overage(&item.price.id));
    let began = plan.and_then(|item| item.current_period_start).map(|s| s.saturating_mul(1_000));
    (began, one.items.data.iter().any(|item| config.is_overage(&item.price.id)))
}

impl Billing {
    /// Can messages beyond the plan be bought here?
    pub fn sells_overage(&self) -> bool {
        self.0.config.overage.is_some()
    }

    /// What an account allowed and used; `None`: overage is not sold here. It waits for Stripe's price unless that is remembered.
    pub async fn overage(&self, account_id: &AccountId) -> Result<Option<OverageFacts>, BillingError> {
        if !self.sells_overage() {
            return Ok(None);
        }
        let known = overage::of_account(self.db(), account_id).await?.unwrap_or_default();
        let now_ms = tenancy::now_ms();
        let thousands = overage::thousands_of_period(self.db(), account_id, &known, now_ms).await?;
        Ok(Some(OverageFacts { price: self.overage_price().await.ok(), known, thousands }))
    }

    async fn overage_price(&self) -> Result<OveragePrice, BillingError> {
        let Some((_, id)) = &self.0.config.overage else { return Err(BillingError::NotSold) };
        if let Some(known) = self.0.overage_price.get() {
            return Ok(known.clone());
        }
        let read = OveragePrice::read(&self.0.stripe.price(id).await?);
        let Some(price) = read else {
            tracing::error!(price = %id, "the price of FANFARE_STRIPE_OVERAGE must be metered and per unit, and cost something");
            return Err(BillingError::NotSold);
        };
        Ok(self.0.overage_price.get_or_init(|| price).clone())
    }

    /// Allows an account to spend so much on messages beyond its plan in a billing period, in the currency's smallest unit; 0 stops
    /// at the plan's limit. *Errors*: nothing to charge it to, or Stripe's.
    pub async fn allow_overage(&self, account_id: &AccountId, cap: i64) -> Result<(), BillingError> {
        let cap = cap.clamp(0, CAP_MAX);
        let price = self.overage_price().await?;
        if cap > 0 {
            let known = self.living(account_id).await?;
            let id = known.subscription_id.as_deref().ok_or(BillingError::NoSubscription)?;
            let all = self.0.stripe.subscriptions(&known.customer_id).await?;
            let one = all.iter().find(|one| one.id == id).ok_or(BillingError::NoSubscription)?;
            self.put_metered(one).await?;
        }
        let plan = find(self.db(), account_id).await?.ok_or(BillingError::NoSubscription)?.plan;
        let now_ms = tenancy::now_ms();
        overage::allow(self.db(), account_id, plan, cap, price.thousands(cap), now_ms).await?;
        // With the metered price beside the plan, and when the period began.
        self.sync(account_id, None).await?;
        Ok(())
    }

    /// Sees to it that a subscription has the metered price.
    async fn put_metered(&self, one: &types::Subscription) -> Result<(), BillingError> {
        let Some((_, price)) = &self.0.config.overage else { return Err(BillingError::NotSold) };
        if !standing(&self.0.config, one).1 {
            self.0.stripe.add_metered(&one.id, price).await?;
        }
        Ok(())
    }

    /// What follows for overage from the subscription that counts, after it was written.
    pub(crate) async fn settle_overage(
        &self,
        now: &Subscription,
        one: Option<&types::Subscription>,
    ) -> Result<(), BillingError> {
        let Some(known) = overage::of_account(self.db(), &now.account_id).await? else { return Ok(()) };
        let (began, mut has) = one.map_or((None, false), |one| standing(&self.0.config, one));
        if let Some(one) = one.filter(|_| known.cap > 0 && !has && now.status.is_paid()) {
            // Bought anew, or changed at Stripe. Without it the account stops at its limit.
            match self.put_metered(one).await {
                Ok(()) => has = true,
                Err(error) => {
                    tracing::warn!(%error, account.id = %now.account_id, "overage can't be put on a subscription");
                }
            }
        }
        let ready = has && now.status.is_paid() && now.granted.is_some();
        overage::stand(self.db(), &now.account_id, ready, began).await?;
        if let Some(account) = find(self.db(), &now.account_id).await? {
            overage::settle(self.db(), &account.id, account.plan, tenancy::now_ms()).await?;
        }
        Ok(())
    }

    /// Reckons all accounts that allow overage, and tells Stripe what is new. Every node may do it at once.
    pub async fn overage_round(&self, now_ms: i64) {
        let Some((meter, _)) = &self.0.config.overage else { return };
        if let Err(error) = self.settle_all(now_ms).await {
            tracing::warn!(%error, "overage can't be reckoned");
        }
        let reports = match overage::reports(self.db()).await {
            Ok(reports) => reports,
            Err(error) => {
                tracing::warn!(%error, "it is not known what overage to report");
                return;
            }
        };
        for report in reports {
            let identifier = report.identifier();
            // Told later than it was used, it still belongs to its day.
            let day_end_ms = (i64::from(report.day) + 1) * DAY_MS - 1;
            let event = NewMeterEvent {
                name: meter,
                customer: &report.customer_id,
                value: report.to - report.from,
                identifier: &identifier,
                at_s: now_ms.min(day_end_ms) / 1_000,
            };
            let told = match self.0.stripe.meter(event).await {
                Ok(()) => overage::reported(self.db(), &report).await.map_err(BillingError::from),
                Err(error) => Err(error.into()),
            };
            if let Err(error) = told {
                tracing::warn!(%error, account.id = %report.account_id, "overage can't be reported; it is tried again");
                return;
            }
        }
    }

    async fn settle_all(&self, now_ms: i64) -> Result<(), BillingError> {
        let mut last = String::new();
        loop {
            let some = overage::after(self.db(), &last).await?;
            for (account_id, plan) in &some {
                overage::settle(self.db(), account_id, *plan, now_ms).await?;
            }
            match some.into_iter().last() {
                Some((account_id, _)) => last = account_id,
                None => return Ok(()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price(decimal: &str) -> Option<OveragePrice> {
        let value = serde_json::json!({ "unit_amount": null, "unit_amount_decimal": decimal, "currency": "eur",
            "recurring": { "interval": "month", "usage_type": "metered" } });
        OveragePrice::read(&serde_json::from_value(value).unwrap())
    }

    #[test]
    fn a_price_below_a_cent_is_exact_and_a_bill_is_rounded_up() {
        let half = price("0.5").unwrap();
        assert_eq!(half.of_million().to_string(), "EUR 5.00");
        assert_eq!((half.of(1).amount, half.of(2).amount, half.of(3).amount), (1, 1, 2));
        assert_eq!((half.thousands(1), half.thousands(100), half.thousands(-5)), (2, 200, 0));
        assert_eq!(price("0.333333333333").unwrap().thousands(1), 3);
        assert_eq!(price("7").unwrap().thousands(20), 2, "never more than the cap");
    }

    #[test]
    fn what_is_no_metered_price_is_none() {
        for text in ["0", "", "-1", "1e3", "0.1234567890123", "1.", " 1"] {
            assert_eq!(price(text).is_some(), text == "1.", "{text:?}");
        }
        let licensed = serde_json::json!({ "unit_amount": 5, "currency": "eur", "recurring": { "interval": "month", "usage_type": "licensed" } });
        assert_eq!(OveragePrice::read(&serde_json::from_value(licensed).unwrap()), None);
    }
}
