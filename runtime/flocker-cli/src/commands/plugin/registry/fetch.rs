//! What a registry sends: every answer is read up to a bound, whatever it is, and compared with the digest that it was
//! asked for by. `oci-client` reads what is not a blob to its end, which a registry may never come to.

use flocker_api::{Code, Failure};
use oci_client::{
    Reference,
    errors::{DigestError, OciDistributionError as Trouble},
    manifest::{
        IMAGE_MANIFEST_LIST_MEDIA_TYPE, IMAGE_MANIFEST_MEDIA_TYPE, OCI_IMAGE_INDEX_MEDIA_TYPE,
        OCI_IMAGE_MEDIA_TYPE, OciDescriptor, OciImageIndex, OciManifest,
    },
    secrets::RegistryAuth,
};
use reqwest::{RequestBuilder, StatusCode};
use serde::de::DeserializeOwned;

use super::{
    CONNECT, SILENCE, USER_AGENT, artifact,
    meter::Meter,
    trouble::{is_missing, words},
};

/// Manifests, and lists of them. The OCI distribution specification has registries take as much, and many no more.
const MANIFEST_BYTES_MAX: u64 = 4 << 20;
/// What is wrong fits in less; the rest is not read.
const ERROR_BYTES_MAX: u64 = 64 << 10;

/// Reads from one registry.
pub(super) struct Fetcher {
    http: reqwest::Client,
    scheme: &'static str,
    /// Who we are there: what the registry gave for the name and password, if it gave anything.
    auth: RegistryAuth,
}

impl Fetcher {
    pub(super) fn new(plain: bool, auth: RegistryAuth) -> Result<Self, Trouble> {
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .read_timeout(SILENCE)
            .user_agent(USER_AGENT)
            .build()?;
        Ok(Self { http, scheme: if plain { "http" } else { "https" }, auth })
    }

    /// The manifest that a reference leads to, and its digest; nothing where there is none.
    pub(super) async fn manifest(
        &self,
        reference: &Reference,
    ) -> Result<Option<(OciManifest, String)>, Failure> {
        let name = reference.digest().or(reference.tag()).unwrap_or("latest");
        let Some(bytes) =
            self.document(reference, "manifest", &format!("manifests/{name}")).await?
        else {
            return Ok(None);
        };
        let digest = artifact::digest(&bytes);
        if let Some(expected) = reference.digest() {
            same(reference, expected, &digest)?;
        }
        Ok(Some((parsed(reference, &bytes)?, digest)))
    }

    /// What refers to a manifest; nothing where the registry does not keep lists of that.
    pub(super) async fn referrers(
        &self,
        pinned: &Reference,
        artifact_type: &str,
    ) -> Result<Option<OciImageIndex>, Failure> {
        let digest = pinned.digest().unwrap_or_default();
        let path = format!("referrers/{digest}?artifactType={artifact_type}");
        let list = self.document(pinned, "list of signatures", &path).await?;
        list.map(|bytes| parsed(pinned, &bytes)).transpose()
    }

    /// A blob, as long as was announced at most.
    pub(super) async fn blob(
        &self,
        reference: &Reference,
        blob: &OciDescriptor,
    ) -> Result<Vec<u8>, Failure> {
        let (digest, size) = (&blob.digest, artifact::size(blob));
        let request = self.get(reference, &format!("blobs/{digest}"));
        let found = self.answer(reference, request, size).await?;
        let missing = || words(reference, Trouble::ImageManifestNotFoundError(digest.clone()));
        match found.ok_or_else(missing)? {
            Body::Whole(bytes) => {
                same(reference, digest, &artifact::digest(&bytes))?;
                Ok(bytes)
            }
            Body::TooLong => {
                let message =
                    format!("`{digest}` at `{}` is longer than announced", reference.whole());
                Err(Failure::new(Code::TOO_LARGE, message)
                    .hint("do not load it; tell whoever pushed it, or those who run the registry"))
            }
        }
    }

    async fn document(
        &self,
        reference: &Reference,
        what: &str,
        path: &str,
    ) -> Result<Option<Vec<u8>>, Failure> {
        let accepted = [
            OCI_IMAGE_MEDIA_TYPE,
            OCI_IMAGE_INDEX_MEDIA_TYPE,
            IMAGE_MANIFEST_MEDIA_TYPE,
            IMAGE_MANIFEST_LIST_MEDIA_TYPE,
        ];
        let request = self.get(reference, path).header("Accept", accepted.join(", "));
        match self.answer(reference, request, MANIFEST_BYTES_MAX).await? {
            None => Ok(None),
            Some(Body::Whole(bytes)) => Ok(Some(bytes)),
            Some(Body::TooLong) => {
                let message = format!(
                    "the {what} of `{}` is too large: at most {MANIFEST_BYTES_MAX} bytes are read",
                    reference.whole()
                );
                Err(Failure::new(Code::TOO_LARGE, message).hint("it is none of ours"))
            }
        }
    }

    fn get(&self, reference: &Reference, path: &str) -> RequestBuilder {
        let (registry, repository) = (reference.resolve_registry(), reference.repository());
        let url = format!("{}://{registry}/v2/{repository}/{path}", self.scheme);
        let request = self.http.get(url);
        match &self.auth {
            RegistryAuth::Anonymous => request,
            RegistryAuth::Basic(name, password) => request.basic_auth(name, Some(password)),
            RegistryAuth::Bearer(token) => request.bearer_auth(token),
        }
    }

    /// What the registry answers; nothing where nothing is there.
    async fn answer(
        &self,
        reference: &Reference,
        request: RequestBuilder,
        max: u64,
    ) -> Result<Option<Body>, Failure> {
        let trouble = |e: reqwest::Error| words(reference, e.into());
        let response = request.send().await.map_err(trouble)?;
        let (status, url) = (response.status(), response.url().to_string());
        if status == StatusCode::OK {
            return read(response, max).await.map(Some).map_err(trouble);
        }
        let said = match read(response, ERROR_BYTES_MAX).await.map_err(trouble)? {
            Body::Whole(bytes) => bytes,
            Body::TooLong => Vec::new(),
        };
        let error = match serde_json::from_slice(&said) {
            _ if status == StatusCode::UNAUTHORIZED => Trouble::UnauthorizedError { url },
            Ok(envelope) if status.is_client_error() => Trouble::RegistryError { envelope, url },
            Ok(_) | Err(_) => Trouble::ServerError {
                code: status.as_u16(),
                url,
                message: String::from_utf8_lossy(&said).into_owned(),
            },
        };
        if is_missing(&error) { Ok(None) } else { Err(words(reference, error)) }
    }
}

/// What came.
enum Body {
    Whole(Vec<u8>),
    /// Nobody waited for its end.
    TooLong,
}

async fn read(mut response: reqwest::Response, max: u64) -> Result<Body, reqwest::Error> {
    let mut meter = Meter::new(max);
    while let Some(piece) = response.chunk().await? {
        if !meter.add(&piece) {
            return Ok(Body::TooLong);
        }
    }
    Ok(Body::Whole(meter.into_bytes()))
}

fn parsed<T: DeserializeOwned>(reference: &Reference, bytes: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(bytes)
        .map_err(|e| words(reference, Trouble::ManifestParsingError(e.to_string())))
}

fn same(reference: &Reference, expected: &str, actual: &str) -> Result<(), Failure> {
    if expected == actual {
        return Ok(());
    }
    let (expected, actual) = (expected.to_owned(), actual.to_owned());
    Err(words(reference, DigestError::VerificationError { expected, actual }.into()))
}
