//! A registry of OCI artifacts: plugins and their signatures go there and come back. Believes nothing that it is sent:
//! sizes are bounded, and every byte is compared with the digest that was asked for.

pub(super) mod artifact;
mod credentials;
mod fetch;
mod meter;
pub(super) mod reference;
mod trouble;

use std::time::Duration;

use flocker_api::{Code, Failure};
use flocker_plugins::{Limits, SIGNATURE_BYTES_MAX};
use oci_client::{
    Client, Reference, RegistryOperation,
    client::{ClientConfig, ClientProtocol},
    errors::OciDistributionError as Trouble,
    manifest::{
        ImageIndexEntry, OCI_IMAGE_INDEX_MEDIA_TYPE, OCI_IMAGE_MEDIA_TYPE, OciDescriptor,
        OciImageIndex, OciImageManifest, OciManifest,
    },
    secrets::RegistryAuth,
};
use serde::Serialize;

use self::{artifact::Description, fetch::Fetcher, trouble::words};
use crate::args::RegistryArgs;

/// Time to connect, and between two pieces of an answer.
const CONNECT: Duration = Duration::from_secs(10);
const SILENCE: Duration = Duration::from_secs(60);
/// Names of imports and exports; those of a thousand of each fit.
const CONFIG_BYTES_MAX: u64 = 1 << 20;
/// Signatures of one plugin that are looked at.
const SIGNATURES_MAX: usize = 16;

const USER_AGENT: &str = concat!("flocker/", env!("CARGO_PKG_VERSION"));

/// One registry, where we said who we are.
pub(super) struct Registry {
    /// What is sent goes by it.
    client: Client,
    fetcher: Fetcher,
}

/// A plugin that is there, before its code was fetched.
#[derive(Debug)]
pub(super) struct Found {
    /// By its digest: a tag may lead elsewhere the next moment.
    pub(super) pinned: Reference,
    /// Its code.
    pub(super) layer: OciDescriptor,
    /// What whoever pushed it says that it is.
    pub(super) description: Description,
}

