//! `/dash/account`: the password and the sessions of a person.

use std::net::{IpAddr, Ipv4Addr};

use http::header::USER_AGENT;
use http::{Request, StatusCode};

use tenancy::audit::{By, Via};
use tenancy::role::Role;
use tenancy::session::Client;
use tenancy::usage::UsageDelta;
use tenancy::webhook_endpoint::NewEndpoint;
use tenancy::{member, quota};

use crate::support::{Browser, PASSWORD, Site, form};

/// Addresses of the account page that take a POST.
pub(crate) const ACCOUNT_POSTS: [&str; 9] = [
    "/dash/account/password",
    "/dash/account/sessions/end-others",
    "/dash/account/sessions/abc/end",
    "/dash/account/export",
    "/dash/account/delete",
    "/dash/account/email",
    "/dash/account/email/confirm",
    "/dash/server/mail/test",
    "/dash/server/mail/reset-link",
];

const PAGE: &str = "/dash/account";
const NEW: &str = "a quieter harbour";
const FIREFOX: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:131.0) Gecko/20100101 Firefox/131.0";

/// Signs in with a browser that says what it is.
async fn sign_in(site: &Site, email: &str, password: &str, user_agent: &str) -> (Browser, StatusCode) {
    let mut browser = site.browser();
    browser.ip = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9));
    let token = browser.token("/login").await;
    let mut request = form("/login", &[("csrf", &token), ("email", email), ("password", password)]);
    request.headers_mut().insert(USER_AGENT, user_agent.parse().unwrap());
    let status = browser.send(request).await.status;
    (browser, status)
}

