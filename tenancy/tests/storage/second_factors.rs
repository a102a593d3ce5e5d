//! The second factor: codes that are good once, recovery codes, its secret at rest, and organisations that ask for it.

use crate::support::{dump, execute, make_app, on_both, sign_up, text};
use tenancy::audit::{By, Via};
use tenancy::clock::MINUTE_MS;
use tenancy::second_factor::{self, Accepted, ConfirmError, Standing, TurnOffError, totp};
use tenancy::session::Client;
use tenancy::token::{self, NewToken, Scope};
use tenancy::user::User;
use tenancy::{Db, Vault, membership, now_ms, pending_sign_in, require, sealing, session};

/// Sets it up with the code of a moment ago, so that those of now and later are still good.
async fn set_up(db: &Db, user: &User) -> (tenancy::Secret, Vec<String>) {
    assert!(second_factor::begin(db, &user.id).await.unwrap());
    let secret = second_factor::set_up(db, &user.id).await.unwrap().unwrap().secret;
    let code = totp::code(&secret, totp::step_at(now_ms()) - 1).unwrap();
    let codes = second_factor::confirm(db, &user.id, &code, "").await.unwrap();
    (secret, codes)
}

fn by(user: &User) -> By {
    let label = user.email.clone();
    By { user_id: Some(user.id.clone()), label, client: Client::default(), via: Via::Dash }
}

#[tokio::test]
async fn it_is_asked_for_only_after_a_first_code_came() {
    on_both(|db| async move {
        let (ana, _) = sign_up(&db, "ana@example.com").await;
        let standing = async || second_factor::standing(&db, &ana.id).await.unwrap();
        assert_eq!(standing().await, Standing::Off);
        let nothing = second_factor::confirm(&db, &ana.id, "123456", "").await;
        assert!(matches!(nothing, Err(ConfirmError::NotBegun)));
        assert!(second_factor::begin(&db, &ana.id).await.unwrap());
        let first = second_factor::set_up(&db, &ana.id).await.unwrap().unwrap().secret;
        assert!(second_factor::begin(&db, &ana.id).await.unwrap(), "begun anew");
        let secret = second_factor::set_up(&db, &ana.id).await.unwrap().unwrap().secret;
        assert!(first != secret);
        assert_eq!(standing().await, Standing::Begun);
        let now = totp::step_at(now_ms());
        let old = totp::code(&first, now).unwrap();
        for wrong in [&*old, "", "12345", "abcdef"] {
            let refused = second_factor::confirm(&db, &ana.id, wrong, "").await;
            assert!(matches!(refused, Err(ConfirmError::Wrong)), "{wrong}");
        }
        let code = totp::code(&secret, now).unwrap();
        assert_eq!(second_factor::check(&db, &ana.id, &code).await.unwrap(), None, "not on yet");
        let codes = second_factor::confirm(&db, &ana.id, &code, "").await.unwrap();
        assert_eq!(codes.len(), 10);
        assert!(matches!(standing().await, Standing::On { codes_left: 10, .. }));
        assert!(!second_factor::begin(&db, &ana.id).await.unwrap(), "one that is on is not begun anew");
        assert!(second_factor::set_up(&db, &ana.id).await.unwrap().is_none(), "and is not shown again");
        let all = dump(&db).await;
        assert!(!all.contains(secret.expose()) && codes.iter().all(|one| !all.contains(one)));
        assert!(codes.iter().all(|one| !all.contains(&one.replace('-', ""))));
    })
    .await;
}

#[tokio::test]
async fn each_step_is_accepted_once_and_none_before_it_afterwards() {
    on_both(|db| async move {
        let (ana, _) = sign_up(&db, "ana@example.com").await;
        let (bea, _) = sign_up(&db, "bea@example.com").await;
        let (secret, _) = set_up(&db, &ana).await;
        let at = now_ms() + MINUTE_MS;
        let step = totp::step_at(at);
        let check = async |who: &User, away: i64| {
            let code = totp::code(&secret, step + away).unwrap();
            second_factor::check_at(&db, &who.id, &code, at).await.unwrap()
        };
        assert_eq!(check(&ana, -2).await, None, "too old");
        assert_eq!(check(&ana, 2).await, None, "too early");
        assert_eq!(check(&bea, 0).await, None, "another person's");
        assert_eq!(check(&ana, 0).await, Some(Accepted::App));
        assert_eq!(check(&ana, 0).await, None, "used");
        assert_eq!(check(&ana, -1).await, None, "from before one that was used");
        assert_eq!(check(&ana, 1).await, Some(Accepted::App));

        let code = totp::code(&secret, step + 3).unwrap();
        let tries = (0..8).map(|_| {
            let (db, id, code) = (db.clone(), ana.id.clone(), code.clone());
            tokio::spawn(async move {
                second_factor::check_at(&db, &id, &code, at + 3 * totp::STEP_MS).await.unwrap().is_some()
            })
        });
        let mut good = 0;
        for one in tries.collect::<Vec<_>>() {
            good += i32::from(one.await.unwrap());
        }
        assert_eq!(good, 1, "of eight at once one is accepted");
    })
    .await;
}

