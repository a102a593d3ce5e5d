//! Making, changing and deleting apps; the keys page's snippets.

use axum::body::Body;
use dashboard::DashboardConfig;
use dashboard::snippets;
use http::{Request, StatusCode};
use protocol::signature::sign_request;
use tenancy::app::App;
use tenancy::user;

use crate::support::{Site, config, strip};

async fn app(site: &Site, id: u64) -> Option<App> {
    let (_, account) = user::find_by_email(&site.db, "ana@shop.example").await.unwrap().unwrap();
    tenancy::app::find(&site.db, &account.id, id).await.unwrap()
}

#[tokio::test]
async fn a_new_app_needs_a_name_and_a_cluster() {
    let site = Site::open().await;
    let mut ana = site.person("ana@shop.example").await;
    let page = ana.get("/dash/apps/new").await;
    assert!(page.body.contains("<option value=\"local\" selected>"));
    for code in ["mt1", "us2", "us3", "eu", "ap1", "ap2", "ap3", "ap4", "sa1"] {
        assert!(page.body.contains(&format!("<option value=\"{code}\">")), "{code}");
    }
    for (name, cluster, text) in [
        ("", "eu", "1 to 60"),
        (&"x".repeat(61), "eu", "1 to 60"),
        ("shop", "not a cluster", "from the list"),
    ] {
        let answer =
            ana.submit("/dash/apps/new", "/dash/apps/new", &[("name", name), ("cluster", cluster)]).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{name} {cluster}");
        assert!(answer.body.contains(text), "{name} {cluster}");
    }
    let answer = ana.submit("/dash/apps/new", "/dash/apps/new", &[("name", "shop"), ("cluster", "eu")]).await;
    assert_eq!(answer.location(), "/dash/apps/1001/start");
}

#[tokio::test]
async fn a_name_is_text_everywhere() {
    let site = Site::open().await;
    let mut ana = site.person("ana@shop.example").await;
    let name = "<script>alert(1)</script>\"'><img src=x>";
    let id = ana.new_app(name).await;
    for path in [
        "/dash".to_owned(),
        format!("/dash/apps/{id}"),
        format!("/dash/apps/{id}/keys"),
        format!("/dash/apps/{id}/settings"),
        format!("/dash/apps/{id}/start"),
        format!("/dash/apps/{id}/console"),
    ] {
        let page = ana.get(&path).await;
        assert_eq!(page.status, StatusCode::OK, "{path}");
        assert!(!page.body.contains("<script>alert") && !page.body.contains("<img src=x"), "{path}");
        assert!(strip(&page.body).contains("<script>alert(1)</script>"), "{path}");
    }
    let wrong = ana
        .submit(
            &format!("/dash/apps/{id}/settings"),
            &format!("/dash/apps/{id}/settings/origins"),
            &[("origins", "\"><script>x</script>")],
        )
        .await;
    assert!(!wrong.body.contains("<script>x"));
}

