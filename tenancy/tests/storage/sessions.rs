//! Sessions and one-time sign-in tokens: hidden at rest, limited in time, ended for good.

use crate::support::{PASSWORD, dump, execute, make_app, on_both, sign_up, text, texts};
use tenancy::clock::{DAY_MS, MINUTE_MS};
use tenancy::password_change::change_password;
use tenancy::session::Client;
use tenancy::{changes, login_token, now_ms, session};

#[tokio::test]
async fn a_session_knows_its_user_and_account_and_its_token_is_not_stored() {
    on_both(|db| async move {
        let (ana, workspace) = sign_up(&db, "ana@example.com").await;
        let new = session::start(&db, &ana.id, &Client::default()).await.unwrap();
        assert_eq!(new.token.len(), 64);
        assert!(!format!("{new:?}").contains(&new.token));
        let found = session::find(&db, &new.token).await.unwrap().unwrap();
        assert_eq!((&found.user, found.account_id.as_str()), (&ana, ""));
        session::work_in(&db, &ana.id, &found.id_hash, &workspace.id).await.unwrap();
        let found = session::find(&db, &new.token).await.unwrap().unwrap();
        assert_eq!(found.account_id, workspace.id);

        let dump = dump(&db).await;
        assert!(!dump.contains(&new.token));
        assert!(dump.contains(&found.id_hash));
        assert!(session::find(&db, &found.id_hash).await.unwrap().is_none(), "what is stored opens nothing");
    })
    .await;
}

