//! The change feed: nothing is passed over, and the poller of the writing process wakes at once.

use crate::support::{make_app, named, on_both, on_both_urls, sign_up};
use std::collections::BTreeSet;
use std::time::Duration;
use tenancy::app::{self, AppChange, NewApp};
use tenancy::changes::{self, Change};
use tenancy::{Db, Vault, changes::since};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(5);
const APPS: usize = 30;

#[tokio::test]
async fn making_changing_and_deleting_an_app_each_write_a_change() {
    on_both(|db| async move {
        let (_, account) = sign_up(&db, "ana@example.com").await;
        assert_eq!(changes::last(&db).await.unwrap(), 0);
        assert!(since(&db, 0, 10).await.unwrap().is_empty());

        let (made, _) = make_app(&db, &account).await;
        assert_eq!(since(&db, 0, 10).await.unwrap(), [Change { seq: 1, app_id: made.id }]);
        app::update(&db, &account.id, made.id, AppChange { enabled: Some(false), ..AppChange::default() })
            .await
            .unwrap();
        assert_eq!(since(&db, 1, 10).await.unwrap(), [Change { seq: 2, app_id: made.id }]);
        app::delete(&db, &account.id, made.id).await.unwrap();
        assert_eq!(since(&db, 2, 10).await.unwrap(), [Change { seq: 3, app_id: made.id }]);
        assert_eq!(changes::last(&db).await.unwrap(), 3);
        assert!(since(&db, 3, 10).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn what_changed_nothing_writes_no_change() {
    on_both(|db| async move {
        let (_, account) = sign_up(&db, "ana@example.com").await;
        make_app(&db, &account).await;
        let last = changes::last(&db).await.unwrap();
        app::create(&db, &account.id, NewApp { id: Some(1001), ..named("Taken") }).await.unwrap_err();
        assert_eq!(app::update(&db, &account.id, 4_711, AppChange::default()).await.unwrap(), None);
        assert!(!app::delete(&db, &account.id, 4_711).await.unwrap());
        assert_eq!(changes::last(&db).await.unwrap(), last);
    })
    .await;
}

#[tokio::test]
async fn the_feed_is_read_in_pages_and_shows_an_app_once() {
    on_both(|db| async move {
        let (_, account) = sign_up(&db, "ana@example.com").await;
        for _ in 0..5 {
            make_app(&db, &account).await;
        }
        app::update(&db, &account.id, 1001, AppChange::default()).await.unwrap();
        let (mut seq, mut seen) = (0, vec![]);
        loop {
            let page = since(&db, seq, 2).await.unwrap();
            let Some(last) = page.last() else { break };
            assert!(page.len() <= 2);
            seq = last.seq;
            seen.extend(page.iter().map(|change| change.app_id));
        }
        assert_eq!(seen, [1002, 1003, 1004, 1005, 1001]);
    })
    .await;
}

/// Updates of different apps hold no row in common but the feed's counter: with a sequence in its place, a change could
/// get the smaller number and become visible later, after the reader has gone on.
#[tokio::test]
async fn a_reader_misses_no_change_while_many_write() {
    on_both_urls(|url| async move {
        let vault = Vault::fresh();
        let db = Db::connect(&url).await.unwrap().with_vault(vault.clone());
        db.migrate().await.unwrap();
        let (_, account) = sign_up(&db, "ana@example.com").await;
        let mut all = BTreeSet::new();
        for _ in 0..APPS {
            all.insert(make_app(&db, &account).await.0.id);
        }
        let reader = Db::connect(&url).await.unwrap().with_vault(vault);
        for round in 1..=10 {
            let start = changes::last(&db).await.unwrap();
            let (reader, expected) = (reader.clone(), all.clone());
            let read = tokio::spawn(async move {
                let (mut seq, mut seen) = (start, BTreeSet::new());
                while seen != expected {
                    for change in since(&reader, seq, 7).await.unwrap() {
                        assert!(change.seq > seq);
                        seq = change.seq;
                        seen.insert(change.app_id);
                    }
                }
            });
            let writers: Vec<_> = all
                .iter()
                .map(|&id| {
                    let (db, account_id) = (db.clone(), account.id.clone());
                    tokio::spawn(async move {
                        app::update(&db, &account_id, id, AppChange::default()).await.unwrap().unwrap();
                    })
                })
                .collect();
            for writer in writers {
                writer.await.unwrap();
            }
            timeout(SOON, read).await.unwrap_or_else(|_| panic!("round {round} lost a change")).unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn the_notice_wakes_who_waits_and_who_comes_just_after() {
    on_both(|db| async move {
        let (_, account) = sign_up(&db, "ana@example.com").await;
        let quiet = timeout(Duration::from_millis(50), db.changed()).await;
        assert!(quiet.is_err(), "nothing has changed yet");

        make_app(&db, &account).await;
        timeout(SOON, db.changed()).await.expect("a change before the wait is not lost");

        let waiting: Vec<_> = (0..2)
            .map(|_| {
                let db = db.clone();
                tokio::spawn(async move { db.changed().await })
            })
            .collect();
        tokio::task::yield_now().await;
        app::delete(&db, &account.id, 1001).await.unwrap();
        for one in waiting {
            timeout(SOON, one).await.expect("all who wait wake").unwrap();
        }
    })
    .await;
}
