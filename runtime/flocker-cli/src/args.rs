//! What can be written after `flocker`, and what `--help` says about it.

mod plugin;
mod replica;

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};
use flocker_api::{Address, SOCKET_DEFAULT};
use flocker_model::{
    AppName, ByteSize, Compression, ContainerName, NodeName, Profile, RecordSize, SecretName,
    SnapshotTag, VolumeName, VolumeOptions,
};

pub(crate) use self::plugin::{
    AuthorCommand, Limited, New, NewHook, PluginCommand, Pull, Push, RegistryArgs, Settings,
};
pub(crate) use self::replica::ReplicaCommand;

const EXAMPLES: &str = "\
Examples:
  flocker status                          the cluster at a glance
  flocker app deploy compose.yaml         deploy an app, and wait until it runs
  flocker move shop --to n2               move it with its data, and watch
  flocker replica add shop                keep a copy of its data on another node
  flocker explain shop                    why it is where it is

Exit status:
  0  it was done
  1  it failed; stderr says why, and what can be done
  2  the command line makes no sense
  3  the node could not be reached, or did not answer

With --json, stdout is one JSON document; an error is one with the key `error`.
`app logs` alone prints one document per piece of output. Progress goes to stderr.";

/// Look at a Flocker cluster and change it.
#[derive(Debug, Parser)]
#[command(name = "flocker", version, max_term_width = 100, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The node to ask: `unix:///PATH` or `tcp://IP:PORT`
    #[arg(long, global = true, env = "FLOCKER_ADDRESS", hide_env_values = true, default_value_t = Address::Unix(SOCKET_DEFAULT.into()))]
    pub(crate) address: Address,
    /// Print JSON, for programs
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show nodes, apps, running operations and troubles
    Status,
    /// List nodes, empty them, label them, remove them
    #[command(subcommand)]
    Node(NodeCommand),
    /// List, make, clone and remove volumes, and take snapshots
    #[command(subcommand)]
    Volume(VolumeCommand),
    /// Keep copies of volumes up to date on other nodes
    #[command(subcommand)]
    Replica(ReplicaCommand),
    /// Deploy apps, list and remove them, read their output
    #[command(subcommand)]
    App(AppCommand),
    /// Move an app with its data to another node
    ///
    /// The app goes on running while its data is copied. Then its clients are held for a moment, the rest is copied, and
    /// the app starts on the other node. Without `--to`, the placement policy chooses the node.
    #[command(after_help = "Examples:\n  flocker move shop\n  flocker move shop --to n2 --detach")]
    Move {
        /// The app
        app: AppName,
        /// The node it goes to
        #[arg(long, value_name = "NODE")]
        to: Option<NodeName>,
        #[command(flatten)]
        follow: Follow,
    },
    /// List operations, look at them, abort them
    #[command(subcommand)]
    Operation(OperationCommand),
    /// Say why an app is where it is, or why an operation was started
    #[command(after_help = "Examples:\n  flocker explain shop\n  flocker explain shop --json")]
    Explain {
        /// An app, or the id of an operation
        #[arg(value_name = "OPERATION|APP")]
        subject: String,
    },
    /// List the policies and backends that are loaded; make, test and sign new ones
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// Print completions for a shell
    #[command(after_help = "Example:\n  flocker completions bash > /etc/bash_completion.d/flocker")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// List nodes
    Ls,
    /// Move every app away from a node, and give it no new ones
    ///
    /// Waits until the node is empty. When that takes too long, the apps that are still on it are listed, and it goes on
    /// being drained: the same command waits again, and `flocker node undrain` ends it.
    #[command(
        after_help = "Examples:\n  flocker node drain n3 && ssh n3 reboot\n  flocker node drain n3 --timeout 8h"
    )]
    Drain {
        /// The node
        node: NodeName,
        /// Return as soon as it has begun
        #[arg(long, conflicts_with = "timeout")]
        detach: bool,
        /// Give up waiting after so long, such as 10m or 8h; the drain goes on
        #[arg(long, value_parser = humantime::parse_duration, default_value = "1h")]
        timeout: Duration,
    },
    /// Remove a node that is drained or dead, and that nothing needs
    ///
    /// Its installation is not let in again: a machine that comes back needs a new state directory.
    #[command(after_help = "Example:\n  flocker node drain n3 && flocker node rm n3 --yes")]
    Rm {
        /// The node
        node: NodeName,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Let a node take apps again
    Undrain {
        /// The node
        node: NodeName,
    },
    /// Set labels of a node with KEY=VALUE, remove them with KEY-
    #[command(after_help = "Example:\n  flocker node label n1 disk=nvme rack-")]
    Label {
        /// The node
        node: NodeName,
        /// What changes
        #[arg(required = true, value_name = "KEY=VALUE|KEY-")]
        labels: Vec<LabelChange>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum VolumeCommand {
    /// List volumes
    Ls,
    /// Make a volume that apps can use as an external one
    #[command(
        after_help = "Example:\n  flocker volume create photos --size 20GiB --owner 1000:1000"
    )]
    Create {
        /// Its name
        name: VolumeName,
        #[command(flatten)]
        options: OptionArgs,
        /// User and group, as numbers, that own the empty volume [default: root]
        #[arg(long, value_name = "USER:GROUP")]
        owner: Option<Owner>,
        /// Where it is made [default: the placement policy chooses]
        #[arg(long)]
        node: Option<NodeName>,
    },
    /// Make a volume with the content of another one, on the same node
    ///
    /// It has the other's options and takes next to no space at first. No app uses it yet: name it as an external volume.
    /// Either of the two can be removed.
    #[command(
        after_help = "Examples:\n  flocker volume clone shop.data test-data\n  flocker volume clone shop.data last-night --at auto-1795340111000-daily"
    )]
    Clone {
        /// The volume that is cloned
        volume: VolumeName,
        /// The new volume's name
        name: VolumeName,
        /// One of its snapshots [default: as it is now]
        #[arg(long, value_name = "SNAPSHOT")]
        at: Option<SnapshotTag>,
    },
    /// Put a volume that no app uses back to a snapshot
    ///
    /// What it was until now is kept, with the later snapshots, as another volume, whose name is printed. An app that uses
    /// the volume has to go first: `flocker app rm APP` ends it and keeps its volumes, and it finds them when it is deployed
    /// again. Replicas with later snapshots are not overwritten: `flocker replica rm` and `add` make them anew.
    #[command(
        after_help = "Example:\n  flocker app rm shop\n  flocker volume rollback shop.data --to auto-1795340111000-daily\n  flocker app deploy shop.yaml"
    )]
    Rollback {
        /// The volume
        volume: VolumeName,
        /// One of its snapshots
        #[arg(long, value_name = "SNAPSHOT")]
        to: SnapshotTag,
    },
    /// Remove a volume that no app uses, with all its snapshots and copies
    Rm {
        /// The volume
        name: VolumeName,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Show a volume and its copies
    Inspect {
        /// The volume
        name: VolumeName,
    },
    /// Take a snapshot of a volume
    Snapshot {
        /// The volume
        name: VolumeName,
        /// The snapshot's name [default: a new one is made]
        #[arg(long)]
        tag: Option<SnapshotTag>,
    },
    /// List the snapshots of a volume
    Snapshots {
        /// The volume
        name: VolumeName,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum AppCommand {
    /// Deploy a Compose file as a new app, or as a new manifest of an app that exists
    ///
    /// ${VARIABLE} in the file is replaced from this command's environment. The file is checked before anything is sent.
    #[command(
        after_help = "Examples:\n  flocker app deploy compose.yaml\n  TAG=1.2 flocker app deploy shop.yaml --name shop-test"
    )]
    Deploy {
        /// The Compose file; - reads stdin
        file: PathBuf,
        /// The app's name [default: `name:` in the file]
        #[arg(long)]
        name: Option<AppName>,
        #[command(flatten)]
        follow: Follow,
    },
    /// List apps
    Ls,
    /// Show an app, its containers, ports and volumes
    Inspect {
        /// The app
        app: AppName,
    },
    /// Stop an app and remove it; its volumes are kept unless asked for
    Rm {
        /// The app
        app: AppName,
        /// Remove its own volumes too, for good
        #[arg(long)]
        volumes: bool,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
        #[command(flatten)]
        follow: Follow,
    },
    /// Print what an app's containers wrote
    #[command(
        after_help = "Examples:\n  flocker app logs shop --tail 20\n  flocker app logs -f shop web"
    )]
    Logs {
        /// The app
        app: AppName,
        /// One container of it [default: all, each line with its container]
        container: Option<ContainerName>,
        /// Go on with what they write from now on
        #[arg(long, short)]
        follow: bool,
        /// Begin with so many last lines [default: all]
        #[arg(long, value_name = "LINES")]
        tail: Option<u32>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum OperationCommand {
    /// List operations that run
    Ls {
        /// Those that have ended, too
        #[arg(long, short)]
        all: bool,
        /// Of this app only
        #[arg(long)]
        app: Option<AppName>,
    },
    /// Show an operation
    #[command(after_help = "Example:\n  flocker operation show 0190f2a1-7")]
    Show {
        /// Its id, or as much of the beginning as no other has
        #[arg(value_name = "ID")]
        id: IdPrefix,
    },
    /// Ask an operation to go back; refused after its point of no return
    Abort {
        /// Its id, or as much of the beginning as no other has
        #[arg(value_name = "ID")]
        id: IdPrefix,
        #[command(flatten)]
        follow: Follow,
    },
    /// Follow an operation until it ends
    Watch {
        /// Its id, or as much of the beginning as no other has
        #[arg(value_name = "ID")]
        id: IdPrefix,
        /// Give up watching after so long, such as 90s or 10m; the operation goes on
        #[arg(long, value_parser = humantime::parse_duration)]
        timeout: Option<Duration>,
    },
}

/// For commands that begin something.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Follow {
    /// Return as soon as it has begun
    #[arg(long, conflicts_with = "timeout")]
    pub(crate) detach: bool,
    /// Give up waiting after so long, such as 90s or 10m; what was begun goes on
    #[arg(long, value_parser = humantime::parse_duration)]
    pub(crate) timeout: Option<Duration>,
}

