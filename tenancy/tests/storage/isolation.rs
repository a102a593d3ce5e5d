//! One tenant and another: the app of another account is the same as one that never was.

use crate::support::{make_app, on_both, sign_up};
use tenancy::app::{self, AppChange};
use tenancy::session::Client;
use tenancy::usage::{self, UsageDelta};
use tenancy::{membership, session};

#[tokio::test]
async fn no_finder_gives_and_no_verb_changes_what_belongs_to_another_account() {
    on_both(|db| async move {
        let (ana, anas) = sign_up(&db, "ana@example.com").await;
        let (bea, beas) = sign_up(&db, "bea@example.com").await;
        let (app, key) = make_app(&db, &anas).await;
        let used = UsageDelta { app_id: app.id, day: 20_000, publishes: 5, ..UsageDelta::default() };
        usage::add(&db, &[used]).await.unwrap();

        for stranger in [&beas.id, &"no-such-account".to_owned()] {
            for id in [app.id, 9_999] {
                assert_eq!(app::find(&db, stranger, id).await.unwrap(), None);
                assert!(app::keys(&db, stranger, id).await.unwrap().is_empty());
                let change = AppChange { enabled: Some(false), ..AppChange::default() };
                assert_eq!(app::update(&db, stranger, id, change).await.unwrap(), None);
                assert_eq!(app::create_key(&db, stranger, id).await.unwrap(), None);
                assert!(!app::delete_key(&db, stranger, id, &key.key).await.unwrap());
                assert!(!app::delete(&db, stranger, id).await.unwrap());
            }
            assert!(app::list(&db, stranger).await.unwrap().is_empty());
            assert_eq!(usage::account_messages(&db, stranger, 20_000).await.unwrap(), 0);
        }
        assert_eq!(app::find(&db, &anas.id, app.id).await.unwrap(), Some(app.clone()), "untouched");
        assert_eq!(app::keys(&db, &anas.id, app.id).await.unwrap(), [key]);

        assert_eq!(membership::of_user(&db, &bea.id).await.unwrap()[0].account, beas);
        let token = session::start(&db, &bea.id, &Client::default()).await.unwrap().token;
        assert_eq!(session::end_all_but(&db, &ana.id, "").await.unwrap(), 0);
        assert_eq!(session::find(&db, &token).await.unwrap().unwrap().user, bea);
    })
    .await;
}
