//! `GET /v1/billing`: the plan and its payment, for who pays; on a server that bills nobody it is not there.

use http::StatusCode;
use serde_json::{Value, json};
use tenancy::clock::now_ms;
use tenancy::member::{self, Place};
use tenancy::plan::Plan;
use tenancy::quota::{self, Numbers};
use tenancy::role::Role;
use tenancy::subscription::{self, Fetched, GRACE_MS, Status};
use tenancy::token::Scope;

use crate::site::{Person, Site};

/// 2027-01-15, when what was paid for runs out.
const PERIOD_END_MS: i64 = 1_800_000_000_000;

fn fetched(status: Status) -> Fetched {
    Fetched {
        subscription_id: "sub_1".to_owned(),
        plan: Plan::Pro,
        status,
        period_end_ms: Some(PERIOD_END_MS),
        cancel_at_period_end: false,
        card: "visa •••• 4242".to_owned(),
    }
}

async fn stripe_says(site: &Site, shop: &Person, found: Fetched, at_ms: i64) {
    let id = &shop.account.id;
    let number = subscription::begin_fetch(&site.db, id).await.unwrap().unwrap();
    subscription::apply(&site.db, id, number, Some(found), None, at_ms).await.unwrap().unwrap();
}

fn ms(time: &Value) -> i64 {
    time.as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_millisecond()
}

#[tokio::test(flavor = "multi_thread")]
async fn billing_tells_the_plan_its_limits_here_and_how_it_is_paid() {
    let site = Site::open().await;
    let shop = site.person("ana@shop.example").await;
    let token = shop.token(&site, &[Scope::BillingRead]).await;
    let ask = async || site.ask("GET", "/v1/billing", Some(&token), None).await.json();
    let free = ask().await;
    let expected = json!({
        "plan": "sandbox",
        "limits": {
            "connections_max": 100, "messages_per_day_max": 200_000,
            "publishes_per_second_max": 1_000, "reads_per_second_max": 500,
        },
        "status": "none", "payment": null, "period_ends_at": null, "cancel_at_period_end": false, "grace_ends_at": null,
    });
    assert_eq!(free, expected);

    let numbers = Numbers { messages_per_day_max: None, ..Numbers::of_catalogue(Plan::Pro) };
    quota::put(&site.db, "pro", numbers, false).await.unwrap();
    subscription::put_customer(&site.db, &shop.account.id, "cus_1", 1).await.unwrap();
    stripe_says(&site, &shop, fetched(Status::Active), now_ms()).await;
    let paid = ask().await;
    assert_eq!(
        (&paid["plan"], &paid["status"], &paid["payment"]),
        (&json!("pro"), &json!("active"), &json!("paid"))
    );
    assert_eq!(
        (&paid["limits"]["connections_max"], &paid["limits"]["messages_per_day_max"]),
        (&json!(2_000), &Value::Null)
    );
    assert_eq!(
        (&paid["period_ends_at"], &paid["cancel_at_period_end"]),
        (&json!("2027-01-15T08:00:00.000Z"), &json!(false))
    );
    assert_eq!(paid["grace_ends_at"], Value::Null);
    assert!(!paid.to_string().contains("4242") && !paid.to_string().contains("cus_1"), "{paid}");

    stripe_says(&site, &shop, Fetched { cancel_at_period_end: true, ..fetched(Status::Active) }, now_ms())
        .await;
    assert_eq!(ask().await["cancel_at_period_end"], true);

    let since = now_ms();
    stripe_says(&site, &shop, fetched(Status::PastDue), since).await;
    let owing = ask().await;
    assert_eq!(
        (&owing["plan"], &owing["status"], &owing["payment"]),
        (&json!("pro"), &json!("past_due"), &json!("missing"))
    );
    assert_eq!(ms(&owing["grace_ends_at"]), since + GRACE_MS);

    stripe_says(&site, &shop, fetched(Status::Ended), now_ms()).await;
    let ended = ask().await;
    assert_eq!(
        (&ended["plan"], &ended["status"], &ended["payment"]),
        (&json!("sandbox"), &json!("ended"), &Value::Null)
    );
    assert_eq!((&ended["period_ends_at"], &ended["grace_ends_at"]), (&Value::Null, &Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn billing_is_for_who_pays_and_is_not_there_on_a_server_that_bills_nobody() {
    let site = Site::open().await;
    let shop = site.person("ana@shop.example").await;
    let other = site.member("bo@shop.example", Role::Owner, &shop).await;
    let token = other.token(&site, &[Scope::BillingRead]).await;
    for role in Role::ALL.into_iter().rev() {
        member::change(
            &site.db,
            &shop.by,
            Role::Owner,
            &shop.account.id,
            &other.user.id,
            &Place { role, apps: None },
        )
        .await
        .unwrap();
        let answer = site.ask("GET", "/v1/billing", Some(&token), None).await;
        let may = matches!(role, Role::Owner | Role::Billing);
        assert_eq!(answer.status.is_success(), may, "{role:?} {}", answer.body);
        assert_eq!(answer.code(), if may { "none" } else { "role" }, "{role:?}");
    }
    let site = Site::that_bills_nobody().await;
    let token = site.person("ana@shop.example").await.token(&site, &[Scope::BillingRead]).await;
    let none = site.ask("GET", "/v1/billing", Some(&token), None).await;
    assert_eq!((none.status, none.code()), (StatusCode::NOT_FOUND, "not_found"));
    let refused = site.ask("GET", "/v1/billing", None, None).await;
    assert_eq!((refused.status, refused.code()), (StatusCode::UNAUTHORIZED, "no_token"));
}
