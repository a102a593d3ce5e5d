//! The public port's certificate: read at the start, and again when its files change or at SIGHUP. Open connections keep theirs.
//!
//! TLS 1.2 and 1.3, HTTP/1.1 only. Clients that come back resume by a ticket, whose keys live and change in memory.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use arc_swap::ArcSwap;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;

/// Between looks at the files.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Where the certificate is.
#[derive(Clone, Debug)]
pub struct CertificateFiles {
    /// PEM of the certificate, then of those that signed it.
    pub certificate: PathBuf,
    /// PEM of its private key.
    pub key: PathBuf,
}

/// TLS of the public port.
#[derive(Clone, Debug)]
pub struct Tls {
    /// What a handshake needs.
    pub config: Arc<ServerConfig>,
    shown: Arc<Shown>,
}

/// The certificate that newcomers are shown.
#[derive(Debug)]
struct Shown {
    files: CertificateFiles,
    /// Of the files as they were first read.
    first: Stamp,
    current: ArcSwap<CertifiedKey>,
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

/// What tells a changed file from the one before.
type Stamp = [Option<(i64, i64, u64, u64)>; 2];

impl CertificateFiles {
    fn read(&self) -> anyhow::Result<CertifiedKey> {
        let named = |setting: &'static str, path: &Path| format!("{setting} {}", path.display());
        let certificate = || named("tls_cert", &self.certificate);
        let key = || named("tls_key", &self.key);
        let chain = CertificateDer::pem_slice_iter(&fs::read(&self.certificate).with_context(certificate)?)
            .collect::<Result<Vec<_>, _>>()
            .with_context(certificate)?;
        if chain.is_empty() {
            bail!("{}: there is no certificate in it; it must be a PEM file", certificate());
        }
        let private = PrivateKeyDer::from_pem_slice(&fs::read(&self.key).with_context(key)?)
            .with_context(|| format!("{}: there is no private key in it that can be read", key()))?;
        CertifiedKey::from_der(chain, private, &aws_lc_rs::default_provider())
            .with_context(|| format!("{} and {} don't go together", certificate(), key()))
    }

    fn stamp(&self) -> Stamp {
        [&self.certificate, &self.key].map(|path| {
            let file = fs::metadata(path).ok()?;
            Some((file.mtime(), file.mtime_nsec(), file.ino(), file.len()))
        })
    }
}

impl Tls {
    /// Reads the certificate. *Errors* name the file.
    pub fn load(files: CertificateFiles) -> anyhow::Result<Tls> {
        let first = files.stamp();
        let current = ArcSwap::from_pointee(files.read()?);
        let shown = Arc::new(Shown { files, first, current });
        let mut config = ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(shown.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.ticketer = aws_lc_rs::Ticketer::new()?;
        Ok(Tls { config: Arc::new(config), shown })
    }

    /// Reads the files anew. *Errors*: the certificate from before stays.
    fn renew(&self) -> anyhow::Result<()> {
        self.shown.current.store(Arc::new(self.shown.files.read()?));
        Ok(())
    }

    /// Follows the files for as long as the server runs; with `hangups`, SIGHUP too.
    pub async fn follow(self, hangups: bool) {
        use tokio::signal::unix::{SignalKind, signal};
        let mut hangup = match hangups.then(|| signal(SignalKind::hangup())).transpose() {
            Ok(hangup) => hangup,
            Err(error) => {
                tracing::warn!(%error, "SIGHUP can't be received; the certificate's files are followed all the same");
                None
            }
        };
        let mut look = tokio::time::interval(LOOK_EVERY);
        let mut seen = self.shown.first;
        loop {
            let asked = tokio::select! {
                _ = look.tick() => false,
                _ = async { match &mut hangup { Some(hangup) => hangup.recv().await, None => std::future::pending().await } } => true,
            };
            let stamp = self.shown.files.stamp();
            if std::mem::replace(&mut seen, stamp) == stamp && !asked {
                continue;
            }
            match self.renew() {
                Ok(()) => tracing::info!(
                    "newcomers are shown the certificate of {}",
                    self.shown.files.certificate.display()
                ),
                Err(error) => tracing::warn!("the certificate from before stays in use: {error:#}"),
            }
        }
    }
}
