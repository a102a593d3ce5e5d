//! Buying and changing a plan.

use std::time::Instant;

use billing::{Billing, BillingError, Buyer, Opened, Returned};
use fakestripe::{Failure, Posting};
use serde_json::json;
use tenancy::plan::Plan;
use tenancy::{changes, user};

use crate::support::{Shop, config};

#[tokio::test]
async fn the_return_from_a_checkout_lifts_the_plan_at_once_without_an_event() {
    let shop = Shop::open().await;
    shop.stripe.with(|state| state.posting = Posting::Lost);
    let opened = shop.checkout(Plan::Pro).await;
    assert_eq!(shop.plan().await, Plan::Sandbox, "opening is not paying");
    let session = shop.pay(&opened);
    let (before, began) = (changes::last(&shop.db).await.unwrap(), Instant::now());
    let returned = shop.billing.returned(&shop.account, &session).await.unwrap();
    assert_eq!((returned, shop.plan().await), (Returned::Granted(Plan::Pro), Plan::Pro));
    assert!(began.elapsed().as_secs() < 3);
    assert!(changes::last(&shop.db).await.unwrap() > before, "nodes are told");
    let known = shop.known().await;
    assert_eq!((known.card.as_str(), known.is_live(), known.checkout), ("visa •••• 4242", true, None));
}

