//! Sign-up, passwords and the finders of users.

use crate::support::{PASSWORD, dump, execute, on_both, sign_up, text};
use argon2::password_hash::PasswordHasher;
use argon2::{Algorithm, Argon2, Params, Version};
use tenancy::instance;
use tenancy::membership;
use tenancy::plan::Plan;
use tenancy::role::Role;
use tenancy::user::{self, SignUpError, check_password};

#[tokio::test]
async fn sign_up_makes_user_account_and_membership() {
    on_both(|db| async move {
        assert!(!instance::setup_done(&db).await.unwrap());
        let (ana, workspace) =
            user::sign_up(&db, " Ana@Example.com ", PASSWORD, Plan::Unlimited).await.unwrap();
        assert_eq!(ana.email, "ana@example.com");
        assert_eq!((workspace.name.as_str(), workspace.plan), ("ana's workspace", Plan::Unlimited));
        let places = membership::of_user(&db, &ana.id).await.unwrap();
        assert_eq!((places.len(), &places[0].account, places[0].role), (1, &workspace, Role::Owner));
        assert_eq!(user::find(&db, &ana.id).await.unwrap().as_ref(), Some(&ana));
        assert_eq!(text(&db, "select role from memberships").await.as_deref(), Some("owner"));
        assert!(instance::setup_done(&db).await.unwrap());
        assert_eq!(check_password(&db, "ANA@example.com", PASSWORD).await.unwrap(), Some(ana));
    })
    .await;
}

