//! People of an organisation: asking in, joining, changing, removing; the audit page; the end of an organisation.

use http::StatusCode;
use std::net::{IpAddr, Ipv4Addr};
use tenancy::role::Role;

use dashboard::{DashboardConfig, SignUpMode};

use crate::support::{Answer, Browser, PASSWORD, Site, config};

/// Addresses of an organisation's pages that take a POST.
pub(crate) const ORGANISATION_POSTS: [&str; 12] = [
    "/dash/tokens/new",
    "/dash/tokens/tok_x/revoke",
    "/dash/people/invite",
    "/dash/people/invitations/inv_x/renew",
    "/dash/people/invitations/inv_x/revoke",
    "/dash/people/x/place",
    "/dash/people/x/remove",
    "/dash/organisation/name",
    "/dash/organisation/leave",
    "/dash/organisation/delete",
    "/dash/organisations/new",
    "/invite/x/join",
];

const PEOPLE: &str = "/dash/people";

async fn invite(owner: &mut Browser, email: &str, role: &str) -> Answer {
    owner.submit(PEOPLE, "/dash/people/invite", &[("email", email), ("role", role)]).await
}

/// The path of the link that a page shows.
fn link(answer: &Answer) -> String {
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let url = answer.test_text("invite-link");
    url.strip_prefix("http://127.0.0.1:6001").unwrap_or_else(|| panic!("{url}")).to_owned()
}

pub(crate) async fn user_id(site: &Site, email: &str) -> String {
    tenancy::user::find_by_email(&site.db, email).await.unwrap().unwrap().0.id
}

