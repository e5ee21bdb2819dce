//! `flocker plugin sign` and `verify`: detached signatures in minisign's format, which minisign itself reads and writes.

use std::{
    fmt, fs,
    io::{self, Cursor, IsTerminal},
    path::Path,
    time::SystemTime,
};

use ct_codecs::{Base64, Decoder};
use flocker_api::{Code, Failure};
use flocker_plugins::{PublicKey, SignatureError, Signed, key_id, signature_file};
use minisign::{SecretKey, SecretKeyBox};
use serde_json::json;

use super::{cannot, read};
use crate::terminal::Answer;

pub(super) fn sign(file: &Path, key: &Path, comment: Option<String>) -> Result<Answer, Failure> {
    let plugin = fs::read(file).map_err(|e| cannot("read", file, &e))?;
    let secret = secret_key(key)?;
    let failed = |e| Failure::new(Code::INVALID_ARGUMENT, format!("could not sign: {e}"));
    let public = minisign::PublicKey::from_secret_key(&secret).map_err(failed)?;
    let comment = comment.unwrap_or_else(|| {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        // As minisign writes it.
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        format!("timestamp:{}\tfile:{name}\thashed", since.as_secs())
    });
    let untrusted = "signature from flocker plugin sign";
    let signed = minisign::sign(
        Some(&public),
        &secret,
        Cursor::new(plugin),
        Some(&comment),
        Some(untrusted),
    )
    .map_err(failed)?;
    let signature = signature_file(file);
    fs::write(&signature, signed.to_bytes()).map_err(|e| cannot("write", &signature, &e))?;
    let shown = signature.display().to_string();
    let json = json!({"signature": shown, "key_id": key_id(secret.keynum()), "comment": comment});
    Ok(Answer::new(json, format!("signed: `{shown}`, key {}\n", key_id(secret.keynum()))))
}

pub(super) fn verify(file: &Path, key: &str) -> Result<Answer, Failure> {
    let plugin = fs::read(file).map_err(|e| cannot("read", file, &e))?;
    let signed = public_key(key)?.verify_file(file, &plugin).map_err(|e| refused(file, &e))?;
    let Signed { key_id, comment } = signed;
    let json = json!({"verified": true, "key_id": key_id, "comment": comment});
    Ok(Answer::new(json, format!("verified: key {key_id}, {}\n", comment.replace('\t', ", "))))
}

/// A public key, from its file or written out.
pub(super) fn public_key(key: &str) -> Result<PublicKey, Failure> {
    PublicKey::read(key).map_err(|e| Failure::from_error(Code::INVALID_ARGUMENT, &e))
}

fn refused(file: &Path, error: &SignatureError) -> Failure {
    let refused = Failure::from_error(Code::INVALID_ARGUMENT, error);
    Failure { message: format!("`{}`: {}", file.display(), refused.message), ..refused }
}

fn secret_key(path: &Path) -> Result<SecretKey, Failure> {
    let refuse = |e: &dyn fmt::Display| {
        let message = format!("secret key `{}`: {e}", path.display());
        Failure::new(Code::INVALID_ARGUMENT, message)
    };
    let text = read(path)?;
    // The library wants a checksum in keys without a password (`minisign -G -W`), where minisign itself writes none; what
    // it signs is verified instead.
    let encoded = text.lines().nth(1).unwrap_or_default();
    let key =
        Base64::decode_to_vec(encoded, None).ok().and_then(|b| SecretKey::from_bytes(&b).ok());
    let key = key.ok_or_else(|| refuse(&"it is none of minisign's"))?;
    if !key.is_encrypted() {
        return Ok(key);
    }
    let key = SecretKeyBox::from_string(&text).map_err(|e| refuse(&e))?;
    key.into_secret_key(Some(password(path)?)).map_err(|e| refuse(&e))
}

fn password(key: &Path) -> Result<String, Failure> {
    let failed = |e: io::Error| Failure::new(Code::INVALID_ARGUMENT, format!("no password: {e}"));
    if io::stdin().is_terminal() {
        let prompt = format!("password of `{}`: ", key.display());
        return rpassword::prompt_password(prompt).map_err(failed);
    }
    let mut line = String::new();
    io::stdin().read_line(&mut line).map_err(failed)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}
