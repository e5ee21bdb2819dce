//! `flocker plugin sign` and `verify`: detached signatures in minisign's format, which minisign itself reads and writes.

use std::{
    ffi::OsString,
    fmt, fs,
    io::{self, Cursor, IsTerminal},
    path::{Path, PathBuf},
    time::SystemTime,
};

use ct_codecs::{Base64, Decoder};
use flocker_api::{Code, Failure};
use minisign::{PublicKey, PublicKeyBox, SecretKey, SecretKeyBox, SignatureBox};
use serde_json::json;

use super::{cannot, read};
use crate::terminal::Answer;

pub(super) fn sign(file: &Path, key: &Path, comment: Option<String>) -> Result<Answer, Failure> {
    let plugin = fs::read(file).map_err(|e| cannot("read", file, &e))?;
    let secret = secret_key(key)?;
    let failed = |e| Failure::new(Code::INVALID_ARGUMENT, format!("could not sign: {e}"));
    let public = PublicKey::from_secret_key(&secret).map_err(failed)?;
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
    let public = public_key(key)?;
    let path = signature_file(file);
    let damaged = |e| Failure::new(Code::INVALID_ARGUMENT, format!("`{}`: {e}", path.display()));
    let signature = SignatureBox::from_string(&read(&path)?).map_err(damaged)?;
    // Each says who made it, so that a wrong key is not taken for a changed file.
    if signature.keynum() != public.keynum() {
        let (theirs, ours) = (key_id(signature.keynum()), key_id(public.keynum()));
        let message = format!("`{}` was signed with key {theirs}, not {ours}", file.display());
        return Err(Failure::new(Code::INVALID_ARGUMENT, message));
    }
    minisign::verify(&public, &signature, Cursor::new(plugin), true, false, false).map_err(
        |_| {
            let message = format!(
                "`{}` is not what was signed, or its signature was changed",
                file.display()
            );
            Failure::new(Code::INVALID_ARGUMENT, message).hint("do not load it; get it again")
        },
    )?;
    let comment = signature.trusted_comment().unwrap_or_default();
    let key = key_id(public.keynum());
    let json = json!({"verified": true, "key_id": key, "comment": comment});
    Ok(Answer::new(json, format!("verified: key {key}, {}\n", comment.replace('\t', ", "))))
}

/// Where minisign puts it.
fn signature_file(file: &Path) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(".minisig");
    name.into()
}

/// The number of a pair of keys, as minisign prints it.
fn key_id(number: &[u8]) -> String {
    number.iter().rev().map(|byte| format!("{byte:02X}")).collect()
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

/// A public key, from its file or written out.
fn public_key(key: &str) -> Result<PublicKey, Failure> {
    let parsed = match fs::read_to_string(key) {
        Ok(text) => PublicKeyBox::from_string(&text).and_then(PublicKeyBox::into_public_key),
        Err(_) => PublicKey::from_base64(key),
    };
    parsed.map_err(|_| {
        let message = format!("`{key}` is neither a public key nor a file with one");
        Failure::new(Code::INVALID_ARGUMENT, message)
            .hint("`minisign -G -p flocker.pub -s flocker.key` makes a pair of keys")
    })
}
