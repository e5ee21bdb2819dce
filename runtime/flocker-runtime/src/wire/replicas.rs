//! How a replica stands, as a message for operators.

use flocker_api::v1;
use flocker_engine::control::{Reason, ReplicaView};

use super::observation;

pub(super) fn to_message(view: &ReplicaView) -> v1::ReplicaView {
    let reason = match view.reason {
        Reason::Named => "named",
        Reason::Chosen => "chosen",
        Reason::Left => "left",
    };
    v1::ReplicaView {
        volume: Some((&view.volume).into()),
        node: view.node.to_string(),
        reason: reason.to_owned(),
        at: view.at.as_ref().map(Into::into),
        taken_ms: view.taken.map(|taken| taken.0),
        seen: view.seen.as_ref().map(observation::replica_to_message),
    }
}
