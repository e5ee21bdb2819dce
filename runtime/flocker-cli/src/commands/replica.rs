//! `flocker replica`.

use std::time::Duration;

use flocker_api::{Client, Failure, convert, v1};
use flocker_model::{ByteSize, Point, Replication, Timestamp, Volume};
use serde_json::{Value, json};

use crate::{
    args::ReplicaCommand,
    show::{ms, or_dash, span, table},
    terminal::{Answer, confirm},
};

/// What nobody is told about a volume that has no replicas.
const NONE: &str = "there are no replicas; `flocker replica add` keeps one";

/// A replica that is not further behind than two snapshots and this is current: it takes a moment to look and to send.
const A_MOMENT: Duration = Duration::from_secs(5);

pub(super) async fn run(
    connect: impl AsyncFnOnce() -> Result<Client, Failure>,
    command: ReplicaCommand,
) -> Result<Answer, Failure> {
    if let ReplicaCommand::Rm { name, on, yes } = &command {
        let which = match on {
            Some(node) => format!("the replica of `{name}` on node `{node}`"),
            None => format!("all replicas of `{name}`"),
        };
        confirm(*yes, &format!("removing {which}"))?;
    }
    let mut client = connect().await?;
    match command {
        ReplicaCommand::Ls { name } => {
            let replicas = asked(&mut client, name).await?;
            Ok(answer(&replicas, ls(&replicas)))
        }
        ReplicaCommand::Status { name } => {
            let replicas = asked(&mut client, name).await?;
            Ok(answer(&replicas, status(&replicas)))
        }
        ReplicaCommand::Add { name, to, copies, every, rate } => {
            // One, where nobody said anything.
            let copies = if to.is_empty() && copies.is_none() && every.is_none() && rate.is_none() {
                Some(1)
            } else {
                copies
            };
            let request = v1::AddReplicasRequest {
                name,
                nodes: to.iter().map(ToString::to_string).collect(),
                copies,
                every_ms: every.map(ms),
                rates: rate.map(|rates| rates.to_string()),
            };
            let replicas = read(client.add_replicas(request).await?)?;
            let mut text = ls(&replicas);
            if replicas.is_empty() {
                text = "the nodes for the replicas are being chosen; `flocker replica status` follows them\n".to_owned();
            }
            let json = json!({"replicas": replicas.iter().map(to_json).collect::<Vec<_>>()});
            Ok(Answer::new(json, text))
        }
        ReplicaCommand::Rm { name, on, yes: _ } => {
            let node = on.map(|node| node.to_string());
            let request = v1::RemoveReplicasRequest { name: name.clone(), node };
            let nodes = client.remove_replicas(request).await?.nodes;
            let text = match nodes.as_slice() {
                [] => format!("{name} has no replicas\n"),
                nodes => format!(
                    "no replicas of {name} are kept on {} any more; the copies are removed as soon as the nodes answer\n",
                    nodes.join(", ")
                ),
            };
            Ok(Answer::new(json!({"removed": name, "nodes": nodes}), text))
        }
    }
}

/// A replica, as people see it.
struct Shown {
    volume: Volume,
    node: String,
    reason: String,
    at: Option<Point>,
    /// How long ago it held everything; from the records where the owner does not say.
    behind: Option<Duration>,
    seen: Option<v1::ReplicaSeen>,
}

async fn asked(client: &mut Client, name: Option<String>) -> Result<Vec<Shown>, Failure> {
    read(client.list_replicas(v1::ListReplicasRequest { name }).await?)
}

fn read(reply: v1::ListReplicasReply) -> Result<Vec<Shown>, Failure> {
    let now = Timestamp(reply.now_ms);
    let shown = |view: v1::ReplicaView| {
        let noted = view.taken_ms.map(|taken| now.since(Timestamp(taken)));
        let said = view.seen.as_ref().map(|seen| seen.behind_ms.map(Duration::from_millis));
        Ok(Shown {
            volume: convert::required("volume", view.volume)?,
            node: view.node,
            reason: view.reason,
            at: view.at.map(TryInto::try_into).transpose()?,
            behind: said.unwrap_or(noted),
            seen: view.seen,
        })
    };
    reply.replicas.into_iter().map(shown).collect()
}

