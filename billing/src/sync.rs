//! From Stripe into storage: fetch the customer's subscriptions, find ours, write it with the plan that follows. Everything that
//! wants to know how an account stands comes through here: events, the return from a checkout, a change, the reconciler.

use serde_json::{Value, json};
use tenancy::account::{self, AccountId};
use tenancy::audit::{self, Action, By, Entry, Via};
use tenancy::overage;
use tenancy::plan::Plan;
use tenancy::session::Client;
use tenancy::subscription::{self, Applied, Fetched, Status, Turn};

use crate::stripe::types;
use crate::{Billing, BillingConfig, BillingError};

/// Fetches in a row, when others were quicker each time.
const ROUNDS_MAX: u32 = 3;

/// What is there of ours.
#[derive(Debug, Default, PartialEq, Eq)]
struct Chosen {
    kept: Option<Fetched>,
    /// Living ones beside it: nobody buys two plans.
    surplus: Vec<String>,
}

impl Billing {
    /// Asks Stripe how an account stands and writes it. `event`: the one that it is asked for, remembered with what is written.
    /// `None`: the account is no customer.
    pub(crate) async fn sync(
        &self,
        account_id: &AccountId,
        event: Option<&str>,
    ) -> Result<Option<Applied>, BillingError> {
        for _ in 1..ROUNDS_MAX {
            let applied = self.sync_once(account_id, event).await?;
            if applied.as_ref().is_none_or(|applied| !applied.late) {
                return Ok(applied);
            }
            // One that began later was written first. Which of the two saw the newer state is not known, so look again.
        }
        self.sync_once(account_id, event).await
    }

    async fn sync_once(
        &self,
        account_id: &AccountId,
        event: Option<&str>,
    ) -> Result<Option<Applied>, BillingError> {
        let Some(known) = subscription::of_account(self.db(), account_id).await? else { return Ok(None) };
        if let Some(checkout) = &known.checkout {
            let open = match self.0.stripe.checkout(checkout).await {
                Ok(session) => session.is_open(),
                Err(error) if error.is_missing() => false,
                Err(error) => return Err(error.into()),
            };
            if !open {
                subscription::end_checkout(self.db(), account_id, checkout).await?;
            }
        }
        let Some(number) = subscription::begin_fetch(self.db(), account_id).await? else { return Ok(None) };
        let all = self.0.stripe.subscriptions(&known.customer_id).await?;
        let chosen = choose(&self.0.config, &all, known.subscription_id.as_deref().zip(known.plan));
        for surplus in chosen.surplus {
            tracing::warn!(account.id = %account_id, subscription = %surplus, "a second subscription is ended and credited");
            self.0.stripe.end(&surplus, true).await?;
        }
        let now_ms = tenancy::now_ms();
        // A plan that grows smaller makes nothing dearer that was used under the larger one.
        if let Some(account) = account::find(self.db(), account_id).await? {
            overage::settle(self.db(), account_id, account.plan, now_ms).await?;
        }
        let applied = subscription::apply(self.db(), account_id, number, chosen.kept, event, now_ms).await?;
        if let Some(applied) = &applied {
            self.tell(account_id, &applied.turns).await;
            if !applied.late {
                let one = all.iter().find(|one| Some(&one.id) == applied.now.subscription_id.as_ref());
                self.settle_overage(&applied.now, one).await?;
            }
        }
        Ok(applied)
    }

    /// Writes down what became different and mails it, once for each turn. When that fails the change has happened all the same.
    pub(crate) async fn tell(&self, account_id: &AccountId, turns: &[Turn]) {
        for turn in turns {
            tracing::info!(account.id = %account_id, ?turn, "the billing of an account changed");
            let (action, plan, details) = match *turn {
                Turn::Granted { from, to } => {
                    (Action::PlanGrant, Some(to), json!({ "plan": { "from": from.name(), "to": to.name() } }))
                }
                Turn::Ended { from, unpaid } => (Action::PlanEnd, Some(from), json!({ "unpaid": unpaid })),
                Turn::PaymentMissing { until_ms } => {
                    (Action::PlanUnpaid, None, json!({ "kept_until_ms": until_ms }))
                }
                Turn::Paid => (Action::PlanPaid, None, Value::Null),
                Turn::WillEnd => (Action::PlanWillEnd, None, Value::Null),
                Turn::WillGoOn => (Action::PlanGoesOn, None, Value::Null),
            };
            let by =
                By { user_id: None, label: "Stripe".to_owned(), client: Client::default(), via: Via::System };
            let target = plan.map(Plan::title).unwrap_or_default();
            let entry = Entry { account_id, action, app_id: None, target, details };
            if let Err(error) = audit::record(self.db(), &by, entry).await {
                tracing::error!(%error, "a change of billing could not be written to the audit log");
            }
            self.notify(account_id, *turn).await;
        }
    }
}

