//! A new password: who may set it, and what ends with the old one.

use crate::support::{PASSWORD, dump, on_both, sign_up};
use tenancy::password_change::{ChangePasswordError, change_password};
use tenancy::session::Client;
use tenancy::user::{check_password, password_hashes_done};
use tenancy::{login_token, session};

const NEW: &str = "a quieter harbour";

#[tokio::test]
async fn a_new_password_ends_the_other_sessions_and_the_links() {
    on_both(|db| async move {
        let (ana, _) = sign_up(&db, "ana@example.com").await;
        let (bea, _) = sign_up(&db, "bea@example.com").await;
        let mut tokens = vec![];
        for user in [&ana, &ana, &ana, &bea] {
            tokens.push(session::start(&db, &user.id, &Client::default()).await.unwrap().token);
        }
        let link = login_token::issue(&db, &ana.id).await.unwrap();
        let beas_link = login_token::issue(&db, &bea.id).await.unwrap();
        assert_eq!(change_password(&db, &ana, PASSWORD, NEW, &tokens[1]).await.unwrap(), 2);
        for (token, alive) in tokens.iter().zip([false, true, false, true]) {
            assert_eq!(session::find(&db, token).await.unwrap().is_some(), alive);
        }
        assert_eq!(login_token::redeem(&db, &link).await.unwrap(), None);
        assert_eq!(login_token::redeem(&db, &beas_link).await.unwrap(), Some(bea.clone()));
        assert_eq!(check_password(&db, &ana.email, PASSWORD).await.unwrap(), None);
        assert_eq!(check_password(&db, &ana.email, NEW).await.unwrap(), Some(ana));
        assert_eq!(check_password(&db, &bea.email, PASSWORD).await.unwrap(), Some(bea));
    })
    .await;
}

#[tokio::test]
async fn a_refused_change_writes_nothing() {
    on_both(|db| async move {
        let (ana, _) = sign_up(&db, "ana@example.com").await;
        session::start(&db, &ana.id, &Client::default()).await.unwrap();
        login_token::issue(&db, &ana.id).await.unwrap();
        let before = dump(&db).await;
        let refused =
            async |present: &str, new: &str| change_password(&db, &ana, present, new, "").await.unwrap_err();
        assert!(matches!(refused("not this one", NEW).await, ChangePasswordError::Wrong));
        assert!(matches!(refused("not this one", "x").await, ChangePasswordError::Wrong), "said first");
        assert!(matches!(refused(PASSWORD, "short").await, ChangePasswordError::TooShort));
        assert!(matches!(refused(PASSWORD, &"x".repeat(129)).await, ChangePasswordError::TooLong));
        assert!(matches!(refused(PASSWORD, "password1").await, ChangePasswordError::TooCommon));
        assert!(matches!(refused(PASSWORD, "ana@example.com").await, ChangePasswordError::TooCommon));
        let done = password_hashes_done();
        assert!(matches!(refused(&"x".repeat(1 << 20), NEW).await, ChangePasswordError::Wrong));
        assert_eq!(password_hashes_done(), done, "a megabyte is not hashed");
        assert_eq!(dump(&db).await, before);
    })
    .await;
}

#[tokio::test]
async fn of_two_changes_at_once_one_finds_its_present_password_outdated() {
    on_both(|db| async move {
        let (ana, _) = sign_up(&db, "ana@example.com").await;
        let (one, two) = tokio::join!(
            change_password(&db, &ana, PASSWORD, NEW, ""),
            change_password(&db, &ana, PASSWORD, "a louder harbour", ""),
        );
        assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
    })
    .await;
}
