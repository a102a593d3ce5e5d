//! Signing in with an account elsewhere: GitHub and Google, where the operator has set them up. This is the talking to providers:
//! OAuth 2 with an authorization code, PKCE (S256) and a state that is bound to the browser. What follows for the person is decided in
//! [`crate::pages::with`].

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderValue, Request};
use http_body_util::Full;
use outbound::{Place, encode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use tenancy::Secret;
use tenancy::identity::{Elsewhere, Provider, SUBJECT_CHARS_MAX};
use tenancy::user::normal_email;
use tokio::time::timeout;

/// All calls of one sign-in: a person waits for it.
const CALLS_MAX: Duration = Duration::from_secs(10);
/// Bytes of an answer. The longest are GitHub's, of a person with many addresses.
const ANSWER_BYTES_MAX: usize = 256 * 1_024;

/// A provider that the operator has set up.
#[derive(Clone, Debug)]
pub struct With {
    /// Which.
    pub provider: Provider,
    client_id: String,
    client_secret: Secret,
    /// The page that people are sent to.
    page: String,
    token: Address,
    person: Address,
    emails: Option<Address>,
}

/// Where a call goes.
#[derive(Clone, Debug)]
struct Address {
    place: Place,
    path: String,
}

/// Why nobody was signed in.
#[derive(Debug)]
pub(crate) enum WithError {
    /// The provider didn't answer, or not as it should.
    Away(String),
    /// It says that the code is none: used, too old, another client's.
    Refused,
    /// It knows no verified address of the person.
    NoEmail,
}

impl Address {
    fn parse(base: &str, path: &str) -> Option<Address> {
        // A GitHub of one's own may lie below a path.
        let (scheme, rest) = base.trim_end_matches('/').split_once("://")?;
        let (authority, below) =
            rest.split_once('/').map_or((rest, String::new()), |(a, b)| (a, format!("/{b}")));
        let place = Place::parse(&format!("{scheme}://{authority}"))?;
        Some(Address { place, path: format!("{below}{path}") })
    }
}

impl With {
    /// Reads a provider's settings; `base` is another server that behaves as it, such as a GitHub Enterprise Server. `None`: the
    /// base is no address.
    pub fn new(provider: Provider, client_id: &str, client_secret: &str, base: Option<&str>) -> Option<With> {
        let base = base.map(|base| base.trim_end_matches('/'));
        let at = |usual: &str, below: &str, path: &str| {
            let own = base.map(|base| format!("{base}{below}"));
            Address::parse(own.as_deref().unwrap_or(usual), path)
        };
        let (page, token, person, emails) = match provider {
            Provider::GitHub => (
                format!("{}/login/oauth/authorize", base.unwrap_or("https://github.com")),
                at("https://github.com", "", "/login/oauth/access_token")?,
                at("https://api.github.com", "/api/v3", "/user")?,
                Some(at("https://api.github.com", "/api/v3", "/user/emails")?),
            ),
            Provider::Google => (
                format!("{}/o/oauth2/v2/auth", base.unwrap_or("https://accounts.google.com")),
                at("https://oauth2.googleapis.com", "", "/token")?,
                at("https://openidconnect.googleapis.com", "", "/v1/userinfo")?,
                None,
            ),
        };
        let (client_id, client_secret) = (client_id.to_owned(), Secret::new(client_secret));
        Some(With { provider, client_id, client_secret, page, token, person, emails })
    }

    /// The origin of its page, to which a form may lead.
    pub(crate) fn page_origin(&self) -> String {
        let rest = self.page.find("://").map_or(0, |at| at + 3);
        let end = self.page[rest..].find('/').map_or(self.page.len(), |at| rest + at);
        self.page[..end].to_owned()
    }

    /// Where a person is sent to say yes.
    pub(crate) fn page(&self, redirect_uri: &str, state: &str, verifier: &str) -> String {
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()));
        let scope = match self.provider {
            Provider::GitHub => "read:user user:email",
            Provider::Google => "openid email",
        };
        let query = encode(&[
            ("response_type", "code"),
            ("client_id", &self.client_id),
            ("redirect_uri", redirect_uri),
            ("scope", scope),
            ("state", state),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ]);
        format!("{}?{query}", self.page)
    }

    /// Who came back with this code.
    pub(crate) async fn person(
        &self,
        code: &str,
        redirect_uri: &str,
        verifier: &str,
    ) -> Result<Elsewhere, WithError> {
        match timeout(CALLS_MAX, self.calls(code, redirect_uri, verifier)).await {
            Ok(done) => done,
            Err(_) => Err(WithError::Away(format!("nothing came within {} s", CALLS_MAX.as_secs()))),
        }
    }

    async fn calls(&self, code: &str, redirect_uri: &str, verifier: &str) -> Result<Elsewhere, WithError> {
        let form = encode(&[
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", redirect_uri),
            ("client_id", &self.client_id),
            ("client_secret", self.client_secret.expose()),
            ("code_verifier", verifier),
        ]);
        let request = request(&self.token, None)
            .method("POST")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(CONTENT_LENGTH, form.len());
        let token: Token = self.ask(&self.token, request, form).await?;
        // GitHub says no with 200.
        let token = token.access_token.map(Secret::new).ok_or(WithError::Refused)?;
        let person: Person = self.ask(&self.person, request_as(&self.person, &token)?, String::new()).await?;
        let subject = match (self.provider, person.id, person.sub) {
            (Provider::GitHub, Some(id), _) => id.to_string(),
            (Provider::Google, _, Some(sub)) => sub,
            _ => return Err(WithError::Away("the person has no id".to_owned())),
        };
        if subject.is_empty() || subject.chars().count() > SUBJECT_CHARS_MAX {
            return Err(WithError::Away("the person's id is too long".to_owned()));
        }
        let email = match &self.emails {
            None => person.email.filter(|_| person.email_verified == Some(true)),
            Some(address) => {
                let all: Vec<Email> = self.ask(address, request_as(address, &token)?, String::new()).await?;
                let mut verified = all.into_iter().filter(|one| one.verified);
                // The first one that people see as theirs; a verified one that isn't primary would surprise them.
                verified.find(|one| one.primary).map(|one| one.email)
            }
        };
        let email = email.as_deref().and_then(normal_email).ok_or(WithError::NoEmail)?;
        Ok(Elsewhere { provider: self.provider, subject, email })
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        address: &Address,
        request: http::request::Builder,
        body: String,
    ) -> Result<T, WithError> {
        let request =
            request.body(Full::new(Bytes::from(body))).map_err(|error| WithError::Away(error.to_string()))?;
        let (status, body) =
            outbound::call(&address.place, request, ANSWER_BYTES_MAX).await.map_err(WithError::Away)?;
        match status {
            200 => serde_json::from_slice(&body)
                .map_err(|_| WithError::Away(format!("{} can't be read", address.path))),
            400 | 401 | 403 => Err(WithError::Refused),
            other => Err(WithError::Away(format!("{} was answered {other}", address.path))),
        }
    }
}