/// Of a customer's subscriptions the one that counts: of the living ones with a price of ours a paid one, the oldest of them; if none
/// lives, the newest. One that we know and that has a price which is in no setting keeps the plan that it was bought for.
fn choose(config: &BillingConfig, all: &[types::Subscription], known: Option<(&str, Plan)>) -> Chosen {
    let fetched = |one: &types::Subscription| {
        let priced = one.items.data.iter().find_map(|item| Some((config.plan_of(&item.price.id)?, item)));
        let (plan, item) = priced.or_else(|| {
            let (_, plan) = known.filter(|(id, _)| *id == one.id)?;
            tracing::error!(subscription = %one.id, "a subscription has a price that is not in FANFARE_STRIPE_PRICES; its plan is kept");
            Some((plan, one.items.data.iter().find(|item| !config.is_overage(&item.price.id))?))
        })?;
        Some(Fetched {
            subscription_id: one.id.clone(),
            plan,
            status: Status::parse(&one.status),
            period_end_ms: item.current_period_end.map(|seconds| seconds.saturating_mul(1_000)),
            cancel_at_period_end: one.cancel_at_period_end,
            card: one.card(),
        })
    };
    let mut ours: Vec<(i64, Fetched)> =
        all.iter().filter_map(|one| Some((one.created, fetched(one)?))).collect();
    ours.sort_by(|(a, x), (b, y)| (a, &x.subscription_id).cmp(&(b, &y.subscription_id)));
    let newest = ours.last().map(|(_, one)| one.clone());
    let mut living: Vec<Fetched> =
        ours.into_iter().map(|(_, one)| one).filter(|one| one.status.is_live()).collect();
    living.sort_by_key(|one| one.status.is_owing());
    let mut living = living.into_iter();
    let kept = living.next().or(newest);
    Chosen { kept, surplus: living.map(|one| one.subscription_id).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> BillingConfig {
        BillingConfig::parse("sk_test_x", "w", None, "startup=price_s,pro=price_p", false).unwrap()
    }

    fn one(id: &str, status: &str, price: &str, created: i64) -> types::Subscription {
        let item = json!({ "id": "si", "price": { "id": price }, "current_period_end": created + 10 });
        let value = json!({ "id": id, "status": status, "created": created, "items": { "data": [item] } });
        serde_json::from_value(value).unwrap()
    }

    fn chosen(
        all: Vec<types::Subscription>,
        known: Option<(&str, Plan)>,
    ) -> (Option<(String, Plan)>, Vec<String>) {
        let Chosen { kept, surplus } = choose(&config(), &all, known);
        (kept.map(|one| (one.subscription_id, one.plan)), surplus)
    }

    #[test]
    fn the_oldest_paid_one_counts_and_other_living_ones_are_surplus() {
        let all = vec![
            one("sub_c", "active", "price_s", 30),
            one("sub_b", "active", "price_p", 20),
            one("sub_a", "past_due", "price_p", 10),
            one("sub_0", "canceled", "price_p", 40),
            one("sub_x", "active", "price_of_another_product", 5),
        ];
        let (kept, surplus) = chosen(all, None);
        assert_eq!(kept, Some(("sub_b".into(), Plan::Pro)));
        assert_eq!(surplus, ["sub_c", "sub_a"]);
    }

    #[test]
    fn when_none_lives_the_newest_says_how_it_ended() {
        let all = vec![one("sub_a", "canceled", "price_s", 1), one("sub_b", "canceled", "price_p", 2)];
        assert_eq!(chosen(all, None), (Some(("sub_b".into(), Plan::Pro)), vec![]));
        assert_eq!(chosen(vec![], None), (None, vec![]));
    }

    #[test]
    fn a_price_that_left_the_settings_keeps_its_plan() {
        let all = || vec![one("sub_a", "active", "price_gone", 1)];
        assert_eq!(chosen(all(), Some(("sub_a", Plan::Pro))).0, Some(("sub_a".into(), Plan::Pro)));
        assert_eq!(chosen(all(), None).0, None);
    }
}
