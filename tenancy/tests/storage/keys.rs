//! Several key pairs of one app: made beside each other, deleted down to the last one.

use crate::support::{execute, make_app, on_both, sign_up};
use tenancy::app::{self, End, KEY_IDLE_MS, KEYS_PER_APP_MAX, KeyError, KeyUse};
use tenancy::changes::{self, Change};

#[tokio::test]
async fn a_new_pair_stands_beside_the_old_one_and_nodes_hear_of_it() {
    on_both(|db| async move {
        let (_, account) = sign_up(&db, "ana@example.com").await;
        let (made, first) = make_app(&db, &account).await;
        let last = changes::last(&db).await.unwrap();
        let second = app::create_key(&db, &account.id, made.id).await.unwrap().unwrap();
        assert_ne!(second.key, first.key);
        assert_ne!(second.secret.expose(), first.secret.expose());
        assert!(
            second.created_ms > first.created_ms,
            "the first stays the oldest, also within one millisecond"
        );
        assert_eq!(app::keys(&db, &account.id, made.id).await.unwrap(), [first.clone(), second.clone()]);
        let expected = [Change { seq: last + 1, app_id: made.id }];
        assert_eq!(changes::since(&db, last, 10).await.unwrap(), expected);
        let now = app::find(&db, &account.id, made.id).await.unwrap().unwrap();
        assert_eq!(now.version, made.version + 1);
        for key in [&first, &second] {
            let view = app::node_view_by_key(&db, &key.key).await.unwrap().unwrap();
            assert_eq!(view.keys, [first.clone(), second.clone()]);
        }
    })
    .await;
}

#[tokio::test]
async fn a_pair_made_with_a_clock_gone_back_is_still_the_newest() {
    on_both(|db| async move {
        let (_, account) = sign_up(&db, "ana@example.com").await;
        let (made, first) = make_app(&db, &account).await;
        let ahead = tenancy::now_ms() + 3_600_000;
        execute(&db, format!("update app_keys set created_ms = {ahead}")).await;
        let second = app::create_key(&db, &account.id, made.id).await.unwrap().unwrap();
        assert_eq!(second.created_ms, ahead + 1);
        let keys = app::keys(&db, &account.id, made.id).await.unwrap();
        assert_eq!(keys.iter().map(|pair| &pair.key).collect::<Vec<_>>(), [&first.key, &second.key]);
    })
    .await;
}

#[tokio::test]
async fn a_deleted_pair_is_gone_and_the_last_one_stays() {
    on_both(|db| async move {
        let (_, account) = sign_up(&db, "ana@example.com").await;
        let (made, first) = make_app(&db, &account).await;
        let (other, foreign) = make_app(&db, &account).await;
        let before = app::find(&db, &account.id, made.id).await.unwrap();
        let refused = app::delete_key(&db, &account.id, made.id, &first.key).await;
        assert!(matches!(refused, Err(KeyError::Last)));
        for unknown in [foreign.key.as_str(), "", "nul\0", "no-such-key"] {
            assert!(!app::delete_key(&db, &account.id, made.id, unknown).await.unwrap(), "{unknown:?}");
        }
        assert_eq!(app::find(&db, &account.id, made.id).await.unwrap(), before, "nothing was written");
        assert_eq!(app::keys(&db, &account.id, other.id).await.unwrap(), [foreign]);

        let second = app::create_key(&db, &account.id, made.id).await.unwrap().unwrap();
        let last = changes::last(&db).await.unwrap();
        assert!(app::delete_key(&db, &account.id, made.id, &first.key).await.unwrap());
        assert!(!app::delete_key(&db, &account.id, made.id, &first.key).await.unwrap(), "once");
        let left = app::keys(&db, &account.id, made.id).await.unwrap();
        assert_eq!(left, std::slice::from_ref(&second));
        assert_eq!(app::node_view_by_key(&db, &first.key).await.unwrap(), None);
        let expected = [Change { seq: last + 1, app_id: made.id }];
        assert_eq!(changes::since(&db, last, 10).await.unwrap(), expected);
        assert!(matches!(app::delete_key(&db, &account.id, made.id, &second.key).await, Err(KeyError::Last)));
    })
    .await;
}

