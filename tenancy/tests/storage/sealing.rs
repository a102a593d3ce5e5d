//! Secrets at rest: sealed when they are made, sealed at the next start when a release before wrote them, and closed for ever
//! to who has another master key.

use crate::support::{dump, execute, make_app, on_both, on_both_urls, sign_up, text};
use tenancy::app::{self, NewApp};
use tenancy::webhook_endpoint::{self, EndpointChange, NewEndpoint};
use tenancy::{Db, Vault, instance, sealing};

/// One app with two pairs, whose secrets are given back with that of the system app.
async fn seeded(db: &Db) -> Vec<String> {
    let (_, account) = sign_up(db, "ana@example.com").await;
    let new =
        NewApp { secret: Some("brought-along-secret"), name: "Own", cluster: "local", ..NewApp::default() };
    let (_, own) = app::create(db, &account.id, new).await.unwrap();
    let (made, first) = make_app(db, &account).await;
    let second = app::create_key(db, &account.id, made.id).await.unwrap().unwrap();
    let system = instance::system_app(db).await.unwrap();
    [own.secret, first.secret, second.secret, system.secret].map(|secret| secret.expose().to_owned()).into()
}

#[tokio::test]
async fn no_secret_is_in_the_database() {
    on_both(|db| async move {
        let secrets = seeded(&db).await;
        let all = dump(&db).await;
        for secret in &secrets {
            assert!(!all.contains(secret), "{secret}");
        }
        assert!(all.contains("sealed:"));
        assert_eq!(sealing::seal_all(&db).await.unwrap(), 0, "nothing is left to do");
        let again: Vec<String> =
            instance::system_app(&db).await.map(|app| vec![app.secret.expose().to_owned()]).unwrap();
        assert_eq!(again, secrets[3..]);
    })
    .await;
}