#[tokio::test]
async fn a_checkout_asks_for_what_stripe_needs_to_know() {
    let shop = Shop::open().await;
    shop.checkout(Plan::Startup).await;
    let requests = shop.stripe.requests();
    let checkout = requests.iter().find(|r| r.path == "/v1/checkout/sessions").unwrap();
    for (name, value) in [
        ("mode", "subscription"),
        ("client_reference_id", shop.account.id.as_str()),
        ("line_items[0][price]", "price_startup"),
        ("subscription_data[metadata][account]", shop.account.id.as_str()),
        ("automatic_tax[enabled]", "true"),
        ("customer_update[address]", "auto"),
    ] {
        assert_eq!(checkout.params.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert!(checkout.idempotency_key.is_some());
    assert!(requests.iter().all(|r| r.status == 200), "{requests:?}");
}

#[tokio::test]
async fn pressing_again_gives_the_same_checkout_and_another_plan_closes_it() {
    let shop = Shop::open().await;
    let first = shop.checkout(Plan::Startup).await;
    assert_eq!(shop.checkout(Plan::Startup).await, first);
    let other = shop.checkout(Plan::Pro).await;
    assert_ne!(other, first);
    assert_eq!(shop.stripe.press(&first.url, "pay"), None, "the first one can't be paid any more");
    shop.pay(&other);
    shop.becomes(Plan::Pro).await;
    assert!(matches!(
        shop.billing.checkout(shop.buyer(), Plan::Startup).await,
        Err(BillingError::Subscribed)
    ));
    assert_eq!((shop.live_subscriptions(), shop.stripe.all("customers").len()), (1, 1));
}

/// Presses the button eight times at once, on two nodes; the checkouts that were given.
async fn eight_presses(shop: &Shop, plans: [Plan; 2]) -> Vec<Opened> {
    let other_node = Billing::new(shop.db.clone(), config(&shop.stripe));
    let presses = (0..8).map(|n| {
        let billing = if n % 2 == 0 { shop.billing.clone() } else { other_node.clone() };
        let (account, plan) = (shop.account.clone(), plans[usize::from(n % 3 == 0)]);
        tokio::spawn(async move {
            let success_url = format!("http://127.0.0.1:1/{n}?session={{CHECKOUT_SESSION_ID}}");
            let cancel_url = "http://127.0.0.1:1/";
            let buyer =
                Buyer { account: &account, email: "a@b.example", success_url: &success_url, cancel_url };
            billing.checkout(buyer, plan).await
        })
    });
    let mut opened = Vec::new();
    for press in presses.collect::<Vec<_>>() {
        opened.extend(press.await.unwrap().ok());
    }
    opened
}

#[tokio::test]
async fn many_presses_on_two_nodes_at_once_open_one_checkout() {
    let shop = Shop::open().await;
    let opened = eight_presses(&shop, [Plan::Pro; 2]).await;
    assert_eq!(opened.len(), 8);
    assert!(opened.iter().all(|one| *one == opened[0]), "{opened:?}");
    assert_eq!((shop.stripe.all("sessions").len(), shop.stripe.all("customers").len()), (1, 1));
    shop.pay(&opened[0]);
    shop.becomes(Plan::Pro).await;
}

#[tokio::test]
async fn presses_for_two_plans_at_once_leave_at_most_one_checkout_to_pay() {
    let shop = Shop::open().await;
    let opened = eight_presses(&shop, [Plan::Pro, Plan::Startup]).await;
    let open = shop.stripe.all("sessions").iter().filter(|one| one["status"] == "open").count();
    assert!(open <= 1, "{open}");
    let paid = opened.iter().filter(|one| shop.stripe.press(&one.url, "pay").is_some()).count();
    assert_eq!((paid, shop.live_subscriptions()), (open, open));
    // However they got in each other's way, the next press works.
    if paid == 0 {
        shop.pay(&shop.checkout(Plan::Pro).await);
    }
    assert_eq!(shop.live_subscriptions(), 1);
}

#[tokio::test]
async fn a_checkout_that_was_paid_meanwhile_is_found_instead_of_a_second_one() {
    let shop = Shop::open().await;
    shop.stripe.with(|state| state.posting = Posting::Lost);
    let opened = shop.checkout(Plan::Startup).await;
    shop.pay(&opened);
    assert!(matches!(shop.billing.checkout(shop.buyer(), Plan::Pro).await, Err(BillingError::Subscribed)));
    assert_eq!((shop.plan().await, shop.live_subscriptions()), (Plan::Startup, 1));
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_with_the_same_key_and_nothing_is_made_twice() {
    let shop = Shop::open().await;
    let lost = |path: &str| Failure { path: path.to_owned(), status: 0, after: true, times: 1, delay_ms: 0 };
    shop.stripe.with(|state| state.failures = vec![lost("/v1/customers"), lost("/v1/checkout/sessions")]);
    let opened = shop.checkout(Plan::Pro).await;
    assert_eq!((shop.stripe.all("customers").len(), shop.stripe.all("sessions").len()), (1, 1));
    assert_eq!((shop.calls("POST", "/v1/customers"), shop.calls("POST", "/v1/checkout")), (2, 2));
    shop.pay(&opened);
    shop.becomes(Plan::Pro).await;
}

#[tokio::test]
async fn the_checkout_of_somebody_else_grants_nothing() {
    let shop = Shop::open().await;
    let session = shop.pay(&shop.checkout(Plan::Pro).await);
    let (_, eve) =
        user::sign_up(&shop.db, "eve@shop.example", "correct horse 8", Plan::Sandbox).await.unwrap();
    let mut buyer = shop.buyer();
    buyer.account = &eve;
    shop.billing.checkout(buyer, Plan::Startup).await.unwrap();
    for (account, session) in [
        (&eve, session.as_str()),
        (&shop.account, "cs_test_unknown"),
        (&shop.account, "../customers"),
        (&shop.account, ""),
    ] {
        assert!(
            matches!(shop.billing.returned(account, session).await, Err(BillingError::Foreign)),
            "{session}"
        );
    }
    assert_eq!(tenancy::account::find(&shop.db, &eve.id).await.unwrap().unwrap().plan, Plan::Sandbox);
}

#[tokio::test]
async fn what_is_not_sold_can_not_be_bought() {
    let shop = Shop::open().await;
    for plan in [Plan::Sandbox, Plan::Unlimited, Plan::GrowthPlus] {
        assert!(matches!(shop.billing.checkout(shop.buyer(), plan).await, Err(BillingError::NotSold)));
        assert!(matches!(shop.billing.change(&shop.account.id, plan).await, Err(BillingError::NotSold)));
    }
    assert!(shop.stripe.requests().is_empty());
    let sold: Vec<_> = shop
        .billing
        .offers()
        .await
        .into_iter()
        .map(|offer| (offer.plan, offer.amount.unwrap().money.to_string()))
        .collect();
    let expected = [(Plan::Startup, "EUR 49.00"), (Plan::Pro, "EUR 99.00"), (Plan::Business, "EUR 299.00")];
    assert_eq!(sold, expected.map(|(plan, money)| (plan, money.to_owned())));
    shop.billing.offers().await;
    assert_eq!(shop.calls("GET", "/v1/prices"), 3, "amounts are remembered");
}

#[tokio::test]
async fn another_plan_takes_the_place_of_the_present_one() {
    let shop = Shop::paying(Plan::Startup).await;
    shop.billing.change(&shop.account.id, Plan::Business).await.unwrap();
    assert_eq!(shop.plan().await, Plan::Business);
    let invoices = shop.stripe.all("invoices");
    assert_eq!(invoices.last().unwrap()["total"], json!(29_900 - 4_900), "the difference is charged at once");
    shop.billing.change(&shop.account.id, Plan::Startup).await.unwrap();
    assert_eq!((shop.plan().await, shop.stripe.all("invoices").len()), (Plan::Startup, invoices.len()));
    shop.billing.change(&shop.account.id, Plan::Startup).await.unwrap();
    assert_eq!(shop.calls("POST", "/v1/subscriptions/"), 2, "the same plan again is nothing to do");
    assert_eq!(shop.live_subscriptions(), 1);
    let (made, next) = shop.billing.invoices(&shop.known().await).await.unwrap();
    assert_eq!((made.len(), next.unwrap().money().to_string()), (2, "EUR 49.00".to_owned()));
}

#[tokio::test]
async fn a_declined_card_changes_nothing() {
    let shop = Shop::paying(Plan::Startup).await;
    let customer = shop.known().await.customer_id;
    shop.stripe.with(|state| state.card_works(&customer, false));
    let error = shop.billing.change(&shop.account.id, Plan::Pro).await.unwrap_err();
    assert!(matches!(&error, BillingError::Stripe(error) if error.is_declined()), "{error}");
    assert_eq!(shop.plan().await, Plan::Startup);
}

#[tokio::test]
async fn a_cancelled_plan_is_kept_to_the_end_of_its_period_and_can_be_taken_up_again() {
    let shop = Shop::paying(Plan::Pro).await;
    let ending = shop.billing.cancel_at_period_end(&shop.account.id, true).await.unwrap();
    assert!(ending.cancel_at_period_end && shop.plan().await == Plan::Pro);
    assert_eq!(shop.billing.invoices(&ending).await.unwrap().1.map(|invoice| invoice.total), None);
    let resumed = shop.billing.cancel_at_period_end(&shop.account.id, false).await.unwrap();
    assert!(!resumed.cancel_at_period_end);
    shop.billing.cancel_at_period_end(&shop.account.id, true).await.unwrap();
    shop.stripe.with(|state| state.renew(&resumed.customer_id));
    shop.becomes(Plan::Sandbox).await;
    assert!(!shop.known().await.ended_unpaid);
    assert!(matches!(
        shop.billing.cancel_at_period_end(&shop.account.id, true).await,
        Err(BillingError::NoSubscription)
    ));
    assert!(matches!(
        shop.billing.change(&shop.account.id, Plan::Pro).await,
        Err(BillingError::NoSubscription)
    ));

    shop.pay(&shop.checkout(Plan::Startup).await);
    shop.becomes(Plan::Startup).await;
}

#[tokio::test]
async fn the_portal_is_the_customers_own() {
    let shop = Shop::paying(Plan::Pro).await;
    let url = shop.billing.portal(&shop.account.id, "http://127.0.0.1:1/dash/billing").await.unwrap();
    assert_eq!(shop.stripe.press(&url, "leave").as_deref(), Some("http://127.0.0.1:1/dash/billing"));
    let (_, eve) =
        user::sign_up(&shop.db, "eve@shop.example", "correct horse 8", Plan::Sandbox).await.unwrap();
    assert!(matches!(shop.billing.portal(&eve.id, "http://x/").await, Err(BillingError::NoSubscription)));
}
