//! A server that behaves as Stripe does, for stories in another language and for looking at the pages of the billing: it prints its
//! address, and lives until it is ended. See `fakestripe`.

use std::net::{Ipv4Addr, SocketAddr};

use fakestripe::Fake;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let port = std::env::args().nth(1).and_then(|port| port.parse().ok()).unwrap_or(0);
    let fake = Fake::start(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
    println!("{}", fake.base());
    std::future::pending().await
}