#[tokio::test]
async fn settings_change_what_they_say() {
    let site = Site::open().await;
    let mut ana = site.person("ana@shop.example").await;
    let id = ana.new_app("shop").await;
    let page = format!("/dash/apps/{id}/settings");
    let answer = ana.submit(&page, &format!("{page}/name"), &[("name", "  shop-prod ")]).await;
    assert_eq!(answer.location(), format!("{page}?done=name"));
    assert!(ana.get(&format!("{page}?done=name")).await.body.contains("Renamed."));
    for (cap, status) in [
        ("7", StatusCode::SEE_OTHER),
        ("-1", StatusCode::UNPROCESSABLE_ENTITY),
        ("1e3", StatusCode::UNPROCESSABLE_ENTITY),
    ] {
        assert_eq!(ana.submit(&page, &format!("{page}/cap"), &[("cap", cap)]).await.status, status, "{cap}");
    }
    assert!(
        ana.get(&page)
            .await
            .body
            .contains("name=\"cap\" inputmode=\"numeric\" autocomplete=\"off\" maxlength=\"9\" value=\"7\"")
    );
    assert_eq!(
        ana.submit(&page, &format!("{page}/cap"), &[("cap", "")]).await.location(),
        format!("{page}?done=cap")
    );
    let messages_cap = format!("{page}/messages-cap");
    for (cap, status) in [
        ("500", StatusCode::SEE_OTHER),
        ("-1", StatusCode::UNPROCESSABLE_ENTITY),
        ("5000000000000", StatusCode::UNPROCESSABLE_ENTITY),
    ] {
        assert_eq!(ana.submit(&page, &messages_cap, &[("cap", cap)]).await.status, status, "{cap}");
    }
    let shown = ana.get(&format!("{page}?done=messages-cap")).await;
    assert!(
        shown.body.contains("maxlength=\"12\" value=\"500\"") && shown.body.contains("Saved. At the cap")
    );
    let capped = app(&site, id).await.unwrap();
    assert_eq!((capped.connections_max, capped.messages_day_max), (None, Some(500)));
    ana.submit(&page, &format!("{page}/client-events"), &[("on", "1")]).await;
    ana.submit(
        &page,
        &format!("{page}/origins"),
        &[("origins", "https://Shop.example/\r\n\r\n*.shop.example\r\n")],
    )
    .await;
    ana.submit(&page, &format!("{page}/enabled"), &[]).await;
    let changed = app(&site, id).await.unwrap();
    assert_eq!(changed.name, "shop-prod");
    assert!(changed.client_events && !changed.enabled);
    assert_eq!(changed.allowed_origins, ["https://shop.example", "*.shop.example"]);
    let overview = ana.get(&format!("/dash/apps/{id}")).await;
    assert!(overview.body.contains("This app is disabled."));
    ana.submit(&page, &format!("{page}/client-events"), &[]).await;
    ana.submit(&page, &format!("{page}/origins"), &[("origins", "")]).await;
    ana.submit(&page, &format!("{page}/enabled"), &[("on", "1")]).await;
    ana.submit(&page, &messages_cap, &[("cap", " ")]).await;
    let changed = app(&site, id).await.unwrap();
    assert_eq!(changed.messages_day_max, None);
    assert!(!changed.client_events && changed.enabled && changed.allowed_origins.is_empty());
}

