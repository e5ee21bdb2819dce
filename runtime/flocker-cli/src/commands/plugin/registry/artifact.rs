//! What a plugin looks like in a registry: the "Wasm OCI Artifact" of the CNCF's TAG Runtime, which `wkg`, containerd
//! and others read, and a signature beside it as an artifact of its own that refers to it.
//!
//! ```text
//! manifest   config   application/vnd.wasm.config.v0+json   what it imports and exports
//!            layer    application/wasm                      the component, exactly one
//! manifest   subject  the manifest above
//!            layer    application/vnd.flocker.minisign.v1   the text of FILE.minisig
//! ```

use std::{collections::BTreeMap, time::SystemTime};

use flocker_api::{Code, Failure};
use flocker_plugins::{Inspection, tame};
use oci_client::{
    Reference,
    manifest::{
        OCI_IMAGE_INDEX_MEDIA_TYPE, OCI_IMAGE_MEDIA_TYPE, OciDescriptor, OciImageIndex,
        OciImageManifest, OciManifest,
    },
};
use serde::{Deserialize, Serialize};

use super::encoded;

/// The config of every Wasm artifact.
const CONFIG: &str = "application/vnd.wasm.config.v0+json";
/// The layer of every Wasm artifact.
const LAYER: &str = "application/wasm";
/// A signature of ours, both the artifact and its layer.
pub(super) const SIGNATURE: &str = "application/vnd.flocker.minisign.v1";
/// The config of artifacts that have nothing to configure.
const EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// Under which name other tools write a layer to a file.
const TITLE: &str = "org.opencontainers.image.title";

/// The config: what a plugin is, for those who have not fetched it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in super::super) struct Description {
    /// When it was described.
    pub(in super::super) created: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in super::super) author: Option<String>,
    architecture: String,
    os: String,
    /// The layers of the manifest, in its order.
    layer_digests: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    component: Option<Names>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Names {
    exports: Vec<String>,
    imports: Vec<String>,
    /// A world that it was written for; nobody needs it here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    target: Option<String>,
}

impl Description {
    fn new(found: &Inspection, now: SystemTime) -> Self {
        Self {
            created: humantime::format_rfc3339_seconds(now).to_string(),
            author: None,
            architecture: "wasm".to_owned(),
            // Components speak WASI 0.2 if they speak WASI at all.
            os: "wasip2".to_owned(),
            layer_digests: vec![found.digest.clone()],
            component: Some(Names {
                exports: found.exports.clone(),
                imports: found.imports.iter().map(|i| i.name.clone()).collect(),
                target: None,
            }),
        }
    }

    pub(super) fn parse(reference: &Reference, config: &[u8]) -> Result<Self, Failure> {
        let parsed: Self = serde_json::from_slice(config)
            .map_err(|e| foreign(reference, &format!("its config cannot be read: {e}")))?;
        if parsed.component.is_none() {
            return Err(foreign(reference, "it is a core module, not a component"));
        }
        Ok(parsed)
    }

    /// What a component of these names is to a node.
    pub(in super::super) fn inspect(&self, layer: &OciDescriptor) -> Inspection {
        let names = self.component.clone().unwrap_or_default();
        Inspection::announced(size(layer), &layer.digest, &names.imports, &names.exports)
    }

    /// Whether that is what the component itself says.
    pub(in super::super) fn is_of(&self, found: &Inspection) -> bool {
        let own = Self::new(found, SystemTime::UNIX_EPOCH).component;
        let sorted = |names: &Option<Names>| {
            let mut names = names.clone().unwrap_or_default();
            names.imports.sort_unstable();
            names.exports.sort_unstable();
            (names.imports, names.exports)
        };
        sorted(&self.component) == sorted(&own)
    }
}

/// A plugin as it is sent: its manifest and the blobs that it names.
pub(in super::super) struct Parcel {
    pub(in super::super) manifest: Vec<u8>,
    pub(in super::super) digest: String,
    pub(in super::super) config: Blob,
    pub(in super::super) layer: Blob,
}

/// Bytes under their digest.
pub(in super::super) struct Blob {
    pub(in super::super) bytes: Vec<u8>,
    pub(in super::super) digest: String,
}

impl Blob {
    fn new(bytes: Vec<u8>) -> Self {
        let digest = digest(&bytes);
        Self { bytes, digest }
    }

    fn descriptor(&self, media_type: &str) -> OciDescriptor {
        OciDescriptor {
            media_type: media_type.to_owned(),
            digest: self.digest.clone(),
            size: i64::try_from(self.bytes.len()).unwrap_or(i64::MAX),
            ..OciDescriptor::default()
        }
    }
}

