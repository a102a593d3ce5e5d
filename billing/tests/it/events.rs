//! Events: late, doubled, turned around, lost, forged, and while Stripe or the database is away.

use billing::Billing;
use fakestripe::{Failure, Posting, SECRET_KEY, WEBHOOK_SECRET};
use http::{Request, StatusCode};
use tenancy::plan::Plan;
use tenancy::{now_ms, subscription};
use tower::ServiceExt;

use crate::support::{Shop, config};

async fn post(billing: &Billing, signature: Option<String>, body: String) -> StatusCode {
    let mut request = Request::post("/stripe/webhook");
    if let Some(signature) = signature {
        request = request.header("stripe-signature", signature);
    }
    billing.router().oneshot(request.body(axum::body::Body::from(body)).unwrap()).await.unwrap().status()
}

fn event(customer: &str, id: &str) -> String {
    format!(
        r#"{{"id":"{id}","object":"event","type":"customer.subscription.updated","created":1,"livemode":false,"data":{{"object":{{"id":"sub_1","customer":"{customer}","status":"active"}}}}}}"#
    )
}

fn now_s() -> i64 {
    now_ms() / 1_000
}

#[tokio::test]
async fn a_paid_checkout_is_found_by_its_event_alone() {
    let shop = Shop::open().await;
    let opened = shop.checkout(Plan::Pro).await;
    shop.pay(&opened);
    shop.becomes(Plan::Pro).await;
}

#[tokio::test]
async fn events_in_the_wrong_order_and_many_times_come_to_the_present_state() {
    let shop = Shop::open().await;
    shop.stripe.with(|state| state.posting = Posting::Held);
    shop.pay(&shop.checkout(Plan::Pro).await);
    let customer = shop.known().await.customer_id;
    let known = shop.stripe.all("subscriptions")[0]["id"].as_str().unwrap().to_owned();
    shop.stripe.with(|state| {
        state.renew(&customer);
        state.end(&known);
    });
    // `deleted` first, then `updated` and `created`, whose copies say "active".
    shop.stripe.with(|state| state.release(true, 3));
    let answered = async || {
        shop.stripe.with(|state| state.answers.iter().filter(|(_, status)| *status == 200).count()) >= 18
    };
    shop.until(answered, "answers").await;
    assert_eq!(shop.plan().await, Plan::Sandbox);
    assert_eq!(shop.known().await.status, subscription::Status::Ended);
}

#[tokio::test]
async fn fifty_copies_of_an_event_at_once_have_one_effect() {
    let shop = Shop::open().await;
    shop.stripe.with(|state| state.posting = Posting::Lost);
    shop.pay(&shop.checkout(Plan::Pro).await);
    let body = event(&shop.known().await.customer_id, "evt_same");
    let before = tenancy::changes::last(&shop.db).await.unwrap();
    let copies: Vec<_> = (0..50)
        .map(|_| {
            let (billing, body) = (shop.billing.clone(), body.clone());
            let signature = fakestripe::signature(WEBHOOK_SECRET, &body, now_s());
            tokio::spawn(async move { post(&billing, Some(signature), body).await })
        })
        .collect();
    for copy in copies {
        assert_eq!(copy.await.unwrap(), StatusCode::OK);
    }
    assert_eq!(shop.plan().await, Plan::Pro);
    assert_eq!(tenancy::changes::last(&shop.db).await.unwrap(), before + 1, "one app, one change");
    let asked = shop.calls("GET", "/v1/subscriptions");
    let signature = fakestripe::signature(WEBHOOK_SECRET, &body, now_s());
    assert_eq!(post(&shop.billing, Some(signature), body).await, StatusCode::OK);
    assert_eq!(shop.calls("GET", "/v1/subscriptions"), asked, "what was worked in is not asked about again");
}