#[tokio::test]
async fn each_switch_changes_its_own_setting_and_says_so() {
    let site = Site::open().await;
    let mut ana = site.person("ana@shop.example").await;
    let id = ana.new_app("shop").await;
    let page = format!("/dash/apps/{id}/settings");
    let states = async || {
        let app = app(&site, id).await.unwrap();
        let f = app.features;
        [
            f.authorized_connections,
            f.force_tls,
            f.retry_over_limit,
            app.client_events,
            f.subscription_counts,
            f.watchlist,
            f.webhook_batching,
        ]
    };
    let slugs = [
        "authorized-connections",
        "force-tls",
        "retry-over-limit",
        "client-events",
        "subscription-counts",
        "watchlist",
        "webhook-batching",
    ];
    let mut expected = [false, false, false, false, false, false, true];
    assert_eq!(states().await, expected);
    for (i, slug) in slugs.into_iter().enumerate() {
        for _ in 0..2 {
            expected[i] = !expected[i];
            let fields: &[(&str, &str)] = if expected[i] { &[("on", "1")] } else { &[] };
            let answer = ana.submit(&page, &format!("{page}/{slug}"), fields).await;
            assert_eq!(answer.location(), format!("{page}?done={slug}#{slug}"));
            assert_eq!(states().await, expected, "{slug}");
            let shown = ana.get(&format!("{page}?done={slug}")).await;
            assert_eq!(shown.body.matches("role=\"status\">On.").count(), usize::from(expected[i]), "{slug}");
            assert_eq!(
                shown.body.matches("role=\"status\">Off.").count(),
                usize::from(!expected[i]),
                "{slug}"
            );
            let on = shown.body.matches("data-autosubmit checked").count();
            assert_eq!(on, expected.iter().filter(|on| **on).count(), "{slug}");
        }
    }
    let back = ana.submit(&page, &format!("{page}/webhook-batching"), &[("back", "webhooks")]).await;
    assert_eq!(back.location(), format!("/dash/apps/{id}/webhooks?done=webhook-batching#webhook-batching"));
    let unknown = ana.submit(&page, &format!("{page}/no-such-switch"), &[("on", "1")]).await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn forcing_tls_warns_on_a_server_that_is_known_without() {
    for (public_url, warned) in [("http://ws.example.com:6001", true), ("https://ws.example.com", false)] {
        let site = Site::with(DashboardConfig { public_url: Some(public_url.to_owned()), ..config() }).await;
        let mut ana = site.person("ana@shop.example").await;
        let id = ana.new_app("shop").await;
        let page = ana.get(&format!("/dash/apps/{id}/settings")).await;
        assert_eq!(page.body.contains("nothing reaches the app"), warned, "{public_url}");
    }
}

#[tokio::test]
async fn settings_refuse_nonsense_and_keep_what_was_typed() {
    let site = Site::open().await;
    let mut ana = site.person("ana@shop.example").await;
    let id = ana.new_app("shop").await;
    let page = format!("/dash/apps/{id}/settings");
    let answer = ana.submit(&page, &format!("{page}/name"), &[("name", "   ")]).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    let answer = ana
        .submit(
            &page,
            &format!("{page}/origins"),
            &[("origins", "https://ok.example\nhttps://x.example/path")],
        )
        .await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        answer.body.contains("Line 2") && answer.body.contains("https://ok.example\nhttps://x.example/path")
    );
    let answer = ana.submit(&page, &format!("{page}/origins"), &[]).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    let answer = ana.submit(&page, &format!("{page}/origins"), &[("origins", &"x".repeat(70_000))]).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(answer.body.contains("64 KiB"));
    let unchanged = app(&site, id).await.unwrap();
    assert_eq!((unchanged.name.as_str(), unchanged.allowed_origins.len()), ("shop", 0));
}

#[tokio::test]
async fn deleting_needs_the_name_typed() {
    let site = Site::open().await;
    let mut ana = site.person("ana@shop.example").await;
    let id = ana.new_app("shop").await;
    let (page, delete) = (format!("/dash/apps/{id}/settings"), format!("/dash/apps/{id}/delete"));
    for typed in ["", "Shop", "shop2"] {
        let answer = ana.submit(&page, &delete, &[("confirm", typed)]).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{typed}");
    }
    assert!(app(&site, id).await.is_some());
    let answer = ana.submit(&page, &delete, &[("confirm", "shop")]).await;
    assert_eq!(answer.location(), "/dash?deleted=1");
    assert!(app(&site, id).await.is_none());
    assert_eq!(ana.get(&page).await.status, StatusCode::NOT_FOUND);
    assert!(ana.get("/dash").await.body.contains("No apps"));
}

