//! The engine as a whole against a storage that the test takes away and gives back, and a receiver on this machine.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use protocol::webhook::{Event, Kind};
use protocol::webhook_url::Allow;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::endpoint::tests::endpoint;
use super::*;
use crate::app::AppSnapshot;
use crate::apps::SourceError;
use crate::testing::node_with;
use crate::usage::BoxFuture;

/// Storage in memory.
#[derive(Default)]
struct Memory {
    away: AtomicBool,
    next_id: AtomicU64,
    pending: Mutex<BTreeMap<String, (NewDelivery, String)>>,
    delivered: Mutex<Vec<String>>,
    attempts: AtomicU64,
    held: Mutex<Vec<(u64, String)>>,
}

impl Memory {
    fn answer<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Memory) -> T,
    ) -> BoxFuture<'_, Result<T, SourceError>> {
        let answer = if self.away.load(Relaxed) { Err(SourceError("away".into())) } else { Ok(work(self)) };
        Box::pin(async { answer })
    }
}

impl WebhookStore for Memory {
    fn new_id(&self) -> String {
        format!("{:08}", self.next_id.fetch_add(1, Relaxed))
    }

    fn put<'a>(
        &'a self,
        node: &'a str,
        _: i64,
        new: Vec<NewDelivery>,
    ) -> BoxFuture<'a, Result<NotStored, SourceError>> {
        self.answer(|memory| {
            let rows = new.into_iter().map(|one| {
                let owner = if one.claimed { node } else { "" };
                (one.id.clone(), (one, owner.to_owned()))
            });
            memory.pending.lock().extend(rows);
            NotStored::default()
        })
    }

    fn waiting(&self, _: i64) -> BoxFuture<'_, Result<Vec<String>, SourceError>> {
        self.answer(|memory| {
            let pending = memory.pending.lock();
            let free = pending.values().filter(|(_, owner)| owner.is_empty());
            free.map(|(one, _)| one.endpoint_id.to_string()).take(1).collect()
        })
    }

    fn claim<'a>(
        &'a self,
        node: &'a str,
        _: i64,
        _: i64,
        endpoint_id: &'a str,
        limit: u32,
    ) -> BoxFuture<'a, Result<Vec<Claimed>, SourceError>> {
        self.answer(|memory| {
            let mut pending = memory.pending.lock();
            let free = pending.values_mut().filter(|(_, owner)| owner.is_empty()).take(limit as usize);
            free.map(|(one, owner)| {
                node.clone_into(owner);
                Claimed {
                    id: one.id.clone(),
                    endpoint_id: endpoint_id.into(),
                    app_id: 1001,
                    time_ms: one.created_ms,
                    events: one.events.clone(),
                    events_count: one.events_count,
                    by_hand: false,
                    next_try_ms: None,
                }
            })
            .collect()
        })
    }

    fn renew<'a>(&'a self, _: &'a str, _: i64) -> BoxFuture<'a, Result<(), SourceError>> {
        self.answer(|_| ())
    }

    fn release<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<(), SourceError>> {
        self.answer(|memory| memory.pending.lock().values_mut().for_each(|(_, owner)| owner.clear()))
    }

    fn finish<'a>(
        &'a self,
        _: &'a str,
        outcomes: Vec<Outcome>,
    ) -> BoxFuture<'a, Result<Vec<Paused>, SourceError>> {
        self.answer(|memory| {
            for one in outcomes {
                memory.attempts.fetch_add(u64::from(one.attempt.is_some()), Relaxed);
                if one.state == State::Delivered {
                    memory.pending.lock().remove(&one.id);
                    memory.delivered.lock().push(one.id);
                }
            }
            Vec::new()
        })
    }

    fn hold(&self, events: Vec<(u64, String)>) -> BoxFuture<'_, Result<(), SourceError>> {
        self.answer(|memory| memory.held.lock().extend(events))
    }

    fn take_held(&self) -> BoxFuture<'_, Result<Vec<(u64, String)>, SourceError>> {
        self.answer(|memory| std::mem::take(&mut *memory.held.lock()))
    }

    fn prune(&self, _: i64, _: Vec<String>) -> BoxFuture<'_, Result<(), SourceError>> {
        self.answer(|_| ())
    }
}

/// A receiver that answers 200; what it got is in the list.
async fn receiver() -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let got: Arc<Mutex<Vec<String>>> = Arc::default();
    let list = got.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut text = String::new();
            let mut chunk = [0; 8_192];
            while !text.ends_with("]}") {
                let n = stream.read(&mut chunk).await.unwrap();
                text.push_str(&String::from_utf8_lossy(&chunk[..n]));
            }
            list.lock().push(text.split_once("\r\n\r\n").unwrap().1.to_owned());
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        }
    });
    (port, got)
}

