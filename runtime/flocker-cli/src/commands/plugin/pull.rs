//! `flocker plugin pull`: a plugin and its signature, from a registry. A file is written only when all that can be
//! verified was, and replaces an older one in one step.

use std::{
    fs,
    io::{ErrorKind, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use flocker_api::{Code, Failure};
use flocker_model::ByteSize;
use flocker_plugins::{
    Inspection, Kind, PublicKey, SignatureError, Signed, claimed_key_id, signature_file,
};
use oci_client::{Reference, RegistryOperation};
use serde_json::json;

use super::{
    cannot, facts,
    registry::{Found, Registry, reference},
    sign,
};
use crate::{args::Pull, terminal::Answer};

pub(super) async fn pull(arguments: &Pull) -> Result<Answer, Failure> {
    let reference = reference::parse(&arguments.reference)?;
    let key = arguments.key.as_deref().map(sign::public_key).transpose()?;
    let file = arguments.output.clone().unwrap_or_else(|| file_name(&reference));
    let registry =
        Registry::connect(&reference, RegistryOperation::Pull, &arguments.registry).await?;
    let found = registry.find(&reference).await?;
    let signatures = registry.signatures(&found.pinned).await?;
    let code = registry.code(&found).await?;
    let as_announced = honest(&found, &code)?;
    let (signature, signed) = match &key {
        Some(key) => {
            let (text, signed) = verified(key, &code, &signatures)
                .map_err(|error| unsigned(&found.pinned, &error))?;
            (Some(text), Some(signed))
        }
        None => (signatures.first().map(String::as_str), None),
    };
    keep(&file, &code, signature)?;
    Ok(answer(&file, &found, &as_announced, signature, signed))
}

fn answer(
    file: &Path,
    found: &Found,
    plugin: &Inspection,
    signature: Option<&str>,
    signed: Option<Signed>,
) -> Answer {
    let claimed = signature.and_then(claimed_key_id);
    let words = match (&signed, &claimed) {
        (Some(Signed { key_id, comment }), _) => {
            format!("with key {key_id}, verified, {}", comment.replace('\t', ", "))
        }
        (None, Some(claimed)) => {
            format!("with key {claimed}, not verified: give the public key with `--key`")
        }
        (None, None) => "no".to_owned(),
    };
    let text = facts(&[
        ("pulled", format!("{}, {}", file.display(), ByteSize(plugin.bytes))),
        ("from", found.pinned.whole()),
        ("digest", plugin.digest.clone()),
        ("signed", words),
    ]);
    let json = json!({
        "file": file.display().to_string(),
        "pinned": found.pinned.whole(),
        "plugin_digest": plugin.digest,
        "bytes": plugin.bytes,
        "key_id": claimed,
        "verified": signed.is_some(),
        "comment": signed.map(|s| s.comment),
    });
    Answer::new(json, text)
}

/// In this folder, under the last part of its name.
fn file_name(reference: &Reference) -> PathBuf {
    let name = reference.repository().rsplit('/').next().unwrap_or_default();
    format!("{name}.wasm").into()
}

/// Whether the code is what the registry said that it is: somebody may have decided by that to fetch it.
fn honest(found: &Found, code: &[u8]) -> Result<Inspection, Failure> {
    let inside = Inspection::of_bytes(code);
    if inside.kind == Kind::Component && found.description.is_of(&inside) {
        return Ok(inside);
    }
    let message = format!(
        "`{}` is not what it says: its code is a {} with other imports or exports than it announces",
        found.pinned.whole(),
        inside.kind.as_str()
    );
    Err(Failure::new(Code::INVALID_ARGUMENT, message).hint("do not load it; ask whoever pushed it"))
}

/// The first signature that is of this code and by the owner of this key.
fn verified<'a>(
    key: &PublicKey,
    code: &[u8],
    signatures: &'a [String],
) -> Result<(&'a str, Signed), Option<SignatureError>> {
    let mut refused = None;
    for text in signatures {
        match key.verify(code, text) {
            Ok(signed) => return Ok((text, signed)),
            // That the key's owner signed something else says more than that somebody else signed it too.
            Err(broken @ SignatureError::Broken) => refused = Some(broken),
            Err(
                other @ (SignatureError::Missing(_)
                | SignatureError::Unreadable(_)
                | SignatureError::Malformed
                | SignatureError::OtherKey { .. }),
            ) => refused = refused.or(Some(other)),
        }
    }
    Err(refused)
}

fn unsigned(pinned: &Reference, error: &Option<SignatureError>) -> Failure {
    let name = pinned.whole();
    match error {
        None => Failure::new(Code::INVALID_ARGUMENT, format!("`{name}` is not signed"))
            .hint("`flocker plugin sign`, then push it again; or pull it without `--key`"),
        Some(error) => {
            let refused = Failure::from_error(Code::INVALID_ARGUMENT, error);
            Failure { message: format!("`{name}`: {}", refused.message), ..refused }
        }
    }
}

/// Writes both files, or removes the signature of what was there before.
fn keep(file: &Path, code: &[u8], signature: Option<&str>) -> Result<(), Failure> {
    let beside = signature_file(file);
    match signature {
        Some(text) => replace(&beside, text.as_bytes())?,
        None => match fs::remove_file(&beside) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(cannot("remove", &beside, &error));
            }
            Ok(()) | Err(_) => {}
        },
    }
    replace(file, code)
}

fn replace(file: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let failed = |e| cannot("write", file, &e);
    let folder = file.parent().filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    // The daemon may be somebody else.
    builder.permissions(fs::Permissions::from_mode(0o644));
    let mut written = builder.tempfile_in(folder).map_err(failed)?;
    written.write_all(bytes).and_then(|()| written.as_file().sync_all()).map_err(failed)?;
    written.persist(file).map(drop).map_err(|e| failed(e.error))
}