fn request(address: &Address, bearer: Option<HeaderValue>) -> http::request::Builder {
    let request = Request::builder()
        .uri(&address.path)
        .header(HOST, &address.place.authority)
        .header(ACCEPT, "application/json")
        .header(USER_AGENT, concat!("Fanfare/", env!("CARGO_PKG_VERSION")));
    match bearer {
        Some(bearer) => request.header(AUTHORIZATION, bearer),
        None => request,
    }
}

fn request_as(address: &Address, token: &Secret) -> Result<http::request::Builder, WithError> {
    let mut bearer = HeaderValue::from_str(&format!("Bearer {}", token.expose()))
        .map_err(|_| WithError::Away("the token is no header".to_owned()))?;
    bearer.set_sensitive(true);
    Ok(request(address, Some(bearer)))
}

#[derive(Deserialize)]
struct Token {
    access_token: Option<String>,
}

/// GitHub's person has a number, Google's a text.
#[derive(Deserialize)]
struct Person {
    id: Option<u64>,
    sub: Option<String>,
    email: Option<String>,
    email_verified: Option<bool>,
}

#[derive(Deserialize)]
struct Email {
    email: String,
    primary: bool,
    verified: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_carries_the_challenge_of_the_rfc_and_never_the_verifier() {
        let with = With::new(Provider::GitHub, "id", "hush", None).unwrap();
        // RFC 7636, appendix B.
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let page = with.page("https://x.example/login/with/github/callback", "s&t", verifier);
        assert!(
            page.starts_with("https://github.com/login/oauth/authorize?response_type=code&client_id=id&")
        );
        assert!(page.contains(
            "&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256"
        ));
        assert!(page.contains("&state=s%26t") && !page.contains(verifier) && !page.contains("hush"));
        assert_eq!(with.page_origin(), "https://github.com");
    }

    #[test]
    fn a_github_of_ones_own_may_lie_anywhere_and_what_is_no_address_is_refused() {
        let with =
            With::new(Provider::GitHub, "id", "hush", Some("https://git.shop.example:8443/hub/")).unwrap();
        assert_eq!(with.page_origin(), "https://git.shop.example:8443");
        assert_eq!(with.person.path, "/hub/api/v3/user");
        assert_eq!((with.token.place.port, with.token.place.tls), (8443, true));
        for wrong in ["", "git.shop.example", "ftp://x", "https://"] {
            assert!(With::new(Provider::GitHub, "id", "hush", Some(wrong)).is_none(), "{wrong}");
        }
        assert!(!format!("{with:?}").contains("hush"));
    }
}
