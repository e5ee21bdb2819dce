//! TLS 1.3 under streams. Both sides prove that they hold the key that their node announced, and show it as it is
//! (RFC 7250): without certificates there are no names, dates and authorities to be wrong about.
//!
//! Nothing else is spoken: no older version, no anonymous side, no session that is resumed.

use std::{io, sync::Arc};

use flocker_model::{NodeName, StreamKey};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName,
    Error as TlsError, InvalidMessage, PeerIncompatible, ServerConfig, SignatureScheme,
    client::{
        AlwaysResolvesClientRawPublicKeys, Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{
        CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls13_signature_with_raw_key,
    },
    pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime},
    server::{
        AlwaysResolvesServerRawPublicKeys,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    version::TLS13,
};
use tokio::{
    io::{AsyncWriteExt as _, BufReader},
    net::TcpStream,
};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use crate::{
    keys::{Announced, KeyPair, StreamKeys, digest_of},
    wire::CHUNK_MAX,
};

/// What a connection may hold that was encrypted and not yet taken by the kernel: a chunk with its framing, so that a frame
/// becomes one call and not four.
const UNSENT_MAX: usize = CHUNK_MAX + 64 * 1024;

/// What a receiver reads at once: rustls asks for 4 KiB, which would be a call to the kernel for each quarter of a record.
const READ_AHEAD: usize = CHUNK_MAX;

/// A connection that is read in large parts.
pub(crate) type Buffered = BufReader<TcpStream>;

/// Why the other side of a connection is not trusted, or does not trust us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Distrust {
    #[error("it does not belong to the cluster")]
    NoNode,
    #[error(
        "it announced no key\nhint: all nodes need the same `--streams`; one that is older than that announces a key once \
         it runs this version"
    )]
    NoKey,
    #[error(
        "it showed another key than it announced\nhint: another machine may have its address; a node announces its key \
         whenever its daemon starts"
    )]
    OtherKey,
    #[error(
        "it does not know the key of this node\nhint: `flocker node ls` shows which nodes belong to the cluster; a node \
         announces its key whenever its daemon starts"
    )]
    NotKnown,
    #[error("it does not speak TLS\nhint: all nodes need the same `--streams`")]
    Clear,
    #[error("it does not speak TLS 1.3 by keys alone\nhint: something else may have its address")]
    Other,
}

impl Distrust {
    /// What an error of TLS means where it is one of trust. Others are damage on the way.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "whatever else may be wrong is said in the words of the library"
    )]
    pub(crate) fn of(error: &io::Error) -> Option<Self> {
        match error.get_ref()?.downcast_ref()? {
            TlsError::InvalidCertificate(CertificateError::ApplicationVerificationFailure) => {
                Some(Self::OtherKey)
            }
            TlsError::AlertReceived(AlertDescription::AccessDenied) => Some(Self::NotKnown),
            TlsError::InvalidMessage(InvalidMessage::InvalidContentType) => Some(Self::Clear),
            TlsError::PeerIncompatible(_)
            | TlsError::AlertReceived(
                AlertDescription::ProtocolVersion | AlertDescription::HandshakeFailure,
            ) => Some(Self::Other),
            _ => None,
        }
    }
}

/// What is needed for TLS on both sides.
#[derive(Debug, Clone)]
pub(crate) struct Tls {
    keys: Arc<dyn StreamKeys>,
    algorithms: WebPkiSupportedAlgorithms,
    /// Its verifier knows no key yet, and trusts nobody.
    connecting: ClientConfig,
    accepting: Arc<ServerConfig>,
}

