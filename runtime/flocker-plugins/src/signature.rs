//! Detached signatures of plugins, in minisign's format. Verifies only: whoever signs has a secret key, a node never has.

use std::{
    ffi::OsString,
    fmt, fs,
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
};

use ct_codecs::{Base64, Decoder};
use minisign_verify::Signature;

/// Bytes of a signature that are read. Those of minisign have some 300, and a comment may be longer.
pub const SIGNATURE_BYTES_MAX: u64 = 16 << 10;

/// The key of those whose plugins are trusted.
#[derive(Debug, Clone)]
pub struct PublicKey {
    key: minisign_verify::PublicKey,
    id: String,
}

/// A text that is no public key.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is neither a public key nor a file with one\nhint: `minisign -G -p flocker.pub -s flocker.key` makes a pair of keys"
)]
pub struct KeyError(String);

/// Why a plugin is not what somebody signed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Nobody signed it.
    #[error(
        "it is not signed: there is no `{}`\nhint: `flocker plugin sign` makes one; `flocker plugin pull` brings the one that was pushed along", .0.display()
    )]
    Missing(PathBuf),
    /// The signature cannot be read.
    #[error("its signature cannot be read: {0}")]
    Unreadable(String),
    /// The signature is something else.
    #[error("its signature is none of minisign's\nhint: `flocker plugin sign` makes one")]
    Malformed,
    /// Somebody else signed it.
    #[error(
        "it was signed with key {theirs}, not {ours}\nhint: ask whoever made it for the public key, and trust it only if it comes another way than the plugin"
    )]
    OtherKey { theirs: String, ours: String },
    /// Something else was signed.
    #[error(
        "it is not what was signed, or its signature was changed\nhint: do not load it; get it again"
    )]
    Broken,
}

/// What was signed along with a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// The number of the key, as minisign prints it.
    pub key_id: String,
    /// The signer's remark, which is signed too.
    pub comment: String,
}

impl PublicKey {
    /// A public key, from its file or written out.
    ///
    /// # Errors
    /// [`KeyError`] when it is neither.
    pub fn read(key: &str) -> Result<Self, KeyError> {
        let text = fs::read_to_string(key);
        // The first line of a file is a comment.
        let encoded = text.as_deref().map_or(Some(key), |text| text.lines().nth(1));
        let parsed = encoded.and_then(|encoded| {
            let key = minisign_verify::PublicKey::from_base64(encoded.trim()).ok()?;
            Some(Self { key, id: encoded_id(encoded)? })
        });
        parsed.ok_or_else(|| KeyError(key.to_owned()))
    }

    /// Its number, as minisign prints it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether the owner of this key signed exactly these bytes.
    ///
    /// # Errors
    /// [`SignatureError`] says what is wrong with the signature.
    pub fn verify(&self, plugin: &[u8], signature: &str) -> Result<Signed, SignatureError> {
        let decoded = Signature::decode(signature).ok();
        let known = decoded.zip(claimed_key_id(signature));
        let (decoded, theirs) = known.ok_or(SignatureError::Malformed)?;
        // Each says who made it, so that a wrong key is not taken for a changed file.
        if theirs != self.id {
            return Err(SignatureError::OtherKey { theirs, ours: self.id.clone() });
        }
        self.key.verify(plugin, &decoded, false).map_err(|_| SignatureError::Broken)?;
        Ok(Signed { key_id: theirs, comment: decoded.trusted_comment().to_owned() })
    }

    /// The same for a file that was read, whose signature is beside it.
    ///
    /// # Errors
    /// [`SignatureError`]; also when there is no signature.
    pub fn verify_file(&self, path: &Path, plugin: &[u8]) -> Result<Signed, SignatureError> {
        self.verify(plugin, &read_signature(path)?)
    }
}

/// Where minisign puts the signature of a file: beside it.
#[must_use]
pub fn signature_file(plugin: &Path) -> PathBuf {
    let mut name = OsString::from(plugin);
    name.push(".minisig");
    name.into()
}

/// The signature beside a file, as text.
///
/// # Errors
/// [`SignatureError`] when there is none, or none that can be read.
pub fn read_signature(plugin: &Path) -> Result<String, SignatureError> {
    let path = signature_file(plugin);
    let unreadable =
        |e: &dyn fmt::Display| SignatureError::Unreadable(format!("`{}`: {e}", path.display()));
    let file = fs::File::open(&path).map_err(|e| {
        let is_missing = e.kind() == ErrorKind::NotFound;
        if is_missing { SignatureError::Missing(path.clone()) } else { unreadable(&e) }
    })?;
    let mut text = String::new();
    // One byte more than allowed tells a long file from one that fits.
    let read = file.take(SIGNATURE_BYTES_MAX + 1).read_to_string(&mut text);
    if read.map_err(|e| unreadable(&e))? as u64 > SIGNATURE_BYTES_MAX {
        return Err(unreadable(&"it is too long"));
    }
    Ok(text)
}

