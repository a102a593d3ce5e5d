//! Messages beyond the plan: allowed up to an amount, told to Stripe exactly once, never charged after the fact.

use fakestripe::Failure;
use tenancy::clock::{DAY_MS, day_of};
use tenancy::plan::Plan;
use tenancy::usage::{self, UsageDelta};
use tenancy::{changes, now_ms, overage};

use crate::support::Shop;

/// A million a day, and its metered price is a cent for a thousand messages.
const PLAN: Plan = Plan::Startup;
const LIMIT: i64 = 1_000_000;

impl Shop {
    async fn uses(&self, messages: i64, day: u32) {
        let app_id = tenancy::app::list(&self.db, &self.account.id).await.unwrap()[0].id;
        usage::add(&self.db, &[UsageDelta { app_id, day, deliveries: messages, ..UsageDelta::default() }])
            .await
            .unwrap();
    }

    async fn extra(&self, day: u32) -> u64 {
        overage::extra_on(&self.db, &self.account.id, day).await.unwrap()
    }

    /// What Stripe's meter has, in thousands.
    fn told(&self) -> i64 {
        let events = self.stripe.all("meter_events");
        events.iter().map(|event| event["payload"]["value"].as_str().unwrap().parse::<i64>().unwrap()).sum()
    }

    fn metered_items(&self) -> usize {
        let live = self.stripe.all("subscriptions").into_iter().filter(|one| one["status"] != "canceled");
        live.flat_map(|one| one["items"]["data"].as_array().cloned().unwrap())
            .filter(|item| item["price"]["id"] == "price_overage")
            .count()
    }

    async fn allows(&self, cap: i64) {
        self.billing.allow_overage(&self.account.id, cap).await.unwrap();
    }
}

#[tokio::test]
async fn what_was_allowed_lifts_the_day_and_what_is_used_is_told_once() {
    let shop = Shop::paying(PLAN).await;
    let today = day_of(now_ms());
    assert_eq!(shop.extra(today).await, 0);
    let before = changes::last(&shop.db).await.unwrap();
    shop.allows(5_000).await;
    assert!(changes::last(&shop.db).await.unwrap() > before, "nodes are told");
    assert_eq!((shop.extra(today).await, shop.metered_items()), (5_000_000, 1));
    assert_eq!(shop.extra(today + 1).await, 0, "each day is reckoned anew");
    shop.allows(5_000).await;
    assert_eq!(shop.metered_items(), 1);

    shop.uses(LIMIT + 250_999, today).await;
    for _ in 0..3 {
        shop.billing.overage_round(now_ms()).await;
    }
    assert_eq!((shop.told(), shop.stripe.all("meter_events").len()), (250, 1));
    shop.uses(1, today).await;
    shop.billing.overage_round(now_ms()).await;
    assert_eq!(shop.told(), 251);
    let facts = shop.billing.overage(&shop.account.id).await.unwrap().unwrap();
    assert_eq!((facts.thousands, facts.price.unwrap().of(251).to_string()), (251, "EUR 2.51".to_owned()));
    assert_eq!(shop.extra(today).await, 5_000_000, "the day's limit does not move while it is used up");
    let customer = shop.known().await.customer_id;
    shop.stripe.with(|state| state.renew(&customer));
    let invoice = shop.stripe.all("invoices").pop().unwrap();
    assert_eq!(invoice["total"], 4_900 + 251);
}

#[tokio::test]
async fn an_answer_that_is_lost_makes_nothing_dearer() {
    let shop = Shop::paying(PLAN).await;
    shop.allows(5_000).await;
    shop.uses(LIMIT + 3_000, day_of(now_ms())).await;
    let lost = |times| Failure {
        path: "/v1/billing/meter_events".into(),
        status: 0,
        after: true,
        times,
        delay_ms: 0,
    };
    // All tries of one call are lost, and the process with it: the next one finds the report on its way.
    shop.stripe.with(|state| state.failures.push(lost(3)));
    shop.billing.overage_round(now_ms()).await;
    shop.uses(4_000, day_of(now_ms())).await;
    // By then Stripe has forgotten the key of the call, but not the event.
    let again = billing::Billing::new(shop.db.clone(), crate::support::config(&shop.stripe));
    again.overage_round(now_ms()).await;
    again.overage_round(now_ms()).await;
    assert_eq!(shop.told(), 7);
}