/// The beginning of an operation's id, or all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IdPrefix(pub(crate) String);

impl std::str::FromStr for IdPrefix {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, &'static str> {
        let may_be = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if text.is_empty() || text.starts_with('-') || !text.chars().all(may_be) {
            return Err("expected the beginning of an operation's id, such as 0190f2a1-7");
        }
        Ok(Self(text.to_owned()))
    }
}

/// A change to a node's labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LabelChange {
    Set(String, String),
    Remove(String),
}

impl std::str::FromStr for LabelChange {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let change = match text.split_once('=') {
            Some((key, value)) => Self::Set(key.to_owned(), value.to_owned()),
            None => {
                let key = text
                    .strip_suffix('-')
                    .ok_or("expected KEY=VALUE to set a label, or KEY- to remove one")?;
                Self::Remove(key.to_owned())
            }
        };
        match &change {
            Self::Set(key, _) | Self::Remove(key) if key.is_empty() => {
                Err("the key is empty".to_owned())
            }
            Self::Set(..) | Self::Remove(_) => Ok(change),
        }
    }
}

/// What a volume is to be like.
#[derive(Debug, Args)]
pub(crate) struct OptionArgs {
    /// The most that may be written to it, such as 512m or 20GiB
    #[arg(long)]
    size: ByteSize,
    /// What it is for: `general`, `postgres`, `mysql`, `media` or `archive`; chooses record size and compression
    #[arg(long, default_value = "general")]
    profile: Profile,
    /// In blocks of which size files are kept, from 4KiB to 1MiB [default: as the profile says]
    #[arg(long, value_name = "SIZE")]
    record_size: Option<RecordSize>,
    /// `off`, `lz4` or `zstd` [default: as the profile says]
    #[arg(long, value_name = "HOW")]
    compression: Option<Compression>,
    /// Keep room for all of `--size` in the pool where it is writable (ZFS)
    #[arg(long)]
    reserve: bool,
    /// Encrypt it with this secret, which every node with a copy must have (ZFS)
    #[arg(long, value_name = "NAME")]
    secret: Option<SecretName>,
}

