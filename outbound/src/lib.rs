//! One HTTP call to a service that the operator named, such as Stripe or a provider of sign-ins: where it is, the call, and forms.
//! A connection serves one call: there are few of them; [`pool`] is for a service that is called all the time. It is not for addresses that customers name: webhooks check those, in
//! `realtime`.

pub mod pool;

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};

/// A server that is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Name or address, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Over TLS.
    pub tls: bool,
    /// Host, and the port where it is not the usual one.
    pub authority: String,
}

impl Place {
    /// Reads `http://host[:port]` or `https://host[:port]`; `None` for anything else, and for a path behind it.
    pub fn parse(base: &str) -> Option<Place> {
        let (tls, authority) = match base.trim_end_matches('/').split_once("://")? {
            ("https", rest) => (true, rest),
            ("http", rest) => (false, rest),
            _ => return None,
        };
        let plain = |text: &str| {
            !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'))
        };
        let (host, port) = match authority.split_once(':') {
            Some((host, port)) => (host, port.parse().ok()?),
            None => (authority, if tls { 443 } else { 80 }),
        };
        plain(host).then(|| Place { tls, host: host.to_owned(), port, authority: authority.to_owned() })
    }
}

/// A connection over which a call goes.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

async fn connect(place: &Place) -> Result<Box<dyn Stream>, String> {
    let stream = TcpStream::connect((place.host.as_str(), place.port)).await.map_err(|e| e.to_string())?;
    let _ = stream.set_nodelay(true);
    if !place.tls {
        return Ok(Box::new(stream));
    }
    let name = ServerName::try_from(place.host.clone()).map_err(|e| e.to_string())?;
    let stream = TlsConnector::from(tls_config()).connect(name, stream).await.map_err(|e| e.to_string())?;
    Ok(Box::new(stream))
}

/// Sends a request whose target is a path, and reads status and body of the answer, up to so many bytes. Errors say what went
/// wrong, for a log. *Cancel*: the connection is closed; what was asked may have been done all the same.
pub async fn call(
    place: &Place,
    request: Request<Full<Bytes>>,
    answer_bytes_max: usize,
) -> Result<(u16, Bytes), String> {
    let stream = connect(place).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
    // Driven here and not in a task of its own, so that it ends with the call.
    let mut connection = std::pin::pin!(connection);
    let answering = async {
        let answer = sender.send_request(request).await.map_err(|e| e.to_string())?;
        let status = answer.status().as_u16();
        let body =
            Limited::new(answer.into_body(), answer_bytes_max).collect().await.map_err(|e| e.to_string())?;
        Ok((status, body.to_bytes()))
    };
    let mut answering = std::pin::pin!(answering);
    tokio::select! {
        biased;
        done = &mut answering => done,
        _ = &mut connection => answering.await,
    }
}

/// The system's certificates, so that an operator's own authority is known; where there are none, Mozilla's.
fn tls_config() -> Arc<ClientConfig> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    let make = || {
        let mut roots = RootCertStore::empty();
        let (added, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if added == 0 {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap_or_else(|_| unreachable!("the provider knows TLS 1.2 and 1.3"))
            .with_root_certificates(roots)
            .with_no_client_auth();
        Arc::new(config)
    };
    CONFIG.get_or_init(make).clone()
}

/// Names and values as a form's body or a query.
pub fn encode(form: &[(&str, &str)]) -> String {
    let pairs: Vec<String> =
        form.iter().map(|(name, value)| format!("{}={}", escape(name), escape(value))).collect();
    pairs.join("&")
}

/// A text as a value of a form, a query or a path.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte as char);
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_escapes_what_would_end_a_value() {
        assert_eq!(encode(&[("a[b]", "x&y=z %"), ("c", "é")]), "a%5Bb%5D=x%26y%3Dz%20%25&c=%C3%A9");
        assert_eq!(encode(&[]), "");
    }
}