/// The number of the key that a signature says it was made with; nobody has verified it.
#[must_use]
pub fn claimed_key_id(signature: &str) -> Option<String> {
    encoded_id(signature.lines().nth(1)?)
}

/// The number of a pair of keys, as minisign prints it.
#[must_use]
pub fn key_id(number: &[u8]) -> String {
    number.iter().rev().map(|byte| format!("{byte:02X}")).collect()
}

/// The number in a public key or a signature: after two bytes that name the algorithm.
fn encoded_id(encoded: &str) -> Option<String> {
    let bytes = Base64::decode_to_vec(encoded.trim(), None).ok()?;
    bytes.get(2..10).map(key_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLIC: &str = "RWT8DofTQAnPnAKtx0wNgNXtz3XSLh8SfnNXtLJGvTp0iHOFt7szzGRT";
    /// Of `hello\n`, by minisign 0.11.
    const SIGNATURE: &str = "untrusted comment: signature from minisign secret key
RUT8DofTQAnPnFkTzxZqaqenhaK0jfk6GLRvHXKPWmijxNWHn0OWly2xFmATmZCrL8z5du0Fq0TyOJB4cv9D7xwpReyWR8l8HAg=
trusted comment: a remark
eCCz36cYzqR7UtldfE6M8RC7MTt6YIrnsbjEacnI4QGruFZ+Xght74tqaONEM5K9NvNhvbfY0/HI0BDezfvMCg==
";

    #[test]
    fn what_was_signed_is_told_from_everything_else() {
        let key = PublicKey::read(PUBLIC).unwrap();

        let signed = key.verify(b"hello\n", SIGNATURE).unwrap();

        assert_eq!((signed.key_id.as_str(), signed.comment.as_str()), (key.id(), "a remark"));
        assert_eq!(claimed_key_id(SIGNATURE).as_deref(), Some("9CCF0940D3870EFC"));
        assert_eq!(key.verify(b"hello", SIGNATURE), Err(SignatureError::Broken));
        let remark = SIGNATURE.replace("a remark", "another");
        assert_eq!(key.verify(b"hello\n", &remark), Err(SignatureError::Broken));
        let stranger = "RWR0jYDmuXyzqFqfKRCXhmUsavzl81Twkw7dBuTpIAnyd4tjULt+ugz0";
        let other = PublicKey::read(stranger).unwrap().verify(b"hello\n", SIGNATURE);
        assert!(matches!(other, Err(SignatureError::OtherKey { .. })), "{other:?}");
    }

    /// Whoever can write the signature chooses where it ends.
    #[test]
    fn a_signature_that_is_cut_short_anywhere_is_refused() {
        let key = PublicKey::read(PUBLIC).unwrap();
        for length in 0..SIGNATURE.len() - 1 {
            assert!(key.verify(b"hello\n", &SIGNATURE[..length]).is_err(), "{length} bytes");
        }
        let short = SIGNATURE.replace("eCCz36cYzqR7UtldfE6M8RC7", "");
        assert_eq!(key.verify(b"hello\n", &short), Err(SignatureError::Malformed));
    }

    #[test]
    fn a_key_is_read_from_a_file_or_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pub");
        fs::write(&path, format!("untrusted comment: ours\n{PUBLIC}\n")).unwrap();

        let read = PublicKey::read(path.to_str().unwrap()).unwrap();

        assert_eq!(read.id(), PublicKey::read(PUBLIC).unwrap().id());
        fs::write(&path, "untrusted comment: ours\n").unwrap();
        for none in [path.to_str().unwrap(), "", "RWT8", "/nowhere"] {
            let said = PublicKey::read(none).unwrap_err().to_string();
            assert!(said.contains(none) && said.contains("hint:"), "{said}");
        }
    }

    #[test]
    fn a_signature_is_found_beside_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let plugin = folder.path().join("policy.wasm");
        let missing = read_signature(&plugin).unwrap_err().to_string();
        assert!(missing.contains("policy.wasm.minisig`"), "{missing}");

        fs::write(signature_file(&plugin), "x".repeat(SIGNATURE_BYTES_MAX as usize)).unwrap();
        read_signature(&plugin).unwrap();

        fs::write(signature_file(&plugin), "x".repeat(SIGNATURE_BYTES_MAX as usize + 1)).unwrap();
        let long = read_signature(&plugin).unwrap_err().to_string();
        assert!(long.contains("too long"), "{long}");
    }
}
