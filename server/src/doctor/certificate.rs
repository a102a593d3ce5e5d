//! TLS as a client sees it: whom to trust, when a certificate ends, and what a failed handshake means.

use std::io;
use std::sync::{Arc, OnceLock};

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::UnixTime;
use tokio_rustls::rustls::{CertificateError, ClientConfig, Error, InvalidMessage, RootCertStore};

use super::fixes;

/// The system's certificates (or those of SSL_CERT_FILE), so that an operator's own authority is known; where there are none,
/// Mozilla's. HTTP/1.1 only: it is what upgrades to a WebSocket.
pub(super) fn client() -> &'static Arc<ClientConfig> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    CONFIG.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        let (added, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if added == 0 {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap_or_else(|_| unreachable!("the provider knows TLS 1.2 and 1.3"))
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Arc::new(config)
    })
}

/// What a failed handshake means, and what to change.
pub(super) fn explain(error: &io::Error, host: &str) -> (String, Vec<String>) {
    let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        return (format!("the TLS handshake failed: {error}"), fixes::tls_port());
    };
    match tls {
        Error::InvalidCertificate(wrong) => certificate(wrong, host),
        // The bytes of an HTTP answer, read as a TLS record.
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            ("the port doesn't speak TLS".to_owned(), fixes::tls_port())
        }
        other => (format!("the TLS handshake failed: {other}"), fixes::tls_port()),
    }
}

fn certificate(wrong: &CertificateError, host: &str) -> (String, Vec<String>) {
    let day = |time: &UnixTime| {
        let at = i64::try_from(time.as_secs()).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
        at.map(|at| at.strftime("%Y-%m-%d").to_string()).unwrap_or_default()
    };
    match wrong {
        CertificateError::ExpiredContext { not_after, .. } => {
            (format!("the certificate ended on {}", day(not_after)), fixes::renew())
        }
        CertificateError::Expired => ("the certificate has ended".to_owned(), fixes::renew()),
        CertificateError::NotValidYetContext { not_before, .. } => {
            (format!("the certificate begins on {}", day(not_before)), fixes::clock())
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            (format!("the certificate is not for {host}"), fixes::name(host))
        }
        CertificateError::UnknownIssuer => {
            ("the certificate is of an authority that is not known here".to_owned(), fixes::chain())
        }
        other => (format!("the certificate is refused: {other:?}"), fixes::chain()),
    }
}

/// When a certificate ends. `None` if it can't be read, which a client that accepted it may leave at that.
pub(super) fn ends(der: &[u8]) -> Option<Timestamp> {
    // Certificate → TBSCertificate → [version] → serial → signature → issuer → validity { not before, not after }; RFC 5280.
    let (_, certificate, _) = element(der)?;
    let (_, mut rest, _) = element(certificate)?;
    if rest.first() == Some(&0xa0) {
        rest = element(rest)?.2;
    }
    for _ in ["serial number", "signature", "issuer"] {
        rest = element(rest)?.2;
    }
    let (_, validity, _) = element(rest)?;
    let (tag, end, _) = element(element(validity)?.2)?;
    time(tag, std::str::from_utf8(end).ok()?)
}

/// Tag, content and what follows of the first element of a DER text.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        short @ 0..=0x7f => (usize::from(short), rest),
        // The next bytes hold the length; a certificate's needs no more than three.
        0x81..=0x83 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (content, after) = rest.split_at_checked(length)?;
    Some((tag, content, after))
}

/// UTCTime has two digits of the year, of 1950 to 2049; GeneralizedTime has four.
fn time(tag: u8, text: &str) -> Option<Timestamp> {
    let text = match tag {
        0x17 if text.get(..2)? < "50" => format!("20{text}"),
        0x17 => format!("19{text}"),
        0x18 => text.to_owned(),
        _ => return None,
    };
    let at = DateTime::strptime("%Y%m%d%H%M%SZ", text).ok()?;
    TimeZone::UTC.to_timestamp(at).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Beginning of a certificate that `openssl req -x509` made: up to and with its validity.
    const UP_TO_VALIDITY: &str = "\
        a003020102021441c40f9ee3352e5a7350ee42a9a54c30d7efd57b300a06082a8648ce3d0403023010310e300c0603550403\
        0c05686f6f6b73301e170d3236313132343132333030355a170d3236313132363132333030355a";

    fn wrapped(content: &[u8]) -> Vec<u8> {
        let mut der = vec![0x30, 0x82, (content.len() >> 8) as u8, content.len() as u8];
        der.extend_from_slice(content);
        der
    }

    #[test]
    fn the_end_of_a_certificate_is_read_and_nonsense_is_not() {
        let fields = hex::decode(UP_TO_VALIDITY).unwrap();
        let der = wrapped(&wrapped(&fields));
        assert_eq!(ends(&der).unwrap().to_string(), "2026-11-26T12:30:05Z");
        for cut in 0..der.len() {
            assert_eq!(ends(&der[..cut]), None, "{cut}");
        }
        assert_eq!(ends(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
    }

    #[test]
    fn both_forms_of_a_time_are_known() {
        for (tag, text, expected) in [
            (0x17, "491231235959Z", Some("2049-12-31T23:59:59Z")),
            (0x17, "500101000000Z", Some("1950-01-01T00:00:00Z")),
            (0x18, "20500101000000Z", Some("2050-01-01T00:00:00Z")),
            (0x18, "20501301000000Z", None),
            (0x17, "", None),
        ] {
            assert_eq!(time(tag, text).map(|at| at.to_string()).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_refused_certificate_is_explained() {
        let explained =
            |wrong| explain(&io::Error::other(Error::InvalidCertificate(wrong)), "ws.example.com");
        let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(1_795_694_400));
        let (text, fix) = explained(CertificateError::ExpiredContext { time, not_after: time });
        assert!(text.contains("ended on 2026-11-26") && !fix.is_empty(), "{text}");
        let (text, fix) = explained(CertificateError::UnknownIssuer);
        assert!(
            text.contains("authority") && fix.iter().any(|line| line.contains("SSL_CERT_FILE")),
            "{text}"
        );
        let (text, _) = explained(CertificateError::NotValidForName);
        assert!(text.contains("not for ws.example.com"));
        let plain = Error::InvalidMessage(InvalidMessage::InvalidContentType);
        assert!(explain(&io::Error::other(plain), "x").0.contains("doesn't speak TLS"));
    }
}
