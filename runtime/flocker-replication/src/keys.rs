//! The key of a node for its streams, and what is known of the others' keys. Where keys are kept, and how they become
//! known, is somebody else's business.

use std::{fmt, sync::Arc};

use flocker_model::{NodeName, StreamKey};
use ring::{digest, rand::SystemRandom, signature::Ed25519KeyPair};
use rustls::{
    crypto::ring::sign::any_eddsa_type,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer},
    sign::CertifiedKey,
};

/// Bytes that are not the key of a node, or no key could be drawn.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The machine has no randomness to give.
    #[error("no key could be drawn: the system gives no random bytes")]
    NoRandomness,
    /// What was kept is damaged, or something else.
    #[error("it is not a private key for Ed25519 in PKCS #8")]
    NotAKey,
}

/// What a node proves itself by at the ends of its streams. Its private half shows nowhere.
#[derive(Debug, Clone)]
pub struct KeyPair {
    /// Without a certificate, the public key is shown as it is.
    pub(crate) certified: Arc<CertifiedKey>,
    pub(crate) public: StreamKey,
}

impl KeyPair {
    /// A new key, as it is to be kept: the private half too.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn draw() -> Result<Vec<u8>, KeyError> {
        let drawn = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new());
        Ok(drawn.map_err(|_| KeyError::NoRandomness)?.as_ref().to_vec())
    }

    /// The key that was kept.
    ///
    /// # Errors
    /// When it is none.
    pub fn read(kept: &[u8]) -> Result<Self, KeyError> {
        let private = PrivatePkcs8KeyDer::from(kept);
        let private = any_eddsa_type(&private).map_err(|_| KeyError::NotAKey)?;
        let public = private.public_key().ok_or(KeyError::NotAKey)?.to_vec();
        let digest = digest_of(&public);
        let shown = vec![CertificateDer::from(public)];
        Ok(Self { certified: Arc::new(CertifiedKey::new(shown, private)), public: digest })
    }

    /// What the others are to be told.
    #[must_use]
    pub fn public(&self) -> StreamKey {
        self.public
    }
}

/// Of a public key as it is shown in the handshake: SubjectPublicKeyInfo, which is in certificates too.
pub(crate) fn digest_of(public: &[u8]) -> StreamKey {
    let mut key = [0; 32];
    key.copy_from_slice(digest::digest(&digest::SHA256, public).as_ref());
    StreamKey(key)
}

/// What the cluster knows of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Announced {
    /// It announced this key.
    Key(StreamKey),
    /// It announced none: it takes streams in the clear, or is older than keys.
    NoKey,
    /// There is no such node, or there is none any more.
    NoNode,
}

/// The keys of the cluster's nodes, as they are at this moment. Asked often, and answers at once.
pub trait StreamKeys: Send + Sync + fmt::Debug {
    /// What this node announced.
    fn announced(&self, node: &NodeName) -> Announced;

    /// Whether some node announced this key.
    fn is_known(&self, key: &StreamKey) -> bool;
}
