//! Settings and first lines of code for each client library, with an app's real values in them.
//!
//! What a library needs to reach this server instead of pusher.com differs in small, costly ways; each snippet names the
//! trap of its library. Nothing here is HTML: pages escape, and hide the secret from view.

mod curl;
mod laravel;
mod libraries;
pub mod webhooks;

use tenancy::app::{App, AppKey};

use crate::client::Endpoint;

/// Everything for one library.
#[derive(Clone, Debug)]
pub struct Snippet {
    /// For addresses and tests: `laravel`, `laravel-pusher`, `pusher-js`, `node`, `php`, `python`, `ruby`, `go`, `curl`.
    pub id: &'static str,
    /// The tab's words.
    pub title: &'static str,
    /// Of `code`: `env`, `js`, `php`, `python`, `ruby`, `go`, `shell`.
    pub language: &'static str,
    /// One sentence: what to do with `code`.
    pub intro: String,
    /// Commands to run before, if any.
    pub install: Option<String>,
    /// The block that people copy.
    pub code: String,
    /// What comes after it: publish, subscribe.
    pub more: Vec<Block>,
    /// The traps.
    pub notes: Vec<String>,
}

/// A further piece of code.
#[derive(Clone, Debug)]
pub struct Block {
    /// What it's for.
    pub title: &'static str,
    /// As in [`Snippet::language`].
    pub language: &'static str,
    /// The code.
    pub code: String,
}

/// A stretch of code that either is the secret, or isn't.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch<'a> {
    /// As it stands.
    pub text: &'a str,
    /// To be hidden until asked for.
    pub secret: bool,
}

/// Cuts code at the secret, so that a page can hide just that.
pub fn stretches<'a>(code: &'a str, secret: &'a str) -> Vec<Stretch<'a>> {
    let mut out = Vec::new();
    for (i, text) in code.split(secret).enumerate() {
        if i > 0 {
            out.push(Stretch { text: secret, secret: true });
        }
        if !text.is_empty() {
            out.push(Stretch { text, secret: false });
        }
    }
    out
}

/// All tabs, the recommended one first.
pub fn blocks(app: &App, key: &AppKey, endpoint: &Endpoint) -> Vec<Snippet> {
    let values = Values { app, key: &key.key, secret: key.secret.expose(), endpoint };
    vec![
        laravel::reverb(&values),
        laravel::pusher(&values),
        libraries::pusher_js(&values),
        libraries::node(&values),
        libraries::php(&values),
        libraries::python(&values),
        libraries::ruby(&values),
        libraries::go(&values),
        curl::curl(&values),
    ]
}

/// The one-line address that Ruby, Node, Go and Python libraries read from the environment.
pub fn pusher_url(app: &App, key: &AppKey, endpoint: &Endpoint) -> String {
    let secret = key.secret.expose();
    format!(
        "PUSHER_URL={}://{}:{secret}@{}/apps/{}",
        endpoint.scheme(),
        key.key,
        endpoint.authority(),
        app.id
    )
}

struct Values<'a> {
    app: &'a App,
    key: &'a str,
    secret: &'a str,
    endpoint: &'a Endpoint,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_cut_at_the_secret() {
        let cut = |code| stretches(code, "s3").into_iter().map(|s| (s.text, s.secret)).collect::<Vec<_>>();
        assert_eq!(cut("a=s3\nb=s3"), [("a=", false), ("s3", true), ("\nb=", false), ("s3", true)]);
        assert_eq!(cut("plain"), [("plain", false)]);
    }
}