#[tokio::test]
async fn an_app_has_ten_pairs_at_most_however_many_ask_at_once() {
    on_both(|db| async move {
        let (_, account) = sign_up(&db, "ana@example.com").await;
        let (made, _) = make_app(&db, &account).await;
        let tasks: Vec<_> = (0..KEYS_PER_APP_MAX + 5)
            .map(|_| {
                let (db, account_id) = (db.clone(), account.id.clone());
                tokio::spawn(async move { app::create_key(&db, &account_id, made.id).await })
            })
            .collect();
        let (mut made_ones, mut refused) = (1, 0);
        for task in tasks {
            match task.await.unwrap() {
                Ok(Some(_)) => made_ones += 1,
                Err(KeyError::TooMany) => refused += 1,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((made_ones, refused), (KEYS_PER_APP_MAX, 6));
        let keys = app::keys(&db, &account.id, made.id).await.unwrap();
        assert_eq!(keys.len(), made_ones as usize);
    })
    .await;
}

#[tokio::test]
async fn of_two_who_delete_the_last_two_pairs_at_once_one_is_refused() {
    on_both(|db| async move {
        let (_, account) = sign_up(&db, "ana@example.com").await;
        for _ in 0..5 {
            let (made, first) = make_app(&db, &account).await;
            let second = app::create_key(&db, &account.id, made.id).await.unwrap().unwrap();
            let (one, two) = tokio::join!(
                app::delete_key(&db, &account.id, made.id, &first.key),
                app::delete_key(&db, &account.id, made.id, &second.key)
            );
            assert_eq!(usize::from(one.is_ok()) + usize::from(two.is_ok()), 1, "{one:?} {two:?}");
            assert_eq!(app::keys(&db, &account.id, made.id).await.unwrap().len(), 1);
        }
    })
    .await;
}

#[tokio::test]
async fn use_is_written_down_and_never_goes_back() {
    on_both(|db| async move {
        let (ana, account) = sign_up(&db, "ana@example.com").await;
        let (made, first) = make_app(&db, &account).await;
        let long = "n".repeat(100);
        let second =
            app::create_named_key(&db, &account.id, made.id, &format!(" a\u{7}{long}"), &ana.id).await;
        let second = second.unwrap().unwrap();
        let version = app::find(&db, &account.id, made.id).await.unwrap().unwrap().version;
        let used =
            |key: &str, last_ws_ms, last_rest_ms| KeyUse { key: key.to_owned(), last_ws_ms, last_rest_ms };
        let reports = [used(&second.key, 120_000, 0), used(&first.key, 0, 180_000), used("gone", 1, 1)];
        app::record_key_uses(&db, &reports[..2]).await.unwrap();
        app::record_key_uses(&db, &reports[2..]).await.unwrap();
        app::record_key_uses(&db, &[used(&second.key, 60_000, 240_000)]).await.unwrap();
        let records = app::key_records(&db, &account.id, made.id).await.unwrap();
        let seen: Vec<_> = records.iter().map(|one| (one.last_ws_ms, one.last_rest_ms)).collect();
        assert_eq!(seen, [(0, 180_000), (120_000, 240_000)]);
        assert_eq!((&*records[0].name, &*records[0].created_by), ("", ""));
        assert_eq!((records[1].name.len(), &*records[1].created_by), (60, "ana@example.com"));
        assert_eq!(records[1].pair, second);
        let now = app::find(&db, &account.id, made.id).await.unwrap().unwrap();
        assert_eq!(now.version, version, "use is no change of the app");
        let (_, bea) = sign_up(&db, "bea@example.com").await;
        assert_eq!(app::key_records(&db, &bea.id, made.id).await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn an_ordered_end_comes_due_by_time_or_without_traffic_and_one_pair_always_stays() {
    on_both(|db| async move {
        let (_, account) = sign_up(&db, "ana@example.com").await;
        let (made, first) = make_app(&db, &account).await;
        let second = app::create_key(&db, &account.id, made.id).await.unwrap().unwrap();
        let order = async |key: &str, end| app::order_end(&db, &account.id, made.id, key, end).await;
        let due = async |now_ms| {
            let due = app::due_ends(&db, now_ms).await.unwrap();
            due.into_iter().map(|one| (one.app_id, one.key)).collect::<Vec<_>>()
        };
        assert!(order(&first.key, End::At(5_000)).await.unwrap());
        assert!(matches!(order(&second.key, End::WhenIdle).await, Err(KeyError::Last)));
        assert!(!order("unknown", End::At(1)).await.unwrap() && !order("nul\0", End::Never).await.unwrap());
        assert_eq!(due(4_999).await, []);
        let all = app::due_ends(&db, 5_000).await.unwrap();
        assert_eq!(due(5_000).await, [(made.id, first.key.clone())]);
        assert!(app::still_due(&db, &all[0], 5_000).await.unwrap());
        assert!(order(&first.key, End::Never).await.unwrap());
        assert!(!app::still_due(&db, &all[0], 5_000).await.unwrap(), "taken back in between");
        assert_eq!(due(i64::MAX).await, []);

        assert!(order(&first.key, End::WhenIdle).await.unwrap());
        let now_ms = tenancy::now_ms();
        let minute_ms = now_ms / 60_000 * 60_000;
        let used = KeyUse { key: first.key.clone(), last_ws_ms: 0, last_rest_ms: minute_ms };
        app::record_key_uses(&db, &[used]).await.unwrap();
        assert_eq!(due(minute_ms + KEY_IDLE_MS).await, []);
        let idle = due(now_ms + 2 * KEY_IDLE_MS).await;
        assert_eq!(idle, [(made.id, first.key.clone())]);
        let (_, bea) = sign_up(&db, "bea@example.com").await;
        assert!(!app::order_end(&db, &bea.id, made.id, &first.key, End::Never).await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn a_pair_gets_another_name_from_its_own_account_alone() {
    on_both(|db| async move {
        let (_, account) = sign_up(&db, "ana@example.com").await;
        let (_, other) = sign_up(&db, "eve@example.com").await;
        let (made, pair) = make_app(&db, &account).await;
        let name = async || app::key_records(&db, &account.id, made.id).await.unwrap()[0].name.clone();
        let rename =
            async |account_id, id, key, name| app::rename_key(&db, account_id, id, key, name).await.unwrap();
        assert!(rename(&account.id, made.id, &pair.key, " worker\u{7} fleet ").await);
        assert_eq!(name().await, "worker fleet");
        assert!(!rename(&other.id, made.id, &pair.key, "stolen").await);
        assert!(!rename(&account.id, 9_999, &pair.key, "stolen").await);
        assert!(!rename(&account.id, made.id, "no-such-key", "stolen").await);
        assert!(!rename(&account.id, made.id, "\0", "stolen").await);
        assert_eq!(name().await, "worker fleet");
    })
    .await;
}