impl Tls {
    pub(crate) fn new(own: &KeyPair, keys: Arc<dyn StreamKeys>) -> Result<Self, TlsError> {
        let provider = Arc::new(provider());
        let algorithms = provider.signature_verification_algorithms;
        let shown = own.certified.clone();
        let nobody = Arc::new(Target { key: None, algorithms });
        let mut connecting = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(nobody)
            .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(
                shown.clone(),
            )));
        connecting.resumption = Resumption::disabled();
        connecting.enable_sni = false;
        let nodes = Arc::new(Nodes { keys: keys.clone(), algorithms });
        let mut accepting = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(nodes)
            .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(shown)));
        accepting.send_tls13_tickets = 0;
        Ok(Self { keys, algorithms, connecting, accepting: Arc::new(accepting) })
    }

    /// How to connect to this node, and to no other.
    pub(crate) fn towards(&self, target: &NodeName) -> Result<TlsConnector, Distrust> {
        let key = match self.keys.announced(target) {
            Announced::Key(key) => key,
            Announced::NoKey => return Err(Distrust::NoKey),
            Announced::NoNode => return Err(Distrust::NoNode),
        };
        let mut config = self.connecting.clone();
        let target = Target { key: Some(key), algorithms: self.algorithms };
        config.dangerous().set_certificate_verifier(Arc::new(target));
        Ok(Arc::new(config).into())
    }

    /// Waits until the other side proved whose key it has. Where it did not, it was told so, and is left its connection to
    /// read that.
    pub(crate) async fn accept(
        &self,
        connection: TcpStream,
    ) -> Result<(TlsStream<Buffered>, Trust), (io::Error, Buffered)> {
        let connection = BufReader::with_capacity(READ_AHEAD, connection);
        let accepting = TlsAcceptor::from(self.accepting.clone()).accept(connection);
        let mut stream = match accepting.into_fallible().await {
            Ok(stream) => stream,
            Err((error, mut connection)) => {
                let _ = connection.shutdown().await;
                return Err((error, connection));
            }
        };
        let (_, session) = stream.get_mut();
        session.set_buffer_limit(Some(UNSENT_MAX));
        let shown = session.peer_certificates().and_then(<[_]>::first).map(|key| digest_of(key));
        let trust = Trust { keys: self.keys.clone(), shown };
        Ok((stream.into(), trust))
    }
}

/// Connects, and returns when the other side proved that it is the target.
pub(crate) async fn connect(
    connector: TlsConnector,
    connection: TcpStream,
) -> io::Result<TlsStream<Buffered>> {
    let at = ServerName::from(connection.peer_addr()?.ip());
    let mut stream = connector.connect(at, BufReader::new(connection)).await?;
    let (_, session) = stream.get_mut();
    session.set_buffer_limit(Some(UNSENT_MAX));
    Ok(stream.into())
}

/// What the other side of an accepted connection proved.
#[derive(Debug)]
pub(crate) struct Trust {
    keys: Arc<dyn StreamKeys>,
    shown: Option<StreamKey>,
}

impl Trust {
    /// Whether it is this node, which still belongs to the cluster.
    pub(crate) fn is(&self, node: &NodeName) -> bool {
        match self.keys.announced(node) {
            Announced::Key(key) => self.shown == Some(key),
            Announced::NoKey | Announced::NoNode => false,
        }
    }
}

/// What rustls computes with: ring, and of its ciphers the one first that processors are fastest with.
fn provider() -> CryptoProvider {
    let mut provider = ring::default_provider();
    let first = ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
    provider.cipher_suites.sort_by_key(|suite| *suite != first);
    provider
}

/// No key of ours is used with it, so that whoever asks is refused.
fn refuse_older() -> TlsError {
    TlsError::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13)
}

fn verify(
    algorithms: &WebPkiSupportedAlgorithms,
    message: &[u8],
    key: &CertificateDer<'_>,
    signature: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, TlsError> {
    let key = SubjectPublicKeyInfoDer::from(key.as_ref());
    verify_tls13_signature_with_raw_key(message, &key, signature, algorithms)
}

/// Trusts the node that has this key.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) key: Option<StreamKey>,
    pub(crate) algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Target {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        if self.key != Some(digest_of(shown)) {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        Err(refuse_older())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify(&self.algorithms, message, key, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// Trusts the nodes of the cluster. Which of them it is, the stream says, and is compared then.
#[derive(Debug)]
struct Nodes {
    keys: Arc<dyn StreamKeys>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for Nodes {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, TlsError> {
        if !self.keys.is_known(&digest_of(shown)) {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        Err(refuse_older())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify(&self.algorithms, message, key, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
