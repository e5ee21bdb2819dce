//! The registry of error codes: what programs may compare. A code is never renamed and never used for something else.

use std::{borrow::Cow, fmt};

use tonic::Code as Grpc;

/// What went wrong, as programs see it: a few words with hyphens.
///
/// A code that this program does not know, from a newer one, is kept as it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Code(Cow<'static, str>);

impl Code {
    /// The code of this text, registered or not.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        Self(Cow::Owned(text.to_owned()))
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The gRPC code that it travels under; `Unknown` for one that is not registered.
    #[must_use]
    pub fn grpc(&self) -> Grpc {
        Self::ALL.iter().find(|(code, ..)| code == self).map_or(Grpc::Unknown, |(_, grpc, _)| *grpc)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

macro_rules! codes {
    ($($name:ident = $text:literal, $grpc:ident, $meaning:literal;)*) => {
        impl Code {
            $(
                #[doc = $meaning]
                pub const $name: Self = Self(Cow::Borrowed($text));
            )*

            /// Every registered code, its gRPC code, and what it means.
            pub const ALL: &[(Self, Grpc, &str)] = &[$((Self::$name, Grpc::$grpc, $meaning)),*];
        }
    };
}

codes! {
    // What was asked does not make sense.
    INVALID_ARGUMENT = "invalid-argument", InvalidArgument, "A name, a size or a combination of them is not valid.";
    INVALID_MANIFEST = "invalid-manifest", InvalidArgument, "The Compose file cannot be used; the message lists why, by line.";

    // What was asked about is not there.
    NODE_NOT_FOUND = "node-not-found", NotFound, "There is no node of this name.";
    APP_NOT_FOUND = "app-not-found", NotFound, "There is no app of this name.";
    CONTAINER_NOT_FOUND = "container-not-found", NotFound, "The app has no container of this name.";
    VOLUME_NOT_FOUND = "volume-not-found", NotFound, "There is no volume of this name.";
    SNAPSHOT_NOT_FOUND = "snapshot-not-found", NotFound, "The volume has no snapshot of this name.";
    REPLICA_NOT_FOUND = "replica-not-found", NotFound, "There is no replica on this node, and none was to be.";
    OPERATION_NOT_FOUND = "operation-not-found", NotFound, "There is no operation of this id, or it was forgotten.";
    DECISION_NOT_FOUND = "decision-not-found", NotFound, "No decision about this app or operation is remembered.";

    // It cannot be done as things are.
    ALREADY_EXISTS = "already-exists", AlreadyExists, "The name is taken.";
    VOLUME_IN_USE = "volume-in-use", FailedPrecondition, "An app uses the volume.";
    PORT_IN_USE = "port-in-use", FailedPrecondition, "Another app, or another program on a node, has the port.";
    APP_BUSY = "app-busy", FailedPrecondition, "Another operation holds the app.";
    ALREADY_THERE = "already-there", FailedPrecondition, "The app runs on the node that it was to be moved to.";
    NO_CANDIDATE = "no-candidate", FailedPrecondition, "No node may or can take the app.";
    NODE_IN_USE = "node-in-use", FailedPrecondition, "Something needs the node, or it takes apps.";
    NODE_DRAINING = "node-draining", FailedPrecondition, "The node is being drained.";
    POINT_OF_NO_RETURN = "point-of-no-return", FailedPrecondition, "The operation can only go forward by now.";
    OPERATION_ENDED = "operation-ended", FailedPrecondition, "The operation has ended.";
    OPERATION_FAILED = "operation-failed", Aborted, "What was begun was undone, or ended badly; its record says why.";
    STILL_RUNNING = "still-running", DeadlineExceeded, "What was begun goes on; whoever waited for it gave up.";
    STALE_EPOCH = "stale-epoch", FailedPrecondition, "Someone became the owner since.";
    POOL_FULL = "pool-full", ResourceExhausted, "The node's pool has no room.";
    CONFLICT = "conflict", Aborted, "Someone else changed it at the same moment; asking again may help.";
    TOO_LARGE = "too-large", ResourceExhausted, "The message is larger than is allowed.";

    // Somebody does not answer.
    UNREACHABLE = "unreachable", Unavailable, "The node asked does not answer.";
    NO_LEADER = "no-leader", Unavailable, "No node leads at the moment.";
    NODE_UNREACHABLE = "node-unreachable", Unavailable, "Another node, which the answer depends on, does not answer.";
    ENGINE_UNREACHABLE = "engine-unreachable", Unavailable, "The node's container engine does not answer.";
    STORE_UNREACHABLE = "store-unreachable", Unavailable, "The cluster store does not answer.";
    TIMEOUT = "timeout", DeadlineExceeded, "It did not answer in time; it may have been done or not.";

    // Between nodes.
    AGENT_RETRY = "agent-retry", Unavailable, "The agent did not do it, but may do it later.";
    AGENT_REFUSED = "agent-refused", FailedPrecondition, "The agent will not do it.";
    AGENT_UNREACHABLE = "agent-unreachable", Unavailable, "The agent does not answer; it may have been done or not.";

    // Our own mistakes, and versions that do not fit.
    MALFORMED = "malformed", Internal, "A message between programs of ours could not be understood.";
    UNSUPPORTED = "unsupported", Unimplemented, "The node's version does not know the call.";
    INTERNAL = "internal", Internal, "It failed for a reason that has no code of its own; the message says it.";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_code_stands_for_two_things() {
        let texts: BTreeSet<&str> = Code::ALL.iter().map(|(code, ..)| code.as_str()).collect();
        assert_eq!(texts.len(), Code::ALL.len());
        assert!(
            texts.iter().all(|text| text.chars().all(|c| c.is_ascii_lowercase() || c == '-')),
            "{texts:?}"
        );
    }
}