#[tokio::test]
async fn recovery_codes_are_good_once_and_new_ones_end_the_old() {
    on_both(|db| async move {
        let (ana, _) = sign_up(&db, "ana@example.com").await;
        let (bea, _) = sign_up(&db, "bea@example.com").await;
        let (secret, codes) = set_up(&db, &ana).await;
        set_up(&db, &bea).await;
        let check = async |who: &User, code: &str| second_factor::check(&db, &who.id, code).await.unwrap();
        assert_eq!(check(&bea, &codes[0]).await, None, "another person's");
        assert_eq!(check(&ana, &codes[0].to_uppercase()).await, Some(Accepted::Recovery { left: 9 }));
        assert_eq!(check(&ana, &codes[0]).await, None, "used");
        assert!(
            second_factor::new_codes(&db, &ana.id, &codes[1]).await.unwrap().is_none(),
            "only for the app"
        );
        let code = totp::code(&secret, totp::step_at(now_ms())).unwrap();
        let fresh = second_factor::new_codes(&db, &ana.id, &code).await.unwrap().unwrap();
        assert_eq!(check(&ana, &codes[1]).await, None);
        assert_eq!(check(&ana, &fresh[0]).await, Some(Accepted::Recovery { left: 9 }));
    })
    .await;
}

#[tokio::test]
async fn switching_it_on_ends_other_sessions_and_the_operator_can_take_it_away() {
    on_both(|db| async move {
        let (ana, _) = sign_up(&db, "ana@example.com").await;
        let mut tokens = vec![];
        for _ in 0..2 {
            tokens.push(session::start(&db, &ana.id, &Client::default()).await.unwrap().token);
        }
        second_factor::begin(&db, &ana.id).await.unwrap();
        let secret = second_factor::set_up(&db, &ana.id).await.unwrap().unwrap().secret;
        let code = totp::code(&secret, totp::step_at(now_ms())).unwrap();
        second_factor::confirm(&db, &ana.id, &code, &tokens[1]).await.unwrap();
        assert!(session::find(&db, &tokens[0]).await.unwrap().is_none());
        assert!(session::find(&db, &tokens[1]).await.unwrap().is_some());
        let pending = pending_sign_in::start(&db, &ana.id).await.unwrap();
        assert!(second_factor::reset(&db, &ana.id).await.unwrap());
        assert!(!second_factor::reset(&db, &ana.id).await.unwrap());
        assert!(session::find(&db, &tokens[1]).await.unwrap().is_none());
        assert!(pending_sign_in::find(&db, &pending).await.unwrap().is_none());
        assert_eq!(second_factor::standing(&db, &ana.id).await.unwrap(), Standing::Off);
        assert_eq!(text(&db, "select cast(count(*) as text) from recovery_codes").await.unwrap(), "0");
    })
    .await;
}

#[tokio::test]
async fn a_sign_in_waits_for_its_code_five_minutes_and_not_over_a_change_of_the_password() {
    on_both(|db| async move {
        let (ana, _) = sign_up(&db, "ana@example.com").await;
        let start = now_ms();
        let token = pending_sign_in::start_at(&db, &ana.id, start).await.unwrap();
        let found = async |at: i64| pending_sign_in::find_at(&db, &token, at).await.unwrap();
        assert_eq!(found(start + pending_sign_in::LIFETIME_MS - 1).await.as_ref(), Some(&ana));
        assert_eq!(found(start + pending_sign_in::LIFETIME_MS).await, None);
        assert!(session::find(&db, &token).await.unwrap().is_none(), "it is no session");
        assert!(!dump(&db).await.contains(&token));
        execute(&db, "update users set password_hash = 'another'".to_owned()).await;
        assert_eq!(found(start).await, None);
        let second = pending_sign_in::start(&db, &ana.id).await.unwrap();
        assert!(pending_sign_in::take(&db, &second).await.unwrap());
        assert!(!pending_sign_in::take(&db, &second).await.unwrap(), "once");
        for none in ["", "x", &"0".repeat(64)] {
            assert_eq!(pending_sign_in::find(&db, none).await.unwrap(), None);
        }
    })
    .await;
}