#[tokio::test]
async fn no_more_is_charged_in_a_period_than_was_allowed() {
    let shop = Shop::paying(PLAN).await;
    let (now, today) = (now_ms(), day_of(now_ms()));
    shop.allows(100).await;
    assert_eq!(shop.extra(today).await, 100_000);
    // More than a node would let through: what it let through too late costs nothing.
    shop.uses(LIMIT + 60_000, today).await;
    shop.billing.overage_round(now).await;
    shop.stripe.with(|state| state.clock_ahead_s = 86_400);
    let tomorrow = now + DAY_MS;
    shop.billing.overage_round(tomorrow).await;
    assert_eq!(shop.extra(today + 1).await, 40_000, "what is left of the period");
    shop.uses(LIMIT + 500_000, today + 1).await;
    shop.billing.overage_round(tomorrow).await;
    assert_eq!(shop.told(), 100);
    shop.stripe.with(|state| state.clock_ahead_s = 2 * 86_400);
    shop.billing.overage_round(tomorrow + DAY_MS).await;
    assert_eq!((shop.extra(today + 2).await, shop.told()), (0, 100));
}

#[tokio::test]
async fn what_was_used_before_it_was_allowed_or_under_a_larger_plan_costs_nothing() {
    let shop = Shop::paying(Plan::Pro).await;
    let today = day_of(now_ms());
    shop.allows(10_000).await;
    shop.uses(3_500_000, today).await;
    shop.billing.change(&shop.account.id, PLAN).await.unwrap();
    shop.billing.overage_round(now_ms()).await;
    assert_eq!((shop.plan().await, shop.told()), (PLAN, 0), "pro allowed four millions today");

    let late = Shop::paying(PLAN).await;
    late.uses(LIMIT + 80_000, today).await;
    late.allows(10_000).await;
    late.billing.overage_round(now_ms()).await;
    assert_eq!(late.told(), 0);
    late.uses(5_000, today).await;
    late.billing.overage_round(now_ms()).await;
    late.allows(0).await;
    assert_eq!((late.told(), late.extra(today).await), (5, 0));
    late.uses(9_000, today).await;
    late.allows(10_000).await;
    late.uses(2_000, today).await;
    late.billing.overage_round(now_ms()).await;
    assert_eq!(late.told(), 7, "what came while it was off is free, and what was told stays");
}

#[tokio::test]
async fn without_a_paid_subscription_there_is_none_and_a_new_one_has_it_again() {
    let shop = Shop::open().await;
    assert!(shop.billing.allow_overage(&shop.account.id, 100).await.is_err());
    let session = shop.pay(&shop.checkout(PLAN).await);
    shop.billing.returned(&shop.account, &session).await.unwrap();
    shop.allows(100).await;
    let today = day_of(now_ms());
    let customer = shop.known().await.customer_id;
    shop.stripe.with(|state| {
        state.card_works(&customer, false);
        state.renew(&customer);
    });
    shop.until(async || shop.extra(today).await == 0, "the stop at the limit").await;
    shop.stripe.with(|state| {
        state.card_works(&customer, true);
        state.retry(&customer);
    });
    shop.until(async || shop.extra(today).await == 100_000, "what was allowed").await;

    let subscription = shop.known().await.subscription_id.unwrap();
    shop.stripe.with(|state| state.end(&subscription));
    shop.becomes(Plan::Sandbox).await;
    shop.until(async || shop.extra(today).await == 0, "the end of it").await;
    let session = shop.pay(&shop.checkout(PLAN).await);
    shop.billing.returned(&shop.account, &session).await.unwrap();
    shop.until(async || shop.extra(today).await == 100_000, "the same with the new one").await;
    assert_eq!(shop.metered_items(), 1);
}
