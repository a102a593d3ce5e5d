//! Endpoints of webhooks, their deliveries, and what a person can do with either.

use dashboard::DashboardConfig;
use http::StatusCode;
use protocol::webhook_url::Allow;
use tenancy::account::AccountId;
use tenancy::db::Db;
use tenancy::now_ms;
use tenancy::webhook_delivery::{self, Attempt, Filter, State};
use tenancy::webhook_endpoint::{self, ChannelFilter, WebhookEndpoint};
use tenancy::webhook_outbox::{self, NewDelivery, Outcome};

use crate::support::{Browser, Site, config, strip};

const NODE: &str = "test-node";

struct Shop {
    site: Site,
    ana: Browser,
    id: u64,
    account: AccountId,
}

impl Shop {
    async fn open() -> Shop {
        Shop::with(config()).await
    }

    async fn with(config: DashboardConfig) -> Shop {
        let site = Site::with(config).await;
        let mut ana = site.person("ana@shop.example").await;
        let id = ana.new_app("shop").await;
        let (_, account) = tenancy::user::find_by_email(&site.db, "ana@shop.example").await.unwrap().unwrap();
        Shop { site, ana, id, account: account.id }
    }

    fn page(&self, tail: &str) -> String {
        format!("/dash/apps/{}/webhooks{tail}", self.id)
    }

    async fn endpoints(&self) -> Vec<WebhookEndpoint> {
        webhook_endpoint::list(&self.site.db, &self.account, self.id).await.unwrap()
    }

    /// Makes an endpoint through the form; its id.
    async fn endpoint(&mut self, url: &str) -> String {
        let new = self.page("/new");
        let answer = self.ana.submit(&new, &new, &[("url", url), ("kind", "channel_occupied")]).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", strip(&answer.body));
        let path = answer.location().split('?').next().unwrap();
        path.rsplit('/').next().unwrap().to_owned()
    }

    /// A delivery that a node made and ended, with one attempt; its id.
    async fn delivered(&self, endpoint: &str, state: State, attempt: Attempt) -> String {
        let id = webhook_outbox::delivery_id();
        let new = NewDelivery {
            id: id.clone(),
            endpoint_id: endpoint.to_owned(),
            created_ms: now_ms(),
            events: r#"[{"name":"channel_occupied","channel":"orders-<b>"}]"#.to_owned(),
            events_count: 1,
            claimed: true,
        };
        let until = now_ms() + 60_000;
        webhook_outbox::put(&self.site.db, NODE, until, &[new]).await.unwrap();
        finish(&self.site.db, &id, endpoint, state, attempt).await;
        id
    }
}

async fn finish(db: &Db, id: &str, endpoint: &str, state: State, attempt: Attempt) {
    let outcome = Outcome {
        id: id.to_owned(),
        endpoint_id: endpoint.to_owned(),
        attempt: Some(attempt),
        state,
        next_try_ms: None,
    };
    webhook_outbox::finish(db, NODE, &[outcome]).await.unwrap();
}

fn attempt(status: Option<u16>, error: Option<&str>) -> Attempt {
    let pair = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    Attempt {
        at_ms: now_ms(),
        status,
        duration_ms: 312,
        error: error.map(str::to_owned),
        request_headers: pair("X-Pusher-Key", "the-key"),
        response_headers: pair("X-Served-By", "<script>alert(1)</script>"),
        response_body: "<img src=x>".to_owned(),
    }
}

#[tokio::test]
async fn without_endpoints_the_page_says_what_they_are_for() {
    let mut shop = Shop::open().await;
    let page = shop.ana.get(&shop.page("")).await;
    assert!(page.body.contains("No endpoints"));
    let words =
        "Webhooks tell your server when channels open and close, members join, or clients send events.";
    assert!(page.body.contains(words));
    let key = tenancy::app::keys(&shop.site.db, &shop.account, shop.id).await.unwrap().remove(0);
    for language in ["laravel", "php", "node", "python", "ruby", "go"] {
        let code = page.test_text(&format!("check-{language}"));
        assert!(code.contains(&key.key) && code.contains(key.secret.expose()), "{language}: {code}");
    }
}