#[tokio::test]
async fn what_a_release_before_wrote_in_clear_works_and_is_sealed_without_a_trace_in_the_file() {
    on_both_urls(|url| async move {
        let db = Db::connect(&url).await.unwrap().with_vault(Vault::fresh());
        db.migrate().await.unwrap();
        let (_, account) = sign_up(&db, "ana@example.com").await;
        let (made, pair) = make_app(&db, &account).await;
        instance::system_app(&db).await.unwrap();
        let clear = "feedfacefeedfacefeed";
        execute(&db, format!("update app_keys set secret = '{clear}', sealed_with = ''")).await;
        execute(&db, format!("update instance set value = '{clear}' where name = 'system_app_secret'")).await;
        let keys = app::keys(&db, &account.id, made.id).await.unwrap();
        assert_eq!((&keys[0].key, keys[0].secret.expose()), (&pair.key, clear));
        let before = sealing::status(&db).await.unwrap();
        assert_eq!((before.len(), before[0].secrets, &*before[0].key_id), (1, 2, ""));

        assert_eq!(sealing::seal_all(&db).await.unwrap(), 2);
        let keys = app::keys(&db, &account.id, made.id).await.unwrap();
        assert_eq!(keys[0].secret.expose(), clear);
        assert_eq!(instance::system_app(&db).await.unwrap().secret.expose(), clear);
        assert!(!dump(&db).await.contains(clear));
        if let Some(path) = url.strip_prefix("sqlite:") {
            for file in [path.to_owned(), format!("{path}-wal")] {
                let bytes = std::fs::read(&file).unwrap_or_default();
                let found = bytes.windows(clear.len()).any(|part| part == clear.as_bytes());
                assert!(!found, "{file} still holds it");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn another_master_key_opens_nothing_and_loses_nothing() {
    on_both(|db| async move {
        let secrets = seeded(&db).await;
        let before = dump(&db).await;
        let key = text(&db, "select key from app_keys order by created_ms, key limit 1").await.unwrap();
        let other = db.clone().with_vault(Vault::fresh());
        let error = app::node_view_by_key(&other, &key).await.unwrap_err().to_string();
        assert!(error.contains("master key") && error.contains(&db.vault().key_ids()[0]), "{error}");
        assert!(instance::system_app(&other).await.is_err());
        assert!(sealing::seal_all(&other).await.is_err());
        assert_eq!(dump(&db).await, before);
        let own = app::node_view_by_key(&db, &key).await.unwrap().unwrap();
        assert_eq!(own.keys[0].secret.expose(), secrets[0]);
        let none = db.clone().with_vault(Vault::none());
        let (_, account) = sign_up(&db, "bea@example.com").await;
        assert!(
            app::create(&none, &account.id, NewApp { name: "x", cluster: "local", ..NewApp::default() })
                .await
                .is_err()
        );
        assert_eq!(
            app::list(&db, &account.id).await.unwrap(),
            [],
            "nothing is kept in clear for want of a key"
        );
    })
    .await;
}

#[tokio::test]
async fn sealed_secrets_that_change_places_do_not_open() {
    on_both(|db| async move {
        let (_, account) = sign_up(&db, "ana@example.com").await;
        let (one, first) = make_app(&db, &account).await;
        let (two, second) = make_app(&db, &account).await;
        let stored = |key: &str| format!("select secret from app_keys where key = '{key}'");
        let (a, b) =
            (text(&db, &stored(&first.key)).await.unwrap(), text(&db, &stored(&second.key)).await.unwrap());
        for (key, secret) in [(&first.key, b), (&second.key, a)] {
            execute(&db, format!("update app_keys set secret = '{secret}' where key = '{key}'")).await;
        }
        for id in [one.id, two.id] {
            let error = app::keys(&db, &account.id, id).await.unwrap_err().to_string();
            assert!(error.contains("another row"), "{error}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_new_master_key_takes_over_while_secrets_are_used() {
    on_both(|db| async move {
        let (_, account) = sign_up(&db, "ana@example.com").await;
        let (made, pair) = make_app(&db, &account).await;
        instance::system_app(&db).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret-key");
        // What the database is sealed with, as the file of a server that has been running for long.
        let file = Vault::make_file(&path).unwrap();
        for _ in 0..3 {
            app::create_key(&db, &account.id, made.id).await.unwrap().unwrap();
        }
        execute(&db, format!("update app_keys set secret = '{}', sealed_with = ''", pair.secret.expose()))
            .await;
        execute(&db, "update instance set value = 'x' where name = 'system_app_secret'".to_owned()).await;
        let server = db.with_vault(file);
        sealing::seal_all(&server).await.unwrap();

        let reading = server.clone();
        let (account_id, id) = (account.id.clone(), made.id);
        let reader = tokio::spawn(async move {
            for _ in 0..200 {
                let keys = app::keys(&reading, &account_id, id).await.unwrap();
                assert_eq!(keys.len(), 4);
            }
        });
        let operator = server.clone().with_vault(Vault::read_file(&path).unwrap().unwrap());
        let old = operator.vault().key_ids();
        let new = operator.vault().rotate_file(&old).unwrap();
        assert_eq!(sealing::seal_all(&operator).await.unwrap(), 5);
        reader.await.unwrap();
        let status = sealing::status(&server).await.unwrap();
        assert_eq!((status.len(), &status[0].key_id, status[0].secrets), (1, &new, 5));
        assert_eq!(app::keys(&server, &account.id, made.id).await.unwrap()[0].secret, pair.secret);
    })
    .await;
}

#[tokio::test]
async fn the_headers_of_webhook_endpoints_are_sealed_too() {
    on_both(|db| async move {
        let (_, account) = sign_up(&db, "ana@example.com").await;
        let (made, _) = make_app(&db, &account).await;
        let token = vec![("Authorization".to_owned(), "Bearer hush-hush".to_owned())];
        let new = |headers| NewEndpoint {
            url: "https://a.example/hooks".into(),
            kinds: vec!["channel_occupied".into()],
            headers,
            ..NewEndpoint::default()
        };
        let one =
            webhook_endpoint::create(&db, &account.id, made.id, new(token.clone())).await.unwrap().unwrap();
        let plain = webhook_endpoint::create(&db, &account.id, made.id, new(vec![])).await.unwrap().unwrap();
        let change = EndpointChange { headers: Some(token.clone()), ..EndpointChange::default() };
        webhook_endpoint::update(&db, &account.id, made.id, &plain.id, change).await.unwrap();
        assert!(!dump(&db).await.contains("hush-hush"));
        for endpoint in webhook_endpoint::list_for_node(&db, made.id).await.unwrap() {
            assert_eq!(endpoint.headers, token);
        }

        // As a release before wrote them.
        let clear = r#"[["X-Token","in the clear"]]"#;
        execute(&db, format!("update webhook_endpoints set headers = '{clear}' where id = '{}'", one.id))
            .await;
        let read = webhook_endpoint::find(&db, &account.id, made.id, &one.id).await.unwrap().unwrap();
        assert_eq!(read.headers, [("X-Token".to_owned(), "in the clear".to_owned())]);
        assert_eq!(sealing::seal_all(&db).await.unwrap(), 1);
        assert!(!dump(&db).await.contains("in the clear"));
        assert_eq!(webhook_endpoint::find(&db, &account.id, made.id, &one.id).await.unwrap().unwrap(), read);

        // In another endpoint's row they do not open.
        let text = text(&db, &format!("select headers from webhook_endpoints where id = '{}'", one.id)).await;
        execute(
            &db,
            format!("update webhook_endpoints set headers = '{}' where id = '{}'", text.unwrap(), plain.id),
        )
        .await;
        let error =
            webhook_endpoint::find(&db, &account.id, made.id, &plain.id).await.unwrap_err().to_string();
        assert!(error.contains("another row"), "{error}");
    })
    .await;
}