impl Parcel {
    /// Packs a component.
    pub(in super::super) fn new(
        name: &str,
        component: Vec<u8>,
        found: &Inspection,
        now: SystemTime,
    ) -> Result<Self, Failure> {
        let config = Blob::new(encoded(&Description::new(found, now))?);
        let layer = Blob::new(component);
        let title = BTreeMap::from([(TITLE.to_owned(), name.to_owned())]);
        let layer_descriptor =
            OciDescriptor { annotations: Some(title), ..layer.descriptor(LAYER) };
        let manifest = encoded(&OciImageManifest {
            media_type: Some(OCI_IMAGE_MEDIA_TYPE.to_owned()),
            config: config.descriptor(CONFIG),
            layers: vec![layer_descriptor],
            ..OciImageManifest::default()
        })?;
        Ok(Self { digest: digest(&manifest), manifest, config, layer })
    }

    /// A signature of what was packed: its manifest and the blobs that it names.
    pub(in super::super) fn signature(&self, text: &str) -> (OciImageManifest, [Blob; 2]) {
        let (config, layer) = (Blob::new(b"{}".to_vec()), Blob::new(text.as_bytes().to_vec()));
        let subject = OciDescriptor {
            media_type: OCI_IMAGE_MEDIA_TYPE.to_owned(),
            digest: self.digest.clone(),
            size: i64::try_from(self.manifest.len()).unwrap_or(i64::MAX),
            ..OciDescriptor::default()
        };
        let manifest = OciImageManifest {
            media_type: Some(OCI_IMAGE_MEDIA_TYPE.to_owned()),
            artifact_type: Some(SIGNATURE.to_owned()),
            config: config.descriptor(EMPTY),
            layers: vec![layer.descriptor(SIGNATURE)],
            subject: Some(subject),
            ..OciImageManifest::default()
        };
        (manifest, [config, layer])
    }
}

/// The manifest of one artifact; a list of them is none.
pub(super) fn image<'a>(
    reference: &Reference,
    manifest: &'a OciManifest,
) -> Result<&'a OciImageManifest, Failure> {
    match manifest {
        OciManifest::Image(image) => Ok(image),
        OciManifest::ImageIndex(_) => Err(foreign(reference, "it is a list of artifacts")),
    }
}

/// The code that a manifest names.
pub(super) fn only_layer<'a>(
    reference: &Reference,
    manifest: &'a OciManifest,
) -> Result<&'a OciDescriptor, Failure> {
    config(reference, manifest)?;
    match image(reference, manifest)?.layers.as_slice() {
        [layer] if layer.media_type == LAYER && !is_sha256(&layer.digest) => {
            Err(foreign(reference, &format!("`{}` is no digest of sha256", layer.digest)))
        }
        [layer] if layer.media_type == LAYER => Ok(layer),
        [layer] => Err(foreign(reference, &format!("its layer is `{}`", layer.media_type))),
        layers => Err(foreign(reference, &format!("it has {} layers, not one", layers.len()))),
    }
}

/// The config that a manifest names.
pub(super) fn config<'a>(
    reference: &Reference,
    manifest: &'a OciManifest,
) -> Result<&'a OciDescriptor, Failure> {
    let config = &image(reference, manifest)?.config;
    match config.media_type.as_str() {
        CONFIG => Ok(config),
        other => Err(foreign(reference, &format!("its config is `{other}`, not `{CONFIG}`"))),
    }
}

/// The only digest that is shown and compared as a plugin's.
fn is_sha256(digest: &str) -> bool {
    digest.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    })
}

fn foreign(reference: &Reference, what: &str) -> Failure {
    let what = tame(what, 400);
    let message = format!("`{}` is no WebAssembly plugin: {what}", reference.whole());
    Failure::new(Code::INVALID_ARGUMENT, message)
        .hint("`flocker plugin push` makes artifacts that can be pulled")
}

/// A length that somebody announced; a negative one is nonsense, and too large for anybody.
pub(super) fn size(descriptor: &OciDescriptor) -> u64 {
    u64::try_from(descriptor.size).unwrap_or(u64::MAX)
}

/// A list with nothing in it.
pub(super) fn empty_index() -> OciImageIndex {
    OciImageIndex {
        schema_version: 2,
        media_type: Some(OCI_IMAGE_INDEX_MEDIA_TYPE.to_owned()),
        manifests: Vec::new(),
        artifact_type: None,
        annotations: None,
    }
}

/// As registries write it.
pub(super) fn digest(bytes: &[u8]) -> String {
    flocker_plugins::digest(bytes)
}