#[tokio::test]
async fn an_endpoint_is_made_shown_changed_and_deleted() {
    let mut shop = Shop::open().await;
    let new = shop.page("/new");
    let fields = [
        ("url", " https://hooks.shop.example/pusher?x=1 "),
        ("kind", "channel_vacated"),
        ("kind", "cache_miss"),
        ("filter", "prefix"),
        ("filter_text", "private-orders."),
        ("headers", "Authorization: Bearer a:b\r\nX-Env: test"),
    ];
    let answer = shop.ana.submit(&new, &new, &fields).await;
    let made = shop.endpoints().await.remove(0);
    assert_eq!(answer.location(), format!("{}?done=new", shop.page(&format!("/{}", made.id))));
    assert_eq!(made.url, "https://hooks.shop.example/pusher?x=1");
    assert_eq!(made.kinds, ["channel_vacated", "cache_miss"]);
    assert_eq!(made.channel_filter, ChannelFilter::Prefix("private-orders.".to_owned()));
    assert_eq!(made.headers[0], ("Authorization".to_owned(), "Bearer a:b".to_owned()));
    assert_eq!(made.headers[1], ("X-Env".to_owned(), "test".to_owned()));
    let list = strip(&shop.ana.get(&shop.page("")).await.body);
    assert!(list.contains(&made.url) && list.contains("channel_vacated, cache_miss"));

    let edit = shop.page(&format!("/{}/edit", made.id));
    let shown = shop.ana.get(&edit).await.body;
    assert!(shown.contains("Bearer a:b") && shown.contains("value=\"private-orders.\""));
    assert!(
        shown.contains("value=\"cache_miss\" checked") && !shown.contains("value=\"member_added\" checked")
    );
    let fields = [("url", "https://other.example"), ("kind", "member_added"), ("filter", "none")];
    let answer = shop.ana.submit(&edit, &edit, &fields).await;
    assert!(answer.location().ends_with("?done=saved"), "{}", answer.location());
    let changed = shop.endpoints().await.remove(0);
    assert_eq!((changed.url.as_str(), changed.enabled), ("https://other.example", false));
    assert_eq!(changed.channel_filter, ChannelFilter::None);
    assert!(changed.headers.is_empty());
    let page = shop.page(&format!("/{}", made.id));
    assert_eq!(shop.ana.get(&page).await.test_text("health"), "Off");
    shop.ana.submit(&page, &format!("{page}/resume"), &[]).await;
    assert!(shop.endpoints().await[0].enabled);

    let answer = shop.ana.submit(&edit, &format!("{page}/delete"), &[]).await;
    assert_eq!(answer.location(), shop.page("?done=deleted"));
    assert!(shop.endpoints().await.is_empty());
    assert_eq!(shop.ana.get(&page).await.status, StatusCode::NOT_FOUND);
}

/// Fields, the id of the error, and a part of its sentence.
type Case<'a> = (&'a [(&'a str, &'a str)], &'a str, &'a str);

#[tokio::test]
async fn what_is_wrong_stands_beside_its_field_and_what_was_typed_stays() {
    let mut shop = Shop::open().await;
    let new = shop.page("/new");
    let ok = ("url", "https://a.example");
    let kind = ("kind", "cache_miss");
    let cases: [Case<'_>; 9] = [
        (&[("url", "ftp://<b>"), kind], "url-error", "must begin with http:// or https://"),
        (&[("url", "http://127.0.0.1:9000/x"), kind], "url-error", "not on the public internet"),
        (&[("url", "http://169.254.169.254/"), kind], "url-error", "not on the public internet"),
        (&[("url", "https://a.example:8443/"), kind], "url-error", "ports 80 and 443"),
        (&[ok], "kinds-error", "at least one kind"),
        (&[ok, ("kind", "no_such_kind")], "kinds-error", "no kind of event"),
        (&[ok, kind, ("filter", "exact"), ("filter_text", "")], "filter-error", "channel filter"),
        (&[ok, kind, ("headers", "A: b\nno colon")], "headers-error", "Line 2 has no colon"),
        (&[ok, kind, ("headers", "X-Pusher-Key: mine")], "headers-error", "X-Pusher-Key"),
    ];
    for (fields, field, sentence) in cases {
        let answer = shop.ana.submit(&new, &new, fields).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{fields:?}");
        let (_, error) = answer.body.split_once(&format!("id=\"{field}\">")).expect(field);
        let error = strip(error.split("</p>").next().unwrap());
        assert!(error.contains(sentence), "{error}");
        for (_, value) in fields {
            assert!(strip(&answer.body.replace("value=\"", ">")).contains(value), "{value}");
        }
    }
    assert_eq!(shop.ana.submit(&new, &new, &[kind]).await.status, StatusCode::BAD_REQUEST);
    assert!(shop.endpoints().await.is_empty());
}

#[tokio::test]
async fn what_an_operator_allows_can_be_an_address() {
    let allow = Allow::parse("127.0.0.0/8").unwrap();
    let mut shop = Shop::with(DashboardConfig { webhook_allow: allow, ..config() }).await;
    shop.endpoint("http://127.0.0.1:9000/hook").await;
    assert_eq!(shop.endpoints().await.len(), 1);
}

