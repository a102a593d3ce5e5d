//! Attempts to connect with a key that no app has, for the doctor: "someone at your address tried this key".

use std::collections::VecDeque;
use std::net::IpAddr;

use parking_lot::Mutex;
use protocol::json::clip;

use crate::clock;

/// Attempts remembered.
const ATTEMPTS_MAX: usize = 200;
/// How long an attempt is of interest.
const AGE_MS_MAX: i64 = 10 * 60 * 1_000;

/// One attempt.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Milliseconds since the epoch.
    pub ts: i64,
    /// The key as given, at most 40 bytes.
    pub key: String,
    /// From where, unmasked: decides who may see the attempt.
    pub ip: IpAddr,
    /// Client library.
    pub sdk: Option<String>,
}

/// The last attempts on this node.
#[derive(Debug, Default)]
pub struct UnknownKeys(Mutex<VecDeque<Attempt>>);

impl UnknownKeys {
    pub(crate) fn add(&self, key: &str, ip: IpAddr, sdk: Option<&str>) {
        let mut attempts = self.0.lock();
        if attempts.len() >= ATTEMPTS_MAX {
            attempts.pop_front();
        }
        let sdk = sdk.map(|s| clip(s, 80).0.to_owned());
        attempts.push_back(Attempt { ts: clock::now_ms(), key: clip(key, 40).0.to_owned(), ip, sdk });
    }

    /// Attempts of the last ten minutes that `may_see` lets through, newest last.
    pub fn recent(&self, may_see: impl Fn(&Attempt) -> bool) -> Vec<Attempt> {
        let since = clock::now_ms() - AGE_MS_MAX;
        self.0.lock().iter().filter(|a| a.ts > since && may_see(a)).cloned().collect()
    }
}
