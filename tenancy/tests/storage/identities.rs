//! Accounts elsewhere: one is one person, an address is never taken over, and the only way in stays.

use crate::support::{PASSWORD, execute, on_both, sign_up, text};
use tenancy::identity::{self, Elsewhere, LinkError, Provider, UnlinkError};
use tenancy::plan::Plan;
use tenancy::user::SignUpError;
use tenancy::{fresh, instance, owner, password_change, user};

fn account(provider: Provider, subject: &str, email: &str) -> Elsewhere {
    Elsewhere { provider, subject: subject.to_owned(), email: email.to_owned() }
}

#[tokio::test]
async fn who_signs_up_with_an_account_is_found_by_its_id_and_has_no_password() {
    on_both(|db| async move {
        let github = account(Provider::GitHub, "77", "Ana@Example.com");
        let (ana, _) = identity::sign_up(&db, &github, Plan::Sandbox).await.unwrap();
        assert_eq!(ana.email, "ana@example.com");
        assert_eq!(identity::find(&db, Provider::GitHub, "77").await.unwrap().as_ref(), Some(&ana));
        for (provider, subject) in
            [(Provider::Google, "77"), (Provider::GitHub, "7"), (Provider::GitHub, "\u{1}")]
        {
            assert_eq!(identity::find(&db, provider, subject).await.unwrap(), None);
        }
        assert!(!fresh::has_password(&db, &ana.id).await.unwrap());
        for guess in ["", "!", "!!!!!!!!", "correct horse 7"] {
            assert_eq!(user::check_password(&db, &ana.email, guess).await.unwrap(), None, "{guess}");
            let refused = password_change::change_password(&db, &ana, guess, "another horse 8", "").await;
            assert!(refused.is_err(), "{guess}");
        }
        let confirmed = text(&db, "select cast(email_confirmed_ms as text) from users").await;
        assert!(confirmed.is_some(), "the provider has confirmed the address");
        // They are somebody, and not the placeholder that a first owner takes over.
        assert!(instance::setup_done(&db).await.unwrap());
        let (bea, _) = owner::make(&db, "bea@example.com", PASSWORD).await.unwrap();
        assert_ne!(bea.id, ana.id);
        assert_eq!(identity::find(&db, Provider::GitHub, "77").await.unwrap(), Some(ana));
    })
    .await;
}

#[tokio::test]
async fn an_address_or_an_account_that_somebody_has_signs_nobody_up() {
    on_both(|db| async move {
        let (ana, _) = sign_up(&db, "ana@example.com").await;
        let taken =
            identity::sign_up(&db, &account(Provider::Google, "1", "ANA@example.com"), Plan::Sandbox).await;
        assert!(matches!(taken, Err(SignUpError::EmailTaken)));
        identity::link(&db, &ana.id, &account(Provider::Google, "1", "ana@example.com")).await.unwrap();
        let again =
            identity::sign_up(&db, &account(Provider::Google, "1", "other@example.com"), Plan::Sandbox).await;
        assert!(matches!(again, Err(SignUpError::EmailTaken)));
        assert!(!user::exists(&db, "other@example.com").await.unwrap(), "nothing was written");
        let number = text(&db, "select cast(count(*) as text) from accounts").await.unwrap();
        assert_eq!(number, "1");
    })
    .await;
}

#[tokio::test]
async fn an_account_is_linked_to_one_person_and_a_person_to_one_account_of_a_provider() {
    on_both(|db| async move {
        let (ana, _) = sign_up(&db, "ana@example.com").await;
        let (bea, _) = sign_up(&db, "bea@example.com").await;
        let (one, two) =
            (account(Provider::GitHub, "1", "a@x.example"), account(Provider::GitHub, "2", "b@x.example"));
        identity::link(&db, &ana.id, &one).await.unwrap();
        identity::link(&db, &ana.id, &one).await.unwrap();
        assert!(matches!(identity::link(&db, &bea.id, &one).await, Err(LinkError::Taken)));
        assert!(matches!(identity::link(&db, &ana.id, &two).await, Err(LinkError::Another)));
        identity::link(&db, &ana.id, &account(Provider::Google, "1", "a@x.example")).await.unwrap();
        let linked = identity::list(&db, &ana.id).await.unwrap();
        assert_eq!(linked.iter().map(|one| one.provider).collect::<Vec<_>>(), Provider::ALL);
        assert_eq!(identity::list(&db, &bea.id).await.unwrap(), []);

        let not_hers = identity::unlink(&db, &bea.id, Provider::GitHub).await;
        assert!(matches!(not_hers, Err(UnlinkError::NotFound)));
        execute(&db, format!("update users set password_hash = '!' where id = '{}'", ana.id)).await;
        identity::unlink(&db, &ana.id, Provider::GitHub).await.unwrap();
        let last = identity::unlink(&db, &ana.id, Provider::Google).await;
        assert!(matches!(last, Err(UnlinkError::OnlyWay)));
        assert_eq!(identity::list(&db, &ana.id).await.unwrap().len(), 1, "nothing was written");
    })
    .await;
}