#[tokio::test]
async fn the_log_shows_each_delivery_filters_by_state_and_turns_pages() {
    let mut shop = Shop::open().await;
    let ep = shop.endpoint("https://a.example").await;
    let mut last = String::new();
    for i in 0..60 {
        let (state, status) = if i % 2 == 0 { (State::Delivered, 204) } else { (State::Failed, 500) };
        last = shop.delivered(&ep, state, attempt(Some(status), None)).await;
    }
    let page = shop.page(&format!("/{ep}"));
    let first = shop.ana.get(&page).await.body;
    assert_eq!(first.matches("data-test=\"delivery\"").count(), 50);
    assert!(first.contains(&last) && first.contains("50.0 %") && first.contains("312 ms"));
    let older = first.split("href=\"").find(|rest| rest.contains("?before=")).unwrap();
    let older = older.split('"').next().unwrap().to_owned();
    let second = shop.ana.get(&older).await.body;
    assert_eq!(second.matches("data-test=\"delivery\"").count(), 10);
    assert!(second.contains("Newest") && !second.contains("?before="));
    let failed = shop.ana.get(&format!("{page}?state=failed")).await.body;
    assert_eq!(failed.matches("data-test=\"delivery\"").count(), 30);
    assert!(!failed.contains(">204<") && failed.contains(">500<"));
    let pending = shop.ana.get(&format!("{page}?state=pending")).await.body;
    assert!(pending.contains("None like this"));
    for strange in ["?before=%00", "?before=x&state=y", "?state=%3Cscript%3E"] {
        assert_eq!(shop.ana.get(&format!("{page}{strange}")).await.status, StatusCode::OK, "{strange}");
    }
}

#[tokio::test]
async fn a_test_event_waits_for_the_node_and_a_failed_one_is_sent_again() {
    let mut shop = Shop::open().await;
    let ep = shop.endpoint("https://a.example/o'clock").await;
    let page = shop.page(&format!("/{ep}"));
    for kind in webhook_endpoint::KINDS {
        let answer = shop.ana.submit(&page, &format!("{page}/test"), &[("kind", kind)]).await;
        let delivery = shop.ana.get(answer.location()).await;
        assert_eq!(delivery.test_text("delivery-state"), "Waiting", "{kind}");
        assert!(delivery.test_text("request-body").contains(kind));
        assert!(delivery.body.contains("data-refresh"), "the page looks again by itself");
        let again = shop.ana.submit(&page, &format!("{}/resend", answer.location()), &[]).await;
        assert!(again.location().ends_with("?done=pending"), "on its way already");
    }
    let answer = shop.ana.submit(&page, &format!("{page}/test"), &[("kind", "nonsense")]).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);

    let id = shop.delivered(&ep, State::Failed, attempt(None, Some("no answer within 4 s"))).await;
    let path = format!("{page}/{id}");
    let shown = shop.ana.get(&path).await;
    assert_eq!(shown.test_text("delivery-state"), "Failed");
    assert!(!shown.body.contains("<script>alert") && !shown.body.contains("<img src=x>"));
    let text = strip(&shown.body);
    for part in ["no answer within 4 s", "No answer", "X-Pusher-Key: the-key", "<img src=x>", "orders-<b>"] {
        assert!(text.contains(part), "{part}");
    }
    let found = webhook_delivery::find(&shop.site.db, &shop.account, shop.id, &id).await.unwrap().unwrap();
    let key = tenancy::app::keys(&shop.site.db, &shop.account, shop.id).await.unwrap().remove(0);
    let signature = protocol::signature::sign(key.secret.expose(), &found.body);
    let curl = shown.test_text("curl");
    assert!(
        curl.contains(&format!("X-Pusher-Signature: {signature}")) && curl.contains(&found.body),
        "{curl}"
    );
    assert!(curl.contains(r"https://a.example/o'\''clock"), "{curl}");
    let answer = shop.ana.submit(&path, &format!("{path}/resend"), &[]).await;
    assert_eq!(answer.location(), format!("{path}?done=resent"));
    assert_eq!(shop.ana.get(&path).await.test_text("delivery-state"), "Retrying");
}

