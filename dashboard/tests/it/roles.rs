//! What each role may do: every address with every role, against a table that is written down here a second time.

use axum::body::Body;
use http::header::CONTENT_TYPE;
use http::{Method, Request, StatusCode};
use tenancy::audit::{self, Filter};
use tenancy::role::Role;

use crate::billing;
use crate::support::{Answer, Browser, Site, form};
use crate::tenants::Hook;

/// Method, address, and the initials of who may: Owner, Admin, Developer, Viewer, Billing. `*` is anybody signed in, `-` is
/// anybody at all, `S` is who looks after the server, whatever their role: for all others there is no such page.
const TABLE: &[(&str, &str, &str)] = &[
    ("GET", "/", "-"),
    ("GET", "/signup", "-"),
    ("POST", "/signup", "-"),
    ("GET", "/login", "-"),
    ("POST", "/login", "-"),
    ("GET", "/login/link", "-"),
    ("POST", "/login/link", "-"),
    ("GET", "/login/code", "-"),
    ("POST", "/login/code", "-"),
    ("GET", "/forgot", "-"),
    ("POST", "/forgot", "-"),
    ("GET", "/reset/{token}", "-"),
    ("POST", "/reset/{token}", "-"),
    ("GET", "/verify/{token}", "-"),
    ("POST", "/verify/{token}", "-"),
    ("GET", "/change-email/{token}", "-"),
    ("POST", "/change-email/{token}", "-"),
    ("POST", "/login/with/{provider}", "-"),
    ("GET", "/login/with/{provider}/callback", "-"),
    ("GET", "/setup", "-"),
    ("POST", "/setup", "-"),
    ("POST", "/logout", "-"),
    ("GET", "/docs/api", "-"),
    ("GET", "/e", "-"),
    ("GET", "/e/", "-"),
    ("GET", "/e/{code}", "-"),
    ("GET", "/assets/{hash}/{*name}", "-"),
    ("GET", "/js/pusher.min.js", "-"),
    ("GET", "/favicon.ico", "-"),
    ("GET", "/dash/", "*"),
    ("GET", "/dash/account", "*"),
    ("POST", "/dash/account/password", "*"),
    ("GET", "/dash/account/delete", "*"),
    ("POST", "/dash/account/delete", "*"),
    ("POST", "/dash/account/email", "*"),
    ("POST", "/dash/account/email/confirm", "*"),
    ("POST", "/dash/account/sessions/end-others", "*"),
    ("POST", "/dash/account/sessions/{session}/end", "*"),
    ("POST", "/dash/account/export", "*"),
    ("GET", "/dash/account/two-step", "*"),
    ("POST", "/dash/account/two-step/begin", "*"),
    ("POST", "/dash/account/two-step/confirm", "*"),
    ("POST", "/dash/account/two-step/codes", "*"),
    ("POST", "/dash/account/two-step/off", "*"),
    ("POST", "/dash/account/with/{provider}/link", "*"),
    ("POST", "/dash/account/with/{provider}/unlink", "*"),
    ("GET", "/dash/organisations/new", "*"),
    ("POST", "/dash/organisations/new", "*"),
    ("POST", "/dash/organisations/{account}/open", "*"),
    // Asks for the role by the channel.
    ("POST", "/dash/rt/auth", "*"),
    ("GET", "/invite/{token}", "-"),
    ("POST", "/invite/{token}/sign-up", "-"),
    ("POST", "/invite/{token}/join", "-"),
    ("GET", "/dash/organisation", "OADVB"),
    ("POST", "/dash/organisation/name", "O"),
    ("POST", "/dash/organisation/two-step", "O"),
    ("POST", "/dash/organisation/delete", "O"),
    ("GET", "/dash/people", "OA"),
    ("POST", "/dash/people/invite", "OA"),
    ("POST", "/dash/people/invitations/{invitation}/renew", "OA"),
    ("POST", "/dash/people/invitations/{invitation}/revoke", "OA"),
    ("POST", "/dash/people/{member}/place", "OA"),
    ("POST", "/dash/people/{member}/remove", "OA"),
    ("GET", "/dash/audit", "OA"),
    ("GET", "/dash/audit/export", "OA"),
    ("GET", "/dash/tokens", "OAD"),
    ("POST", "/dash/tokens/new", "OAD"),
    ("POST", "/dash/tokens/{token}/revoke", "OAD"),
    ("GET", "/dash", "OADVB"),
    ("GET", "/dash/usage", "OADVB"),
    // Only on a server that bills.
    ("GET", "/dash/billing", "OB"),
    ("GET", "/dash/billing/change/{plan}", "OB"),
    ("GET", "/dash/billing/return", "OB"),
    ("POST", "/dash/billing/checkout", "OB"),
    ("POST", "/dash/billing/change", "OB"),
    ("POST", "/dash/billing/cancel", "OB"),
    ("POST", "/dash/billing/resume", "OB"),
    ("POST", "/dash/billing/portal", "OB"),
    ("POST", "/dash/billing/overage", "OB"),
    // Whoever looks after the server; for all others there is no such page.
    ("GET", "/dash/server", "S"),
    ("GET", "/dash/server/nodes", "S"),
    ("GET", "/dash/server/organisations", "S"),
    ("GET", "/dash/server/organisations/{account}", "S"),
    ("POST", "/dash/server/organisations/{account}/plan", "S"),
    ("POST", "/dash/server/organisations/{account}/suspend", "S"),
    ("POST", "/dash/server/organisations/{account}/resume", "S"),
    ("GET", "/dash/server/plans", "S"),
    ("POST", "/dash/server/plans/new", "S"),
    ("POST", "/dash/server/plans/{plan}/edit", "S"),
    ("POST", "/dash/server/plans/{plan}/remove", "S"),
    ("GET", "/dash/server/sign-up", "S"),
    ("POST", "/dash/server/sign-up/mode", "S"),
    ("POST", "/dash/server/sign-up/invite", "S"),
    ("POST", "/dash/server/sign-up/invitations/{invitation}/revoke", "S"),
    ("GET", "/dash/server/backups", "S"),
    ("POST", "/dash/server/backups/new", "S"),
    ("GET", "/dash/apps/new", "OA"),
    ("POST", "/dash/apps/new", "OA"),
    ("GET", "/dash/apps/{id}", "OADV"),
    ("GET", "/dash/apps/{id}/console", "OADV"),
    ("GET", "/dash/apps/{id}/stats", "OADV"),
    ("POST", "/dash/apps/{id}/events/sign", "OAD"),
    ("GET", "/dash/apps/{id}/start", "OAD"),
    ("GET", "/dash/apps/{id}/keys", "OAD"),
    ("GET", "/dash/apps/{id}/keys/use", "OAD"),
    ("POST", "/dash/apps/{id}/keys/new", "OAD"),
    ("POST", "/dash/apps/{id}/keys/revoke", "OA"),
    ("POST", "/dash/apps/{id}/keys/reveal", "OAD"),
    ("GET", "/dash/apps/{id}/settings", "OA"),
    ("POST", "/dash/apps/{id}/settings/name", "OA"),
    ("POST", "/dash/apps/{id}/settings/origins", "OA"),
    ("POST", "/dash/apps/{id}/settings/cap", "OA"),
    ("POST", "/dash/apps/{id}/settings/messages-cap", "OA"),
    ("POST", "/dash/apps/{id}/settings/enabled", "OA"),
    ("POST", "/dash/apps/{id}/settings/{switch}", "OA"),
    ("GET", "/dash/apps/{id}/webhooks", "OAD"),
    ("GET", "/dash/apps/{id}/webhooks/new", "OA"),
    ("POST", "/dash/apps/{id}/webhooks/new", "OA"),
    ("GET", "/dash/apps/{id}/webhooks/{ep}", "OAD"),
    ("GET", "/dash/apps/{id}/webhooks/{ep}/edit", "OA"),
    ("POST", "/dash/apps/{id}/webhooks/{ep}/edit", "OA"),
    ("POST", "/dash/apps/{id}/webhooks/{ep}/test", "OAD"),
    ("POST", "/dash/apps/{id}/webhooks/{ep}/recover", "OAD"),
    ("POST", "/dash/apps/{id}/webhooks/{ep}/resume", "OA"),
    ("GET", "/dash/apps/{id}/webhooks/{ep}/{delivery}", "OAD"),
    ("POST", "/dash/apps/{id}/webhooks/{ep}/{delivery}/resend", "OAD"),
    ("POST", "/dash/apps/{id}/webhooks/{ep}/delete", "OA"),
    ("POST", "/dash/apps/{id}/transfer", "OA"),
    ("POST", "/dash/apps/{id}/delete", "OA"),
    ("GET", "/dash/server/mail", "S"),
    ("POST", "/dash/server/mail/test", "S"),
    ("POST", "/dash/server/mail/reset-link", "S"),
    // Last, for afterwards they are out.
    ("POST", "/dash/organisation/leave", "OADVB"),
];

