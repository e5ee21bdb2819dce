//! What can be written after `flocker replica`.

use std::time::Duration;

use clap::Subcommand;
use flocker_model::{NodeName, Rates};

#[derive(Debug, Subcommand)]
pub(crate) enum ReplicaCommand {
    /// List replicas: where they are, and which snapshot they hold
    Ls {
        /// Of this volume, or of all volumes of this app [default: all]
        name: Option<String>,
    },
    /// Keep replicas of a volume, or of all volumes of an app, on other nodes
    ///
    /// A snapshot is taken of all volumes of an app at once, and what changed since the last is sent, again and again. A
    /// node that is away is sent the rest when it is back. Without `--to` and `--copies`, one replica is kept where the
    /// placement policies choose. Said again, it changes what was said before.
    #[command(
        after_help = "Examples:\n  flocker replica add shop\n  flocker replica add shop --to n2 --every 5s\n  flocker replica add photos --copies 2 --every 1h --rate 5MiB,22:00-06:00=50MiB"
    )]
    Add {
        /// A volume, or an app
        name: String,
        /// The node that is to have it; may be given more than once
        #[arg(long, value_name = "NODE")]
        to: Vec<NodeName>,
        /// So many replicas, on nodes that the placement policies choose, besides those of `--to`
        #[arg(long)]
        copies: Option<u32>,
        /// How often what changed is sent [default: 10s]
        #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
        every: Option<Duration>,
        /// The most that is sent in a second to one node, and another one at times of the day (UTC), as in
        /// `5MiB,22:00-06:00=50MiB`; 0 for no limit [default: no limit]
        #[arg(long, value_name = "BYTES")]
        rate: Option<Rates>,
    },
    /// Keep a replica no longer, and remove the copy
    Rm {
        /// A volume, or an app
        name: String,
        /// The node whose copy goes [default: all of them]
        #[arg(long, value_name = "NODE")]
        on: Option<NodeName>,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Show how far replicas are behind, what is on its way to them, and what keeps them
    Status {
        /// Of this volume, or of all volumes of this app [default: all]
        name: Option<String>,
    },
}