impl Shown {
    /// One word.
    fn state(&self) -> &'static str {
        let every = self.volume.replication.as_ref().map(|wanted| wanted.every);
        let Some(every) = every.filter(|_| self.reason != "left") else { return "not kept" };
        let Some(seen) = &self.seen else { return "unknown" };
        if seen.trouble.is_some() {
            return "trouble";
        }
        match (self.behind, seen.sending) {
            (Some(behind), _) if behind <= every * 2 + A_MOMENT => "current",
            (_, Some(_)) => "sending",
            (None, None) => "new",
            (Some(_), None) => "behind",
        }
    }

    fn behind(&self) -> String {
        self.behind.map_or_else(|| "-".to_owned(), span)
    }
}

fn answer(replicas: &[Shown], text: String) -> Answer {
    let json = json!({"replicas": replicas.iter().map(to_json).collect::<Vec<_>>()});
    Answer::list(json, text, replicas.len(), NONE)
}

fn ls(replicas: &[Shown]) -> String {
    table(
        ["VOLUME", "APP", "FROM", "REPLICA ON", "WHY", "EVERY", "STATE", "SNAPSHOT"],
        replicas.iter().map(|replica| {
            let wanted = replica.volume.replication.as_ref().filter(|_| replica.reason != "left");
            [
                replica.volume.name.to_string(),
                or_dash(replica.volume.app.as_ref().map(AsRef::as_ref)),
                or_dash(replica.volume.owner.as_ref().map(AsRef::as_ref)),
                replica.node.clone(),
                replica.reason.clone(),
                wanted.map_or_else(|| "-".to_owned(), |wanted| span(wanted.every)),
                replica.state().to_owned(),
                or_dash(replica.at.as_ref().map(|at| at.tag.as_str())),
            ]
        }),
    )
}

fn status(replicas: &[Shown]) -> String {
    let bytes =
        |bytes: Option<u64>| bytes.map_or_else(|| "-".to_owned(), |b| ByteSize(b).to_string());
    table(
        [
            "VOLUME",
            "REPLICA ON",
            "STATE",
            "BEHIND",
            "LACKS",
            "ON ITS WAY",
            "SENT",
            "SNAPSHOTS",
            "LAST TOOK",
            "TROUBLE",
        ],
        replicas.iter().map(|replica| {
            let seen = replica.seen.as_ref();
            let last = seen.and_then(|seen| seen.last_ms).map(Duration::from_millis);
            [
                replica.volume.name.to_string(),
                replica.node.clone(),
                replica.state().to_owned(),
                replica.behind(),
                bytes(seen.and_then(|seen| seen.lacks)),
                bytes(seen.and_then(|seen| seen.sending)),
                bytes(seen.map(|seen| seen.bytes)),
                seen.map_or_else(|| "-".to_owned(), |seen| seen.n_snapshots.to_string()),
                last.map_or_else(|| "-".to_owned(), span),
                or_dash(seen.and_then(|seen| seen.trouble.as_deref())),
            ]
        }),
    )
}

/// Other rates at times of the day, in UTC.
fn windows(wanted: &Replication) -> Vec<Value> {
    let shown = wanted.rates.windows.iter().map(|window| {
        let [from, until] = window.times();
        json!({ "from": from, "until": until, "rate": window.rate.map(|rate| rate.0) })
    });
    shown.collect()
}

fn to_json(replica: &Shown) -> Value {
    let wanted = replica.volume.replication.as_ref();
    let seen = replica.seen.as_ref();
    json!({
        "volume": replica.volume.name.as_str(),
        "app": replica.volume.app.as_ref().map(|app| app.as_str()),
        "from": replica.volume.owner.as_ref().map(|node| node.as_str()),
        "node": replica.node,
        "why": replica.reason,
        "state": replica.state(),
        "every_ms": wanted.map(|wanted| ms(wanted.every)),
        "rate": wanted.and_then(|wanted| wanted.rates.otherwise).map(|rate| rate.0),
        "rate_windows": wanted.map(windows).unwrap_or_default(),
        "snapshot": replica.at.as_ref().map(|at| at.tag.as_str()),
        "guid": replica.at.as_ref().map(|at| at.guid.to_string()),
        "behind_ms": replica.behind.map(ms),
        "lacks": seen.and_then(|seen| seen.lacks),
        "sending": seen.and_then(|seen| seen.sending),
        "sent": seen.map(|seen| seen.bytes),
        "snapshots": seen.map(|seen| seen.n_snapshots),
        "last_ms": seen.and_then(|seen| seen.last_ms),
        "trouble": seen.and_then(|seen| seen.trouble.as_deref()),
    })
}
