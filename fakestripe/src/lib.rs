//! A server that behaves as Stripe does, as far as Fanfare asks it: for tests, and to try billing without an account at Stripe.
//! It keeps customers, prices, checkouts, subscriptions and invoices, shows a checkout page and a portal, and sends signed
//! events, late, twice or in the wrong order when told to.
//!
//! It refuses what Stripe refuses: no or a foreign key, a parameter it doesn't know, a body that is no form, an idempotency key used
//! for something else. It is no part of the product: nothing links it but tests and an example of the server.

mod api;
mod control;
mod events;
mod form;
mod objects;
mod pages;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::net::TcpListener;

pub use events::{Posting, signature};
pub use objects::{Failure, Request, State};

/// The secret key that it knows.
pub const SECRET_KEY: &str = "sk_test_fanfare";
/// The secret that it signs events with.
pub const WEBHOOK_SECRET: &str = "whsec_fanfare";
/// The version of the API that it speaks.
pub const API_VERSION: &str = "2025-03-31.basil";
/// Its prices, in cents of a euro a month: the plan of ours, Stripe's id, the amount.
pub const PRICES: [(&str, &str, i64); 3] = [
    ("startup", "price_startup", 4_900),
    ("pro", "price_pro", 9_900),
    ("business", "price_business", 29_900),
];
/// Its metered price: the event name of its meter, Stripe's id, cents of a euro for one unit.
pub const METERED: (&str, &str, i64) = ("fanfare_messages", "price_overage", 1);
/// A running server. Cloning is cheap; it lives until the process ends.
#[derive(Clone)]
pub struct Fake {
    state: Arc<Mutex<State>>,
    base: Arc<str>,
}

impl std::fmt::Debug for Fake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fake").field("base", &self.base).finish_non_exhaustive()
    }
}

impl Fake {
    /// Starts it on `address`; port 0 takes a free one. *Errors*: the address is taken.
    pub async fn start(address: SocketAddr) -> std::io::Result<Fake> {
        let listener = TcpListener::bind(address).await?;
        let base: Arc<str> = format!("http://{}", listener.local_addr()?).into();
        let fake = Fake { state: Arc::new(Mutex::new(State::new(&base))), base };
        let router: Router = Router::new()
            .merge(pages::routes())
            .merge(control::routes())
            .fallback(api::answer)
            .with_state(fake.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(fake)
    }

    /// On a free port of this machine.
    pub async fn local() -> Fake {
        match Fake::start(SocketAddr::from(([127, 0, 0, 1], 0))).await {
            Ok(fake) => fake,
            Err(error) => panic!("a free port: {error}"),
        }
    }

    /// Its address, without a slash at the end.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Reads or changes its state; events that come of it are sent.
    pub fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        let (out, due) = {
            let mut state = self.state.lock();
            let out = act(&mut state);
            (out, state.take_due())
        };
        events::send(self, due);
        out
    }

    /// Where events go, as at an endpoint made in Stripe's dashboard.
    pub fn send_events_to(&self, url: &str) {
        self.with(|state| state.endpoint = Some(url.to_owned()));
    }

    /// Was every event answered, or given up, that was sent so far?
    pub fn is_quiet(&self) -> bool {
        self.with(|state| state.on_their_way == 0)
    }

    /// The requests that came so far.
    pub fn requests(&self) -> Vec<Request> {
        self.with(|state| state.requests.clone())
    }

    /// The path of a checkout or portal page in the answer of a browser's redirect, opened and its button pressed: what a person
    /// does. `button` is `pay`, `decline` or `leave`; gives where the browser goes next.
    pub fn press(&self, url: &str, button: &str) -> Option<String> {
        let id = url.rsplit('/').next()?.to_owned();
        self.with(|state| state.press(&id, button))
    }

    /// All that it keeps of one kind (`customers`, `subscriptions`, `invoices`, `sessions`, `meter_events`), oldest first.
    pub fn all(&self, kind: &str) -> Vec<Value> {
        self.with(|state| state.all(kind))
    }
}