#[tokio::test]
async fn a_link_makes_somebody_without_an_account_a_member_with_a_password_alone() {
    let site = Site::with(DashboardConfig { signup: SignUpMode::Invite, ..config() }).await;
    tenancy::owner::make(&site.db, "ana@shop.example", PASSWORD).await.unwrap();
    let mut ana = site.browser();
    ana.submit("/login", "/login", &[("email", "ana@shop.example"), ("password", PASSWORD)]).await;
    ana.new_app("shop").await;
    let path = link(&invite(&mut ana, "ben@shop.example", "viewer").await);
    let list = ana.get(PEOPLE).await.body;
    assert!(list.contains("ben@shop.example") && !list.contains(&path), "the link is shown once");

    let mut ben = site.browser();
    let page = ben.get(&path).await;
    assert!(
        page.body.contains("Join ana&#39;s workspace") && page.body.contains("as Viewer"),
        "{}",
        page.body
    );
    assert_eq!(ben.get(&path).await.status, StatusCode::OK, "looking doesn't use it up");
    let action = format!("{path}/sign-up");
    let short = ben.submit(&path, &action, &[("password", "short")]).await;
    assert_eq!(short.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(short.body.contains("at least 8 characters"));
    let joined = ben.submit(&path, &action, &[("password", PASSWORD)]).await;
    assert_eq!((joined.status, joined.location()), (StatusCode::SEE_OTHER, "/dash"), "{}", joined.body);
    let home = ben.get("/dash").await.body;
    assert!(
        home.contains(">shop</a>") && !home.contains("ben&#39;s workspace"),
        "no organisation of their own"
    );
    assert_eq!(ben.get(&path).await.status, StatusCode::NOT_FOUND, "once only");
    let page = ben.get("/dash/organisations/new").await.body;
    assert!(page.contains("takes no new organisations"), "and none can be made where sign-up is not open");
    let again = ben.submit("/dash", "/dash/organisations/new", &[("name", "x")]).await;
    assert_eq!(again.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn where_sign_up_is_closed_a_link_helps_only_who_has_an_account() {
    let site = Site::with(DashboardConfig { signup: SignUpMode::Closed, ..config() }).await;
    tenancy::owner::make(&site.db, "ana@shop.example", PASSWORD).await.unwrap();
    let mut ana = site.browser();
    ana.submit("/login", "/login", &[("email", "ana@shop.example"), ("password", PASSWORD)]).await;
    let path = link(&invite(&mut ana, "ben@shop.example", "viewer").await);
    let mut ben = site.browser();
    let page = ben.get(&path).await.body;
    assert!(page.contains("FANFARE_SIGNUP=invite") && !page.contains("name=\"password\""));
    let token = ben.token("/login").await;
    let forced = ben.post(&format!("{path}/sign-up"), &[("csrf", &token), ("password", PASSWORD)]).await;
    assert_eq!(forced.status, StatusCode::FORBIDDEN);
    assert!(!tenancy::user::exists(&site.db, "ben@shop.example").await.unwrap());
}

#[tokio::test]
async fn a_link_is_for_one_address_and_leads_through_sign_in() {
    let site = Site::open().await;
    let mut ana = site.person("ana@shop.example").await;
    let mut ben = site.person("ben@shop.example").await;
    let mut eve = site.person("eve@evil.example").await;
    let path = link(&invite(&mut ana, "ben@shop.example", "developer").await);
    let page = eve.get(&path).await.body;
    assert!(page.contains("you are signed in as <b>eve@evil.example</b>"), "{page}");
    let stolen = eve.submit("/dash", &format!("{path}/join"), &[]).await;
    assert_eq!(stolen.status, StatusCode::NOT_FOUND);
    ben.submit("/dash", "/logout", &[]).await;
    let page = ben.get(&path).await.body;
    assert!(page.contains(&format!("/login?next={path}")), "{page}");
    let fields = [("email", "ben@shop.example"), ("password", PASSWORD), ("next", &path)];
    let back = ben.submit("/login", "/login", &fields).await;
    assert_eq!(back.location(), path);
    let joined = ben.submit(&path, &format!("{path}/join"), &[]).await;
    assert_eq!((joined.status, joined.location()), (StatusCode::SEE_OTHER, "/dash"));
    assert!(ben.get("/dash").await.body.contains("ana&#39;s workspace</a>"), "they work there now");
    let twice = invite(&mut ana, "ben@shop.example", "viewer").await;
    assert_eq!(twice.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(twice.body.contains("belong to this organisation already"));
}

#[tokio::test]
async fn a_new_link_replaces_the_old_one_and_a_taken_back_one_works_no_more() {
    let site = Site::open().await;
    let mut ana = site.person("ana@shop.example").await;
    let old = link(&invite(&mut ana, "ben@shop.example", "developer").await);
    let page = ana.get(PEOPLE).await.body;
    let action = |end: &str| {
        let found = page.split("action=\"").skip(1).filter_map(|rest| rest.split('"').next());
        found.filter(|action| action.ends_with(end)).map(str::to_owned).next().unwrap()
    };
    let new = link(&ana.submit(PEOPLE, &action("/renew"), &[]).await);
    assert_ne!(old, new);
    let mut ben = site.browser();
    assert_eq!(ben.get(&old).await.status, StatusCode::NOT_FOUND);
    assert_eq!(ben.get(&new).await.status, StatusCode::OK);
    let mut eve = site.person("eve@evil.example").await;
    for end in ["/renew", "/revoke"] {
        let answer = eve.submit("/dash", &action(end), &[]).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "another organisation's: {end}");
    }
    let gone = ana.submit(PEOPLE, &action("/revoke"), &[]).await;
    assert_eq!(gone.location(), "/dash/people?done=revoked");
    assert_eq!(ben.get(&new).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn guessing_links_is_slowed_down_for_the_network_that_guesses() {
    let site = Site::open().await;
    let mut ana = site.person("ana@shop.example").await;
    let path = link(&invite(&mut ana, "ben@shop.example", "viewer").await);
    let mut eve = site.browser();
    eve.ip = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9));
    let mut last = StatusCode::NOT_FOUND;
    for n in 0..40 {
        last = eve.get(&format!("/invite/{n:064x}")).await.status;
        if last == StatusCode::TOO_MANY_REQUESTS {
            break;
        }
    }
    assert_eq!(last, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(site.browser().get(&path).await.status, StatusCode::OK, "others are not held up");
}

#[tokio::test]
async fn roles_and_apps_are_changed_and_a_removed_person_sees_nothing_at_once() {
    let site = Site::open().await;
    let mut ana = site.person("ana@shop.example").await;
    let one = ana.new_app("one").await;
    let two = ana.new_app("two").await;
    let mut ben = site.member("ben@shop.example", Role::Developer, "ana@shop.example").await;
    let id = user_id(&site, "ben@shop.example").await;
    let place = format!("/dash/people/{id}/place");
    let app = two.to_string();
    let fields = [("role", "viewer"), ("apps", "some"), ("app", &*app)];
    let saved = ana.submit(PEOPLE, &place, &fields).await;
    assert_eq!(saved.location(), "/dash/people?done=place", "{}", saved.body);
    let home = ben.get("/dash").await.body;
    assert!(home.contains(">two</a>") && !home.contains(">one</a>"));
    assert_eq!(ben.get(&format!("/dash/apps/{one}")).await.status, StatusCode::NOT_FOUND);
    assert_eq!(ben.get(&format!("/dash/apps/{two}")).await.status, StatusCode::OK);
    assert!(!ben.get("/dash/usage").await.body.contains(&format!("\"app\":{one},")));
    let list = ana.get(PEOPLE).await.body;
    assert!(list.contains("1 app") && list.contains(">Viewer</span>"));

    let own = user_id(&site, "ana@shop.example").await;
    for (path, fields) in [
        (format!("/dash/people/{own}/place"), vec![("role", "admin"), ("apps", "all")]),
        (format!("/dash/people/{own}/remove"), vec![]),
        ("/dash/organisation/leave".to_owned(), vec![]),
    ] {
        let answer = ana.submit(PEOPLE, &path, &fields).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{path}");
        assert!(answer.body.contains("at least one Owner"), "{path}");
    }
    let nobody = ana.submit(PEOPLE, "/dash/people/nobody/remove", &[]).await;
    assert_eq!(nobody.status, StatusCode::NOT_FOUND);
    let removed = ana.submit(PEOPLE, &format!("/dash/people/{id}/remove"), &[]).await;
    assert_eq!(removed.location(), "/dash/people?done=removed");
    assert_eq!(ben.get(&format!("/dash/apps/{two}")).await.status, StatusCode::NOT_FOUND);
    assert!(ben.get("/dash").await.body.contains("ben&#39;s workspace</a>"), "back in their own");
}

#[tokio::test]
async fn the_log_is_filtered_paged_and_taken_along() {
    let site = Site::open().await;
    let mut ana = site.person("ana@shop.example").await;
    let id = ana.new_app("=shop").await;
    let mut ben = site.member("ben@shop.example", Role::Admin, "ana@shop.example").await;
    ben.submit("/dash", &format!("/dash/apps/{id}/settings/name"), &[("name", "store")]).await;
    let page = ana.get("/dash/audit").await.body;
    assert!(page.contains("name: =shop → store") && page.contains("created the app"), "{page}");
    let page = ana.get(&format!("/dash/audit?actor=ben@shop.example&action=app&app={id}")).await.body;
    assert_eq!(page.matches("data-test=\"audit-row\"").count(), 1, "{page}");
    assert!(ana.get("/dash/audit?app=x").await.body.contains("Nothing here"));
    let csv = ana.get("/dash/audit/export?format=csv&action=app").await;
    assert_eq!(csv.header("content-type"), "text/csv; charset=utf-8");
    assert_eq!(csv.body.lines().count(), 3, "{}", csv.body);
    assert!(csv.body.contains("\"'=shop\"") && csv.header("content-disposition").contains(".csv"));
    let json = ana.get("/dash/audit/export?format=json").await;
    let rows: serde_json::Value = serde_json::from_str(&json.body).unwrap();
    assert!(rows.as_array().unwrap().iter().any(|row| row["action"] == "invitation.accept"));
    assert!(ana.get("/dash/audit/export").await.header("content-disposition").contains(".json"));
    assert_eq!(ana.get("/dash/audit/export?format=pdf").await.status, StatusCode::BAD_REQUEST);
    for _ in 0..60 {
        let account = site.account("ana@shop.example").await;
        let by = tenancy::audit::By {
            user_id: None,
            label: "fanfare".into(),
            client: tenancy::session::Client::default(),
            via: tenancy::audit::Via::Cli,
        };
        let entry = tenancy::audit::Entry {
            account_id: &account,
            action: tenancy::audit::Action::AppCreate,
            app_id: None,
            target: "<b>x</b>",
            details: serde_json::Value::Null,
        };
        tenancy::audit::record(&site.db, &by, entry).await.unwrap();
    }
    let page = ana.get("/dash/audit").await.body;
    assert_eq!(page.matches("data-test=\"audit-row\"").count(), 50);
    assert!(!page.contains("<b>x</b></b>"), "texts are text");
    let older = page.split("href=\"/dash/audit?before=").nth(1).unwrap().split('"').next().unwrap();
    let next = ana.get(&format!("/dash/audit?before={}", older.replace("&amp;", "&"))).await.body;
    assert!(next.contains("created the app") && next.contains("Newest"));
}

#[tokio::test]
async fn an_app_moves_only_into_an_organisation_where_its_mover_may_make_apps() {
    let site = Site::open().await;
    let mut ana = site.person("ana@shop.example").await;
    let id = ana.new_app("shop").await;
    let page = format!("/dash/apps/{id}/settings");
    assert!(!ana.get(&page).await.body.contains("id=\"transfer\""), "nowhere to move it to");
    site.person("ben@bakery.example").await;
    site.person("eve@evil.example").await;
    let (bakery, evil) = (site.account("ben@bakery.example").await, site.account("eve@evil.example").await);
    // Ana becomes Admin at the bakery and Developer with Eve.
    for (owner, account, role) in
        [("ben@bakery.example", &bakery, Role::Admin), ("eve@evil.example", &evil, Role::Developer)]
    {
        site.join("ana@shop.example", role, owner).await;
        assert!(!account.is_empty());
    }
    let action = format!("/dash/apps/{id}/transfer");
    let move_to = async |ana: &mut Browser, to: &str, confirm: &str| {
        ana.submit(&page, &action, &[("to", to), ("confirm", confirm)]).await
    };
    assert_eq!(move_to(&mut ana, &evil, "shop").await.status, StatusCode::NOT_FOUND);
    let wrong = move_to(&mut ana, &bakery, "sho").await;
    assert!(ana.get(wrong.location()).await.body.contains("not the app&#39;s name"), "{}", wrong.location());
    let moved = move_to(&mut ana, &bakery, "shop").await;
    let after = ana.get(moved.location()).await;
    assert!(
        after.body.contains("Moved.") && after.body.contains("ben&#39;s workspace</a>"),
        "{}",
        after.body
    );
    assert!(tenancy::app::find(&site.db, &bakery, id).await.unwrap().is_some());
}

#[tokio::test]
async fn an_organisation_ends_with_its_typed_name_and_its_owner_goes_on_elsewhere() {
    let site = Site::open().await;
    let mut ana = site.person("ana@shop.example").await;
    let id = ana.new_app("shop").await;
    let mut ben = site.member("ben@shop.example", Role::Admin, "ana@shop.example").await;
    let page = "/dash/organisation";
    let renamed = ana.submit(page, "/dash/organisation/name", &[("name", "Acme")]).await;
    assert_eq!(renamed.location(), "/dash/organisation?done=name");
    let wrong = ana.submit(page, "/dash/organisation/delete", &[("confirm", "acme")]).await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(wrong.body.contains("nothing was deleted"));
    let gone = ana.submit(page, "/dash/organisation/delete", &[("confirm", "Acme")]).await;
    assert_eq!((gone.status, gone.location()), (StatusCode::SEE_OTHER, "/dash"));
    let nothing = ana.get("/dash").await;
    assert_eq!(nothing.status, StatusCode::FORBIDDEN);
    assert!(nothing.body.contains("You belong to no organisation"));
    assert_eq!(ana.get("/dash/account").await.status, StatusCode::OK, "they can still manage their account");
    assert_eq!(ben.get(&format!("/dash/apps/{id}")).await.status, StatusCode::NOT_FOUND);
    let made = ana.submit("/dash/account", "/dash/organisations/new", &[("name", "Next")]).await;
    assert_eq!(made.location(), "/dash");
    assert!(ana.get("/dash").await.body.contains("Next</a>"));
}