#[tokio::test]
async fn failed_deliveries_are_recovered_by_their_time() {
    let mut shop = Shop::open().await;
    let ep = shop.endpoint("https://a.example").await;
    for _ in 0..3 {
        shop.delivered(&ep, State::Failed, attempt(Some(500), None)).await;
    }
    shop.delivered(&ep, State::Delivered, attempt(Some(200), None)).await;
    let page = shop.page(&format!("/{ep}"));
    let answer = shop.ana.submit(&page, &format!("{page}/recover"), &[("hours", "1")]).await;
    assert_eq!(answer.location(), format!("{page}?done=recovered&n=3"));
    assert!(shop.ana.get(answer.location()).await.body.contains("3 failed deliveries are being sent again."));
    let filter = Filter { state: Some(State::Pending), limit: 10, ..Filter::default() };
    let found = webhook_delivery::list(&shop.site.db, &shop.account, shop.id, filter).await.unwrap();
    assert_eq!(found.len(), 3);
    let answer = shop.ana.submit(&page, &format!("{page}/recover"), &[("hours", "99999")]).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn endpoints_and_deliveries_are_found_only_under_their_own_app_and_endpoint() {
    let mut shop = Shop::open().await;
    let ep = shop.endpoint("https://a.example").await;
    let other_ep = shop.endpoint("https://b.example").await;
    let id = shop.delivered(&ep, State::Failed, attempt(Some(500), None)).await;
    let other_app = shop.ana.new_app("other").await;
    let mut eve = shop.site.person("eve@shop.example").await;
    let eves = eve.new_app("own").await;
    let (tails, posts) = (["", "/edit"], ["/test", "/recover", "/resume", "/delete", "/edit"]);
    for (browser, app) in [(&mut shop.ana, other_app), (&mut eve, eves)] {
        for tail in tails.map(str::to_owned).into_iter().chain([format!("/{id}")]) {
            let path = format!("/dash/apps/{app}/webhooks/{ep}{tail}");
            assert_eq!(browser.get(&path).await.status, StatusCode::NOT_FOUND, "{path}");
        }
        for tail in posts.map(str::to_owned).into_iter().chain([format!("/{id}/resend")]) {
            let path = format!("/dash/apps/{app}/webhooks/{ep}{tail}");
            let fields = [("kind", "cache_miss"), ("hours", "24"), ("url", "https://evil.example")];
            let answer = browser.submit("/dash", &path, &fields).await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        }
    }
    let wrong = shop.page(&format!("/{other_ep}/{id}"));
    assert_eq!(shop.ana.get(&wrong).await.status, StatusCode::NOT_FOUND, "another endpoint's delivery");
    let endpoints = shop.endpoints().await;
    assert_eq!(endpoints.len(), 2);
    assert_eq!(endpoints[0].url, "https://a.example");
    let found = webhook_delivery::find(&shop.site.db, &shop.account, shop.id, &id).await.unwrap().unwrap();
    assert_eq!(found.state, State::Failed);
}

#[tokio::test]
async fn a_failing_and_a_paused_endpoint_say_so_and_can_be_resumed() {
    let mut shop = Shop::open().await;
    let ep = shop.endpoint("https://a.example").await;
    let page = shop.page(&format!("/{ep}"));
    assert_eq!(shop.ana.get(&page).await.test_text("health"), "Waiting");
    shop.delivered(&ep, State::Failed, attempt(Some(500), None)).await;
    let failing = shop.ana.get(&page).await;
    assert_eq!(failing.test_text("health"), "Failing");
    assert!(failing.body.contains("Nothing has arrived since"));
    let late = now_ms() + webhook_outbox::PAUSE_AFTER_MS + 1_000;
    let id = webhook_outbox::delivery_id();
    let new = NewDelivery {
        id: id.clone(),
        endpoint_id: ep.clone(),
        created_ms: now_ms(),
        events: "[]".to_owned(),
        events_count: 0,
        claimed: true,
    };
    webhook_outbox::put(&shop.site.db, NODE, late + 60_000, &[new]).await.unwrap();
    let outcome = Outcome {
        id,
        endpoint_id: ep.clone(),
        attempt: Some(attempt(Some(500), None)),
        state: State::Failed,
        next_try_ms: None,
    };
    let paused = webhook_outbox::finish_at(&shop.site.db, NODE, &[outcome], late).await.unwrap();
    assert_eq!(paused.len(), 1);
    let shown = shop.ana.get(&page).await;
    assert_eq!(shown.test_text("health"), "Paused");
    // Changing something else does not end the pause.
    let edit = format!("{page}/edit");
    let fields = [("url", "https://b.example"), ("kind", "cache_miss"), ("enabled", "1")];
    shop.ana.submit(&edit, &edit, &fields).await;
    assert_eq!(shop.ana.get(&page).await.test_text("health"), "Paused");
    let answer = shop.ana.submit(&page, &format!("{page}/resume"), &[]).await;
    assert_eq!(answer.location(), format!("{page}?done=resumed"));
    assert_ne!(shop.ana.get(&page).await.test_text("health"), "Paused");
    shop.delivered(&ep, State::Delivered, attempt(Some(200), None)).await;
    assert_eq!(shop.ana.get(&page).await.test_text("health"), "Healthy");
}
