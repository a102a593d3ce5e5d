//! What plans cost: the ids stand in the settings, the amounts at Stripe. They are asked for and remembered for a while; a page
//! without them still works, the checkout names the amount.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tenancy::plan::Plan;

use crate::{Billing, Money};

/// A price hardly ever changes: Stripe makes a new one instead.
const REMEMBERED: Duration = Duration::from_secs(600);

/// While Stripe is away it is not asked again by every page.
const FAILURE_REMEMBERED: Duration = Duration::from_secs(10);

/// Amounts by price id, `None` if it could not be read; as many as there are in the settings.
#[derive(Debug, Default)]
pub(crate) struct Cache(Mutex<HashMap<String, (Instant, Option<Amount>)>>);

/// What a plan costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Amount {
    /// For one interval.
    pub money: Money,
    /// `month`, `year`, …
    pub interval: String,
}

/// A plan that can be bought here.
#[derive(Clone, Debug)]
pub struct Offer {
    /// The plan.
    pub plan: Plan,
    /// What it costs; `None`: Stripe did not say.
    pub amount: Option<Amount>,
}

impl Billing {
    /// The plans that are sold, smallest first. All prices that are not remembered are asked for at once.
    pub async fn offers(&self) -> Vec<Offer> {
        let asked: Vec<_> = self
            .offers_without_amounts()
            .into_iter()
            .map(|offer| {
                let billing = self.clone();
                (offer.plan, tokio::spawn(async move { billing.amount(offer.plan).await }))
            })
            .collect();
        let mut offers = Vec::new();
        for (plan, amount) in asked {
            offers.push(Offer { plan, amount: amount.await.ok().flatten() });
        }
        offers
    }

    /// The same without asking.
    pub fn offers_without_amounts(&self) -> Vec<Offer> {
        let sold = Plan::ALL.into_iter().filter(|plan| self.0.config.price_of(*plan).is_some());
        sold.map(|plan| Offer { plan, amount: None }).collect()
    }

    async fn amount(&self, plan: Plan) -> Option<Amount> {
        let price = self.0.config.price_of(plan)?;
        let known = self.0.prices.0.lock().get(price).cloned();
        if let Some((asked, amount)) = known {
            let remembered = if amount.is_some() { REMEMBERED } else { FAILURE_REMEMBERED };
            if asked.elapsed() < remembered {
                return amount;
            }
        }
        let amount = match self.0.stripe.price(price).await {
            Ok(found) => found.unit_amount.map(|amount| Amount {
                money: Money { amount, currency: found.currency },
                interval: found.recurring.map_or_else(String::new, |recurring| recurring.interval),
            }),
            Err(error) => {
                tracing::warn!(%error, price, "a price can't be read");
                None
            }
        };
        self.0.prices.0.lock().insert(price.to_owned(), (Instant::now(), amount.clone()));
        amount
    }
}
