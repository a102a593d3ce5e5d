//! The pages of the billing, over a server that behaves as Stripe does; and that there is no trace of them without keys.

use ::billing::{Billing, BillingConfig};
use axum::body::Body;
use fakestripe::{Failure, Fake, METERED, PRICES, SECRET_KEY, WEBHOOK_SECRET};
use http::{Request, StatusCode};
use tenancy::account::Account;
use tenancy::plan::Plan;
use tenancy::quota::{self, Numbers};
use tenancy::role::Role;
use tenancy::subscription::{self, Fetched, Status};
use tenancy::usage::UsageDelta;

use crate::support::{Answer, Browser, Site, config, form};

const PAGE: &str = "/dash/billing";
const EMAIL: &str = "ana@shop.example";
/// Addresses of the billing that take a POST.
const POSTS: [&str; 6] = ["checkout", "change", "cancel", "resume", "portal", "overage"];

struct Shop {
    site: Site,
    stripe: Fake,
    ana: Browser,
}

/// A site that sells plans, and who it sells them through.
pub(crate) async fn selling() -> (Site, Fake) {
    let stripe = Fake::local().await;
    let prices: Vec<String> = PRICES.iter().map(|(plan, price, _)| format!("{plan}={price}")).collect();
    let prices = prices.join(",");
    let settings = BillingConfig::parse(SECRET_KEY, WEBHOOK_SECRET, Some(stripe.base()), &prices, false)
        .and_then(|settings| settings.with_overage(&format!("{}={}", METERED.0, METERED.1)))
        .unwrap();
    let site = Site::over(|db| {
        let billing = Some(Billing::new(db.clone(), settings));
        dashboard::DashboardConfig { billing, ..config() }
    })
    .await;
    (site, stripe)
}

impl Shop {
    async fn open() -> Shop {
        let (site, stripe) = selling().await;
        let ana = site.person(EMAIL).await;
        Shop { site, stripe, ana }
    }

    async fn account(&self) -> Account {
        tenancy::user::find_by_email(&self.site.db, EMAIL).await.unwrap().unwrap().1
    }

    async fn press(&mut self, step: &str, fields: &[(&str, &str)]) -> Answer {
        self.ana.submit(PAGE, &format!("{PAGE}/{step}"), fields).await
    }

    /// Buys a plan as a person does; the answer to the return.
    async fn buy(&mut self, plan: &str, from: &str) -> Answer {
        let answer = self.press("checkout", &[("plan", plan), ("from", from)]).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.body);
        assert!(
            answer.location().starts_with(&format!("{}/pay/", self.stripe.base())),
            "{}",
            answer.location()
        );
        let back = self.stripe.press(answer.location(), "pay").unwrap();
        self.ana.get(back.strip_prefix("http://127.0.0.1:6001").unwrap()).await
    }

    async fn page(&mut self) -> String {
        let answer = self.ana.get(PAGE).await;
        assert_eq!(answer.status, StatusCode::OK);
        answer.body
    }

    /// Writes down how the subscription stands, as if Stripe had said so at this time.
    async fn stands(&self, status: Status, now_ms: i64) {
        let account = self.account().await;
        let known = subscription::of_account(&self.site.db, &account.id).await.unwrap().unwrap();
        let number = subscription::begin_fetch(&self.site.db, &account.id).await.unwrap().unwrap();
        let found = Fetched {
            subscription_id: known.subscription_id.unwrap(),
            plan: known.plan.unwrap(),
            status,
            period_end_ms: Some(now_ms),
            cancel_at_period_end: false,
            card: known.card,
        };
        subscription::apply(&self.site.db, &account.id, number, Some(found), None, now_ms).await.unwrap();
    }
}