const REFUSED: &str = "Your role doesn&#39;t allow this";

/// Routes in the sources, with their methods.
fn routes() -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    for dir in ["src", "src/pages"] {
        for entry in std::fs::read_dir(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(dir)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|end| end != "rs") {
                continue;
            }
            let source = std::fs::read_to_string(path).unwrap();
            for piece in source.split(".route(").skip(1) {
                let piece = piece.trim_start().strip_prefix('"').expect("a route is a literal");
                let (path, rest) = piece.split_once('"').unwrap();
                let rest = &rest[..rest.find('\n').unwrap_or(rest.len())];
                for (method, word) in [("GET", "get("), ("POST", "post(")] {
                    let at =
                        rest.find(word).filter(|at| !rest[..*at].ends_with(|c: char| c.is_alphanumeric()));
                    if at.is_some() {
                        found.push((method, path.to_owned()));
                    }
                }
            }
        }
    }
    found
}

#[test]
fn every_route_has_a_line_in_the_table() {
    let routes = routes();
    for (method, path) in &routes {
        let known = TABLE.iter().any(|line| (line.0, line.1) == (*method, path.as_str()));
        assert!(known, "{method} {path}: who may? Add a line to the table of this test.");
    }
    for (method, path, _) in TABLE {
        assert!(
            routes.iter().any(|route| (route.0, route.1.as_str()) == (*method, *path)),
            "{method} {path}"
        );
    }
}

