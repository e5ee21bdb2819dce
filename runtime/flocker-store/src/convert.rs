//! Between the messages of the wire and the types of the port. Errors cross without a loss, in the details of a status.

use flocker_api::store as wire;
use flocker_model::Revision;
use flocker_ports::{Check, Entry, RequestId, StoreChange, StoreError, Transaction, Write};
use prost::Message;
use tonic::{Code, Status};
use wire::error::{Compacted, Conflict, Corrupt, Failed, Kind, Unreachable};

pub(crate) fn entry_to_wire(entry: Entry) -> wire::Entry {
    wire::Entry { key: entry.key, value: entry.value, revision: entry.revision.0 }
}

pub(crate) fn entry_from_wire(entry: wire::Entry) -> Entry {
    Entry { key: entry.key, value: entry.value, revision: Revision(entry.revision) }
}

pub(crate) fn transaction_to_wire(transaction: &Transaction) -> wire::CommitRequest {
    let check = |check: &Check| wire::Check {
        key: check.key.clone(),
        revision: check.revision.map(|r| r.0),
    };
    let write = |write: &Write| wire::Write { key: write.key.clone(), value: write.value.clone() };
    wire::CommitRequest {
        request: transaction.request.0.clone(),
        checks: transaction.checks.iter().map(check).collect(),
        writes: transaction.writes.iter().map(write).collect(),
    }
}

pub(crate) fn transaction_from_wire(request: wire::CommitRequest) -> Transaction {
    let check =
        |check: wire::Check| Check { key: check.key, revision: check.revision.map(Revision) };
    let write = |write: wire::Write| Write { key: write.key, value: write.value };
    Transaction {
        request: RequestId(request.request),
        checks: request.checks.into_iter().map(check).collect(),
        writes: request.writes.into_iter().map(write).collect(),
    }
}

pub(crate) fn change_to_wire(change: StoreChange) -> wire::Change {
    let StoreChange { revision: Revision(revision), key, value, more } = change;
    wire::Change { revision, key, value, more }
}

pub(crate) fn change_from_wire(change: wire::Change) -> StoreChange {
    let wire::Change { revision, key, value, more } = change;
    StoreChange { revision: Revision(revision), key, value, more }
}

/// The status that carries a store's error.
pub(crate) fn error_to_status(error: StoreError) -> Status {
    let text = error.to_string();
    let (code, kind) = match error {
        StoreError::Conflict { key } => (Code::Aborted, Kind::Conflict(Conflict { key })),
        StoreError::Compacted { after, oldest } => {
            (Code::OutOfRange, Kind::Compacted(Compacted { after: after.0, oldest: oldest.0 }))
        }
        StoreError::Unreachable { address, reason } => {
            (Code::Unavailable, Kind::Unreachable(Unreachable { address, reason }))
        }
        StoreError::Corrupt { path, reason } => {
            (Code::DataLoss, Kind::Corrupt(Corrupt { path, reason }))
        }
        StoreError::Failed { action, reason } => {
            (Code::Internal, Kind::Failed(Failed { action, reason }))
        }
    };
    let details = wire::Error { kind: Some(kind) }.encode_to_vec();
    Status::with_details(code, text, details.into())
}

/// The store's error that the status carries; `None` when something else made the status: the connection, a proxy, gRPC
/// itself.
pub(crate) fn error_from_status(status: &Status) -> Option<StoreError> {
    if status.details().is_empty() {
        return None;
    }
    let error = wire::Error::decode(status.details()).ok()?;
    Some(match error.kind? {
        Kind::Conflict(Conflict { key }) => StoreError::Conflict { key },
        Kind::Compacted(Compacted { after, oldest }) => {
            StoreError::Compacted { after: Revision(after), oldest: Revision(oldest) }
        }
        Kind::Unreachable(Unreachable { address, reason }) => {
            StoreError::Unreachable { address, reason }
        }
        Kind::Corrupt(Corrupt { path, reason }) => StoreError::Corrupt { path, reason },
        Kind::Failed(Failed { action, reason }) => StoreError::Failed { action, reason },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_crosses_the_wire_as_it_is() {
        for error in [
            StoreError::Conflict { key: "app/shöp".into() },
            StoreError::Compacted { after: Revision(3), oldest: Revision(u64::MAX) },
            StoreError::Unreachable {
                address: "10.0.0.1:1".into(),
                reason: "refused\nhint: none".into(),
            },
            StoreError::Corrupt { path: "/var/lib/x".into(), reason: String::new() },
            StoreError::Failed { action: "could not".into(), reason: "it".into() },
        ] {
            let there = error_to_status(error.clone());
            let back = error_from_status(&there);
            assert_eq!(format!("{back:?}"), format!("{:?}", Some(error)));
        }
    }

    #[test]
    fn a_status_of_somebody_else_is_no_error_of_the_store() {
        assert!(error_from_status(&Status::unavailable("connection refused")).is_none());
        assert!(
            error_from_status(&Status::with_details(Code::Internal, "", vec![255, 255].into()))
                .is_none()
        );
    }
}