#[tokio::test]
async fn what_is_no_token_finds_nothing() {
    on_both(|db| async move {
        let huge = "a".repeat(1 << 20);
        for text in ["", "x", "\0", &"0".repeat(64), &"Z".repeat(64), "' or 1=1 --", &huge] {
            assert!(session::find(&db, text).await.unwrap().is_none());
            assert!(login_token::redeem(&db, text).await.unwrap().is_none());
            session::end(&db, text).await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn a_session_ends_after_a_day_without_use() {
    on_both(|db| async move {
        let (ana, _) = sign_up(&db, "ana@example.com").await;
        let start = now_ms();
        let token = session::start_at(&db, &ana.id, &Client::default(), start).await.unwrap().token;
        let alive = async |at: i64| session::find_at(&db, &token, at).await.unwrap().is_some();
        assert!(alive(start + session::IDLE_MS - 1).await, "and this use moves the end");
        assert!(alive(start + 2 * session::IDLE_MS - 2).await);
        assert!(!alive(start + 3 * session::IDLE_MS - 2).await);
    })
    .await;
}

#[tokio::test]
async fn a_session_ends_after_thirty_days_however_much_it_is_used() {
    on_both(|db| async move {
        let (ana, _) = sign_up(&db, "ana@example.com").await;
        let start = now_ms();
        let token = session::start_at(&db, &ana.id, &Client::default(), start).await.unwrap().token;
        for half_days in 1..60 {
            let at = start + half_days * DAY_MS / 2;
            assert!(session::find_at(&db, &token, at).await.unwrap().is_some(), "{half_days}");
        }
        let end = start + session::ABSOLUTE_MS;
        assert!(session::find_at(&db, &token, end - 1).await.unwrap().is_some());
        assert!(session::find_at(&db, &token, end).await.unwrap().is_none());
    })
    .await;
}

#[tokio::test]
async fn use_is_written_down_once_a_minute() {
    on_both(|db| async move {
        let (ana, _) = sign_up(&db, "ana@example.com").await;
        let start = now_ms();
        let token = session::start_at(&db, &ana.id, &Client::default(), start).await.unwrap().token;
        let seen = async |at: i64| {
            session::find_at(&db, &token, at).await.unwrap().unwrap();
            text(&db, "select cast(last_seen_ms as text) from sessions")
                .await
                .unwrap()
                .parse::<i64>()
                .unwrap()
        };
        assert_eq!(seen(start + session::SEEN_EVERY_MS - 1).await, start);
        assert_eq!(seen(start + session::SEEN_EVERY_MS).await, start + session::SEEN_EVERY_MS);
        assert_eq!(
            seen(start).await,
            start + session::SEEN_EVERY_MS,
            "a clock that is behind moves nothing back"
        );
    })
    .await;
}

#[tokio::test]
async fn sessions_end_alone_or_all_but_one() {
    on_both(|db| async move {
        let (ana, _) = sign_up(&db, "ana@example.com").await;
        let (bea, _) = sign_up(&db, "bea@example.com").await;
        let mut tokens = vec![];
        for user in [&ana, &ana, &ana, &bea] {
            tokens.push(session::start(&db, &user.id, &Client::default()).await.unwrap().token);
        }
        let alive = async || {
            let mut alive = vec![];
            for token in &tokens {
                alive.push(session::find(&db, token).await.unwrap().is_some());
            }
            alive
        };
        assert_eq!(alive().await, [true, true, true, true]);
        session::end(&db, &tokens[0]).await.unwrap();
        session::end(&db, &tokens[0]).await.unwrap();
        assert_eq!(alive().await, [false, true, true, true]);
        assert_eq!(session::end_all_but(&db, &ana.id, &tokens[1]).await.unwrap(), 1);
        assert_eq!(alive().await, [false, true, false, true]);
        assert_eq!(session::end_all_but(&db, &ana.id, "").await.unwrap(), 1);
        assert_eq!(alive().await, [false, false, false, true]);
    })
    .await;
}

#[tokio::test]
async fn a_person_sees_their_live_sessions_used_last_first_and_ends_one() {
    on_both(|db| async move {
        let (ana, _) = sign_up(&db, "ana@example.com").await;
        let (bea, _) = sign_up(&db, "bea@example.com").await;
        let start = now_ms();
        let client = Client::new("198.51.100.7".parse().unwrap(), "Mozilla/5.0 Firefox/131.0");
        let first = session::start_at(&db, &ana.id, &client, start).await.unwrap().token;
        session::start_at(&db, &ana.id, &Client::default(), start + 1).await.unwrap();
        let beas = session::start_at(&db, &bea.id, &client, start).await.unwrap().token;
        let used = start + session::SEEN_EVERY_MS;
        session::find_at(&db, &first, used).await.unwrap().unwrap();
        assert!(!dump(&db).await.contains("198.51.100.7"), "the whole address is kept nowhere");

        let listed = session::list_at(&db, &ana.id, used).await.unwrap();
        let times: Vec<_> = listed.iter().map(|one| (one.created_ms, one.last_seen_ms)).collect();
        assert_eq!(times, [(start, used), (start + 1, start + 1)]);
        assert_eq!((&listed[0].client, &listed[1].client), (&client, &Client::default()));
        let later = start + 1 + session::IDLE_MS;
        assert_eq!(
            session::list_at(&db, &ana.id, later).await.unwrap().len(),
            1,
            "an expired one is no session"
        );

        let bea_id = session::find_at(&db, &beas, used).await.unwrap().unwrap().id_hash;
        for not_hers in [bea_id.as_str(), first.as_str(), "", "x"] {
            assert!(!session::end_of_user(&db, &ana.id, not_hers).await.unwrap(), "{not_hers}");
        }
        assert!(session::end_of_user(&db, &ana.id, &listed[0].id_hash).await.unwrap());
        assert!(!session::end_of_user(&db, &ana.id, &listed[0].id_hash).await.unwrap());
        assert!(session::find_at(&db, &first, used).await.unwrap().is_none());
        assert!(session::find_at(&db, &beas, used).await.unwrap().is_some());
        assert_eq!(session::list_at(&db, &ana.id, used).await.unwrap(), listed[1..]);
    })
    .await;
}

#[tokio::test]
async fn expired_sessions_and_links_are_swept_away() {
    on_both(|db| async move {
        let (ana, _) = sign_up(&db, "ana@example.com").await;
        let start = now_ms();
        session::start_at(&db, &ana.id, &Client::default(), start).await.unwrap();
        session::start_at(&db, &ana.id, &Client::default(), start + session::IDLE_MS).await.unwrap();
        assert_eq!(text(&db, "select cast(count(*) as text) from sessions").await.as_deref(), Some("1"));
        login_token::issue_at(&db, &ana.id, start).await.unwrap();
        login_token::issue_at(&db, &ana.id, start + login_token::LIFETIME_MS).await.unwrap();
        assert_eq!(text(&db, "select cast(count(*) as text) from login_tokens").await.as_deref(), Some("1"));
    })
    .await;
}

#[tokio::test]
async fn a_sign_in_link_works_once_and_for_half_an_hour() {
    on_both(|db| async move {
        let (ana, _) = sign_up(&db, "ana@example.com").await;
        let start = now_ms();
        let token = login_token::issue_at(&db, &ana.id, start).await.unwrap();
        assert!(!dump(&db).await.contains(&token));
        let last_moment = start + 30 * MINUTE_MS - 1;
        assert_eq!(login_token::redeem_at(&db, &token, last_moment).await.unwrap(), Some(ana.clone()));
        assert_eq!(login_token::redeem_at(&db, &token, last_moment).await.unwrap(), None);

        let token = login_token::issue_at(&db, &ana.id, start).await.unwrap();
        assert_eq!(login_token::redeem_at(&db, &token, last_moment + 1).await.unwrap(), None);
        assert_eq!(
            login_token::redeem_at(&db, &token, start).await.unwrap(),
            None,
            "too late is used up too"
        );
    })
    .await;
}

#[tokio::test]
async fn of_twenty_who_redeem_one_link_at_once_one_gets_in() {
    on_both(|db| async move {
        let (ana, _) = sign_up(&db, "ana@example.com").await;
        let token = login_token::issue(&db, &ana.id).await.unwrap();
        let tasks: Vec<_> = (0..20)
            .map(|_| {
                let (db, token) = (db.clone(), token.clone());
                tokio::spawn(async move { login_token::redeem(&db, &token).await.unwrap() })
            })
            .collect();
        let mut redeemed = vec![];
        for task in tasks {
            redeemed.extend(task.await.unwrap());
        }
        assert_eq!(redeemed, [ana]);
    })
    .await;
}

#[tokio::test]
async fn the_end_of_a_session_is_told_to_the_nodes_whose_consoles_it_watched() {
    on_both(|db| async move {
        let (ana, shop) = sign_up(&db, "ana@example.com").await;
        let (_, other) = sign_up(&db, "bea@example.com").await;
        let (app, _) = make_app(&db, &shop).await;
        make_app(&db, &other).await;
        let versions = async || {
            texts(&db, "select cast(access_version as text) from accounts order by created_ms, id").await
        };
        let open = async || {
            let token = session::start(&db, &ana.id, &Client::default()).await.unwrap().token;
            let id = session::find(&db, &token).await.unwrap().unwrap().id_hash;
            for _ in 0..2 {
                assert!(session::watches(&db, &id, &shop.id).await.unwrap());
            }
            (token, id)
        };
        let idle = session::start(&db, &ana.id, &Client::default()).await.unwrap().token;
        session::end(&db, &idle).await.unwrap();
        assert_eq!(versions().await, ["0", "0"], "one that watched nothing");

        let ends: [&str; 4] = ["itself", "from another", "all others", "a new password"];
        for (nth, how) in ends.iter().enumerate() {
            let (token, id) = open().await;
            let seq = changes::last(&db).await.unwrap();
            match nth {
                0 => session::end(&db, &token).await.unwrap(),
                1 => assert!(session::end_of_user(&db, &ana.id, &id).await.unwrap()),
                2 => assert_eq!(session::end_all_but(&db, &ana.id, "").await.unwrap(), 1),
                _ => {
                    let ended = change_password(&db, &ana, PASSWORD, "another long password", "").await;
                    assert_eq!(ended.unwrap(), 1);
                }
            }
            assert_eq!(versions().await, [(nth + 1).to_string(), "0".to_owned()], "{how}");
            let told = changes::since(&db, seq, 10).await.unwrap();
            assert_eq!(told.iter().map(|one| one.app_id).collect::<Vec<_>>(), [app.id], "{how}");
            assert!(
                !session::watches(&db, &id, &shop.id).await.unwrap(),
                "{how}: it lets nobody in any more"
            );
        }

        let (_, id) = open().await;
        let long_ago = now_ms() - 2 * session::IDLE_MS;
        execute(&db, format!("update sessions set last_seen_ms = {long_ago} where token_hash = '{id}'"))
            .await;
        assert_eq!(session::sweep(&db).await.unwrap(), 1);
        assert_eq!(versions().await, ["5", "0"], "one whose time is over");
    })
    .await;
}
