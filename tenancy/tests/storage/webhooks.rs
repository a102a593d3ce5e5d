//! Webhooks: endpoints with their change rows, the outbox of nodes with its claims, the log with sending again.

use crate::support::{make_app, on_both, sign_up};
use tenancy::account::Account;
use tenancy::clock::{DAY_MS, HOUR_MS};
use tenancy::webhook_delivery::{self as delivery, Attempt, Filter, State};
use tenancy::webhook_endpoint::{
    self as endpoint, ChannelFilter, ENDPOINTS_PER_APP_MAX, EndpointChange, EndpointError, KINDS,
    NewEndpoint, WebhookEndpoint,
};
use tenancy::webhook_outbox::{self as outbox, NewDelivery, NotStored, Outcome, Paused};
use tenancy::{Db, app, changes, now_ms};

const LEASE_MS: i64 = 15_000;

fn all_kinds(url: &str) -> NewEndpoint {
    NewEndpoint { url: url.into(), kinds: KINDS.map(str::to_owned).to_vec(), ..NewEndpoint::default() }
}

async fn make(db: &Db, account: &Account, app_id: u64) -> WebhookEndpoint {
    endpoint::create(db, &account.id, app_id, all_kinds("https://a.example/hooks")).await.unwrap().unwrap()
}

