//! Wires with a peer at their other end, for this crate's own tests. The certificate's key is no secret.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned, SupportedProtocolVersion,
    version,
};

use super::session::Session;
use crate::shard::wire::Wire;

/// What a wire speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    Plain,
    Tls12,
    Tls13,
}

pub(crate) const WAYS: [Way; 3] = [Way::Plain, Way::Tls12, Way::Tls13];

pub(crate) type TlsPeer = StreamOwned<ClientConnection, TcpStream>;

/// The other end of a wire.
pub(crate) enum Peer {
    Plain(TcpStream),
    Tls(Box<TlsPeer>),
}

impl Peer {
    pub(crate) fn tls(self) -> TlsPeer {
        let Peer::Tls(peer) = self else { panic!("a plain peer") };
        *peer
    }
}

impl Read for Peer {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Peer::Plain(stream) => stream.read(into),
            Peer::Tls(stream) => stream.read(into),
        }
    }
}

impl Write for Peer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Peer::Plain(stream) => stream.write(bytes),
            Peer::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Peer::Plain(stream) => stream.flush(),
            Peer::Tls(stream) => stream.flush(),
        }
    }
}

fn certificate() -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(include_bytes!("testing-cert.pem")).unwrap()
}

pub(crate) fn server_config() -> Arc<ServerConfig> {
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("testing-key.pem")).unwrap();
    let config = ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate()], key)
        .unwrap();
    Arc::new(config)
}

pub(crate) fn client(version: &'static SupportedProtocolVersion) -> ClientConnection {
    let mut roots = RootCertStore::empty();
    roots.add(certificate()).unwrap();
    let config = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap()
}

/// A wire whose handshake is done, and its peer.
pub(crate) fn pair(way: Way) -> (Wire, Peer) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    let (session, peer) = match way {
        Way::Plain => (None, Peer::Plain(peer)),
        Way::Tls12 => shake_hands(&mut stream, peer, &version::TLS12),
        Way::Tls13 => shake_hands(&mut stream, peer, &version::TLS13),
    };
    stream.set_nonblocking(true).unwrap();
    (Wire::new(mio::net::TcpStream::from_std(stream), session), peer)
}

fn shake_hands(
    stream: &mut TcpStream,
    mut peer: TcpStream,
    version: &'static SupportedProtocolVersion,
) -> (Option<Box<Session>>, Peer) {
    let theirs = std::thread::spawn(move || {
        let mut client = client(version);
        while client.is_handshaking() {
            client.complete_io(&mut peer).unwrap();
        }
        Peer::Tls(Box::new(StreamOwned::new(client, peer)))
    });
    let mut session = Box::new(Session::new(server_config()).unwrap());
    let (mut bytes, mut plain) = (vec![0; 4_096], Vec::new());
    while session.is_handshaking() {
        let n = stream.read(&mut bytes).unwrap();
        session.open(&mut bytes[..n], &mut plain).unwrap();
        stream.write_all(session.unsent()).unwrap();
        session.sent(session.unsent().len());
    }
    assert!(plain.is_empty());
    (Some(session), theirs.join().unwrap())
}
