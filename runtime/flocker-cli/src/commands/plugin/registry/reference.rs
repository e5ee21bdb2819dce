//! Names of artifacts, `REGISTRY/NAME:TAG` or `REGISTRY/NAME@sha256:…`. Nothing is left to defaults: other tools take
//! Docker's registry and the tag `latest`, which for code that runs on every node are too easily not what was meant.

use std::path::Path;

use flocker_api::{Code, Failure};
use oci_client::Reference;

/// Whether this names an artifact rather than a file. A file that exists is one.
pub(in super::super) fn is_reference(text: &str) -> bool {
    !Path::new(text).exists() && parts(text).is_some()
}

/// Reads a name.
pub(in super::super) fn parse(text: &str) -> Result<Reference, Failure> {
    let refuse = |why: &str| {
        Failure::new(Code::INVALID_ARGUMENT, format!("`{text}` {why}"))
            .hint("write REGISTRY/NAME:TAG or REGISTRY/NAME@sha256:DIGEST")
    };
    if text.contains("://") {
        return Err(refuse("is an address, not a reference"));
    }
    let Some((_, name)) = parts(text) else {
        return Err(refuse("names no registry, or neither a tag nor a digest"));
    };
    let reference: Reference =
        text.parse().map_err(|e| refuse(&format!("is no reference: {e}")))?;
    let is_sha256 = |digest: &str| digest.starts_with("sha256:");
    if name.contains('@') && !reference.digest().is_some_and(is_sha256) {
        return Err(refuse("has a digest that is not sha256"));
    }
    Ok(reference)
}

/// A name that something can be pushed to.
pub(in super::super) fn parse_tag(text: &str) -> Result<Reference, Failure> {
    let reference = parse(text)?;
    if reference.digest().is_some() {
        let message = format!("`{text}` has a digest, which follows from what is pushed");
        return Err(Failure::new(Code::INVALID_ARGUMENT, message).hint("write REGISTRY/NAME:TAG"));
    }
    Ok(reference)
}

/// The registry, and the rest with its tag or digest. What is before the first `/` is a registry if it can be no folder
/// of Docker's, as everywhere.
fn parts(text: &str) -> Option<(&str, &str)> {
    let (registry, name) = text.split_once('/')?;
    let is_registry = registry == "localhost" || registry.contains(['.', ':']);
    let is_path = registry.trim_matches('.').is_empty();
    let is_whole = name.contains([':', '@']);
    (is_registry && !is_path && is_whole).then_some((registry, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_from_references() {
        for reference in ["ghcr.io/acme/spread:1.0", "localhost/a:1", "127.0.0.1:5000/a@sha256:0"] {
            assert!(is_reference(reference), "{reference}");
        }
        for file in ["a.wasm", "./a.wasm:1", "../a:1", "/a.b:1", "dist/a:1", "my.dir/a.wasm", "a:1"]
        {
            assert!(!is_reference(file), "{file}");
        }
    }

    #[test]
    fn what_is_not_said_is_not_guessed() {
        let digest = format!("ghcr.io/acme/spread@sha256:{}", "a".repeat(64));
        assert_eq!(parse(&digest).unwrap().whole(), digest);
        assert_eq!(parse_tag("ghcr.io/acme/spread:1").unwrap().tag(), Some("1"));
        let other = format!("ghcr.io/spread@sha512:{}", "a".repeat(128));
        for bad in [
            "spread:1",
            "acme/spread:1",
            "ghcr.io/acme/spread",
            "ghcr.io/ACME/spread:1",
            "https://ghcr.io/acme/spread:1",
            "ghcr.io/acme/spread@sha256:12",
            &other,
        ] {
            let said = parse(bad).unwrap_err();
            assert!(said.message.contains(bad) && said.hint.is_some(), "{said}");
        }
        let said = parse_tag(&digest).unwrap_err();
        assert!(said.message.contains("follows from what is pushed"), "{said}");
    }
}