impl Registry {
    /// Logs in where that is asked for.
    pub(super) async fn connect(
        reference: &Reference,
        operation: RegistryOperation,
        arguments: &RegistryArgs,
    ) -> Result<Self, Failure> {
        let auth = credentials::of(reference, arguments)?;
        // Only the first one counts, and there is no other in this program.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let config = ClientConfig {
            protocol: if arguments.plain_http {
                ClientProtocol::Http
            } else {
                ClientProtocol::Https
            },
            // One request for each blob: some registries refuse pieces.
            use_monolithic_push: true,
            platform_resolver: None,
            connect_timeout: Some(CONNECT),
            read_timeout: Some(SILENCE),
            user_agent: USER_AGENT,
            ..ClientConfig::default()
        };
        let client = Client::try_from(config).map_err(|e| words(reference, e))?;
        let token = client.auth(reference, &auth, operation).await;
        let token = token.map_err(|e| words(reference, e))?;
        let auth = token.map_or(auth, RegistryAuth::Bearer);
        let fetcher = Fetcher::new(arguments.plain_http, auth).map_err(|e| words(reference, e))?;
        Ok(Self { client, fetcher })
    }

    /// What a reference leads to; fetches everything but the code.
    pub(super) async fn find(&self, reference: &Reference) -> Result<Found, Failure> {
        let (manifest, digest) = self.manifest(reference).await?;
        let layer = artifact::only_layer(reference, &manifest)?;
        let max = Limits::default().file_bytes;
        if artifact::size(layer) > max {
            let message = format!(
                "the plugin at `{}` has {} bytes, at most {max} are loaded",
                reference.whole(),
                layer.size
            );
            return Err(Failure::new(Code::TOO_LARGE, message)
                .hint("leave out what it does not need, debug information first"));
        }
        let layer = layer.clone();
        let pinned = reference.clone_with_digest(digest);
        let config = artifact::config(reference, &manifest)?;
        let config = self.fetch(&pinned, config, CONFIG_BYTES_MAX).await?;
        let description = Description::parse(reference, &config)?;
        Ok(Found { pinned, layer, description })
    }

    /// The code of a plugin.
    pub(super) async fn code(&self, found: &Found) -> Result<Vec<u8>, Failure> {
        self.fetch(&found.pinned, &found.layer, Limits::default().file_bytes).await
    }

    /// Signatures that were pushed along, as text; whose they are is to be verified.
    pub(super) async fn signatures(&self, pinned: &Reference) -> Result<Vec<String>, Failure> {
        let mut signatures = Vec::new();
        let listed = self.referrers(pinned).await?;
        for entry in listed.manifests.into_iter().take(SIGNATURES_MAX) {
            let signature = pinned.clone_with_digest(entry.digest);
            let (manifest, _) = self.manifest(&signature).await?;
            let manifest = artifact::image(&signature, &manifest)?;
            for layer in manifest.layers.iter().filter(|l| l.media_type == artifact::SIGNATURE) {
                let bytes = self.fetch(pinned, layer, SIGNATURE_BYTES_MAX).await?;
                signatures.extend(String::from_utf8(bytes));
            }
        }
        Ok(signatures)
    }

    async fn manifest(&self, reference: &Reference) -> Result<(OciManifest, String), Failure> {
        let missing = || words(reference, Trouble::ImageManifestNotFoundError(reference.whole()));
        self.fetcher.manifest(reference).await?.ok_or_else(missing)
    }

    async fn referrers(&self, pinned: &Reference) -> Result<OciImageIndex, Failure> {
        let mut listed = match self.fetcher.referrers(pinned, artifact::SIGNATURE).await? {
            Some(listed) => listed,
            None => self.list(&list_of(pinned)).await?,
        };
        // Registries need not filter.
        listed.manifests.retain(|e| e.artifact_type.as_deref() == Some(artifact::SIGNATURE));
        Ok(listed)
    }

    async fn fetch(
        &self,
        reference: &Reference,
        blob: &OciDescriptor,
        max: u64,
    ) -> Result<Vec<u8>, Failure> {
        let size = artifact::size(blob);
        if size > max {
            let message = format!(
                "`{}` at `{}` has {size} bytes, at most {max} are read",
                blob.digest,
                reference.whole()
            );
            return Err(Failure::new(Code::TOO_LARGE, message).hint("it is none of ours"));
        }
        // Without the places elsewhere that a manifest may name: it is fetched from where the user said.
        self.fetcher.blob(reference, blob).await
    }

    /// Sends bytes; nothing that is there already.
    pub(super) async fn send(
        &self,
        reference: &Reference,
        bytes: Vec<u8>,
        digest: &str,
    ) -> Result<(), Failure> {
        let trouble = |e| words(reference, e);
        if self.client.blob_exists(reference, digest).await.map_err(trouble)? {
            return Ok(());
        }
        let size = bytes.len() as u64;
        let pieces = meter::pieces(bytes.into());
        let sent = self.client.push_blob_stream(reference, pieces, digest, Some(size)).await;
        sent.map(drop).map_err(trouble)
    }

    /// Sends a manifest; everything that it names must be there.
    pub(super) async fn send_manifest(
        &self,
        reference: &Reference,
        manifest: Vec<u8>,
        media_type: &'static str,
    ) -> Result<(), Failure> {
        let media_type = media_type.parse().map_err(|_| {
            Failure::new(Code::INTERNAL, format!("`{media_type}` is no media type"))
        })?;
        let sent = self.client.push_manifest_raw(reference, manifest, media_type).await;
        sent.map(drop).map_err(|e| words(reference, e))
    }

    /// Sends a signature, so that whoever knows the plugin's digest finds it.
    pub(super) async fn attach(
        &self,
        pinned: &Reference,
        manifest: &OciImageManifest,
    ) -> Result<(), Failure> {
        let bytes = encoded(manifest)?;
        let digest = artifact::digest(&bytes);
        let size = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
        let own = pinned.clone_with_digest(digest.clone());
        self.send_manifest(&own, bytes, OCI_IMAGE_MEDIA_TYPE).await?;
        if self.referrers(pinned).await?.manifests.iter().any(|e| e.digest == digest) {
            return Ok(());
        }
        // The registry does not keep lists of what refers to what, so we do.
        let list = list_of(pinned);
        let mut index = self.list(&list).await?;
        index.manifests.push(ImageIndexEntry {
            media_type: OCI_IMAGE_MEDIA_TYPE.to_owned(),
            digest,
            size,
            platform: None,
            annotations: None,
            artifact_type: Some(artifact::SIGNATURE.to_owned()),
        });
        self.send_manifest(&list, encoded(&index)?, OCI_IMAGE_INDEX_MEDIA_TYPE).await
    }

    /// The list under a tag; empty where there is none.
    async fn list(&self, tag: &Reference) -> Result<OciImageIndex, Failure> {
        match self.fetcher.manifest(tag).await? {
            None => Ok(artifact::empty_index()),
            Some((OciManifest::ImageIndex(index), _)) => Ok(index),
            Some((OciManifest::Image(_), _)) => {
                let message = format!("`{}` is not a list of signatures", tag.whole());
                Err(Failure::new(Code::INVALID_ARGUMENT, message)
                    .hint("this tag is reserved for it; remove it from the registry"))
            }
        }
    }
}

/// Where a list is kept of what refers to a manifest, by a registry that keeps none itself: the specification has it
/// looked for under a tag that is the digest.
fn list_of(pinned: &Reference) -> Reference {
    let tag = pinned.digest().unwrap_or_default().replace(':', "-");
    Reference::with_tag(pinned.registry().to_owned(), pinned.repository().to_owned(), tag)
}

/// A manifest as it is sent: these bytes are what its digest is of.
pub(super) fn encoded(manifest: &impl Serialize) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec(manifest)
        .map_err(|e| Failure::new(Code::INTERNAL, format!("could not write a manifest: {e}")))
}