fn new(endpoint: &WebhookEndpoint, channel: &str, claimed: bool) -> NewDelivery {
    NewDelivery {
        id: outbox::delivery_id(),
        endpoint_id: endpoint.id.clone(),
        created_ms: now_ms(),
        events: format!(r#"[{{"name":"channel_occupied","channel":"{channel}"}}]"#),
        events_count: 1,
        claimed,
    }
}

fn attempt(status: Option<u16>) -> Attempt {
    Attempt {
        at_ms: 1,
        status,
        duration_ms: 84,
        error: status.is_none().then(|| "no answer within 4 s".to_owned()),
        request_headers: vec![("X-Pusher-Key".into(), "key".into())],
        response_headers: vec![("server".into(), "nginx".into())],
        response_body: "thanks\0".into(),
    }
}

fn outcome(one: &NewDelivery, state: State, status: Option<u16>) -> Outcome {
    Outcome {
        id: one.id.clone(),
        endpoint_id: one.endpoint_id.clone(),
        attempt: Some(attempt(status)),
        state,
        next_try_ms: (state == State::Pending).then_some(77),
    }
}

#[tokio::test]
async fn an_endpoint_is_kept_changed_and_deleted_each_with_a_change_of_its_app() {
    on_both(|db| async move {
        let (_, account) = sign_up(&db, "ana@example.com").await;
        let (app, _) = make_app(&db, &account).await;
        let seen = async || changes::last(&db).await.unwrap();
        let before = seen().await;
        let wanted = NewEndpoint {
            url: " https://a.example/hooks?x=1 ".into(),
            kinds: vec!["member_added".into(), "channel_occupied".into()],
            channel_filter: ChannelFilter::Prefix("presence-".into()),
            headers: vec![("X-Token".into(), "hush".into())],
        };
        let made = endpoint::create(&db, &account.id, app.id, wanted).await.unwrap().unwrap();
        assert_eq!(seen().await, before + 1);
        assert_eq!(
            (made.url.as_str(), made.app_id, made.enabled),
            ("https://a.example/hooks?x=1", app.id, true)
        );
        assert_eq!(made.kinds, ["channel_occupied", "member_added"]);
        assert_eq!(endpoint::find(&db, &account.id, app.id, &made.id).await.unwrap().as_ref(), Some(&made));
        assert_eq!(endpoint::list_for_node(&db, app.id).await.unwrap(), std::slice::from_ref(&made));

        let change = EndpointChange {
            channel_filter: Some(ChannelFilter::None),
            headers: Some(vec![]),
            enabled: Some(false),
            ..EndpointChange::default()
        };
        let changed = endpoint::update(&db, &account.id, app.id, &made.id, change).await.unwrap().unwrap();
        assert_eq!(seen().await, before + 2);
        let expected = WebhookEndpoint {
            channel_filter: ChannelFilter::None,
            headers: vec![],
            enabled: false,
            ..made.clone()
        };
        assert_eq!(changed, expected);
        assert_eq!(endpoint::list(&db, &account.id, app.id).await.unwrap(), [expected]);

        assert!(endpoint::delete(&db, &account.id, app.id, &made.id).await.unwrap());
        assert!(!endpoint::delete(&db, &account.id, app.id, &made.id).await.unwrap());
        assert_eq!(seen().await, before + 3);
        assert!(endpoint::list_for_node(&db, app.id).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_is_refused_and_the_number_of_endpoints_is_bounded() {
    on_both(|db| async move {
        let (_, account) = sign_up(&db, "ana@example.com").await;
        let (app, _) = make_app(&db, &account).await;
        let bad = NewEndpoint { kinds: vec!["everything".into()], ..all_kinds("https://a.example") };
        let refused = endpoint::create(&db, &account.id, app.id, bad).await;
        assert!(matches!(refused, Err(EndpointError::KindUnknown(_))), "{refused:?}");
        let made = make(&db, &account, app.id).await;
        let change = EndpointChange { url: Some("ftp://x".into()), ..EndpointChange::default() };
        let refused = endpoint::update(&db, &account.id, app.id, &made.id, change).await;
        assert!(matches!(refused, Err(EndpointError::UrlInvalid)));
        for _ in 1..ENDPOINTS_PER_APP_MAX {
            make(&db, &account, app.id).await;
        }
        let refused = endpoint::create(&db, &account.id, app.id, all_kinds("https://a.example")).await;
        assert!(matches!(refused, Err(EndpointError::TooMany)));
        let (other, _) = make_app(&db, &account).await;
        make(&db, &account, other.id).await;
    })
    .await;
}

#[tokio::test]
async fn another_tenant_and_another_app_get_nothing() {
    on_both(|db| async move {
        let (_, anas) = sign_up(&db, "ana@example.com").await;
        let (_, beas) = sign_up(&db, "bea@example.com").await;
        let (app, _) = make_app(&db, &anas).await;
        let (second, _) = make_app(&db, &anas).await;
        let (foreign, _) = make_app(&db, &beas).await;
        let made = make(&db, &anas, app.id).await;
        let sent = new(&made, "a", true);
        outbox::put(&db, "n1", now_ms() + LEASE_MS, std::slice::from_ref(&sent)).await.unwrap();
        outbox::finish(&db, "n1", &[outcome(&sent, State::Failed, Some(500))]).await.unwrap();
        let last = changes::last(&db).await.unwrap();

        let strangers = [
            (&beas.id, app.id),
            (&beas.id, foreign.id),
            (&anas.id, second.id),
            (&beas.id, 9_999),
            (&anas.id, 9_999),
        ];
        for (account, app) in strangers {
            assert_eq!(endpoint::find(&db, account, app, &made.id).await.unwrap(), None);
            assert!(endpoint::list(&db, account, app).await.unwrap().is_empty());
            let off = EndpointChange { enabled: Some(false), ..EndpointChange::default() };
            assert_eq!(endpoint::update(&db, account, app, &made.id, off).await.unwrap(), None);
            assert!(!endpoint::delete(&db, account, app, &made.id).await.unwrap());
            for endpoint_id in [None, Some(made.id.as_str())] {
                let filter = Filter { endpoint_id, limit: 10, ..Filter::default() };
                assert!(delivery::list(&db, account, app, filter).await.unwrap().is_empty());
            }
            assert_eq!(delivery::find(&db, account, app, &sent.id).await.unwrap(), None);
            assert!(delivery::summary(&db, account, app, 0).await.unwrap().is_empty());
            assert!(!delivery::resend(&db, account, app, &sent.id).await.unwrap());
            assert_eq!(delivery::recover(&db, account, app, &made.id, 0).await.unwrap(), 0);
            let test = delivery::send_test(&db, account, app, &made.id, "member_added").await.unwrap();
            assert_eq!(test, None);
        }
        for (account, app) in [(&beas.id, app.id), (&anas.id, 9_999)] {
            let made = endpoint::create(&db, account, app, all_kinds("https://b.example")).await.unwrap();
            assert_eq!(made, None);
        }
        assert_eq!(changes::last(&db).await.unwrap(), last, "nothing was written");
        let kept = endpoint::find(&db, &anas.id, app.id, &made.id).await.unwrap().unwrap();
        assert!(kept.enabled && kept.failing_since_ms.is_some());
    })
    .await;
}

#[tokio::test]
async fn the_log_shows_attempts_newest_first_and_in_pages() {
    on_both(|db| async move {
        let (_, account) = sign_up(&db, "ana@example.com").await;
        let (app, _) = make_app(&db, &account).await;
        let (one, two) = (make(&db, &account, app.id).await, make(&db, &account, app.id).await);
        let sent = [new(&one, "a", true), new(&two, "b", true), new(&one, "c", true)];
        let stored = outbox::put(&db, "n1", now_ms() + LEASE_MS, &sent).await.unwrap();
        assert_eq!(stored, NotStored::default());
        outbox::finish(&db, "n1", &[outcome(&sent[0], State::Pending, None)]).await.unwrap();
        let outcomes =
            [outcome(&sent[0], State::Delivered, Some(204)), outcome(&sent[1], State::Failed, Some(500))];
        outbox::finish(&db, "n1", &outcomes).await.unwrap();

        let page = async |filter: Filter<'_>| {
            let found = delivery::list(&db, &account.id, app.id, filter).await.unwrap();
            found.into_iter().map(|delivery| delivery.id).collect::<Vec<_>>()
        };
        let ids = sent.each_ref().map(|one| one.id.clone());
        let all = Filter { limit: 10, ..Filter::default() };
        assert_eq!(page(all).await, [ids[2].as_str(), &ids[1], &ids[0]]);
        assert_eq!(page(Filter { endpoint_id: Some(&one.id), ..all }).await, [ids[2].as_str(), &ids[0]]);
        assert_eq!(page(Filter { state: Some(State::Failed), ..all }).await, [ids[1].as_str()]);
        let first = page(Filter { limit: 2, ..all }).await;
        assert_eq!(page(Filter { before: Some(&first[1]), ..all }).await, [ids[0].as_str()]);
        assert!(page(Filter { before: Some("\0"), ..all }).await.is_empty());

        let listed = delivery::list(&db, &account.id, app.id, all).await.unwrap();
        assert_eq!((listed[2].attempts.len(), listed[1].attempts.len(), listed[0].attempts.len()), (2, 1, 0));
        assert_eq!((listed[2].attempts[1].status, &*listed[2].attempts[1].response_body), (Some(204), ""));
        let found = delivery::find(&db, &account.id, app.id, &ids[0]).await.unwrap().unwrap();
        assert_eq!(
            (found.state, found.events_count, found.test, found.next_try_ms),
            (State::Delivered, 1, false, None)
        );
        let body = format!(r#"{{"time_ms":{},"events":{}}}"#, sent[0].created_ms, sent[0].events);
        assert_eq!(found.body, body);
        let errors: Vec<_> = found.attempts.iter().map(|a| (a.status, a.error.as_deref())).collect();
        assert_eq!(errors, [(None, Some("no answer within 4 s")), (Some(204), None)]);
        assert_eq!(found.attempts[0].request_headers, attempt(None).request_headers);
        assert_eq!(found.attempts[0].response_body, "thanks\u{fffd}");

        let mut summary = delivery::summary(&db, &account.id, app.id, now_ms() - DAY_MS).await.unwrap();
        summary.sort_by(|a, b| a.endpoint_id.cmp(&b.endpoint_id));
        let numbers: Vec<_> = summary.iter().map(|s| (s.pending, s.delivered, s.failed)).collect();
        assert_eq!(numbers, [(1, 1, 0), (0, 0, 1)]);
    })
    .await;
}

#[tokio::test]
async fn one_delivery_is_claimed_by_one_node_until_its_lease_ends() {
    on_both(|db| async move {
        let (_, account) = sign_up(&db, "ana@example.com").await;
        let (app, _) = make_app(&db, &account).await;
        let one = make(&db, &account, app.id).await;
        let sent = [new(&one, "a", true), new(&one, "b", false), new(&one, "c", false)];
        let now = now_ms();
        outbox::put(&db, "n1", now + LEASE_MS, &sent).await.unwrap();
        assert_eq!(outbox::waiting(&db, now).await.unwrap(), [one.id.as_str()]);
        let claim = async |node: &str, now: i64, limit| {
            let claimed = outbox::claim(&db, node, now, now + LEASE_MS, &one.id, limit).await.unwrap();
            claimed.into_iter().map(|claimed| claimed.id).collect::<Vec<_>>()
        };
        assert_eq!(claim("n2", now, 1).await, [sent[1].id.as_str()], "the oldest that nobody has");
        assert_eq!(claim("n1", now, 9).await, [sent[2].id.as_str()]);
        assert!(claim("n2", now, 9).await.is_empty() && outbox::waiting(&db, now).await.unwrap().is_empty());

        // n2 is killed: its claim runs out, those of n1 are renewed.
        let later = now + LEASE_MS;
        assert_eq!(outbox::renew(&db, "n1", later + LEASE_MS).await.unwrap(), 2);
        assert_eq!(claim("n3", later, 9).await, [sent[1].id.as_str()]);
        // What n2 would still say of it counts no more.
        outbox::finish(&db, "n2", &[outcome(&sent[1], State::Delivered, Some(200))]).await.unwrap();
        let found = delivery::find(&db, &account.id, app.id, &sent[1].id).await.unwrap().unwrap();
        assert_eq!((found.state, found.attempts.len()), (State::Pending, 0));

        // n1 stops politely: others go on at once.
        outbox::release(&db, "n1").await.unwrap();
        assert_eq!(claim("n3", later, 9).await, [sent[0].id.as_str(), &sent[2].id]);
        outbox::finish(&db, "n3", &[outcome(&sent[0], State::Pending, Some(500))]).await.unwrap();
        outbox::release(&db, "n3").await.unwrap();
        let claimed = outbox::claim(&db, "n4", later, later + LEASE_MS, &one.id, 1).await.unwrap();
        assert_eq!((claimed[0].attempts, claimed[0].next_try_ms), (1, Some(77)), "it knows what was tried");
        assert_eq!((claimed[0].time_ms, &claimed[0].events), (sent[0].created_ms, &sent[0].events));
    })
    .await;
}

#[tokio::test]
async fn nodes_that_claim_at_once_share_and_never_double() {
    on_both(|db| async move {
        let (_, account) = sign_up(&db, "ana@example.com").await;
        let (app, _) = make_app(&db, &account).await;
        let one = make(&db, &account, app.id).await;
        let sent: Vec<_> = (0..40).map(|n| new(&one, &format!("c{n}"), false)).collect();
        outbox::put(&db, "n0", 0, &sent).await.unwrap();
        let now = now_ms();
        let nodes: Vec<_> = (0..8)
            .map(|n| {
                let (db, endpoint) = (db.clone(), one.id.clone());
                tokio::spawn(async move {
                    let mut mine = vec![];
                    loop {
                        let node = format!("n{n}");
                        let got = outbox::claim(&db, &node, now, now + LEASE_MS, &endpoint, 3).await.unwrap();
                        if got.is_empty() && outbox::waiting(&db, now).await.unwrap().is_empty() {
                            return mine;
                        }
                        mine.extend(got.into_iter().map(|claimed| claimed.id));
                    }
                })
            })
            .collect();
        let mut all = vec![];
        for node in nodes {
            all.extend(node.await.unwrap());
        }
        all.sort();
        let mut expected: Vec<_> = sent.into_iter().map(|one| one.id).collect();
        expected.sort();
        assert_eq!(all, expected);
    })
    .await;
}

#[tokio::test]
async fn a_delivery_is_sent_again_alone_or_with_all_that_failed() {
    on_both(|db| async move {
        let (_, account) = sign_up(&db, "ana@example.com").await;
        let (app, _) = make_app(&db, &account).await;
        let one = make(&db, &account, app.id).await;
        let mut sent: Vec<_> = (0..3).map(|_| new(&one, "a", true)).collect();
        sent.iter_mut().for_each(|one| one.created_ms -= HOUR_MS);
        let now = now_ms();
        outbox::put(&db, "n1", now + LEASE_MS, &sent).await.unwrap();
        assert!(!delivery::resend(&db, &account.id, app.id, &sent[0].id).await.unwrap(), "it is on its way");
        let states = [State::Failed, State::Failed, State::Delivered];
        let outcomes: Vec<_> =
            sent.iter().zip(states).map(|(one, state)| outcome(one, state, Some(500))).collect();
        outbox::finish(&db, "n1", &outcomes).await.unwrap();

        let before = changes::last(&db).await.unwrap();
        assert!(delivery::resend(&db, &account.id, app.id, &sent[2].id).await.unwrap());
        assert_eq!(delivery::recover(&db, &account.id, app.id, &one.id, now + HOUR_MS).await.unwrap(), 0);
        assert_eq!(delivery::recover(&db, &account.id, app.id, &one.id, now - HOUR_MS).await.unwrap(), 2);
        assert_eq!(
            delivery::recover(&db, &account.id, app.id, &one.id, now - HOUR_MS).await.unwrap(),
            0,
            "once"
        );
        assert_eq!(changes::last(&db).await.unwrap(), before + 2, "nodes are woken");
        let claimed = outbox::claim(&db, "n2", now, now + LEASE_MS, &one.id, 9).await.unwrap();
        assert_eq!(claimed.len(), 3);
        assert!(
            claimed.iter().all(|c| c.by_hand && c.attempts == 1 && c.next_try_ms.is_none()),
            "{claimed:?}"
        );
        assert!(claimed.iter().all(|c| c.time_ms >= now), "receivers refuse old times");
        outbox::finish(&db, "n2", &[outcome(&sent[0], State::Delivered, Some(200))]).await.unwrap();
        let found = delivery::find(&db, &account.id, app.id, &sent[0].id).await.unwrap().unwrap();
        assert_eq!((found.attempts.len(), found.state), (2, State::Delivered), "one timeline");
    })
    .await;
}

#[tokio::test]
async fn a_test_event_waits_for_a_node_and_its_failure_is_none_of_the_endpoint() {
    on_both(|db| async move {
        let (_, account) = sign_up(&db, "ana@example.com").await;
        let (app, _) = make_app(&db, &account).await;
        let one = make(&db, &account, app.id).await;
        let send =
            async |kind: &str| delivery::send_test(&db, &account.id, app.id, &one.id, kind).await.unwrap();
        assert_eq!(send("nothing").await, None);
        let id = send("client_event").await.unwrap();
        let found = delivery::find(&db, &account.id, app.id, &id).await.unwrap().unwrap();
        assert!(found.test && found.by_hand && found.state == State::Pending);
        let body: serde_json::Value = serde_json::from_str(&found.body).unwrap();
        assert_eq!(body["events"][0]["name"], "client_event");
        assert!(body["events"][0]["data"].is_string() && body["time_ms"].is_i64());
        let now = now_ms();
        let claimed = outbox::claim(&db, "n1", now, now + LEASE_MS, &one.id, 9).await.unwrap();
        assert_eq!((claimed[0].id.as_str(), claimed[0].by_hand), (id.as_str(), true));
        let failed = Outcome {
            id,
            endpoint_id: one.id.clone(),
            attempt: Some(attempt(None)),
            state: State::Failed,
            next_try_ms: None,
        };
        outbox::finish(&db, "n1", &[failed]).await.unwrap();
        let kept = endpoint::find(&db, &account.id, app.id, &one.id).await.unwrap().unwrap();
        assert_eq!(kept.failing_since_ms, None);
    })
    .await;
}

#[tokio::test]
async fn an_endpoint_that_fails_for_five_days_is_paused_until_it_is_switched_on_again() {
    on_both(|db| async move {
        let (_, account) = sign_up(&db, "ana@example.com").await;
        let (app, _) = make_app(&db, &account).await;
        let one = make(&db, &account, app.id).await;
        let now = now_ms();
        let fail = async |at: i64, state, status| {
            let sent = new(&one, "a", true);
            outbox::put(&db, "n1", now + LEASE_MS, std::slice::from_ref(&sent)).await.unwrap();
            outbox::finish_at(&db, "n1", &[outcome(&sent, state, status)], at).await.unwrap()
        };
        let state = async || {
            let one = endpoint::find(&db, &account.id, app.id, &one.id).await.unwrap().unwrap();
            (one.failing_since_ms, one.paused_ms)
        };
        assert!(fail(now, State::Failed, None).await.is_empty());
        assert_eq!(state().await, (Some(now), None));
        assert!(fail(now + DAY_MS, State::Failed, None).await.is_empty());
        assert_eq!(state().await, (Some(now), None), "since the first");
        fail(now + 2 * DAY_MS, State::Delivered, Some(200)).await;
        assert_eq!(state().await, (None, None), "one success");
        let start = now + 3 * DAY_MS;
        fail(start, State::Pending, Some(500)).await;
        assert!(
            fail(start + 5 * DAY_MS, State::Pending, Some(500)).await.is_empty(),
            "it is still being tried"
        );
        let before = changes::last(&db).await.unwrap();
        let paused = fail(start + 5 * DAY_MS, State::Failed, Some(500)).await;
        assert_eq!(paused, [Paused { endpoint_id: one.id.clone(), app_id: app.id }]);
        assert_eq!(state().await, (Some(start), Some(start + 5 * DAY_MS)));
        assert_eq!(changes::last(&db).await.unwrap(), before + 1);
        assert!(fail(start + 6 * DAY_MS, State::Failed, Some(500)).await.is_empty(), "told once");

        let on = EndpointChange { enabled: Some(true), ..EndpointChange::default() };
        endpoint::update(&db, &account.id, app.id, &one.id, on).await.unwrap();
        assert_eq!(state().await, (None, None));
    })
    .await;
}

#[tokio::test]
async fn held_events_are_taken_once_and_in_order() {
    on_both(|db| async move {
        let (_, account) = sign_up(&db, "ana@example.com").await;
        let (app, _) = make_app(&db, &account).await;
        let held: Vec<_> = (0..5).map(|n| (app.id, format!(r#"{{"n":{n}}}"#))).collect();
        outbox::hold(&db, &[&held[..], &[(9_999, "{}".to_owned())]].concat()).await.unwrap();
        let (a, b) = tokio::join!(outbox::take_held(&db), outbox::take_held(&db));
        let (a, b) = (a.unwrap(), b.unwrap());
        assert!(a.is_empty() != b.is_empty());
        assert_eq!([a, b].concat(), held);
        assert!(outbox::take_held(&db).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn the_log_is_pruned_by_age_and_number_and_what_waits_stays() {
    on_both(|db| async move {
        let (_, account) = sign_up(&db, "ana@example.com").await;
        let (app, _) = make_app(&db, &account).await;
        let (one, two) = (make(&db, &account, app.id).await, make(&db, &account, app.id).await);
        let now = now_ms();
        let many: Vec<_> = (0..outbox::LOG_PER_ENDPOINT_MAX + 3).map(|_| new(&one, "a", true)).collect();
        let few = [new(&two, "a", true)];
        outbox::put(&db, "n1", now + LEASE_MS, &[&many[..], &few].concat()).await.unwrap();
        let done: Vec<_> =
            many.iter().skip(1).chain(&few).map(|one| outcome(one, State::Delivered, Some(200))).collect();
        outbox::finish(&db, "n1", &done).await.unwrap();
        let count = async |endpoint: &WebhookEndpoint, state| {
            let all = delivery::summary(&db, &account.id, app.id, 0).await.unwrap();
            let found = all.into_iter().find(|s| s.endpoint_id == endpoint.id).unwrap_or_default();
            if state == State::Pending { found.pending } else { found.delivered }
        };
        outbox::prune(&db, now, &[one.id.clone(), two.id.clone()]).await.unwrap();
        assert_eq!((count(&one, State::Pending).await, count(&one, State::Delivered).await), (1, 1_000));
        assert_eq!(count(&two, State::Delivered).await, 1);
        outbox::prune(&db, now + 8 * DAY_MS, &[]).await.unwrap();
        assert_eq!((count(&one, State::Pending).await, count(&one, State::Delivered).await), (1, 0));
        assert_eq!(count(&two, State::Delivered).await, 0);
    })
    .await;
}

#[tokio::test]
async fn deleting_an_endpoint_or_an_app_takes_its_log_and_what_waits_along() {
    on_both(|db| async move {
        let (_, account) = sign_up(&db, "ana@example.com").await;
        let (app, _) = make_app(&db, &account).await;
        let (one, two) = (make(&db, &account, app.id).await, make(&db, &account, app.id).await);
        let sent = [new(&one, "a", true), new(&two, "a", false)];
        outbox::put(&db, "n1", now_ms() + LEASE_MS, &sent).await.unwrap();
        outbox::finish(&db, "n1", &[outcome(&sent[0], State::Pending, None)]).await.unwrap();
        assert!(endpoint::delete(&db, &account.id, app.id, &one.id).await.unwrap());
        assert_eq!(delivery::find(&db, &account.id, app.id, &sent[0].id).await.unwrap(), None);
        let late = outbox::put(&db, "n1", 0, &[new(&one, "a", true)]).await.unwrap();
        assert_eq!((late.gone.len(), late.too_many.len()), (1, 0));
        outbox::finish(&db, "n1", &[outcome(&sent[0], State::Delivered, None)]).await.unwrap();
        assert!(app::delete(&db, &account.id, app.id).await.unwrap());
        assert!(outbox::waiting(&db, now_ms()).await.unwrap().is_empty());
    })
    .await;
}
