//! Events on their way: signed as Stripe signs them, sent again a few times while the answer is not 2xx.

use std::time::Duration;

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use sha2::Sha256;
use tokio::net::TcpStream;

use crate::{Fake, WEBHOOK_SECRET};

/// Tries of one event; Stripe's last for days, these for seconds.
const TRIES: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// What happens to a new event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Posting {
    /// It is sent.
    AtOnce,
    /// It waits for [`crate::State::release`].
    Held,
    /// It is never sent.
    Lost,
}

#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) kind: String,
    pub(crate) body: String,
}

/// The header that Stripe would send with this body at this time.
pub fn signature(secret: &str, body: &str, at_s: i64) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes())
        .unwrap_or_else(|_| unreachable!("any length is a key"));
    mac.update(format!("{at_s}.{body}").as_bytes());
    format!("t={at_s},v1={}", hex::encode(mac.finalize().into_bytes()))
}

pub(crate) fn send(fake: &Fake, due: Vec<Event>) {
    for event in due {
        let fake = fake.clone();
        tokio::spawn(async move {
            deliver(fake.clone(), event).await;
            fake.state.lock().on_their_way -= 1;
        });
    }
}

async fn deliver(fake: Fake, event: Event) {
    for n in 0..TRIES {
        let (endpoint, now_s) = {
            let state = fake.state.lock();
            (state.endpoint.clone(), state.now_s() - state.clock_ahead_s)
        };
        let Some(url) = endpoint else { return };
        let header = signature(WEBHOOK_SECRET, &event.body, now_s);
        let status = post(&url, &header, &event.body).await.unwrap_or(0);
        fake.state.lock().answers.push((event.kind.clone(), status));
        if (200..300).contains(&status) {
            return;
        }
        tokio::time::sleep(FIRST_PAUSE * 2_u32.pow(n)).await;
    }
}

async fn post(url: &str, signature: &str, body: &str) -> Option<u16> {
    let rest = url.strip_prefix("http://")?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let stream = TcpStream::connect(authority).await.ok()?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
    let driver = tokio::spawn(connection);
    let request = http::Request::post(format!("/{path}"))
        .header("host", authority)
        .header("content-type", "application/json; charset=utf-8")
        .header("user-agent", "Stripe/1.0 (+https://stripe.com/docs/webhooks)")
        .header("stripe-signature", signature)
        .body(Full::new(Bytes::from(body.to_owned())))
        .ok()?;
    let answer = sender.send_request(request).await.ok();
    driver.abort();
    answer.map(|answer| answer.status().as_u16())
}