/// The addresses behind the buttons that sign one session out.
fn ends(body: &str) -> Vec<String> {
    body.split("action=\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .filter(|action| action.ends_with("/end"))
        .map(str::to_owned)
        .collect()
}

async fn is_in(browser: &mut Browser) -> bool {
    browser.get(PAGE).await.status == StatusCode::OK
}

#[tokio::test]
async fn a_new_password_keeps_this_session_and_ends_the_others() {
    let site = Site::open().await;
    let mut ana = site.person("ana@shop.example").await;
    let mut ben = site.person("ben@shop.example").await;
    let (mut phone, _) = sign_in(&site, "ana@shop.example", PASSWORD, FIREFOX).await;
    let fields = [("present", PASSWORD), ("new", NEW)];
    let answer = ana.submit(PAGE, "/dash/account/password", &fields).await;
    assert_eq!((answer.status, answer.location()), (StatusCode::SEE_OTHER, "/dash/account?done=password"));
    let page = ana.get("/dash/account?done=password").await;
    assert!(page.body.contains("The password was changed. You are signed out everywhere else."));
    assert_eq!(phone.get(PAGE).await.location(), "/login?next=/dash/account");
    assert!(is_in(&mut ben).await);
    for (password, status) in [(PASSWORD, StatusCode::UNAUTHORIZED), (NEW, StatusCode::SEE_OTHER)] {
        assert_eq!(sign_in(&site, "ana@shop.example", password, "").await.1, status);
    }
}

#[tokio::test]
async fn a_refused_password_says_why_beside_its_field_and_changes_nothing() {
    let site = Site::open().await;
    let mut ana = site.person("ana@shop.example").await;
    let (mut phone, _) = sign_in(&site, "ana@shop.example", PASSWORD, FIREFOX).await;
    for (present, new, id, text) in [
        ("not this one", NEW, "present-error", "not your present password, so nothing was changed"),
        ("not this one", "short", "present-error", "not your present password"),
        (PASSWORD, "short", "new-error", "at least 8 characters"),
        (PASSWORD, "password1", "new-error", "Too common"),
        (PASSWORD, &"x".repeat(129), "new-error", "at most 128 characters"),
    ] {
        let answer = ana.submit(PAGE, "/dash/account/password", &[("present", present), ("new", new)]).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{present} {new}");
        let (_, said) = answer.body.split_once(&format!("id=\"{id}\">")).unwrap();
        assert!(said.split('<').next().unwrap().contains(text), "{present} {new}");
        assert_eq!(answer.body.matches("class=\"error\"").count(), 1, "{present} {new}");
        for typed in [present, new] {
            assert!(!answer.body.contains(&format!("value=\"{typed}\"")), "{typed} comes back");
        }
    }
    assert!(is_in(&mut phone).await);
    assert_eq!(sign_in(&site, "ana@shop.example", PASSWORD, "").await.1, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn guessing_the_present_password_is_slowed_down_like_a_sign_in() {
    let site = Site::open().await;
    let mut thief = site.person("ana@shop.example").await;
    let token = thief.token(PAGE).await;
    let mut stopped = None;
    for n in 0..30 {
        let guess = format!("guess number {n}");
        let fields = [("csrf", token.as_str()), ("present", &guess), ("new", NEW)];
        let answer = thief.post("/dash/account/password", &fields).await;
        if answer.status == StatusCode::TOO_MANY_REQUESTS {
            stopped = Some(answer);
            break;
        }
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    }
    let answer = stopped.expect("thirty guesses went through");
    assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1);
    assert!(answer.body.contains("Too many tries. Wait "));
    let fields = [("csrf", token.as_str()), ("email", "ana@shop.example"), ("password", PASSWORD)];
    let mut same_network = site.browser();
    let token = same_network.token("/login").await;
    let fields = [("csrf", token.as_str()), fields[1], fields[2]];
    let answer = same_network.post("/login", &fields).await;
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS, "both doors count together");
}

#[tokio::test]
async fn the_list_names_browsers_and_networks_and_marks_this_one() {
    let site = Site::open().await;
    let mut ana = site.person("ana@shop.example").await;
    site.person("ben@shop.example").await;
    let alone = ana.get(PAGE).await;
    assert_eq!(alone.body.matches("data-test=\"session\"").count(), 1);
    assert!(!alone.body.contains("end-others") && ends(&alone.body).is_empty(), "nothing else to sign out");

    let evil = "<script>alert(1)</script> curl/8";
    let (mut phone, _) = sign_in(&site, "ana@shop.example", PASSWORD, FIREFOX).await;
    sign_in(&site, "ana@shop.example", PASSWORD, evil).await;
    let page = phone.get(PAGE).await;
    assert_eq!(page.body.matches("data-test=\"session\"").count(), 3);
    assert_eq!(page.body.matches("data-test=\"this-session\"").count(), 1);
    for text in ["Firefox on Windows", "Unknown browser", ">curl<", "198.51.100.x", "203.0.113.x"] {
        assert!(page.body.contains(text), "{text} is not in\n{}", page.body);
    }
    assert!(!page.body.contains("203.0.113.9") && !page.body.contains("alert(1)"));
    let (before, _) = page.body.split_once("data-test=\"this-session\"").unwrap();
    assert!(before.rsplit("<li").next().unwrap().contains("Firefox on Windows"));
    assert_eq!(ends(&page.body).len(), 2, "this one is signed out by the menu");
    for token in [&ana.cookies["fanfare_session"], &phone.cookies["fanfare_session"]] {
        assert!(!page.body.contains(token.as_str()), "a token that opens something stands on the page");
    }
}

#[tokio::test]
async fn one_session_is_signed_out_or_all_others() {
    let site = Site::open().await;
    let mut ana = site.person("ana@shop.example").await;
    let mut ben = site.person("ben@shop.example").await;
    let (mut phone, _) = sign_in(&site, "ana@shop.example", PASSWORD, FIREFOX).await;
    let action = ends(&ana.get(PAGE).await.body).pop().unwrap();

    let answer = ben.submit(PAGE, &action, &[]).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert!(answer.body.contains("Session not found"));
    assert!(is_in(&mut phone).await, "another person's session is the same as none");

    let answer = ana.submit(PAGE, &action, &[]).await;
    assert_eq!((answer.status, answer.location()), (StatusCode::SEE_OTHER, "/dash/account?done=session"));
    assert!(!is_in(&mut phone).await);
    assert_eq!(ana.submit(PAGE, &action, &[]).await.status, StatusCode::NOT_FOUND, "it has ended");

    let (mut one, _) = sign_in(&site, "ana@shop.example", PASSWORD, FIREFOX).await;
    let (mut two, _) = sign_in(&site, "ana@shop.example", PASSWORD, "").await;
    let answer = ana.submit(PAGE, "/dash/account/sessions/end-others", &[]).await;
    assert_eq!((answer.status, answer.location()), (StatusCode::SEE_OTHER, "/dash/account?done=others"));
    assert!(is_in(&mut ana).await && is_in(&mut ben).await);
    assert!(!is_in(&mut one).await && !is_in(&mut two).await);
}

#[tokio::test]
async fn nobody_sees_the_page_signed_out() {
    let site = Site::open().await;
    let mut guest = site.browser();
    assert_eq!(guest.get(PAGE).await.location(), "/login?next=/dash/account");
    for path in ACCOUNT_POSTS {
        let answer = guest.post(path, &[("present", PASSWORD), ("new", NEW)]).await;
        assert_eq!((answer.status, answer.location()), (StatusCode::SEE_OTHER, "/login"), "{path}");
        let get = guest.send(Request::get(path).body(axum::body::Body::empty()).unwrap()).await;
        // One is a page too.
        let page = path == "/dash/account/delete";
        let expected = if page { StatusCode::SEE_OTHER } else { StatusCode::METHOD_NOT_ALLOWED };
        assert_eq!(get.status, expected, "{path}");
    }
}

#[tokio::test]
async fn the_export_has_everything_of_this_account_and_no_secret() {
    let site = Site::open().await;
    let mut ana = site.person("ana@shop.example").await;
    let id = ana.new_app("shop").await;
    let mut ben = site.person("ben@shop.example").await;
    ben.new_app("bakery").await;
    let (_, account) = tenancy::user::find_by_email(&site.db, "ana@shop.example").await.unwrap().unwrap();
    let new = NewEndpoint {
        url: "https://hooks.shop.example/pusher?token=in-the-query".to_owned(),
        kinds: vec!["channel_occupied".to_owned()],
        headers: vec![("X-Shop".to_owned(), "in-the-header".to_owned())],
        ..NewEndpoint::default()
    };
    tenancy::webhook_endpoint::create(&site.db, &account.id, id, new).await.unwrap().unwrap();
    let day = tenancy::clock::day_of(tenancy::now_ms());
    let used = UsageDelta { app_id: id, day, publishes: 12, connections_peak: 3, ..UsageDelta::default() };
    tenancy::usage::add(&site.db, &[used]).await.unwrap();

    let answer = ana.submit(PAGE, "/dash/account/export", &[]).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("content-type"), "application/json");
    let file = answer.header("content-disposition");
    assert!(file.starts_with("attachment; filename=\"fanfare-account-20"), "{file}");
    assert!(answer.header("cache-control").contains("no-store"), "{}", answer.header("cache-control"));
    let json: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(json["person"]["email"], "ana@shop.example");
    let organisation = &json["organisations"][0];
    assert_eq!(
        (&organisation["plan"], &organisation["limits"]["connections"]),
        (&"sandbox".into(), &100.into())
    );
    assert_eq!(organisation["apps"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&organisation["apps"][0]["id"], &organisation["apps"][0]["name"]),
        (&id.into(), &"shop".into())
    );
    let webhook = &organisation["apps"][0]["webhooks"][0];
    assert_eq!(webhook["url"], "https://hooks.shop.example/pusher");
    assert_eq!(webhook["header_names"], serde_json::json!(["X-Shop"]));
    assert_eq!(
        (&organisation["usage_days"][0]["publishes"], &organisation["usage_days"][0]["app"]),
        (&12.into(), &id.into())
    );
    assert_eq!(
        (&json["sessions"][0]["address"], &json["sessions"][0]["this_one"]),
        (&"198.51.100.x".into(), &true.into())
    );

    let key = &tenancy::app::keys(&site.db, &account.id, id).await.unwrap()[0];
    let cookie = &ana.cookies["fanfare_session"];
    for secret in
        [key.secret.expose(), &key.key, cookie, "in-the-query", "in-the-header", "argon2", "bakery", "ben@"]
    {
        assert!(!answer.body.contains(secret), "{secret} is in the file");
    }
}