#[tokio::test]
async fn an_organisation_that_asks_for_it_is_closed_to_who_has_none() {
    on_both(|db| async move {
        let (ana, shop) = sign_up(&db, "ana@example.com").await;
        let (app, _) = make_app(&db, &shop).await;
        let place = async || membership::of_user(&db, &ana.id).await.unwrap().remove(0);
        assert!(!place().await.is_locked);
        assert_eq!(require::members_without(&db, &shop.id).await.unwrap(), 1);
        assert!(require::second_factor(&db, &by(&ana), &shop, true).await.unwrap());
        assert!(!require::second_factor(&db, &by(&ana), &shop, true).await.unwrap());
        let locked = place().await;
        assert!(locked.is_locked && locked.second_factor_required);
        assert!(membership::apps(&db, &locked).await.unwrap().is_empty());
        assert!(membership::for_app(&db, &ana.id, app.id).await.unwrap().is_none());

        let (secret, _) = set_up(&db, &ana).await;
        assert!(!place().await.is_locked);
        assert!(membership::for_app(&db, &ana.id, app.id).await.unwrap().is_some());
        assert_eq!(require::members_without(&db, &shop.id).await.unwrap(), 0);
        let code = totp::code(&secret, totp::step_at(now_ms())).unwrap();
        let kept = second_factor::turn_off(&db, &ana.id, &code).await;
        assert!(matches!(kept, Err(TurnOffError::Required(name)) if name == shop.name));
        assert!(require::second_factor(&db, &by(&ana), &shop, false).await.unwrap());
        let wrong = second_factor::turn_off(&db, &ana.id, "abcd").await;
        assert!(matches!(wrong, Err(TurnOffError::Wrong)));
        assert_eq!(second_factor::turn_off(&db, &ana.id, &code).await.unwrap(), Accepted::App);
        assert_eq!(second_factor::standing(&db, &ana.id).await.unwrap(), Standing::Off);
    })
    .await;
}

#[tokio::test]
async fn its_secret_is_sealed_anew_with_a_new_master_key() {
    on_both(|db| async move {
        let folder = tempfile::tempdir().unwrap();
        let vault = Vault::make_file(&folder.path().join("secret-key")).unwrap();
        let db = db.with_vault(vault.clone());
        let (ana, _) = sign_up(&db, "ana@example.com").await;
        let (secret, _) = set_up(&db, &ana).await;
        let id = vault.rotate_file(&[]).unwrap();
        assert_eq!(sealing::seal_all(&db).await.unwrap(), 1);
        let status = sealing::status(&db).await.unwrap();
        assert_eq!((status.len(), &status[0].key_id, status[0].secrets), (1, &id, 1));
        let code = totp::code(&secret, totp::step_at(now_ms())).unwrap();
        assert_eq!(second_factor::check(&db, &ana.id, &code).await.unwrap(), Some(Accepted::App));
    })
    .await;
}

#[tokio::test]
async fn a_token_of_who_is_locked_out_opens_nothing() {
    on_both(|db| async move {
        let (ana, shop) = sign_up(&db, "ana@example.com").await;
        let place = membership::of_user(&db, &ana.id).await.unwrap().remove(0);
        let new = NewToken { name: "ci", scopes: &[Scope::ALL[0]], app_id: None, days: None };
        let (_, text) = token::create(&db, &by(&ana), &place, new).await.unwrap();
        let opens = async || token::authenticate(&db, &text).await.unwrap().is_some();
        assert!(opens().await);
        require::second_factor(&db, &by(&ana), &shop, true).await.unwrap();
        assert!(!opens().await);
        set_up(&db, &ana).await;
        assert!(opens().await);
    })
    .await;
}
