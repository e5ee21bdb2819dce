//! How a replica stands, as a message for operators, and what they wish.

use std::time::Duration;

use flocker_api::{
    convert::{Malformed, parse},
    v1,
};
use flocker_engine::control::{Reason, ReplicaView, Wish};

use super::observation;

pub(super) fn wish(request: &v1::AddReplicasRequest) -> Result<Wish, Malformed> {
    let nodes = request.nodes.iter().map(|node| parse("nodes", node));
    Ok(Wish {
        nodes: nodes.collect::<Result<_, _>>()?,
        copies: request.copies,
        every: request.every_ms.map(Duration::from_millis),
        rates: request.rates.as_ref().map(|rates| parse("rates", rates)).transpose()?,
    })
}

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
