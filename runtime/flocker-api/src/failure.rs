//! An error as it crosses the wire: a code for programs, a message for people, and what can be done about it.

use std::fmt;

use tonic::{
    Status,
    metadata::{Ascii, Binary, MetadataKey, MetadataMap, MetadataValue},
};

use crate::Code;

/// What a call failed with. The same on both sides of the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// For programs.
    pub code: Code,
    /// For people: what failed, to which object, and why.
    pub message: String,
    /// What can be done about it.
    pub hint: Option<String>,
}

/// The longest message that is sent; the rest of a longer one is cut. It travels in a header, three bytes for each byte
/// that is not plain text, and must fit into [`crate::limits::HEADERS_MAX`] whatever it holds.
const MESSAGE_LENGTH_MAX: usize = 16 << 10;

/// The longest hint that is sent.
const HINT_LENGTH_MAX: usize = 2 << 10;

const CODE_KEY: &str = "flocker-code";
const HINT_KEY: &str = "flocker-hint-bin";

impl Failure {
    /// A failure about which nothing can be done, or nothing that is known here.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None }
    }

    /// The same failure with a hint.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Takes an error that wrote its own hint as a last line `hint: …`, and the errors below it.
    pub fn from_error(code: Code, error: &dyn std::error::Error) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(error) = source {
            // The hint of an outer error would otherwise end up in the middle.
            let (message, hint) = split_hint(&text);
            text = format!(
                "{message}: {error}{}",
                hint.map(|h| format!("\nhint: {h}")).unwrap_or_default()
            );
            source = error.source();
        }
        let (message, hint) = split_hint(&text);
        Self { code, message: message.to_owned(), hint: hint.map(str::to_owned) }
    }
}

fn split_hint(text: &str) -> (&str, Option<&str>) {
    match text.split_once("\nhint: ") {
        Some((message, hint)) => (message, Some(hint)),
        None => (text, None),
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, "\nhint: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        let mut metadata = MetadataMap::new();
        if let Ok(code) = failure.code.as_str().parse::<MetadataValue<Ascii>>() {
            metadata.insert(CODE_KEY, code);
        }
        if let Some(hint) = &failure.hint {
            metadata.insert_bin(
                MetadataKey::<Binary>::from_static(HINT_KEY),
                MetadataValue::from_bytes(cut(hint, HINT_LENGTH_MAX).as_bytes()),
            );
        }
        Status::with_metadata(
            failure.code.grpc(),
            cut(&failure.message, MESSAGE_LENGTH_MAX),
            metadata,
        )
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        let metadata = status.metadata();
        let Some(code) = metadata.get(CODE_KEY).and_then(|code| code.to_str().ok()) else {
            return foreign(&status);
        };
        let hint = metadata
            .get_bin(HINT_KEY)
            .and_then(|hint| hint.to_bytes().ok())
            .map(|hint| String::from_utf8_lossy(&hint).into_owned());
        Self { code: Code::from_text(code), message: status.message().to_owned(), hint }
    }
}

/// A status that our code did not make: the transport's, or gRPC's own.
fn foreign(status: &Status) -> Failure {
    let code = match status.code() {
        tonic::Code::DeadlineExceeded | tonic::Code::Cancelled => Code::TIMEOUT,
        tonic::Code::Unavailable => Code::UNREACHABLE,
        tonic::Code::ResourceExhausted | tonic::Code::OutOfRange => Code::TOO_LARGE,
        tonic::Code::Unimplemented => {
            return Failure::new(Code::UNSUPPORTED, "the node does not know this call").hint(
                "the node runs another version than this program; `flocker status` shows which",
            );
        }
        // A connection that broke under a call comes as one of these, with the cause as its source.
        tonic::Code::Unknown | tonic::Code::Internal
            if std::error::Error::source(status).is_some() =>
        {
            Code::UNREACHABLE
        }
        tonic::Code::InvalidArgument => Code::INVALID_ARGUMENT,
        tonic::Code::NotFound
        | tonic::Code::AlreadyExists
        | tonic::Code::PermissionDenied
        | tonic::Code::FailedPrecondition
        | tonic::Code::Aborted
        | tonic::Code::Unknown
        | tonic::Code::Internal
        | tonic::Code::DataLoss
        | tonic::Code::Unauthenticated
        | tonic::Code::Ok => Code::INTERNAL,
    };
    Failure::new(code, causes(status))
}

/// The message, and the causes below it, of which tonic's own Display says nothing.
fn causes(status: &Status) -> String {
    let mut text = status.message().to_owned();
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text = if text.is_empty() { cause } else { format!("{text}: {cause}") };
        }
        source = error.source();
    }
    text
}

fn cut(text: &str, length_max: usize) -> &str {
    &text[..text.floor_char_boundary(length_max)]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_failure_survives_the_wire(code in "[a-z][a-z-]{0,30}", message in ".{0,300}", hint in proptest::option::of(".{0,200}")) {
            let failure = Failure { code: Code::from_text(&code), message, hint };
            // Through real headers: what survives only in memory is not what a client gets.
            let response = Status::from(failure.clone()).into_http::<tonic::body::Body>();
            let back = Status::from_header_map(response.headers()).map(Failure::from);
            prop_assert_eq!(back, Some(failure));
        }
    }

    #[test]
    fn an_error_that_carries_its_own_hint_keeps_it_apart() {
        let error = std::io::Error::other("the pool is full\nhint: free space on it");
        let failure = Failure::from_error(Code::POOL_FULL, &error);
        assert_eq!(
            failure,
            Failure::new(Code::POOL_FULL, "the pool is full").hint("free space on it")
        );
    }

    #[test]
    fn a_message_that_is_too_long_is_cut_between_characters() {
        let failure = Failure::new(Code::INTERNAL, "ü".repeat(MESSAGE_LENGTH_MAX));
        assert_eq!(Status::from(failure).message().len(), MESSAGE_LENGTH_MAX);
    }
}