#[tokio::test]
async fn a_forged_old_or_changed_event_has_no_effect() {
    let shop = Shop::open().await;
    shop.stripe.with(|state| state.posting = Posting::Lost);
    shop.pay(&shop.checkout(Plan::Pro).await);
    let body = event(&shop.known().await.customer_id, "evt_1");
    let sign = |secret: &str, at_s: i64| Some(fakestripe::signature(secret, &body, at_s));
    let asked = shop.stripe.requests().len();
    for (signature, sent) in [
        (None, body.clone()),
        (Some("t=1,v1=00".to_owned()), body.clone()),
        (sign("whsec_guessed", now_s()), body.clone()),
        (sign(SECRET_KEY, now_s()), body.clone()),
        (sign(WEBHOOK_SECRET, now_s() - 301), body.clone()),
        (sign(WEBHOOK_SECRET, now_s() + 310), body.clone()),
        (sign(WEBHOOK_SECRET, now_s()), body.replace("evt_1", "evt_2")),
    ] {
        assert_eq!(post(&shop.billing, signature, sent).await, StatusCode::BAD_REQUEST);
    }
    let live = body.replace("\"livemode\":false", "\"livemode\":true");
    let signature = fakestripe::signature(WEBHOOK_SECRET, &live, now_s());
    assert_eq!(post(&shop.billing, Some(signature), live).await, StatusCode::BAD_REQUEST, "of real money");
    assert_eq!(
        post(&shop.billing, sign(WEBHOOK_SECRET, now_s()), "x".repeat(300_000)).await,
        StatusCode::PAYLOAD_TOO_LARGE
    );
    assert_eq!((shop.plan().await, shop.stripe.requests().len()), (Plan::Sandbox, asked));
}

#[tokio::test]
async fn an_event_that_claims_a_payment_which_stripe_does_not_know_grants_nothing() {
    let shop = Shop::open().await;
    shop.checkout(Plan::Pro).await;
    let body = event(&shop.known().await.customer_id, "evt_1");
    let signature = fakestripe::signature(WEBHOOK_SECRET, &body, now_s());
    assert_eq!(post(&shop.billing, Some(signature), body).await, StatusCode::OK);
    assert_eq!(shop.plan().await, Plan::Sandbox);
    for (kind, customer) in
        [("customer.subscription.updated", "cus_of_another_shop"), ("charge.succeeded", "cus_1")]
    {
        let body = event(customer, "evt_3").replace("customer.subscription.updated", kind);
        let signature = fakestripe::signature(WEBHOOK_SECRET, &body, now_s());
        assert_eq!(post(&shop.billing, Some(signature), body).await, StatusCode::OK, "{kind}");
    }
}

#[tokio::test]
async fn while_stripe_is_away_the_event_is_refused_and_its_repeat_is_worked_in() {
    let shop = Shop::open().await;
    let opened = shop.checkout(Plan::Pro).await;
    // Three events, three tries each.
    let away = Failure { path: "/v1/subscriptions".into(), status: 503, after: false, times: 9, delay_ms: 0 };
    shop.stripe.with(|state| state.failures.push(away));
    shop.pay(&opened);
    shop.becomes(Plan::Pro).await;
    let answers = shop.stripe.with(|state| state.answers.clone());
    assert!(answers.iter().any(|(_, status)| *status == 503), "{answers:?}");
}

#[tokio::test]
async fn a_payment_whose_event_and_return_were_lost_is_found_by_looking() {
    let shop = Shop::open().await;
    shop.stripe.with(|state| state.posting = Posting::Lost);
    shop.pay(&shop.checkout(Plan::Pro).await);
    assert_eq!(shop.billing.round(now_ms()).await, 0, "not yet due");
    let other_node = Billing::new(shop.db.clone(), config(&shop.stripe));
    let asked = shop.calls("GET", "/v1/subscriptions");
    let soon = now_ms() + 60_000;
    let (one, two) = tokio::join!(shop.billing.round(soon), other_node.round(soon));
    assert_eq!(one + two, 1, "one of the nodes looks");
    assert_eq!((shop.plan().await, shop.calls("GET", "/v1/subscriptions")), (Plan::Pro, asked + 1));
    assert_eq!(shop.billing.round(soon).await, 0, "and not again at once");
}

#[tokio::test]
async fn a_second_subscription_is_ended_and_credited() {
    let shop = Shop::paying(Plan::Startup).await;
    let customer = shop.known().await.customer_id;
    shop.stripe.with(|state| {
        state.clock_ahead_s = 10;
        state.subscribe(&customer, "price_pro")
    });
    shop.until(async || shop.live_subscriptions() == 1, "the second one to end").await;
    let ended = shop.stripe.requests().into_iter().find(|r| r.method == "DELETE").unwrap();
    assert_eq!(ended.params["prorate"], "true");
    assert_eq!(shop.plan().await, Plan::Startup);
}

#[tokio::test]
async fn no_secret_is_in_what_is_logged() {
    let shop = Shop::open().await;
    let shown = format!("{:?}", shop.billing);
    assert!(!shown.contains(SECRET_KEY) && !shown.contains(WEBHOOK_SECRET), "{shown}");
    shop.stripe.with(|state| {
        state.failures.push(Failure { path: "/v1/".into(), status: 401, after: false, times: 9, delay_ms: 0 })
    });
    let error = shop.billing.checkout(shop.buyer(), Plan::Pro).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains(SECRET_KEY), "{error:?}");
}
