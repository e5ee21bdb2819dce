//! What registries and the way to them answer when something is wrong, in words.

use std::error::Error;

use flocker_api::{Code, Failure};
use flocker_plugins::tame;
use oci_client::{
    Reference,
    errors::{OciDistributionError as Trouble, OciErrorCode},
};

/// Characters of a registry's own words that are shown.
const WORDS_MAX: usize = 400;

/// What a reader of the error can do something about.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    /// There is no such name, tag or digest.
    Missing,
    /// We may not.
    Forbidden,
    /// Nobody answers, or not in a way that we understand.
    Unreachable(String),
    /// It is more than somebody takes.
    TooLarge(String),
    /// It is not what its digest says.
    Forged(String),
    /// It is another kind of thing.
    Foreign(String),
    /// Something else.
    Other(String),
}

/// Whether nothing is there.
pub(super) fn is_missing(error: &Trouble) -> bool {
    kind(error) == Kind::Missing
}

/// What went wrong with this artifact, and what can be done.
pub(super) fn words(reference: &Reference, error: Trouble) -> Failure {
    let (name, registry) = (reference.whole(), reference.registry());
    let invalid = |message: String| Failure::new(Code::INVALID_ARGUMENT, message);
    // Their words go to a terminal, which obeys control characters.
    let tame = |why: &str| tame(why.trim(), WORDS_MAX);
    match kind(&error) {
        Kind::Missing => invalid(format!("there is no `{name}`"))
            .hint("check its name and tag; some registries also say so when they ask for a login"),
        Kind::Forbidden => invalid(format!("`{registry}` does not let us do this with `{name}`"))
            .hint(format!(
                "`docker login {registry}`, or `--username NAME --password-stdin`; the account must have the right"
            )),
        Kind::Unreachable(why) => {
            Failure::new(Code::UNREACHABLE, format!("`{registry}` cannot be reached: {}", tame(&why)))
                .hint("check its name and port; a registry without TLS needs `--plain-http`")
        }
        Kind::TooLarge(why) => {
            Failure::new(Code::TOO_LARGE, format!("`{name}` is too large: {}", tame(&why)))
                .hint("leave out what it does not need, debug information first")
        }
        Kind::Forged(why) => {
            let why = tame(&why);
            invalid(format!("what `{registry}` sent for `{name}` is not what was asked for: {why}"))
                .hint("do not load it; try again, and tell those who run the registry")
        }
        Kind::Foreign(what) => invalid(format!("`{name}` is no plugin: {}", tame(&what)))
            .hint("`flocker plugin push` makes artifacts that can be pulled"),
        Kind::Other(why) => invalid(format!("`{registry}` and `{name}`: {}", tame(&why)))
            .hint("the registry may not know all of the OCI distribution specification"),
    }
}

fn kind(error: &Trouble) -> Kind {
    match error {
        Trouble::UnauthorizedError { .. } | Trouble::AuthenticationFailure(_) => Kind::Forbidden,
        Trouble::ImageManifestNotFoundError(_) => Kind::Missing,
        Trouble::RegistryError { envelope, .. } => envelope
            .errors
            .first()
            .map_or_else(|| Kind::Other(error.to_string()), |e| answered(&e.code, &e.message)),
        Trouble::ServerError { code, message, .. } => status(*code, message),
        Trouble::RequestError(request) => match request.status() {
            Some(code) => status(code.as_u16(), code.canonical_reason().unwrap_or_default()),
            None => Kind::Unreachable(innermost(request)),
        },
        Trouble::DigestError(digest) => Kind::Forged(digest.to_string()),
        Trouble::ImageIndexParsingNoPlatformResolverError => {
            Kind::Foreign("it is a list of images".to_owned())
        }
        Trouble::UnsupportedMediaTypeError(_)
        | Trouble::UnsupportedSchemaVersionError(_)
        | Trouble::IncompatibleLayerMediaTypeError(_)
        | Trouble::ManifestParsingError(_)
        | Trouble::VersionedParsingError(_)
        | Trouble::ManifestEncodingError(_)
        | Trouble::PullNoLayersError => Kind::Foreign(error.to_string()),
        Trouble::ConfigConversionError(_)
        | Trouble::GenericError(_)
        | Trouble::HeaderValueError(_)
        | Trouble::IoError(_)
        | Trouble::JsonError(_)
        | Trouble::PushNoDataError
        | Trouble::PushLayerNoDataError
        | Trouble::RegistryNoDigestError
        | Trouble::RegistryNoLocationError
        | Trouble::RegistryTokenDecodeError(_)
        | Trouble::SpecViolationError(_)
        | Trouble::UrlParseError(_) => Kind::Other(error.to_string()),
    }
}

fn answered(code: &OciErrorCode, message: &str) -> Kind {
    match code {
        OciErrorCode::ManifestUnknown
        | OciErrorCode::NameUnknown
        | OciErrorCode::NotFound
        | OciErrorCode::BlobUnknown
        | OciErrorCode::ManifestBlobUnknown => Kind::Missing,
        OciErrorCode::Unauthorized | OciErrorCode::Denied => Kind::Forbidden,
        OciErrorCode::SizeInvalid => Kind::TooLarge(message.to_owned()),
        OciErrorCode::DigestInvalid => Kind::Forged(message.to_owned()),
        OciErrorCode::BlobUploadInvalid
        | OciErrorCode::BlobUploadUnknown
        | OciErrorCode::ManifestInvalid
        | OciErrorCode::ManifestUnverified
        | OciErrorCode::NameInvalid
        | OciErrorCode::TagInvalid
        | OciErrorCode::Unsupported
        | OciErrorCode::Toomanyrequests
        | OciErrorCode::Other(_) => Kind::Other(message.to_owned()),
    }
}

fn status(code: u16, message: &str) -> Kind {
    match code {
        401 | 403 => Kind::Forbidden,
        404 => Kind::Missing,
        413 => Kind::TooLarge(message.to_owned()),
        _ => Kind::Other(format!("status {code}: {message}")),
    }
}

/// The cause below all others: those above say only that a request was not sent.
fn innermost(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