async fn ask(browser: &mut Browser, method: &str, path: &str, token: &str) -> Answer {
    let request = match method {
        "GET" => Request::builder().method(Method::GET).uri(path).body(Body::empty()).unwrap(),
        _ if path.ends_with("/events/sign") => Request::post(path)
            .header(CONTENT_TYPE, "application/json")
            .header("x-csrf-token", token)
            .body(Body::from(r#"{"channel":"a","event":"b","data":"c"}"#))
            .unwrap(),
        _ => form(path, &[("csrf", token)]),
    };
    browser.send(request).await
}

fn is_refused(answer: &Answer) -> bool {
    answer.status == StatusCode::FORBIDDEN
        && (answer.body.contains(REFUSED) || answer.body.contains("\"not_allowed\""))
}

#[tokio::test]
async fn every_address_asks_for_the_role() {
    for role in Role::ALL {
        let (site, _stripe) = billing::selling().await;
        let mut ana = site.person("ana@shop.example").await;
        let id = ana.new_app("shop").await;
        let hook = Hook::of(&site, "ana@shop.example", id).await;
        let mut ben = site.member("ben@shop.example", role, "ana@shop.example").await;
        let token = ben.token("/dash").await;
        for (method, path, who) in TABLE.iter().filter(|line| line.1.starts_with("/dash") && line.2 != "-") {
            let address = match path.strip_prefix("/dash/apps/{id}") {
                Some(tail) => hook.path(&id.to_string(), tail),
                None => (*path).to_owned(),
            };
            if ["{account}", "{session}", "{plan}", "{provider}"].iter().any(|name| path.contains(name)) {
                continue; // of their own only; the page's own test has it
            }
            let answer = ask(&mut ben, method, &address, &token).await;
            if *who == "S" {
                assert_eq!(answer.status, StatusCode::NOT_FOUND, "{role:?} {method} {path}");
                continue;
            }
            let may = *who == "*" || who.contains(&role.title()[..1]);
            assert_eq!(is_refused(&answer), !may, "{role:?} {method} {path}: {}", answer.status);
            // Those with a person or an invitation in them are asked for one that is not there.
            if may && ["{member}", "{invitation}", "{token}"].iter().all(|name| !path.contains(name)) {
                assert_ne!(answer.status, StatusCode::NOT_FOUND, "{role:?} {method} {path}");
            }
            // A new organisation was opened, or they were signed out: back to the one of the table.
            if path.starts_with("/dash/organisations") {
                site.work_in(&mut ben, "ana@shop.example").await;
            }
        }
    }
}

#[tokio::test]
async fn a_viewer_is_shown_no_secret_and_no_button_that_is_refused() {
    let site = Site::open().await;
    let mut ana = site.person("ana@shop.example").await;
    let id = ana.new_app("shop").await;
    let (_, account) = tenancy::user::find_by_email(&site.db, "ana@shop.example").await.unwrap().unwrap();
    let secret = tenancy::app::keys(&site.db, &account.id, id).await.unwrap()[0].secret.expose().to_owned();
    let mut vic = site.member("vic@shop.example", Role::Viewer, "ana@shop.example").await;
    let mut bil = site.member("bil@shop.example", Role::Billing, "ana@shop.example").await;
    for path in ["/dash".to_owned(), format!("/dash/apps/{id}"), format!("/dash/apps/{id}/console")] {
        let page = vic.get(&path).await;
        assert_eq!(page.status, StatusCode::OK, "{path}");
        assert!(!page.body.contains(&secret), "{path}");
        for tail in ["keys", "start", "settings", "webhooks"] {
            assert!(!page.body.contains(&format!("/dash/apps/{id}/{tail}\"")), "{path} leads to {tail}");
        }
        assert!(!page.body.contains("/dash/apps/new"), "{path}");
    }
    let console = vic.get(&format!("/dash/apps/{id}/console")).await.body;
    assert!(console.contains("data-without-payloads") && console.contains("data-forbidden hidden"));
    let home = bil.get("/dash").await.body;
    assert!(
        home.contains("18,204") && !home.contains(&format!("/dash/apps/{id}\"")),
        "numbers, and no way in"
    );
    let said = bil.get(&format!("/dash/apps/{id}")).await.body;
    assert!(said.contains("an Owner or Admin can change your role"), "{said}");
}

#[tokio::test]
async fn a_viewer_joins_only_channels_without_payloads() {
    let site = Site::open().await;
    let mut ana = site.person("ana@shop.example").await;
    let id = ana.new_app("shop").await;
    let groups = ["conn", "sub", "msg", "err", "hook", "stat"];
    for (role, full, meta) in [
        (Role::Owner, true, true),
        (Role::Admin, true, true),
        (Role::Developer, true, true),
        (Role::Viewer, false, true),
        (Role::Billing, false, false),
    ] {
        let email = format!("{}@shop.example", role.name());
        let mut ben = site.member(&email, role, "ana@shop.example").await;
        let token = ben.token("/dash").await;
        for (kind, may) in [("app", full), ("meta", meta)] {
            for group in groups {
                let channel = format!("private-dash-{kind}-{id}-{group}");
                let fields = [("socket_id", "1.2"), ("channel_name", &*channel)];
                let mut request = form("/dash/rt/auth", &fields);
                request.headers_mut().insert("x-csrf-token", token.parse().unwrap());
                let status = ben.send(request).await.status;
                let may = may || (group == "stat" && meta);
                assert_eq!(status == StatusCode::OK, may, "{role:?} {channel}");
            }
        }
    }
}

#[tokio::test]
async fn a_person_works_in_several_organisations_and_links_lead_into_the_right_one() {
    let site = Site::open().await;
    let mut ana = site.person("ana@shop.example").await;
    let id = ana.new_app("shop").await;
    let mut ben = site.member("ben@bakery.example", Role::Admin, "ana@shop.example").await;
    assert!(ben.get("/dash").await.body.contains(">shop</a>"));
    let own = site.account("ben@bakery.example").await;
    let answer = ben.submit("/dash", &format!("/dash/organisations/{own}/open"), &[]).await;
    assert_eq!((answer.status, answer.location()), (StatusCode::SEE_OTHER, "/dash"));
    let home = ben.get("/dash").await.body;
    assert!(home.contains("ben&#39;s workspace</a>") && !home.contains(">shop</a>"));
    let page = ben.get(&format!("/dash/apps/{id}/settings")).await;
    assert_eq!(page.status, StatusCode::OK, "an address of another organisation of theirs works");
    assert!(page.body.contains("ana&#39;s workspace</a>"), "and the page says in which one they are");

    let answer = ben.submit("/dash/organisations/new", "/dash/organisations/new", &[("name", "Acme")]).await;
    assert_eq!((answer.status, answer.location()), (StatusCode::SEE_OTHER, "/dash"));
    assert!(ben.get("/dash").await.body.contains("Acme</a>"), "the new one is open");
    let mut eve = site.person("eve@evil.example").await;
    let answer = eve.submit("/dash", &format!("/dash/organisations/{own}/open"), &[]).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
}

/// What the pages do leaves a row with the person, the app and no secret.
#[tokio::test]
async fn what_is_done_stands_in_the_audit_log_without_secrets() {
    let site = Site::open().await;
    let mut ana = site.person("ana@shop.example").await;
    let id = ana.new_app("shop").await;
    let app = format!("/dash/apps/{id}");
    let hook = [("url", "https://hooks.example/a?token=in-the-query"), ("kind", "cache_miss")];
    let header =
        [hook[0], hook[1], ("filter", "none"), ("filter_text", ""), ("headers", "X-Key: in-the-header")];
    let made = ana.submit("/dash/apps/new", &format!("{app}/webhooks/new"), &header).await;
    let ep = made.location().split(['/', '?']).nth(5).unwrap().to_owned();
    let token = ana.token("/dash").await;
    let key = ana.post(&format!("{app}/keys/new"), &[("csrf", &token)]).await;
    let key = key.location().rsplit_once("key=").unwrap().1.to_owned();
    for (tail, fields) in [
        ("settings/name", vec![("name", "store")]),
        ("settings/watchlist", vec![("on", "1")]),
        ("settings/enabled", vec![]),
        ("settings/enabled", vec![("on", "1")]),
        ("keys/revoke", vec![("key", &*key), ("when", "now")]),
        (&format!("webhooks/{ep}/test"), vec![("kind", "cache_miss")]),
        (&format!("webhooks/{ep}/edit"), vec![("url", "https://hooks.example/b"), ("kind", "cache_miss")]),
        (&format!("webhooks/{ep}/delete"), vec![]),
        ("delete", vec![("confirm", "store")]),
    ] {
        let fields = [vec![("csrf", &*token)], fields].concat();
        let answer = ana.post(&format!("{app}/{tail}"), &fields).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{tail}: {}", answer.body);
    }
    ana.submit("/dash", "/logout", &[]).await;
    let account = site.account("ana@shop.example").await;
    let rows = audit::list(&site.db, &account, Filter { limit: 100, ..Filter::default() }).await.unwrap();
    let done: Vec<&str> = rows.iter().rev().map(|row| row.action.as_str()).collect();
    assert_eq!(
        done,
        [
            "person.sign_up",
            "person.sign_in",
            "app.create",
            "webhook.create",
            "key.create",
            "app.settings",
            "app.settings",
            "app.disable",
            "app.enable",
            "key.delete",
            "webhook.test",
            "webhook.edit",
            "webhook.delete",
            "app.delete",
            "person.sign_out"
        ]
    );
    assert!(rows.iter().all(|row| row.actor == "ana@shop.example" && row.client.address == "198.51.100.x"));
    let renamed = &rows.iter().find(|row| row.action == "app.settings" && row.details["name"].is_object());
    assert_eq!(renamed.unwrap().details["name"]["to"], "store");
    let all = format!("{rows:?}");
    assert!(!all.contains("in-the-query") && !all.contains("in-the-header"), "{all}");
}
