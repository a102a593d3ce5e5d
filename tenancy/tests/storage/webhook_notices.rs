//! Events about an organisation on their way to its webhook endpoints: to whom, and once.

use crate::support::{execute, make_app, named, on_both, sign_up, texts};
use tenancy::account::Account;
use tenancy::clock::DAY_MS;
use tenancy::webhook_endpoint::{
    self as endpoint, EndpointChange, NewEndpoint, QUOTA_THRESHOLD, WebhookEndpoint,
};
use tenancy::webhook_notice::{self as notice, REMEMBERED_MS};
use tenancy::{Db, app, now_ms};

const EVENT: &str = r#"{"name":"quota_threshold","threshold":80}"#;

async fn wanting(db: &Db, account: &Account, app_id: u64, kinds: &[&str]) -> WebhookEndpoint {
    let kinds = kinds.iter().map(|&kind| kind.to_owned()).collect();
    let new = NewEndpoint { url: "https://a.example/hooks".into(), kinds, ..NewEndpoint::default() };
    endpoint::create(db, &account.id, app_id, new).await.unwrap().unwrap()
}

async fn told(db: &Db) -> Vec<String> {
    texts(db, "select endpoint_id || ' ' || events from webhook_deliveries order by endpoint_id, id").await
}

#[tokio::test]
async fn every_endpoint_of_the_organisation_that_is_on_and_wants_it_is_told_once_of_a_name() {
    on_both(|db| async move {
        let (_, account) = sign_up(&db, "ana@example.com").await;
        let (one, _) = make_app(&db, &account).await;
        let (two, _) = app::create(&db, &account.id, named("Another")).await.unwrap();
        let (_, stranger) = sign_up(&db, "eve@example.com").await;
        let (theirs, _) = make_app(&db, &stranger).await;
        let a = wanting(&db, &account, one.id, &[QUOTA_THRESHOLD]).await;
        let b = wanting(&db, &account, two.id, &["cache_miss", QUOTA_THRESHOLD]).await;
        wanting(&db, &account, one.id, &["cache_miss"]).await;
        wanting(&db, &stranger, theirs.id, &[QUOTA_THRESHOLD]).await;
        let off = wanting(&db, &account, one.id, &[QUOTA_THRESHOLD]).await;
        let switched = EndpointChange { enabled: Some(false), ..EndpointChange::default() };
        endpoint::update(&db, &account.id, one.id, &off.id, switched).await.unwrap().unwrap();
        let paused = wanting(&db, &account, one.id, &[QUOTA_THRESHOLD]).await;
        execute(&db, format!("update webhook_endpoints set paused_ms = 1 where id = '{}'", paused.id)).await;

        let now = now_ms();
        let tell = async |once: &str, at| {
            notice::tell(&db, &account.id, QUOTA_THRESHOLD, once, EVENT, at).await.unwrap()
        };
        // Two nodes see it at the same moment.
        let (first, second) = tokio::join!(tell("messages/80", now), tell("messages/80", now));
        assert_eq!(first + second, 2);
        let line = |endpoint: &WebhookEndpoint| format!("{} [{EVENT}]", endpoint.id);
        assert_eq!(told(&db).await, [line(&a), line(&b)]);
        assert_eq!(tell("messages/100", now).await, 2);

        // The log may be shorter than the day; what was told is known all the same.
        execute(&db, "delete from webhook_deliveries".to_owned()).await;
        assert_eq!(tell("messages/80", now + DAY_MS / 2).await, 0);
        assert_eq!(tell("messages/80", now + REMEMBERED_MS + 1).await, 2, "it is forgotten in the end");
        assert_eq!(texts(&db, "select name from webhook_notices where name = 'messages/100'").await.len(), 0);

        assert!(endpoint::delete(&db, &account.id, one.id, &a.id).await.unwrap());
        assert_eq!(told(&db).await, [line(&b)]);
        assert_eq!(texts(&db, "select endpoint_id from webhook_notices").await, [b.id]);
    })
    .await;
}

#[test]
fn an_endpoint_of_which_nothing_was_said_is_told_of_channels_only() {
    let kinds = endpoint::default_kinds();
    assert_eq!(kinds.len(), endpoint::KINDS.len() - 1);
    assert!(!kinds.iter().any(|kind| kind == QUOTA_THRESHOLD));
}
