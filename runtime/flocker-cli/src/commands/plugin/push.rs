//! `flocker plugin push`: a plugin and its signature, to a registry.

use std::{path::Path, time::SystemTime};

use flocker_api::{Code, Failure};
use flocker_model::ByteSize;
use flocker_plugins::{Inspection, SignatureError, claimed_key_id, read_component, read_signature};
use oci_client::{Reference, RegistryOperation, manifest::OCI_IMAGE_MEDIA_TYPE};
use serde_json::json;

use super::{
    facts,
    registry::{
        Registry,
        artifact::{Blob, Parcel},
        reference,
    },
    unusable,
};
use crate::{args::Push, terminal, terminal::Answer};

pub(super) async fn push(arguments: &Push) -> Result<Answer, Failure> {
    let Push { file, reference, registry } = arguments;
    let reference = reference::parse_tag(reference)?;
    let component = read_component(file).map_err(unusable)?;
    let signature = signature(file)?;
    let found = Inspection::of_bytes(&component);
    let warning = found.refused.as_ref().map(|refused| {
        let refused = Failure::from_error(Code::INVALID_ARGUMENT, refused);
        format!("a node of this version would not load it: {}", refused.message)
    });
    warning.iter().for_each(|warning| terminal::warn(warning));

    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let parcel = Parcel::new(&name, component, &found, SystemTime::now())?;
    let registry = Registry::connect(&reference, RegistryOperation::Push, registry).await?;
    let pinned = send(&registry, &reference, &parcel, signature.as_deref()).await?;

    let key = signature.as_deref().and_then(claimed_key_id);
    let signed = match &key {
        Some(key) => format!("with key {key}"),
        None => format!("no: there is no `{}.minisig`", file.display()),
    };
    let text = facts(&[
        ("pushed", format!("{}, {}", reference.whole(), ByteSize(found.bytes))),
        ("as", pinned.whole()),
        ("signed", signed),
    ]);
    let json = json!({
        "reference": reference.whole(),
        "pinned": pinned.whole(),
        "digest": parcel.digest,
        "plugin_digest": found.digest,
        "bytes": found.bytes,
        "key_id": key,
    });
    Ok(Answer::new(json, text).with_warning(warning))
}

/// The signature beside a file, if it has one.
fn signature(file: &Path) -> Result<Option<String>, Failure> {
    match read_signature(file) {
        Ok(text) if claimed_key_id(&text).is_some() => Ok(Some(text)),
        Ok(_) => Err(unusable(SignatureError::Malformed)),
        Err(SignatureError::Missing(_)) => Ok(None),
        Err(
            error @ (SignatureError::Unreadable(_)
            | SignatureError::Malformed
            | SignatureError::OtherKey { .. }
            | SignatureError::Broken),
        ) => Err(unusable(error)),
    }
}

/// Sends everything, the tag last: it never leads to a plugin that is not all there, or whose signature is not.
async fn send(
    registry: &Registry,
    reference: &Reference,
    parcel: &Parcel,
    signature: Option<&str>,
) -> Result<Reference, Failure> {
    let send = async |blob: &Blob| registry.send(reference, blob.bytes.clone(), &blob.digest).await;
    send(&parcel.layer).await?;
    send(&parcel.config).await?;
    let pinned = Reference::with_digest(
        reference.registry().to_owned(),
        reference.repository().to_owned(),
        parcel.digest.clone(),
    );
    if let Some(text) = signature {
        let (manifest, blobs) = parcel.signature(text);
        for blob in &blobs {
            send(blob).await?;
        }
        registry.attach(&pinned, &manifest).await?;
    }
    registry.send_manifest(reference, parcel.manifest.clone(), OCI_IMAGE_MEDIA_TYPE).await?;
    Ok(pinned)
}