#[tokio::test]
async fn without_keys_there_is_no_trace_of_billing() {
    let site = Site::open().await;
    let mut ana = site.person(EMAIL).await;
    let id = ana.new_app("shop").await;
    let token = ana.token("/dash/account").await;
    for path in [
        "/dash",
        "/dash/account",
        "/dash/apps/new",
        &format!("/dash/apps/{id}"),
        &format!("/dash/apps/{id}/settings"),
        "/login",
    ] {
        let answer = ana.get(path).await;
        let body = answer.body.to_lowercase();
        for word in ["billing", "stripe", "upgrade", "invoice", "checkout"] {
            assert!(
                !body.contains(word) || word == "checkout" && body.contains("presence-checkout"),
                "{path}: {word}"
            );
        }
        assert!(answer.header("content-security-policy").contains("form-action 'self';"), "{path}");
    }
    for path in ["", "/change/pro", "/return?session=cs_1"] {
        assert_eq!(ana.get(&format!("{PAGE}{path}")).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    for step in POSTS {
        let answer = ana.post(&format!("{PAGE}/{step}"), &[("csrf", &token), ("plan", "pro")]).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{step}");
    }
}

#[tokio::test]
async fn who_chooses_a_plan_pays_at_stripe_and_comes_back_to_lifted_limits() {
    let mut shop = Shop::open().await;
    let id = shop.ana.new_app("shop").await;
    let before = shop.page().await;
    for text in
        ["You're on the free plan. Nothing to pay.", "EUR 49.00", "EUR 299.00", "a month", "Choose Pro"]
    {
        assert!(before.contains(text), "{text}\n{before}");
    }
    assert!(!before.contains("data-test=\"portal\"") && !before.contains("Growth Plus"));
    let home = format!("/dash/apps/{id}");
    let answer = shop.buy("pro", &home).await;
    assert_eq!((answer.status, answer.location()), (StatusCode::SEE_OTHER, home.as_str()));
    assert_eq!(shop.account().await.plan, Plan::Pro);
    let after = shop.page().await;
    for text in [
        "data-plan=\"pro\"",
        "visa •••• 4242",
        "Next invoice",
        "EUR 99.00 on ",
        "data-test=\"invoice\"",
        "Change to Business",
        "Cancel the plan",
    ] {
        assert!(after.contains(text), "{text}\n{after}");
    }
    assert!(!after.contains("Choose "));
    assert!(shop.ana.get("/dash").await.body.contains("Pro plan"));
    let export = shop.ana.submit("/dash/account", "/dash/account/export", &[]).await.body;
    assert!(export.contains("\"card\":\"visa •••• 4242\""), "{export}");
    let policy = shop.ana.get(PAGE).await.header("content-security-policy").to_owned();
    assert!(policy.contains(&format!("form-action 'self' {};", shop.stripe.base())), "{policy}");
}

#[tokio::test]
async fn the_peak_of_thirty_days_is_drawn_onto_each_plan() {
    let mut shop = Shop::open().await;
    let id = shop.ana.new_app("shop").await;
    let today = tenancy::clock::day_of(tenancy::now_ms());
    let day = |ago: u32, deliveries: i64, connections_peak: i64| UsageDelta {
        app_id: id,
        day: today - ago,
        deliveries,
        connections_peak,
        ..UsageDelta::default()
    };
    let days = [day(0, 1_000, 87), day(29, 250_000, 12), day(31, 9_000_000, 9_000)];
    tenancy::usage::add(&shop.site.db, &days).await.unwrap();
    let page = shop.page().await;
    let (_, sandbox) = page.split_once("data-test=\"plan-sandbox\"").unwrap();
    let (sandbox, startup) = sandbox.split_once("data-test=\"plan-startup\"").unwrap();
    assert!(
        sandbox.contains("your peak 87 fits") && sandbox.contains("your peak 250,000 does not fit"),
        "{sandbox}"
    );
    assert!(startup.contains("your peak 87 fits") && startup.contains("your peak 250,000 fits"));
    assert!(
        page.contains("data-test=\"peak-connections\">87<")
            && page.contains("data-test=\"peak-messages\">250,000<")
    );

    shop.buy("startup", "").await;
    let cancel = shop.ana.get(&format!("{PAGE}/change/sandbox")).await;
    assert!(
        cancel.body.contains(
            "On 1 day more than 200,000 messages were counted: 50,000 messages would have been refused."
        ),
        "{}",
        cancel.body
    );
    let larger = shop.ana.get(&format!("{PAGE}/change/business")).await;
    assert!(
        larger.body.contains("Stripe charges the difference") && !larger.body.contains("would have refused")
    );
}

#[tokio::test]
async fn plans_are_told_with_the_limits_that_they_have_on_this_server() {
    let mut shop = Shop::open().await;
    let edit = async |name, connections_max, messages_per_day_max| {
        let numbers = Numbers { connections_max, messages_per_day_max, ..Numbers::default() };
        quota::put(&shop.site.db, name, numbers, false).await.unwrap();
    };
    edit("sandbox", Some(7), Some(1_234)).await;
    edit("startup", Some(3_000), None).await;
    let page = shop.page().await;
    let column = |name| {
        page.split(&format!("data-test=\"plan-{name}\"")).nth(1).unwrap().split("</li>").next().unwrap()
    };
    let sandbox = column("sandbox");
    assert!(
        sandbox.contains("<b>7</b> connections") && sandbox.contains("<b>1,234</b> messages a day"),
        "{sandbox}"
    );
    let startup = column("startup");
    assert!(
        startup.contains("<b>3,000</b> connections") && startup.contains("<b>No limit</b> on messages a day")
    );

    // What is larger, and so charged at once, goes by these numbers too: 3,000 connections are more than 2,000.
    shop.buy("pro", "").await;
    let larger = shop.ana.get(&format!("{PAGE}/change/startup")).await.body;
    assert!(larger.contains("Stripe charges the difference"), "{larger}");
    let page = shop.page().await;
    assert!(!page.contains("<b>500</b>") && !page.contains("<b>100</b>"), "{page}");
}

#[tokio::test]
async fn a_plan_is_changed_cancelled_and_taken_up_again() {
    let mut shop = Shop::open().await;
    shop.buy("startup", "").await;
    let answer = shop.press("change", &[("plan", "business")]).await;
    assert_eq!(answer.location(), "/dash/billing?done=changed");
    assert_eq!(shop.account().await.plan, Plan::Business);
    assert_eq!(shop.press("cancel", &[]).await.location(), "/dash/billing?done=canceled");
    let page = shop.page().await;
    assert!(
        page.contains("Ends on") && page.contains("data-test=\"resume\"") && !page.contains("Next invoice")
    );
    assert_eq!(shop.press("resume", &[]).await.location(), "/dash/billing?done=resumed");
    assert!(!shop.page().await.contains("Ends on"));
    let portal = shop.press("portal", &[]).await;
    assert_eq!(
        shop.stripe.press(portal.location(), "leave").as_deref(),
        Some("http://127.0.0.1:6001/dash/billing")
    );

    let customer = shop.stripe.all("customers")[0]["id"].as_str().unwrap().to_owned();
    shop.press("change", &[("plan", "startup")]).await;
    shop.stripe.with(|state| state.card_works(&customer, false));
    assert_eq!(shop.press("change", &[("plan", "pro")]).await.location(), "/dash/billing?done=declined");
    let page = shop.ana.get("/dash/billing?done=declined").await;
    assert!(page.body.contains("The card was declined, so nothing was changed."));
    assert_eq!(shop.account().await.plan, Plan::Startup);
}

#[tokio::test]
async fn every_page_says_that_a_payment_is_missing_and_that_a_plan_ended() {
    let mut shop = Shop::open().await;
    let id = shop.ana.new_app("shop").await;
    shop.buy("pro", "").await;
    let pages =
        ["/dash".to_owned(), "/dash/account".to_owned(), PAGE.to_owned(), format!("/dash/apps/{id}/keys")];
    let now = tenancy::now_ms();
    shop.stands(Status::PastDue, now).await;
    for page in &pages {
        let body = shop.ana.get(page).await.body;
        assert!(body.contains("charge visa •••• 4242.") && body.contains("Your plan stays until "), "{page}");
    }
    shop.stands(Status::Active, now + 1).await;
    assert!(!shop.ana.get("/dash").await.body.contains("billing-notice"));
    shop.stands(Status::PastDue, now + 2).await;
    subscription::end_grace(&shop.site.db, &shop.account().await.id, now + 3 + subscription::GRACE_MS)
        .await
        .unwrap()
        .unwrap();
    for page in &pages {
        let body = shop.ana.get(page).await.body;
        assert!(body.contains("A payment was missing, so this workspace is on Sandbox now."), "{page}");
    }
    let mut ben = shop.site.person("ben@shop.example").await;
    assert!(!ben.get("/dash").await.body.contains("billing-notice"), "nobody else is told");
}

#[tokio::test]
async fn while_stripe_is_away_the_page_says_so_and_the_rest_works() {
    let mut shop = Shop::open().await;
    shop.buy("pro", "").await;
    let away = |path: &str| Failure { path: path.into(), status: 503, after: false, times: 99, delay_ms: 0 };
    shop.stripe.with(|state| state.failures = vec![away("/v1/")]);
    let page = shop.page().await;
    assert!(
        page.contains("Stripe is not answering. Your service is unaffected.")
            && page.contains("data-plan=\"pro\"")
    );
    assert_eq!(shop.press("change", &[("plan", "business")]).await.location(), "/dash/billing?done=away");
    assert_eq!(shop.ana.get("/dash").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_payment_that_is_not_known_yet_is_waited_for() {
    let mut shop = Shop::open().await;
    let answer = shop.press("checkout", &[("plan", "pro")]).await;
    let session = answer.location().rsplit('/').next().unwrap().to_owned();
    let unpaid = shop.ana.get(&format!("{PAGE}/return?session={session}")).await;
    assert_eq!(unpaid.location(), "/dash/billing?done=waiting");
    assert!(shop.ana.get("/dash/billing?done=waiting").await.body.contains("data-refresh"));
    assert_eq!(shop.account().await.plan, Plan::Sandbox);
}

#[tokio::test]
async fn strangers_get_nothing_by_addresses_they_guess() {
    let mut shop = Shop::open().await;
    let checkout = shop.press("checkout", &[("plan", "pro"), ("from", "//evil.example/")]).await;
    let back = shop.stripe.press(checkout.location(), "pay").unwrap();
    assert!(!back.contains("evil"), "{back}");
    let path = back.strip_prefix("http://127.0.0.1:6001").unwrap().to_owned();
    let mut eve = shop.site.person("eve@shop.example").await;
    assert_eq!(eve.get(&path).await.status, StatusCode::NOT_FOUND);
    assert_eq!(
        shop.ana.get(&format!("{path}&from=https://evil.example")).await.location(),
        "/dash/billing?done=granted"
    );
    for step in POSTS {
        let path = format!("{PAGE}/{step}");
        assert_eq!(
            shop.ana.post(&path, &[("plan", "pro")]).await.status,
            StatusCode::FORBIDDEN,
            "{step} without a token"
        );
        let guest = shop.site.browser().send(form(&path, &[("plan", "pro")])).await;
        assert_eq!(guest.location(), "/login", "{step}");
    }
    for plan in ["sandbox", "unlimited", "growth-plus", "none"] {
        let answer = shop.press("checkout", &[("plan", plan)]).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{plan}");
    }
    for plan in ["pro", "unlimited", "growth-plus", "none"] {
        assert_eq!(
            shop.ana.get(&format!("{PAGE}/change/{plan}")).await.status,
            StatusCode::NOT_FOUND,
            "{plan}"
        );
    }
    let guest = shop.site.browser().send(Request::get(PAGE).body(Body::empty()).unwrap()).await;
    assert_eq!(guest.location(), "/login?next=/dash/billing");
}

#[tokio::test]
async fn only_owners_and_billing_people_come_near_it() {
    let mut shop = Shop::open().await;
    shop.buy("pro", "").await;
    shop.stands(Status::PastDue, tenancy::now_ms()).await;
    for role in Role::ALL {
        let email = format!("{}@shop.example", role.name());
        let mut person = shop.site.member(&email, role, EMAIL).await;
        let allowed = matches!(role, Role::Owner | Role::Billing);
        let home = person.get("/dash").await.body;
        assert!(home.contains("charge visa •••• 4242."), "{role:?}: everybody is told");
        assert_eq!(home.contains("href=\"/dash/billing\""), allowed, "{role:?}");
        let status = if allowed { StatusCode::OK } else { StatusCode::FORBIDDEN };
        assert_eq!(person.get(PAGE).await.status, status, "{role:?}");
        if !allowed {
            let token = person.token("/dash/account").await;
            for step in POSTS {
                let answer =
                    person.post(&format!("{PAGE}/{step}"), &[("csrf", &token), ("plan", "business")]).await;
                assert_eq!(answer.status, StatusCode::FORBIDDEN, "{role:?} {step}");
            }
        }
    }
    assert_eq!(shop.account().await.plan, Plan::Pro);
}

#[tokio::test]
async fn an_amount_beyond_the_plan_is_allowed_shown_and_taken_back() {
    let mut shop = Shop::open().await;
    assert!(!shop.page().await.contains("data-test=\"overage\""), "there is nothing to put it on");
    shop.buy("startup", "").await;
    let page = shop.page().await;
    assert!(page.contains("EUR 10.00 a million messages") && !page.contains("overage-stop"), "{page}");
    for wrong in ["", "-1", "a lot", "99999999"] {
        assert_eq!(
            shop.press("overage", &[("amount", wrong)]).await.location(),
            "/dash/billing?done=no-amount"
        );
    }
    assert_eq!(shop.press("overage", &[("amount", "49.90")]).await.location(), "/dash/billing?done=overage");
    let (account, today) = (shop.account().await, tenancy::clock::day_of(tenancy::now_ms()));
    assert_eq!(tenancy::overage::extra_on(&shop.site.db, &account.id, today).await.unwrap(), 4_990_000);
    let page = shop.page().await;
    assert!(page.contains("0 messages, EUR 0.00 of EUR 49.90"), "{page}");
    let acts = shop.ana.get("/dash/audit").await.body;
    assert!(acts.contains("set what may be spent beyond the plan to") && acts.contains("EUR 49.90"));
    assert_eq!(shop.press("overage", &[("amount", "0")]).await.location(), "/dash/billing?done=no-overage");
    assert_eq!(tenancy::overage::extra_on(&shop.site.db, &account.id, today).await.unwrap(), 0);
}