impl OptionArgs {
    pub(crate) fn into_options(self) -> VolumeOptions {
        let (record_size, compression) = self.profile.choices();
        VolumeOptions {
            size: self.size,
            record_size: self.record_size.or(record_size),
            compression: self.compression.or(compression),
            reserved: self.reserve,
            secret: self.secret,
        }
    }
}

/// User and group, as numbers: names mean something else on each machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) user: u32,
    pub(crate) group: u32,
}

impl std::str::FromStr for Owner {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, &'static str> {
        let expected = "expected two numbers, such as 1000:1000";
        let (user, group) = text.split_once(':').ok_or(expected)?;
        match (user.parse(), group.parse()) {
            (Ok(user), Ok(group)) => Ok(Self { user, group }),
            (Ok(_), Err(_)) | (Err(_), _) => Err(expected),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_of_the_command_line_holds_together() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_drain_is_waited_for_an_hour_unless_told_otherwise() {
        let waits = |arguments: &[&str]| {
            let given = ["flocker", "node", "drain", "n1"].iter().chain(arguments);
            let parsed = Arguments::try_parse_from(given).unwrap().command;
            let Command::Node(NodeCommand::Drain { detach, timeout, .. }) = parsed else {
                panic!("{parsed:?}")
            };
            (detach, timeout)
        };
        assert_eq!(waits(&[]), (false, Duration::from_hours(1)));
        assert_eq!(waits(&["--timeout", "8h"]), (false, Duration::from_hours(8)));
        assert!(waits(&["--detach"]).0);
    }

    #[test]
    fn labels_are_set_and_removed() {
        assert_eq!("disk=nvme".parse(), Ok(LabelChange::Set("disk".to_owned(), "nvme".to_owned())));
        assert_eq!("url=a=b-".parse(), Ok(LabelChange::Set("url".to_owned(), "a=b-".to_owned())));
        assert_eq!("rack-".parse(), Ok(LabelChange::Remove("rack".to_owned())));
        for bad in ["disk", "=nvme", "-", ""] {
            assert!(bad.parse::<LabelChange>().is_err(), "{bad}");
        }
    }
}
