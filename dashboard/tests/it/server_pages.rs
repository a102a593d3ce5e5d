//! The pages of whoever looks after the server: what they change, who else sees them (nobody), and what an organisation learns of
//! it.

use http::StatusCode;
use tenancy::audit::{self, Filter};
use tenancy::plan::Plan;
use tenancy::{app, quota, tenants};

use dashboard::{DashboardConfig, ServerFacts, SignUpMode};

use crate::support::{Answer, Browser, PASSWORD, Site, config};

/// A server with somebody who looks after it, and somebody else with an app.
struct Server {
    site: Site,
    root: Browser,
    ana: Browser,
    app: u64,
    /// The organisation of the latter.
    account: String,
}

impl Server {
    async fn open() -> Server {
        let site = Site::open().await;
        let root = site.person("root@server.example").await;
        site.promote("root@server.example").await;
        let mut ana = site.person("ana@shop.example").await;
        let app = ana.new_app("shop").await;
        let account = site.account("ana@shop.example").await;
        Server { site, root, ana, app, account }
    }

    async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let token = self.root.token("/dash/account").await;
        self.root.post(path, &[&[("csrf", &*token)], fields].concat()).await
    }

    async fn actions(&self, account: &str) -> Vec<String> {
        let all = Filter { limit: 50, ..Filter::default() };
        let rows = audit::list(&self.site.db, &account.to_owned(), all).await.unwrap();
        rows.into_iter().map(|row| format!("{} {}", row.actor, row.action)).collect()
    }
}

const PAGES: &[&str] = &[
    "/dash/server",
    "/dash/server/nodes",
    "/dash/server/organisations",
    "/dash/server/plans",
    "/dash/server/sign-up",
    "/dash/server/backups",
];

#[tokio::test]
async fn only_who_looks_after_the_server_finds_its_pages() {
    let mut server = Server::open().await;
    let one = format!("/dash/server/organisations/{}", server.account);
    for path in PAGES.iter().copied().chain([&*one]) {
        assert_eq!(server.root.get(path).await.status, StatusCode::OK, "{path}");
        let other = server.ana.get(path).await;
        assert_eq!(other.status, StatusCode::NOT_FOUND, "{path}");
        assert!(other.body.contains("There is nothing at this address."), "{path}");
        assert!(server.site.browser().get(path).await.location().starts_with("/login"), "{path}");
    }
    let token = server.ana.token("/dash").await;
    for (path, field) in [
        (format!("{one}/plan"), ("plan", "unlimited")),
        (format!("{one}/suspend"), ("why", "x")),
        (format!("{one}/resume"), ("why", "x")),
        ("/dash/server/plans/sandbox/edit".to_owned(), ("connections", "9")),
        ("/dash/server/sign-up/mode".to_owned(), ("mode", "closed")),
        ("/dash/server/backups/new".to_owned(), ("x", "x")),
    ] {
        let answer = server.ana.post(&path, &[("csrf", &token), field]).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
    }
    let plan = tenants::find(&server.site.db, &server.account).await.unwrap().unwrap().account.plan;
    assert_eq!(plan, Plan::Sandbox);
    let menu = server.root.get("/dash").await.body;
    assert!(menu.contains("href=\"/dash/server\""));
    assert!(!server.ana.get("/dash").await.body.contains("href=\"/dash/server\""));
}