#[tokio::test]
async fn a_failed_sign_up_leaves_nothing_behind() {
    on_both(|db| async move {
        sign_up(&db, "ana@example.com").await;
        let before = dump(&db).await;
        let taken = user::sign_up(&db, "Ana@example.com", PASSWORD, Plan::Sandbox).await;
        assert!(matches!(taken, Err(SignUpError::EmailTaken)), "{taken:?}");

        // The last statement of the transaction fails.
        execute(&db, "alter table memberships rename column role to gone".to_owned()).await;
        let failed = user::sign_up(&db, "bea@example.com", PASSWORD, Plan::Sandbox).await;
        assert!(matches!(failed, Err(SignUpError::Db(_))), "{failed:?}");
        let without_memberships = |dump: &str| {
            dump.lines()
                .filter(|line| !line.starts_with("memberships"))
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(without_memberships(&dump(&db).await), without_memberships(&before));
    })
    .await;
}

#[tokio::test]
async fn of_ten_who_sign_up_with_one_address_at_once_one_gets_it() {
    on_both(|db| async move {
        let tasks: Vec<_> = (0..10)
            .map(|_| {
                let db = db.clone();
                tokio::spawn(
                    async move { user::sign_up(&db, "ana@example.com", PASSWORD, Plan::Sandbox).await },
                )
            })
            .collect();
        let mut made = 0;
        for task in tasks {
            match task.await.unwrap() {
                Ok(_) => made += 1,
                Err(error) => assert!(matches!(error, SignUpError::EmailTaken), "{error:?}"),
            }
        }
        assert_eq!(made, 1);
        assert_eq!(text(&db, "select cast(count(*) as text) from accounts").await.as_deref(), Some("1"));
    })
    .await;
}

#[tokio::test]
async fn impossible_sign_ups_are_refused_with_their_reason() {
    on_both(|db| async move {
        let refused = async |email: &str, password: &str| {
            user::sign_up(&db, email, password, Plan::Sandbox).await.unwrap_err()
        };
        assert!(matches!(refused("ana", PASSWORD).await, SignUpError::EmailInvalid));
        assert!(matches!(refused("a@example.com", "seven77").await, SignUpError::PasswordTooShort));
        assert!(matches!(refused("a@example.com", &"x".repeat(129)).await, SignUpError::PasswordTooLong));
        assert!(matches!(refused("a@example.com", &"x".repeat(1 << 20)).await, SignUpError::PasswordTooLong));
        assert!(matches!(refused("a@example.com", "Password1").await, SignUpError::PasswordTooCommon));
        assert!(!instance::setup_done(&db).await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn the_stored_hash_is_argon2id_with_its_parameters_and_not_the_password() {
    on_both(|db| async move {
        sign_up(&db, "ana@example.com").await;
        let hash = text(&db, "select password_hash from users").await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(!dump(&db).await.contains(PASSWORD));
    })
    .await;
}

#[tokio::test]
async fn a_hash_with_old_parameters_is_replaced_when_its_owner_signs_in() {
    on_both(|db| async move {
        let (ana, _) = sign_up(&db, "ana@example.com").await;
        let old = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(8_192, 1, 1, None).unwrap())
            .hash_password(PASSWORD.as_bytes())
            .unwrap()
            .to_string();
        execute(&db, format!("update users set password_hash = '{old}'")).await;

        assert_eq!(check_password(&db, "ana@example.com", "not her password").await.unwrap(), None);
        assert_eq!(
            text(&db, "select password_hash from users").await.unwrap(),
            old,
            "only she may replace it"
        );

        assert_eq!(check_password(&db, "ana@example.com", PASSWORD).await.unwrap().as_ref(), Some(&ana));
        let new = text(&db, "select password_hash from users").await.unwrap();
        assert!(new.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{new}");

        assert_eq!(check_password(&db, "ana@example.com", PASSWORD).await.unwrap(), Some(ana));
        assert_eq!(text(&db, "select password_hash from users").await.unwrap(), new, "once is enough");
    })
    .await;
}

#[tokio::test]
async fn the_first_owner_is_who_came_first() {
    on_both(|db| async move {
        assert!(user::first_owner(&db).await.unwrap().is_none());
        let ana = sign_up(&db, "ana@example.com").await;
        let bea = sign_up(&db, "bea@example.com").await;
        assert_eq!(user::first_owner(&db).await.unwrap().as_ref(), Some(&ana));
        assert_eq!(user::find_by_email(&db, " BEA@example.com").await.unwrap(), Some(bea));
        assert_eq!(user::find_by_email(&db, "carla@example.com").await.unwrap(), None);
        assert_eq!(user::find_by_email(&db, "not an address").await.unwrap(), None);
        assert_eq!(user::find(&db, &"nobody".to_owned()).await.unwrap(), None);
        assert!(membership::of_user(&db, &"nobody".to_owned()).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn the_system_app_is_made_once_and_kept() {
    on_both(|db| async move {
        let tasks: Vec<_> = (0..10)
            .map(|_| {
                let db = db.clone();
                tokio::spawn(async move { instance::system_app(&db).await.unwrap() })
            })
            .collect();
        let kept = instance::system_app(&db).await.unwrap();
        assert_eq!((kept.key.len(), kept.secret.expose().len()), (20, 20));
        for task in tasks {
            let other = task.await.unwrap();
            assert_eq!((other.key, other.secret), (kept.key.clone(), kept.secret.clone()));
        }
    })
    .await;
}

#[tokio::test]
async fn the_first_owner_takes_over_what_the_placeholder_holds() {
    on_both(|db| async move {
        let (holder, account) = tenancy::owner::first_or_placeholder(&db).await.unwrap();
        assert_eq!(tenancy::owner::first_or_placeholder(&db).await.unwrap().0, holder, "one placeholder");
        assert!(!instance::setup_done(&db).await.unwrap(), "the placeholder is nobody");
        for password in ["", PASSWORD] {
            assert_eq!(check_password(&db, &holder.email, password).await.unwrap(), None);
        }
        let new = tenancy::app::NewApp { name: "script", cluster: "local", ..Default::default() };
        let (app, _) = tenancy::app::create(&db, &account.id, new).await.unwrap();

        let weak = tenancy::owner::make(&db, "ana@example.com", "short").await;
        assert!(matches!(weak, Err(SignUpError::PasswordTooShort)), "{weak:?}");
        let (ana, workspace) = tenancy::owner::make(&db, "Ana@example.com", PASSWORD).await.unwrap();
        assert_eq!((&ana.id, &workspace.id, &*workspace.name), (&holder.id, &account.id, "ana's workspace"));
        assert!(instance::setup_done(&db).await.unwrap());
        assert_eq!(check_password(&db, "ana@example.com", PASSWORD).await.unwrap(), Some(ana.clone()));
        assert!(tenancy::app::find(&db, &workspace.id, app.id).await.unwrap().is_some());

        let (ben, _) = tenancy::owner::make(&db, "ben@example.com", PASSWORD).await.unwrap();
        assert_ne!(ben.id, ana.id, "the next owner is a person of their own");
    })
    .await;
}

#[tokio::test]
async fn a_taken_address_does_not_take_the_placeholder_over() {
    on_both(|db| async move {
        let (holder, _) = tenancy::owner::first_or_placeholder(&db).await.unwrap();
        sign_up(&db, "ana@example.com").await;
        let before = dump(&db).await;
        let taken = tenancy::owner::make(&db, "ana@example.com", PASSWORD).await;
        assert!(matches!(taken, Err(SignUpError::EmailTaken)), "{taken:?}");
        assert_eq!(dump(&db).await, before);
        assert_eq!(user::first_owner(&db).await.unwrap().map(|(u, _)| u), Some(holder));
    })
    .await;
}
