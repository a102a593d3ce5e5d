//! Payments that fail: the grace, its end, and a payment that comes after all.

use fakestripe::{Failure, Posting};
use tenancy::audit::{self, By, Via};
use tenancy::clock::DAY_MS;
use tenancy::now_ms;
use tenancy::plan::Plan;
use tenancy::session::Client;
use tenancy::subscription::{GRACE_MS, Standing, Status};

use crate::support::Shop;

/// Somebody whose last renewal could not be charged.
async fn owing() -> Shop {
    let shop = Shop::paying(Plan::Pro).await;
    let customer = shop.known().await.customer_id;
    shop.stripe.with(|state| {
        state.card_works(&customer, false);
        state.renew(&customer);
    });
    shop.until(async || shop.known().await.status == Status::PastDue, "the failed payment").await;
    shop.quiet().await;
    shop
}

#[tokio::test]
async fn a_failed_renewal_keeps_the_plan_for_fourteen_days() {
    let shop = owing().await;
    let known = shop.known().await;
    let Standing::Owing { until_ms } = known.standing(now_ms()) else { panic!("{known:?}") };
    assert!((until_ms - now_ms() - 14 * DAY_MS).abs() < 60_000);
    assert_eq!(shop.plan().await, Plan::Pro);
    shop.billing.round(now_ms() + GRACE_MS - DAY_MS).await;
    assert_eq!(shop.plan().await, Plan::Pro);
}

#[tokio::test]
async fn after_the_grace_the_plan_is_taken_back_and_nothing_more_is_charged() {
    let shop = owing().await;
    shop.stripe.with(|state| state.posting = Posting::Lost);
    assert_eq!(shop.billing.round(now_ms() + GRACE_MS + 1).await, 1);
    assert_eq!((shop.plan().await, shop.live_subscriptions()), (Plan::Sandbox, 0));
    let known = shop.known().await;
    assert!(
        matches!(known.standing(now_ms() + GRACE_MS + 2), Standing::Ended { unpaid: true, .. }),
        "{known:?}"
    );
    assert_eq!(shop.billing.round(now_ms() + 9 * GRACE_MS).await, 0, "there is nothing to look for any more");
}

#[tokio::test]
async fn the_grace_ends_also_while_stripe_is_away_and_the_subscription_once_it_answers() {
    let shop = owing().await;
    shop.stripe.with(|state| {
        state.failures.push(Failure { path: "/v1/".into(), status: 503, after: false, times: 3, delay_ms: 0 })
    });
    let late = now_ms() + GRACE_MS + 1;
    shop.billing.round(late).await;
    assert_eq!((shop.plan().await, shop.live_subscriptions()), (Plan::Sandbox, 1));
    assert_eq!(shop.billing.round(late + DAY_MS).await, 1, "looked at again");
    assert_eq!((shop.plan().await, shop.live_subscriptions()), (Plan::Sandbox, 0));
}

#[tokio::test]
async fn another_card_in_the_portal_pays_and_the_grace_is_over() {
    let shop = owing().await;
    let url = shop.billing.portal(&shop.account.id, "http://127.0.0.1:1/dash/billing").await.unwrap();
    shop.stripe.press(&url, "card").unwrap();
    shop.until(async || shop.known().await.status == Status::Active, "the payment").await;
    assert_eq!((shop.known().await.standing(now_ms()), shop.plan().await), (Standing::Quiet, Plan::Pro));
    shop.billing.round(now_ms() + GRACE_MS + 1).await;
    assert_eq!(shop.plan().await, Plan::Pro);
}

#[tokio::test]
async fn when_stripe_gives_up_first_the_plan_is_taken_back_then() {
    let shop = owing().await;
    let id = shop.known().await.subscription_id.unwrap();
    shop.stripe.with(|state| drop(state.end(&id)));
    shop.becomes(Plan::Sandbox).await;
    assert!(shop.known().await.ended_unpaid);
}

#[tokio::test]
async fn an_organisation_that_is_ended_is_charged_no_more_and_gets_its_credit() {
    let shop = Shop::paying(Plan::Pro).await;
    shop.stripe.with(|state| state.posting = Posting::Lost);
    let by = By { user_id: None, label: "a test".to_owned(), client: Client::default(), via: Via::Cli };
    tenancy::organisation::delete(&shop.db, &by, &shop.account.id).await.unwrap();
    assert_eq!((shop.billing.round(now_ms() + 1).await, shop.live_subscriptions()), (1, 0));
    let ended = shop.stripe.requests().into_iter().find(|r| r.method == "DELETE").unwrap();
    assert_eq!(ended.params["prorate"], "true");
    assert_eq!(shop.billing.round(now_ms() + GRACE_MS).await, 0);
}

#[tokio::test]
async fn each_turn_stands_once_in_the_log_of_the_organisation() {
    let shop = owing().await;
    let id = shop.known().await.subscription_id.unwrap();
    shop.stripe.with(|state| drop(state.end(&id)));
    shop.becomes(Plan::Sandbox).await;
    let told = async || {
        let filter = audit::Filter { action: Some("plan"), limit: 100, ..audit::Filter::default() };
        audit::list(&shop.db, &shop.account.id, filter).await.unwrap()
    };
    shop.until(async || told().await.len() == 3, "three rows").await;
    let rows: Vec<_> =
        told().await.into_iter().rev().map(|row| (row.actor, row.action, row.target)).collect();
    let row = |action: &str, target: &str| ("Stripe".to_owned(), action.to_owned(), target.to_owned());
    assert_eq!(rows, [row("plan.grant", "Pro"), row("plan.unpaid", ""), row("plan.end", "Pro")]);
}