#[tokio::test]
async fn organisations_are_found_by_name_id_and_a_members_address() {
    let mut server = Server::open().await;
    let account = server.account.clone();
    for (search, found) in [
        ("", 2),
        ("ANA", 1),
        ("ana@shop.example", 1),
        (&*account, 1),
        ("workspace", 2),
        ("%", 0),
        ("no_ne", 0),
    ] {
        let page =
            server.root.get(&format!("/dash/server/organisations?q={}", search.replace('%', "%25"))).await;
        assert_eq!(page.status, StatusCode::OK);
        assert_eq!(page.body.matches("data-test=\"tenant\"").count(), found, "{search}");
    }
    for n in 0..51 {
        tenancy::user::sign_up(&server.site.db, &format!("u{n}@many.example"), PASSWORD, Plan::Sandbox)
            .await
            .unwrap();
    }
    let first = server.root.get("/dash/server/organisations").await.body;
    assert_eq!(first.matches("data-test=\"tenant\"").count(), 50);
    assert!(first.contains("page=1") && first.contains("1–50"));
    let second = server.root.get("/dash/server/organisations?q=&page=1").await.body;
    assert_eq!(second.matches("data-test=\"tenant\"").count(), 3);
    assert!(second.contains("51–53") && second.contains("page=0") && !second.contains("page=2"));
    for strange in ["page=-1", "page=x", "page=4294967295", "q=%00"] {
        let answer = server.root.get(&format!("/dash/server/organisations?{strange}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{strange}");
    }
    assert_eq!(server.root.get("/dash/server/organisations/nobody").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_suspended_organisation_reads_why_and_goes_on_afterwards() {
    let mut server = Server::open().await;
    let one = format!("/dash/server/organisations/{}", server.account);
    let refused = server.post(&format!("{one}/suspend"), &[("why", " ")]).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    let seq = tenancy::changes::last(&server.site.db).await.unwrap();
    let why = "Spam from <your> apps: write to help@server.example";
    let done = server.post(&format!("{one}/suspend"), &[("why", why)]).await;
    assert_eq!(done.location(), format!("{one}?done=suspended"));
    let view = app::node_view_by_id(&server.site.db, server.app).await.unwrap().unwrap();
    assert!(view.suspended && view.app.enabled, "its own switch is kept");
    let changes = tenancy::changes::since(&server.site.db, seq, 10).await.unwrap();
    assert!(changes.iter().any(|change| change.app_id == server.app), "nodes are told");
    for path in ["/dash".to_owned(), format!("/dash/apps/{}", server.app), "/dash/people".to_owned()] {
        let page = server.ana.get(&path).await.body;
        assert!(page.contains("Spam from &#60;your&#62; apps: write to help@server.example"), "{path}");
    }
    assert!(
        !server.root.get("/dash").await.body.contains("data-test=\"suspended\""),
        "others are not concerned"
    );
    assert!(server.root.get("/dash/server").await.body.contains("(1 suspended)"));
    assert!(server.root.get("/dash/server/organisations").await.body.contains("suspended</span>"));

    assert_eq!(server.post(&format!("{one}/resume"), &[]).await.location(), format!("{one}?done=resumed"));
    let view = app::node_view_by_id(&server.site.db, server.app).await.unwrap().unwrap();
    assert!(!view.suspended);
    assert!(!server.ana.get("/dash").await.body.contains("data-test=\"suspended\""));
    let actions = server.actions(&server.account).await;
    assert_eq!(
        actions[..2],
        ["root@server.example organisation.resume", "root@server.example organisation.suspend"]
    );
}

#[tokio::test]
async fn an_edited_plan_reaches_its_apps_and_a_plan_in_use_stays() {
    let mut server = Server::open().await;
    let db = server.site.db.clone();
    let page = server.root.get("/dash/server/plans").await.body;
    assert_eq!(page.matches("data-test=\"plan\"").count(), 9, "the catalogue is there from the start");
    let numbers = |connections| {
        [("connections", connections), ("messages", "1,000"), ("publishes", "5"), ("reads", "")]
    };
    let seq = tenancy::changes::last(&db).await.unwrap();
    let done = server.post("/dash/server/plans/sandbox/edit", &numbers("7")).await;
    assert_eq!(done.location(), "/dash/server/plans?done=saved");
    let view = app::node_view_by_id(&db, server.app).await.unwrap().unwrap();
    let limits = view.plan_limits;
    assert_eq!((limits.connections_max, limits.messages_per_day_max), (Some(7), Some(1_000)));
    assert_eq!((limits.publishes_per_second_max, limits.reads_per_second_max), (Some(5), None));
    let changes = tenancy::changes::since(&db, seq, 10).await.unwrap();
    assert!(changes.iter().any(|change| change.app_id == server.app));
    assert!(server.site.browser().get("/signup").await.body.contains("7 connections and 1,000 messages"));

    let new = [&[("name", "team-large")][..], &numbers("12")].concat();
    assert_eq!(server.post("/dash/server/plans/new", &new).await.location(), "/dash/server/plans?done=saved");
    assert_eq!(server.post("/dash/server/plans/new", &new).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    let one = format!("/dash/server/organisations/{}", server.account);
    let done = server.post(&format!("{one}/plan"), &[("plan", "team-large")]).await;
    assert_eq!(done.location(), format!("{one}?done=plan"));
    assert_eq!(server.actions(&server.account).await[0], "root@server.example organisation.plan");
    let view = app::node_view_by_id(&db, server.app).await.unwrap().unwrap();
    assert_eq!((view.account_plan.name(), view.limits.connections_max), ("team-large", Some(12)));
    assert!(server.ana.get("/dash").await.body.contains("team-large"));

    let refused = server.post("/dash/server/plans/team-large/remove", &[]).await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    assert!(refused.body.contains("It is in use"));
    server.post(&format!("{one}/plan"), &[("plan", "pro")]).await;
    let done = server.post("/dash/server/plans/team-large/remove", &[]).await;
    assert_eq!(done.location(), "/dash/server/plans?done=removed");
    assert_eq!(quota::find(&db, "team-large").await.unwrap(), None);
    let done = server.post("/dash/server/plans/sandbox/remove", &[]).await;
    assert_eq!(done.location(), "/dash/server/plans?done=reset");
    assert_eq!(quota::limits_of(&db, Plan::Sandbox).await.unwrap().connections_max, Some(100));
    for (name, connections) in
        [("Team", "1"), ("", "1"), ("x", "many"), ("x", "-1"), ("x", "1000000000001"), ("sandbox", "1")]
    {
        let bad = [&[("name", name)][..], &numbers(connections)].concat();
        let answer = server.post("/dash/server/plans/new", &bad).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{name} {connections}");
    }
    let unknown = server.post(&format!("{one}/plan"), &[("plan", "team-large")]).await;
    assert_eq!(unknown.status, StatusCode::UNPROCESSABLE_ENTITY);
    let root = server.site.account("root@server.example").await;
    assert!(server.actions(&root).await.contains(&"root@server.example server.plan".to_owned()));
}

#[tokio::test]
async fn by_invitation_one_person_signs_up_with_one_link() {
    let mut server = Server::open().await;
    let done = server.post("/dash/server/sign-up/mode", &[("mode", "invite")]).await;
    assert_eq!(done.location(), "/dash/server/sign-up?done=mode");
    assert_eq!(
        server.post("/dash/server/sign-up/mode", &[("mode", "maybe")]).await.status,
        StatusCode::BAD_REQUEST
    );
    assert!(server.site.browser().get("/signup").await.body.contains("Sign-up is closed"));
    assert!(!server.site.browser().get("/login").await.body.contains("href=\"/signup\""));
    let made = server.post("/dash/server/sign-up/invite", &[("label", "Ben of the bakery")]).await;
    assert_eq!(made.status, StatusCode::OK);
    let link = made.body.split("data-test=\"invite-link\">").nth(1).unwrap().split('<').next().unwrap();
    let path = link.strip_prefix("http://127.0.0.1:6001").unwrap().to_owned();
    let token = path.split('=').nth(1).unwrap().to_owned();
    assert!(!server.root.get("/dash/server/sign-up").await.body.contains(&token), "it is shown once");

    let mut ben = server.site.browser();
    assert!(ben.get(&path).await.body.contains("Create account"), "and looking at it uses nothing up");
    let fields = [("email", "ben@bakery.example"), ("password", PASSWORD), ("invitation", &*token)];
    let without = ben.submit(&path, "/signup", &fields[..2]).await;
    assert_eq!(without.status, StatusCode::FORBIDDEN);
    let short = [fields[0], ("password", "short"), fields[2]];
    assert_eq!(ben.submit(&path, "/signup", &short).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    let taken = [("email", "ana@shop.example"), fields[1], fields[2]];
    assert_eq!(ben.submit(&path, "/signup", &taken).await.status, StatusCode::CONFLICT);
    let joined = ben.submit(&path, "/signup", &fields).await;
    assert_eq!((joined.status, joined.location()), (StatusCode::SEE_OTHER, "/dash/apps/new"));
    let mut eve = server.site.browser();
    assert!(eve.get(&path).await.body.contains("Sign-up is closed"), "it works once");
    let again = [("email", "eve@evil.example"), fields[1], fields[2]];
    assert_eq!(eve.submit("/login", "/signup", &again).await.status, StatusCode::FORBIDDEN);

    let made = server.post("/dash/server/sign-up/invite", &[("label", "Cas")]).await;
    let link =
        made.body.split("data-test=\"invite-link\">").nth(1).unwrap().split('<').next().unwrap().to_owned();
    let open = tenancy::server_invitation::list(&server.site.db).await.unwrap();
    assert_eq!(open.len(), 1);
    let revoke = format!("/dash/server/sign-up/invitations/{}/revoke", open[0].id);
    assert_eq!(server.post(&revoke, &[]).await.status, StatusCode::SEE_OTHER);
    assert_eq!(server.post(&revoke, &[]).await.status, StatusCode::NOT_FOUND);
    let path = link.strip_prefix("http://127.0.0.1:6001").unwrap();
    assert!(server.site.browser().get(path).await.body.contains("Sign-up is closed"));
    assert_eq!(
        server.post("/dash/server/sign-up/invite", &[("label", "")]).await.status,
        StatusCode::UNPROCESSABLE_ENTITY
    );
}

#[tokio::test]
async fn what_a_page_says_about_sign_up_goes_before_the_setting() {
    let site = Site::with(DashboardConfig { signup: SignUpMode::Closed, ..config() }).await;
    let (owner, _) =
        tenancy::user::sign_up(&site.db, "root@server.example", PASSWORD, Plan::Unlimited).await.unwrap();
    site.promote(&owner.email).await;
    let mut root = site.browser();
    root.submit("/login", "/login", &[("email", &*owner.email), ("password", PASSWORD)]).await;
    assert!(
        root.get("/dash/server/sign-up")
            .await
            .body
            .contains("From the setting <code>FANFARE_SIGNUP=closed</code>")
    );
    root.submit("/dash/server/sign-up", "/dash/server/sign-up/mode", &[("mode", "open")]).await;
    assert!(root.get("/dash/server/sign-up").await.body.contains("is not used"));
    site.person("ana@shop.example").await;
}

#[tokio::test]
async fn a_backup_is_made_now_listed_and_only_the_latest_ten_stay() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().to_owned();
    let file = data_dir.join("fanfare.db");
    let made = tenancy::Db::connect(&format!("sqlite:{}", file.display())).await.unwrap();
    made.migrate().await.unwrap();
    let server =
        ServerFacts { database_file: Some(file), data_dir: data_dir.clone(), ..ServerFacts::default() };
    let site = Site::with(DashboardConfig { server, ..config() }).await;
    let mut root = site.person("root@server.example").await;
    site.promote("root@server.example").await;
    let folder = data_dir.join("backups");
    std::fs::create_dir(&folder).unwrap();
    for n in 0..12 {
        std::fs::write(folder.join(format!("fanfare-2020010{n:02}.tar")), "old").unwrap();
    }
    std::fs::write(folder.join("notes.txt"), "mine").unwrap();
    let done = root.submit("/dash/server/backups", "/dash/server/backups/new", &[]).await;
    assert_eq!(
        (done.status, done.location()),
        (StatusCode::SEE_OTHER, "/dash/server/backups?done=made"),
        "{}",
        done.body
    );
    let page = root.get("/dash/server/backups").await.body;
    assert_eq!(page.matches("data-test=\"backup\"").count(), 10);
    assert!(folder.join("notes.txt").exists());
    let newest = page.split("class=\"mono\">").nth(1).unwrap().split('<').next().unwrap();
    let bytes = std::fs::read(folder.join(newest)).unwrap();
    assert!(bytes.starts_with(b"manifest.json"));
}