#[tokio::test]
async fn snippets_name_the_public_address_and_the_curl_line_is_signed() {
    let site =
        Site::with(DashboardConfig { public_url: Some("https://ws.example.com".to_owned()), ..config() })
            .await;
    let mut ana = site.person("ana@shop.example").await;
    let id = ana.new_app("shop").await;
    let text = strip(&ana.get(&format!("/dash/apps/{id}/keys")).await.body);
    assert!(
        text.contains("REVERB_HOST=\"ws.example.com\"")
            && text.contains("REVERB_PORT=443")
            && text.contains("REVERB_SCHEME=https")
    );
    assert!(text.contains("wsHost: 'ws.example.com'") && text.contains("forceTLS: true"));
    assert!(!text.contains("127.0.0.1"));
    let app = app(&site, id).await.unwrap();
    let key = &tenancy::app::keys(&site.db, &app.account_id, id).await.unwrap()[0];
    let secret = key.secret.expose();
    assert!(text.contains(&format!("PUSHER_URL=https://{}:{secret}@ws.example.com/apps/{id}", key.key)));
    let endpoint = dashboard::Endpoint::parse("https://ws.example.com").unwrap();
    let blocks = snippets::blocks(&app, key, &endpoint);
    let ids: Vec<_> = blocks.iter().map(|b| b.id).collect();
    assert_eq!(
        ids,
        ["laravel", "laravel-pusher", "pusher-js", "node", "php", "python", "ruby", "go", "curl"]
    );
    assert!(!blocks[2].code.contains(secret), "the secret stays out of browsers");
    let curl = &blocks[8].code;
    let url = curl.split('\'').find(|part| part.starts_with("https://")).unwrap();
    let (path, query) = url.strip_prefix("https://ws.example.com").unwrap().split_once('?').unwrap();
    let params: Vec<(&str, &str)> = query.split('&').map(|pair| pair.split_once('=').unwrap()).collect();
    let given = params.iter().find(|(name, _)| *name == "auth_signature").unwrap().1;
    assert_eq!(sign_request(secret, "POST", path, &params), given);
}

#[tokio::test]
async fn usage_is_there_for_scripts() {
    let site = Site::open().await;
    let mut ana = site.person("ana@shop.example").await;
    let id = ana.new_app("shop").await;
    let request =
        Request::get("/dash/usage").header("accept", "application/json").body(Body::empty()).unwrap();
    let answer = ana.send(request).await;
    assert!(
        answer.body.contains(&format!(
            "{{\"app\":{id},\"connections\":42,\"connections_max\":100,\"messages\":18204"
        )),
        "{}",
        answer.body
    );
}

/// Of two limits the nearer one is shown; the organisation's page keeps the organisation's.
#[tokio::test]
async fn an_apps_own_cap_on_messages_stands_where_the_limit_stands() {
    let site = Site::open().await;
    let mut ana = site.person("ana@shop.example").await;
    let id = ana.new_app("shop").await;
    let (app_page, page) = (format!("/dash/apps/{id}"), format!("/dash/apps/{id}/settings"));
    let cap = format!("{page}/messages-cap");
    let asked =
        || Request::get("/dash/usage").header("accept", "application/json").body(Body::empty()).unwrap();
    for (typed, used, max, own) in [
        ("", "18,204", "200,000", false),
        ("500", "420", "500", true),
        ("420", "420", "420", true),
        ("900000", "18,204", "200,000", false),
    ] {
        ana.submit(&page, &cap, &[("cap", typed)]).await;
        let overview = ana.get(&app_page).await.body;
        let strip = format!("<span data-part=\"messages-max\"> / {max}</span>");
        assert!(
            overview.contains(&strip) && overview.contains(&format!(">{used}</b>")),
            "{typed}: {overview}"
        );
        assert_eq!(overview.contains("data-part=\"own-cap\">, this app's own cap"), own, "{typed}");
        assert_eq!(overview.contains("own-cap-note"), typed == "420", "{typed}");
        let home = ana.get("/dash").await.body;
        assert!(
            home.contains(&format!("{used}</b><span class=\"of\" data-part=\"messages-max\"> / {max}<")),
            "{typed}"
        );
        let numbers: serde_json::Value = serde_json::from_str(&ana.send(asked()).await.body).unwrap();
        let numbers = &numbers["apps"][0];
        assert_eq!(numbers["messages_max"], max.replace(',', "").parse::<u64>().unwrap());
        assert_eq!(numbers["own_cap"], own, "{typed}");
        assert!(
            ana.get("/dash/usage").await.body.contains("of 200,000 · "),
            "the organisation's page, {typed}"
        );
    }
}