#[tokio::test]
async fn the_export_has_every_organisation_as_far_as_its_role_goes_and_what_the_person_did() {
    let site = Site::open().await;
    let mut ana = site.person("ana@shop.example").await;
    let mut ben = site.person("ben@bakery.example").await;
    let mut cem = site.person("cem@cafe.example").await;
    ana.new_app("shop").await;
    ben.new_app("ovens").await;
    cem.new_app("tables").await;
    // An Owner in one more, a Developer in another; in a third no more, where something was done.
    site.join("ana@shop.example", Role::Owner, "ben@bakery.example").await;
    site.join("ana@shop.example", Role::Admin, "cem@cafe.example").await;
    site.work_in(&mut ana, "cem@cafe.example").await;
    ana.new_app("secret plan").await;
    site.work_in(&mut ana, "ben@bakery.example").await;
    ana.new_app("mixers").await;
    let numbers = quota::Numbers { connections_max: Some(7), ..quota::Numbers::default() };
    quota::put(&site.db, "sandbox", numbers, false).await.unwrap();

    let export = async |ana: &mut Browser| -> serde_json::Value {
        serde_json::from_str(&ana.submit(PAGE, "/dash/account/export", &[]).await.body).unwrap()
    };
    let json = export(&mut ana).await;
    let all = json["organisations"].as_array().unwrap();
    assert_eq!(all.len(), 3);
    let (own, bakery, cafe) = (&all[0], &all[1], &all[2]);
    assert_eq!((&own["role"], &own["apps"][0]["name"]), (&"owner".into(), &"shop".into()));
    assert_eq!((&bakery["role"], &bakery["working_in"]), (&"owner".into(), &true.into()));
    assert_eq!(bakery["apps"].as_array().unwrap().len(), 2);
    assert_eq!(bakery["limits"]["connections"], 7, "as the plan is on this server");
    assert_eq!((&cafe["role"], &cafe["apps"]), (&"admin".into(), &serde_json::Value::Null));
    assert!(!json.to_string().contains("tables"));

    let made = |json: &serde_json::Value, at: &serde_json::Value| -> Vec<serde_json::Value> {
        let rows = json["audit"].as_array().unwrap().clone();
        rows.into_iter().filter(|row| row["organisation"] == *at && row["action"] == "app.create").collect()
    };
    assert_eq!(made(&json, &cafe["id"])[0]["target"], "secret plan");
    assert_eq!(made(&json, &bakery["id"]).len(), 1, "what ben did there is his");
    assert!(json["audit"].as_array().unwrap().iter().any(|row| row["action"] == "person.export"));

    // Who left has what they did, and not to what.
    let (gone, cafe_id) = (site.account("cem@cafe.example").await, cafe["id"].clone());
    let by = By { user_id: None, label: "tests".into(), client: Client::default(), via: Via::System };
    let ana_id = json["person"]["id"].as_str().unwrap().to_owned();
    member::remove(&site.db, &by, Role::Owner, &gone, &ana_id).await.unwrap();
    let json = export(&mut ana).await;
    assert_eq!(json["organisations"].as_array().unwrap().len(), 2);
    let rows = made(&json, &cafe_id);
    assert_eq!((rows.len(), rows[0].get("target")), (1, None));
    assert!(!json.to_string().contains("secret plan"));
}
