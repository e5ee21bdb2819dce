//! The hard rules of placement, which no policy can overrule. Each node that they exclude is told why.

use flocker_model::{ByteSize, NodeName, PlacementRules, Purpose};

use crate::{ClusterView, NodeRow, PlacementQuestion};

/// A node that a hard rule excludes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excluded {
    /// The node.
    pub node: NodeName,
    /// The rule, for people: "is draining".
    pub reason: String,
}

/// What the hard rules leave.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Allowed {
    /// Rows of the nodes that policies are asked about, in ascending order.
    pub rows: Vec<u32>,
    /// All other nodes, and why not.
    pub excluded: Vec<Excluded>,
}

/// Which nodes may hold the app at all. Does not look at `question.candidates`.
#[must_use]
pub fn candidates(
    view: &ClusterView,
    rules: &PlacementRules,
    question: &PlacementQuestion,
) -> Allowed {
    let mut allowed = Allowed::default();
    for (row, node) in (0..).zip(&view.nodes) {
        match objection(view, node, row, rules, question) {
            None => allowed.rows.push(row),
            Some(reason) => allowed.excluded.push(Excluded { node: node.name.clone(), reason }),
        }
    }
    allowed
}

/// The first rule that speaks against the node.
fn objection(
    view: &ClusterView,
    node: &NodeRow,
    row: u32,
    rules: &PlacementRules,
    question: &PlacementQuestion,
) -> Option<String> {
    if !node.alive {
        return Some("does not answer".into());
    }
    if node.draining {
        return Some("is draining".into());
    }
    if !rules.nodes.is_empty() && !rules.nodes.contains(&node.name) {
        return Some("is not among the nodes that the app names".into());
    }
    for (key, value) in &rules.labels {
        match node.labels.get(key) {
            Some(found) if found == value => {}
            Some(found) => {
                return Some(format!("has label `{key}={found}`, the app asks for `{value}`"));
            }
            None => return Some(format!("has no label `{key}`, the app asks for `{key}={value}`")),
        }
    }
    let stays = question.current == Some(row);
    if rules.pinned
        && question.purpose == Purpose::Rebalance
        && question.current.is_some()
        && !stays
    {
        return Some("the app is pinned to where it is".into());
    }
    if let Some(reason) = cannot_receive(view, node, question) {
        return Some(reason);
    }
    // What the app uses where it is was promised to it already.
    let memory = if stays { ByteSize(0) } else { question.memory };
    // Who holds the data has room for it, more or less; the rest is a matter of replication.
    let size = if stays || question.holders.contains(&row) { ByteSize(0) } else { question.size };
    short("memory", memory, node.memory.total, node.memory.free)
        .or_else(|| short("space in its pool", size, node.pool.total, node.pool.free))
}

/// Data goes from node to node as a stream, which only the same kind of storage understands. Found out before a move
/// begins, not in its middle.
fn cannot_receive(
    view: &ClusterView,
    node: &NodeRow,
    question: &PlacementQuestion,
) -> Option<String> {
    let source = view.nodes.get(question.current? as usize)?;
    let (theirs, ours) = (&source.streams, &node.streams);
    let is_known = !theirs.is_empty() && !ours.is_empty();
    (!question.volumes.is_empty() && is_known && theirs != ours).then(|| {
        let source = &source.name;
        format!("takes `{ours}` streams, the volumes are on `{source}`, which sends `{theirs}`")
    })
}

/// What is missing. A total of 0 means that the node has not told yet: unknown is not enough.
fn short(what: &str, needed: ByteSize, total: ByteSize, free: ByteSize) -> Option<String> {
    if needed.0 == 0 || needed <= free && total.0 > 0 {
        None
    } else if total.0 == 0 {
        Some(format!("has not said yet how much {what} it has, the app needs {needed}"))
    } else {
        Some(format!("has {free} of {what} left, the app needs {needed}"))
    }
}
