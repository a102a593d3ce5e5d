//! A shop: a database with one account, a Stripe-like server, and billing between them that listens for its events.

use std::time::{Duration, Instant};

use billing::{Billing, BillingConfig, Buyer, Opened};
use fakestripe::{Fake, METERED, PRICES, SECRET_KEY, WEBHOOK_SECRET};
use tenancy::account::{self, Account};
use tenancy::app::{self, NewApp};
use tenancy::plan::Plan;
use tenancy::subscription::{self, Subscription};
use tenancy::{Db, user};
use tokio::net::TcpListener;

pub(crate) const EMAIL: &str = "ana@shop.example";
const SOON: Duration = Duration::from_secs(10);

pub(crate) struct Shop {
    pub(crate) db: Db,
    pub(crate) stripe: Fake,
    pub(crate) billing: Billing,
    pub(crate) account: Account,
    _dir: tempfile::TempDir,
}

pub(crate) fn config(stripe: &Fake) -> BillingConfig {
    let prices: Vec<String> = PRICES.iter().map(|(plan, price, _)| format!("{plan}={price}")).collect();
    let (meter, metered, _) = METERED;
    BillingConfig::parse(SECRET_KEY, WEBHOOK_SECRET, Some(stripe.base()), &prices.join(","), true)
        .and_then(|config| config.with_overage(&format!("{meter}={metered}")))
        .unwrap()
}

impl Shop {
    pub(crate) async fn open() -> Shop {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::connect(&format!("sqlite:{}", dir.path().join("shop.db").display())).await.unwrap();
        db.migrate().await.unwrap();
        let db = db.with_vault(tenancy::Vault::fresh());
        let (_, account) = user::sign_up(&db, EMAIL, "correct horse 7", Plan::Sandbox).await.unwrap();
        let new = NewApp { name: "shop", cluster: "local", ..NewApp::default() };
        app::create(&db, &account.id, new).await.unwrap();
        let stripe = Fake::local().await;
        let billing = Billing::new(db.clone(), config(&stripe));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/stripe/webhook", listener.local_addr().unwrap());
        let router = billing.router();
        tokio::spawn(async move { axum::serve(listener, router).await });
        stripe.send_events_to(&url);
        Shop { db, stripe, billing, account, _dir: dir }
    }

    pub(crate) fn buyer(&self) -> Buyer<'_> {
        Buyer {
            account: &self.account,
            email: EMAIL,
            success_url: "http://127.0.0.1:1/dash/billing/return?session={CHECKOUT_SESSION_ID}",
            cancel_url: "http://127.0.0.1:1/dash/billing",
        }
    }

    pub(crate) async fn checkout(&self, plan: Plan) -> Opened {
        self.billing.checkout(self.buyer(), plan).await.unwrap()
    }

    /// Presses `pay` on a checkout; the id of the checkout, as the browser brings it back.
    pub(crate) fn pay(&self, opened: &Opened) -> String {
        let back = self.stripe.press(&opened.url, "pay").expect("the checkout is open");
        back.split_once("session=").unwrap().1.to_owned()
    }

    /// Somebody who pays for a plan, by checkout and return.
    pub(crate) async fn paying(plan: Plan) -> Shop {
        let shop = Shop::open().await;
        let session = shop.pay(&shop.checkout(plan).await);
        shop.billing.returned(&shop.account, &session).await.unwrap();
        assert_eq!(shop.plan().await, plan);
        shop.quiet().await;
        shop
    }

    /// Waits until the events of what happened so far are worked in.
    pub(crate) async fn quiet(&self) {
        self.until(async || self.stripe.is_quiet(), "the answers to all events").await;
    }

    pub(crate) async fn plan(&self) -> Plan {
        account::find(&self.db, &self.account.id).await.unwrap().unwrap().plan
    }

    pub(crate) async fn known(&self) -> Subscription {
        subscription::of_account(&self.db, &self.account.id).await.unwrap().unwrap()
    }

    pub(crate) async fn becomes(&self, plan: Plan) {
        self.until(async || self.plan().await == plan, &format!("the plan {}", plan.name())).await;
    }

    pub(crate) async fn until(&self, holds: impl AsyncFn() -> bool, what: &str) {
        let began = Instant::now();
        while !holds().await {
            assert!(began.elapsed() < SOON, "waited for {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) fn live_subscriptions(&self) -> usize {
        self.stripe.all("subscriptions").iter().filter(|one| one["status"] != "canceled").count()
    }

    pub(crate) fn calls(&self, method: &str, path: &str) -> usize {
        self.stripe.requests().iter().filter(|r| r.method == method && r.path.starts_with(path)).count()
    }
}
