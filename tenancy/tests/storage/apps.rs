//! Making, changing and deleting apps, and what a node reads of them.

use crate::support::{make_app, named, on_both, on_both_urls, sign_up};
use std::collections::BTreeSet;
use tenancy::app::{self, AppChange, CreateAppError, FeatureChange, Features, NewApp, UpdateAppError};
use tenancy::plan::Plan;
use tenancy::{Db, Vault, instance, user};

fn is_20_hex(text: &str) -> bool {
    text.len() == 20 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[tokio::test]
async fn ids_start_at_1001_and_are_never_given_twice() {
    on_both(|db| async move {
        let (_, account) = sign_up(&db, "ana@example.com").await;
        let (first, key) = make_app(&db, &account).await;
        assert_eq!(first.id, 1001);
        assert!(is_20_hex(&key.key) && is_20_hex(key.secret.expose()), "{key:?}");
        assert!(app::delete(&db, &account.id, 1001).await.unwrap());
        assert_eq!(make_app(&db, &account).await.0.id, 1002);

        // One asked for by number, and deleted, before the counter came to it.
        let kept = NewApp { id: Some(1003), ..named("Kept") };
        app::create(&db, &account.id, kept).await.unwrap();
        assert!(app::delete(&db, &account.id, 1003).await.unwrap());
        assert_eq!(make_app(&db, &account).await.0.id, 1004);
        for gone in [1001, 1003] {
            let again = app::create(&db, &account.id, NewApp { id: Some(gone), ..named("Again") }).await;
            assert!(matches!(again, Err(CreateAppError::IdTaken)), "{again:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_asked_for_is_kept() {
    on_both(|db| async move {
        let (_, account) = sign_up(&db, "ana@example.com").await;
        let new = NewApp {
            name: "  Chat – Ünïcode  ",
            cluster: "eu",
            id: Some(42),
            key: Some("Kept_key-1"),
            secret: Some("kept secret".split(' ').next_back().unwrap()),
            plan: Some(Plan::Startup),
            connections_max: Some(10),
            client_events: true,
            features: FeatureChange { watchlist: Some(true), ..FeatureChange::default() },
            created_by: "",
        };
        let (made, key) = app::create(&db, &account.id, new).await.unwrap();
        assert_eq!((key.key.as_str(), key.secret.expose()), ("Kept_key-1", "secret"));
        assert_eq!((made.id, made.name.as_str(), made.cluster.as_str()), (42, "Chat – Ünïcode", "eu"));
        assert_eq!((made.plan, made.connections_max), (Some(Plan::Startup), Some(10)));
        assert!(made.enabled && made.client_events && made.allowed_origins.is_empty());
        assert_eq!((made.version, &made.account_id), (1, &account.id));
        assert_eq!(made.features, Features { watchlist: true, ..Features::default() });

        assert_eq!(app::find(&db, &account.id, 42).await.unwrap().as_ref(), Some(&made));
        assert_eq!(app::list(&db, &account.id).await.unwrap(), std::slice::from_ref(&made));
        assert_eq!(app::list_all(&db).await.unwrap(), [made]);
        assert_eq!(app::keys(&db, &account.id, 42).await.unwrap(), [key]);
        assert_eq!(make_app(&db, &account).await.0.id, 1001, "the counter is not moved by it");
    })
    .await;
}

#[tokio::test]
async fn duplicates_and_impossible_values_are_told_apart_and_leave_nothing() {
    on_both(|db| async move {
        let (_, account) = sign_up(&db, "ana@example.com").await;
        let base = named("An app");
        app::create(&db, &account.id, NewApp { id: Some(42), key: Some("taken"), ..base }).await.unwrap();
        let refused = async |new: NewApp<'_>| app::create(&db, &account.id, new).await.unwrap_err();

        assert!(matches!(refused(NewApp { id: Some(42), ..base }).await, CreateAppError::IdTaken));
        assert!(matches!(refused(NewApp { key: Some("taken"), ..base }).await, CreateAppError::KeyTaken));
        for id in [0, 1, u64::MAX] {
            assert!(matches!(refused(NewApp { id: Some(id), ..base }).await, CreateAppError::IdInvalid));
        }
        for name in ["", "  ", &"x".repeat(61), "a\nb"] {
            assert!(matches!(refused(NewApp { name, ..base }).await, CreateAppError::NameInvalid));
        }
        for cluster in ["", "EU", "a b", &"x".repeat(21)] {
            assert!(matches!(refused(NewApp { cluster, ..base }).await, CreateAppError::ClusterInvalid));
        }
        for key in ["", "a/b", "é", &"x".repeat(65)] {
            assert!(matches!(refused(NewApp { key: Some(key), ..base }).await, CreateAppError::KeyInvalid));
        }
        for secret in ["", "a b", "é", &"x".repeat(129)] {
            assert!(matches!(
                refused(NewApp { secret: Some(secret), ..base }).await,
                CreateAppError::SecretInvalid
            ));
        }
        assert_eq!(app::list(&db, &account.id).await.unwrap().len(), 1);
        assert_eq!(make_app(&db, &account).await.0.id, 1001, "the number of a refused app is not lost");
    })
    .await;
}

#[tokio::test]
async fn an_account_has_a_hundred_apps_and_no_race_gives_it_more() {
    on_both(|db| async move {
        let (_, account) = sign_up(&db, "ana@example.com").await;
        let (_, other) = sign_up(&db, "bea@example.com").await;
        for _ in 0..97 {
            make_app(&db, &account).await;
        }
        let tasks: Vec<_> = (0..12)
            .map(|_| {
                let (db, id) = (db.clone(), account.id.clone());
                tokio::spawn(async move { app::create(&db, &id, named("One more")).await })
            })
            .collect();
        for task in tasks {
            let outcome = task.await.unwrap();
            assert!(matches!(outcome, Ok(_) | Err(CreateAppError::TooMany)), "{outcome:?}");
        }
        let apps = app::list(&db, &account.id).await.unwrap();
        assert_eq!(apps.len(), 100);
        make_app(&db, &other).await;
        assert!(app::delete(&db, &account.id, apps[0].id).await.unwrap());
        make_app(&db, &account).await;
    })
    .await;
}

#[tokio::test]
async fn fifty_apps_made_at_once_get_fifty_ids() {
    on_both_urls(|url| async move {
        // Two handles: as from two processes, for example the server and a command.
        let vault = Vault::fresh();
        let dbs = [Db::connect(&url).await.unwrap(), Db::connect(&url).await.unwrap()]
            .map(|db| db.with_vault(vault.clone()));
        dbs[0].migrate().await.unwrap();
        let (_, ana) = sign_up(&dbs[0], "ana@example.com").await;
        let (_, bea) = sign_up(&dbs[0], "bea@example.com").await;
        let tasks: Vec<_> = (0..50)
            .map(|n| {
                let db = dbs[n % 2].clone();
                let account = if n % 3 == 0 { bea.clone() } else { ana.clone() };
                tokio::spawn(async move { make_app(&db, &account).await })
            })
            .collect();
        let (mut ids, mut keys) = (BTreeSet::new(), BTreeSet::new());
        for task in tasks {
            let (app, key) = task.await.unwrap();
            ids.insert(app.id);
            keys.insert(key.key);
        }
        assert_eq!(ids, (1001..=1050).collect());
        assert_eq!(keys.len(), 50);
    })
    .await;
}

#[tokio::test]
async fn an_update_changes_what_it_names_and_counts_the_version() {
    on_both(|db| async move {
        let (_, account) = sign_up(&db, "ana@example.com").await;
        let (made, _) = make_app(&db, &account).await;
        let update = async |change: AppChange| app::update(&db, &account.id, made.id, change).await;

        let renamed = update(AppChange { name: Some(" New name ".to_owned()), ..AppChange::default() })
            .await
            .unwrap()
            .unwrap();
        assert_eq!(renamed, app::App { name: "New name".to_owned(), version: 2, ..made.clone() });

        let origins = vec!["https://App.example.com/".to_owned()];
        let rest = AppChange {
            name: None,
            client_events: Some(true),
            allowed_origins: Some(origins),
            enabled: Some(false),
            connections_max: Some(Some(7)),
            messages_day_max: Some(Some(8)),
            features: tenancy::app::FeatureChange { watchlist: Some(true), ..Default::default() },
        };
        let changed = update(rest).await.unwrap().unwrap();
        let expected = app::App {
            connections_max: Some(7),
            messages_day_max: Some(8),
            client_events: true,
            allowed_origins: vec!["https://app.example.com".to_owned()],
            enabled: false,
            version: 3,
            features: tenancy::app::Features { watchlist: true, ..renamed.features },
            ..renamed
        };
        assert_eq!(changed, expected);
        assert_eq!(app::find(&db, &account.id, made.id).await.unwrap(), Some(expected));

        let refused = update(AppChange { name: Some(String::new()), ..AppChange::default() }).await;
        assert!(matches!(refused, Err(UpdateAppError::NameInvalid)));
        let refused =
            update(AppChange { allowed_origins: Some(vec!["a b".to_owned()]), ..AppChange::default() }).await;
        assert!(matches!(refused, Err(UpdateAppError::OriginInvalid(origin)) if origin == "a b"));
        assert_eq!(app::find(&db, &account.id, made.id).await.unwrap().unwrap().version, 3);
        assert_eq!(app::update(&db, &account.id, 9_999, AppChange::default()).await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn a_deleted_app_is_gone_with_its_keys() {
    on_both(|db| async move {
        let (_, account) = sign_up(&db, "ana@example.com").await;
        let (made, key) = make_app(&db, &account).await;
        assert!(app::delete(&db, &account.id, made.id).await.unwrap());
        assert!(!app::delete(&db, &account.id, made.id).await.unwrap());
        assert_eq!(app::find(&db, &account.id, made.id).await.unwrap(), None);
        assert!(app::keys(&db, &account.id, made.id).await.unwrap().is_empty());
        assert!(app::list(&db, &account.id).await.unwrap().is_empty());
        assert_eq!(app::node_view_by_id(&db, made.id).await.unwrap(), None);
        assert_eq!(app::node_view_by_key(&db, &key.key).await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn a_node_sees_app_keys_and_effective_limits() {
    on_both(|db| async move {
        let (_, account) = sign_up(&db, "ana@example.com").await;
        let (plain, plain_key) = make_app(&db, &account).await;
        let view = app::node_view_by_key(&db, &plain_key.key).await.unwrap().unwrap();
        assert_eq!((&view.app, &view.keys), (&plain, &vec![plain_key]));
        assert_eq!((view.account_plan, view.limits.connections_max), (Plan::Sandbox, Some(100)));
        assert_eq!(view.limits.messages_per_day_max, Some(200_000));
        assert_eq!(app::node_view_by_id(&db, plain.id).await.unwrap(), Some(view));

        let new = NewApp { plan: Some(Plan::Unlimited), connections_max: Some(7), ..named("Own plan") };
        let (own, _) = app::create(&db, &account.id, new).await.unwrap();
        let cap = AppChange { messages_day_max: Some(Some(9)), ..AppChange::default() };
        app::update(&db, &account.id, own.id, cap).await.unwrap();
        let off = AppChange { enabled: Some(false), ..AppChange::default() };
        app::update(&db, &account.id, own.id, off).await.unwrap();
        let view = app::node_view_by_id(&db, own.id).await.unwrap().unwrap();
        assert!(!view.app.enabled, "a node must see it to refuse with the right code");
        assert_eq!((view.limits.connections_max, view.limits.messages_per_day_max), (Some(7), Some(9)));
        assert_eq!((view.app.connections_max, view.app.messages_day_max), (Some(7), Some(9)));
        let plan = (view.plan_limits.connections_max, view.plan_limits.messages_per_day_max);
        assert_eq!(plan, (None, None), "its caps are its own");
        for (change, left) in [
            (AppChange { connections_max: Some(None), ..AppChange::default() }, (None, Some(9))),
            (AppChange { messages_day_max: Some(None), ..AppChange::default() }, (None, None)),
        ] {
            let app = app::update(&db, &account.id, own.id, change).await.unwrap().unwrap();
            assert_eq!((app.connections_max, app.messages_day_max), left);
        }
        assert_eq!(view.limits.presence_members_max, 10_000);

        let strange = ["", "\0", "1001", "no-such-key", &"x".repeat(100_000)];
        for key in strange {
            assert_eq!(app::node_view_by_key(&db, key).await.unwrap(), None);
        }
        for id in [0, 1, 9_999, u64::MAX] {
            assert_eq!(app::node_view_by_id(&db, id).await.unwrap(), None);
        }
    })
    .await;
}

#[tokio::test]
async fn secrets_are_not_in_debug_output() {
    on_both(|db| async move {
        let (_, account) = sign_up(&db, "ana@example.com").await;
        let new = NewApp { secret: Some("sesame-open"), ..named("An app") };
        let (made, key) = app::create(&db, &account.id, new).await.unwrap();
        let view = app::node_view_by_id(&db, made.id).await.unwrap().unwrap();
        let keys = app::keys(&db, &account.id, made.id).await.unwrap();
        let shown = format!("{new:?} {key:?} {view:?} {keys:?} {db:?}");
        assert!(!shown.contains("sesame-open"), "{shown}");

        let system = instance::system_app(&db).await.unwrap();
        assert!(!format!("{system:?}").contains(system.secret.expose()));
        let error = user::sign_up(&db, "a@b.c", "sesame1", Plan::Sandbox).await.unwrap_err();
        assert!(!format!("{error:?} {error}").contains("sesame"));
    })
    .await;
}

#[tokio::test]
async fn the_id_of_an_app_in_the_settings_is_given_to_nobody() {
    on_both(|db| async move {
        let (_, account) = sign_up(&db, "ana@example.com").await;
        let new = |id| NewApp { name: "shop", cluster: "local", id, ..NewApp::default() };
        assert!(!instance::reserve_app_id(&db, 1002).await.unwrap(), "no app of the database has it");
        let explicit = app::create(&db, &account.id, new(Some(1002))).await;
        assert!(matches!(explicit, Err(CreateAppError::IdTaken)), "{explicit:?}");
        let mut ids = Vec::new();
        for _ in 0..2 {
            ids.push(app::create(&db, &account.id, new(None)).await.unwrap().0.id);
        }
        assert_eq!(ids, [1001, 1003]);
        assert!(instance::reserve_app_id(&db, 1003).await.unwrap(), "this one is there");
    })
    .await;
}
