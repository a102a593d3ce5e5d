//! Answers of the management API that may come again: kept for a day, sealed, for their key and request only.

use crate::support::{execute, on_both, sign_up, text};
use tenancy::api_answer::{self, Begun, KEPT_MS, PER_ACCOUNT_MAX, UNDER_WAY_MS};
use tenancy::audit::{By, Via};
use tenancy::session::Client;
use tenancy::token::{self, Bearer, NewToken, Scope};
use tenancy::{Db, Secret, membership, now_ms};

/// Somebody's token, and the person.
async fn bearer(db: &Db, email: &str) -> (Bearer, By) {
    let (user, account) = sign_up(db, email).await;
    let by = By {
        user_id: Some(user.id.clone()),
        label: email.to_owned(),
        client: Client::default(),
        via: Via::Dash,
    };
    let places = membership::of_user(db, &user.id).await.unwrap();
    let place = places.into_iter().find(|one| one.account.id == account.id).unwrap();
    let new = NewToken { name: "CI", scopes: &[Scope::AppsWrite], app_id: None, days: None };
    let (_, text) = token::create(db, &by, &place, new).await.unwrap();
    (token::authenticate(db, &text).await.unwrap().unwrap(), by)
}

async fn begin(db: &Db, bearer: &Bearer, key: &str, request: &str, now: i64) -> Begun {
    api_answer::begin(db, bearer, key, request.as_bytes(), now).await.unwrap()
}

#[tokio::test]
async fn an_answer_is_kept_for_a_day_sealed_and_for_its_request_only() {
    on_both(|db| async move {
        let ((ana, by), (eve, _)) =
            (bearer(&db, "ana@example.com").await, bearer(&db, "eve@example.com").await);
        let now = now_ms();
        let Begun::Fresh(first) = begin(&db, &ana, "k", "a", now).await else { panic!("a new key is fresh") };
        assert!(matches!(begin(&db, &ana, "k", "a", now + UNDER_WAY_MS - 1).await, Begun::UnderWay));
        assert!(matches!(begin(&db, &ana, "k", "b", now).await, Begun::Other));
        assert!(matches!(begin(&db, &eve, "k", "b", now).await, Begun::Fresh(_)), "another organisation");
        let later = now + UNDER_WAY_MS;
        let Begun::Fresh(second) = begin(&db, &ana, "k", "a", later).await else {
            panic!("its node is dead")
        };
        api_answer::keep(&db, &first, &Secret::new("of the dead")).await.unwrap();
        api_answer::forget(&db, &first).await.unwrap();
        assert!(matches!(begin(&db, &ana, "k", "a", later).await, Begun::UnderWay));
        api_answer::keep(&db, &second, &Secret::new("hush-hush")).await.unwrap();
        api_answer::forget(&db, &second).await.unwrap();
        let Begun::Done(kept) = begin(&db, &ana, "k", "a", later + KEPT_MS - 1).await else {
            panic!("it is kept")
        };
        assert_eq!(kept.expose(), "hush-hush");
        let row = text(&db, "select name || request_hash || answer from api_answers where answer <> ''")
            .await
            .unwrap();
        assert!(row.contains("sealed:") && !row.contains("hush"), "{row}");
        execute(&db, "update api_answers set answer = 'sealed:0badc0de:00' where answer <> ''".to_owned())
            .await;
        assert!(matches!(begin(&db, &ana, "k", "a", later).await, Begun::Lost), "another master key");
        assert!(matches!(begin(&db, &ana, "k", "b", later + KEPT_MS).await, Begun::Fresh(_)), "a day later");

        let Begun::Fresh(refused) = begin(&db, &ana, "again", "a", now).await else {
            panic!("a new key is fresh")
        };
        api_answer::forget(&db, &refused).await.unwrap();
        assert!(
            matches!(begin(&db, &ana, "again", "b", now).await, Begun::Fresh(_)),
            "what was refused frees its key"
        );
        execute(&db, format!("delete from api_tokens where id = '{}'", ana.token.id)).await;
        let own = format!(
            "select cast(count(*) as text) from api_answers where account_id = '{}'",
            ana.membership.account.id
        );
        assert_eq!(text(&db, &own).await.as_deref(), Some("0"), "they go with their token: {}", by.label);
    })
    .await;
}

#[tokio::test]
async fn an_organisation_has_so_many_keys_in_a_day_and_others_have_their_own() {
    on_both(|db| async move {
        let ((ana, _), (eve, _)) =
            (bearer(&db, "ana@example.com").await, bearer(&db, "eve@example.com").await);
        let now = now_ms();
        assert!(matches!(begin(&db, &ana, "first", "a", now).await, Begun::Fresh(_)));
        let fill = format!(
            "insert into api_answers (account_id, name, token_id, request_hash, answer, made_ms)
             with recursive c(n) as (select 1 union all select n + 1 from c where n < {})
             select '{}', 'n' || n, '{}', '', '', {now} from c",
            PER_ACCOUNT_MAX - 1,
            ana.membership.account.id,
            ana.token.id
        );
        execute(&db, fill).await;
        assert!(matches!(begin(&db, &ana, "one more", "a", now).await, Begun::TooMany));
        assert!(
            matches!(begin(&db, &ana, "first", "a", now).await, Begun::UnderWay),
            "those that there are go on"
        );
        assert!(matches!(begin(&db, &eve, "one more", "a", now).await, Begun::Fresh(_)));
        assert!(
            matches!(begin(&db, &ana, "one more", "a", now + KEPT_MS).await, Begun::Fresh(_)),
            "a day later"
        );
    })
    .await;
}