async fn started(store: &Arc<Memory>, port: u16) -> (Node, Arc<App>) {
    let all = endpoint("e", &format!("http://127.0.0.1:{port}/"), &Kind::ALL);
    let snapshot = AppSnapshot { webhooks: vec![all], ..crate::app::tests::snapshot() };
    let (node, app) = node_with(snapshot).await;
    node.start_webhooks(store.clone(), Allow::parse("127.0.0.1").unwrap()).await;
    (node, app)
}

async fn until(what: &str, probe: impl Fn() -> bool) {
    let began = std::time::Instant::now();
    while !probe() {
        assert!(began.elapsed() < Duration::from_secs(10), "waited for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn occupied(name: &str) -> Event {
    Event::ChannelOccupied { channel: name.into() }
}

#[tokio::test]
async fn what_happens_while_storage_is_away_is_sent_when_it_is_back_and_not_before() {
    let (store, (port, got)) = (Arc::new(Memory::default()), receiver().await);
    let (node, app) = started(&store, port).await;
    store.away.store(true, Relaxed);
    for n in 0..30 {
        node.webhooks().record(&app, || occupied(&format!("c{n}")));
    }
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(got.lock().is_empty(), "nothing is sent that is not stored");
    store.away.store(false, Relaxed);
    until("both batches", || got.lock().len() == 2).await;
    let all = got.lock().concat();
    assert!((0..30).all(|n| all.contains(&format!(r#""c{n}""#))));
    until("the log", || store.delivered.lock().len() == 2).await;
    assert_eq!(store.attempts.load(Relaxed), 2);
}

#[tokio::test]
async fn a_stop_stores_the_batch_and_holds_the_ends_and_the_next_node_goes_on() {
    let store = Arc::new(Memory::default());
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let (node, app) = started(&store, nobody).await;
    node.webhooks().record(&app, || occupied("a"));
    node.webhooks().record(&app, || Event::ChannelVacated { channel: "b".into() });
    node.webhooks().record(&app, || Event::ChannelVacated { channel: "c".into() });
    node.stop_webhooks().await;
    assert_eq!(store.pending.lock().len(), 1);
    assert!(store.pending.lock().values().all(|(_, owner)| owner.is_empty()), "given back");
    assert_eq!(store.held.lock().len(), 2);

    let (port, got) = receiver().await;
    let (next, app) = started(&store, port).await;
    next.webhooks().record(&app, || occupied("b"));
    until("what was stored and the end", || got.lock().len() == 2).await;
    let all = got.lock().concat();
    assert!(all.contains(r#"{"name":"channel_occupied","channel":"a"}"#), "{all}");
    assert!(all.contains(r#"{"name":"channel_vacated","channel":"c"}"#), "{all}");
    assert!(!all.contains(r#""b""#), "it came back in time: {all}");
}

#[tokio::test]
async fn nothing_is_recorded_before_the_start_nor_for_an_app_that_nobody_listens_to() {
    let (node, app) = node_with(crate::app::tests::snapshot()).await;
    node.webhooks().record(&app, || unreachable!("not started"));
    let store = Arc::new(Memory::default());
    node.start_webhooks(store, Allow::default()).await;
    node.webhooks().record(&app, || unreachable!("no endpoint"));
    assert!(!node.webhooks().wants(&app, Kind::ClientEvent));
}

#[test]
fn beyond_what_fits_in_memory_deliveries_queue_up_in_storage_until_that_is_empty() {
    let (loads, e) = (Loads::default(), Arc::from("e"));
    for _ in 0..IN_MEMORY_PER_ENDPOINT_MAX {
        assert!(loads.take(&e));
    }
    assert!(!loads.take(&e) && loads.room(&e) == 0);
    assert!(!loads.give_back(&e, 1), "not yet worth asking");
    assert!(!loads.take(&e), "a place is free, but others wait before it");
    assert!(loads.give_back(&e, IN_MEMORY_PER_ENDPOINT_MAX / 2));
    loads.add(&e, 2, false);
    assert!(!loads.take(&e));
    loads.add(&e, 1, true);
    assert!(loads.take(&e), "storage is empty");
    loads.give_back(&e, IN_MEMORY_PER_ENDPOINT_MAX);
    assert!(loads.0.lock().is_empty());
}
