//! `flocker plugin`: what the daemon has loaded, and the tools of those who write plugins, which need no cluster.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand, ValueEnum};
use flocker_plugins::{Grant, Limit};

#[derive(Debug, Subcommand)]
pub(crate) enum PluginCommand {
    /// List plugins, and how they do
    Ls,
    #[command(flatten)]
    Author(AuthorCommand),
}

/// Work on files, with the engine and the limits of a node.
#[derive(Debug, Subcommand)]
pub(crate) enum AuthorCommand {
    /// Write a policy, or a storage backend, to begin with: sources, a test, a README
    #[command(
        after_help = "Examples:\n  flocker plugin new rust my-policy\n  flocker plugin new rust tidy --hook rebalance\n  flocker plugin new rust my-storage --hook backend"
    )]
    New(New),
    /// Make a component of a core module, which is what some compilers write
    ///
    /// The module's imports and exports say which hooks it has. If it imports WASI preview 1, that becomes the node's own
    /// WASI: what it prints goes to the log, there are no files.
    #[command(
        after_help = "Example:\n  clang … -o core.wasm && flocker plugin componentize core.wasm -o policy.wasm"
    )]
    Componentize {
        /// The module
        module: PathBuf,
        /// The component that is written
        #[arg(long, short, value_name = "FILE")]
        output: PathBuf,
    },
    /// Show what a file is and what it asks for, without running anything of it
    ///
    /// Works for files that no node would load, and says why it would not. Of a plugin in a registry its code is not
    /// fetched: shown is what whoever pushed it says, which `pull` compares with the code. With `--grant`, a storage
    /// backend is started, given nothing, and asked what it needs: shown is what it would still lack. Of very many names
    /// the first are shown; `--json` has them all.
    #[command(
        after_help = "Examples:\n  flocker plugin inspect policy.wasm\n  flocker plugin inspect registry.example/acme/policy:1.0\n  flocker plugin inspect array.wasm --grant http=https://10.0.0.5/api --settings @array.json"
    )]
    Inspect {
        /// The file, or a plugin in a registry: REGISTRY/NAME:TAG, or REGISTRY/NAME@sha256:DIGEST
        #[arg(value_name = "FILE|REFERENCE")]
        subject: PathBuf,
        /// For a backend: something that it would be granted; may be given several times
        #[arg(long, value_name = "GRANT")]
        grant: Vec<Grant>,
        /// For a backend, with `--grant`: settings, as JSON, or the name of a file that holds them after an @
        /// [default: none]
        #[arg(long, value_name = "JSON|@FILE", requires = "grant")]
        settings: Option<String>,
        #[command(flatten)]
        registry: RegistryArgs,
    },
    /// Load a plugin as a node does, and show its name, hooks and settings
    ///
    /// It is started, asked who it is, and configured, under the limits of a node. Of a storage backend it is shown what
    /// it needs to be granted; it is not configured. The end of a very long schema is left out; `--json` has it all.
    /// Status 1: a node would not load it.
    #[command(
        after_help = "Examples:\n  flocker plugin check policy.wasm\n  flocker plugin check policy.wasm --settings '{\"zone\": \"eu\"}'\n  flocker plugin check policy.wasm --settings @settings.json\n  flocker plugin check dir_backend.wasm --grant directory=pool:/srv/pool"
    )]
    Check {
        /// The plugin
        file: PathBuf,
        /// For a backend: something that it would be granted; may be given several times
        #[arg(long, value_name = "GRANT")]
        grant: Vec<Grant>,
        #[command(flatten)]
        limited: Limited,
        #[command(flatten)]
        settings: Settings,
    },
    /// Ask a policy questions about made-up clusters, or try every rule of the contract on a storage backend
    ///
    /// A policy's answers are compared with what is expected. A backend plays two nodes in new folders, one in each
    /// directory that is granted, which are removed again; it is mounted, so this needs root.
    #[command(after_help = SCENARIOS)]
    Test {
        /// The plugin
        file: PathBuf,
        /// For a policy: files in TOML or JSON, each with a cluster, questions and what is expected
        #[arg(value_name = "SCENARIO")]
        scenarios: Vec<PathBuf>,
        /// For a backend: something that it may have, as `flocker-runtime --grant` takes it; may be given several times
        #[arg(long, value_name = "GRANT", conflicts_with = "scenarios")]
        grant: Vec<Grant>,
        /// For a backend: settings, as JSON, or the name of a file that holds them after an @ [default: none]
        #[arg(long, value_name = "JSON|@FILE", conflicts_with = "scenarios")]
        settings: Option<String>,
        #[command(flatten)]
        limited: Limited,
    },
    /// Measure what a decision costs at 10, 1,000 and 10,000 nodes, with ten volumes per node
    ///
    /// FIRST is the first question about a state of the cluster; the columns that a plugin reads are made then. MEDIAN
    /// and P99 are of the questions that follow. Fuel is the same on every machine, times are this machine's.
    #[command(
        after_help = "Examples:\n  flocker plugin bench policy.wasm --json > before.json\n  flocker plugin bench policy.wasm --limit fuel=4G --limit wall=5s"
    )]
    Bench {
        /// The plugin
        file: PathBuf,
        #[command(flatten)]
        limited: Limited,
        #[command(flatten)]
        settings: Settings,
    },
    /// Ask a plugin what a node's plugins were asked before, and show where it answers otherwise
    ///
    /// A plugin of the same name is compared with its former self, and asked each question with the settings and limits
    /// of then; any other is compared with whoever was asked. Status 1: it answers otherwise, or could not be asked; with
    /// `--json`, only the latter has the key `error`.
    #[command(
        after_help = "Examples:\n  flocker plugin replay new.wasm --records /var/lib/flocker/records --since 7d\n  flocker plugin replay same.wasm --records /var/lib/flocker/records --settings '{\"zone\": \"eu\"}'"
    )]
    Replay {
        /// The plugin
        file: PathBuf,
        /// The folder `records` in a node's state directory, or a copy of it
        #[arg(long, value_name = "DIR")]
        records: PathBuf,
        /// Only what was asked in so long before now, such as 12h or 7d [default: all there is]
        #[arg(long, value_parser = humantime::parse_duration)]
        since: Option<Duration>,
        #[command(flatten)]
        limited: Limited,
        /// Ask with these settings, whatever they were then: JSON, or the name of a file that holds them after an @
        /// [default: those of then]
        #[arg(long, value_name = "JSON|@FILE")]
        settings: Option<String>,
    },
    /// Sign a plugin; the signature goes to FILE.minisig
    ///
    /// Keys and signatures are minisign's. Only to make a pair of keys is minisign itself needed (on Debian, `apt install
    /// minisign`); `sign`, `verify` and nodes do without. The password of the key is asked for at the terminal, or read as
    /// a line from stdin where there is none.
    #[command(
        after_help = "Example:\n  minisign -G -p flocker.pub -s flocker.key     # once\n  flocker plugin sign policy.wasm --key flocker.key"
    )]
    Sign {
        /// The plugin
        file: PathBuf,
        /// The secret key, a file
        #[arg(long, short = 's', value_name = "FILE")]
        key: PathBuf,
        /// A remark that is signed too [default: when, and the file's name]
        #[arg(long, short = 't')]
        comment: Option<String>,
    },
    /// Verify the signature of a plugin, FILE.minisig
    ///
    /// As `minisign -V` does, which need not be installed.
    #[command(
        after_help = "Examples:\n  flocker plugin verify policy.wasm --key flocker.pub\n  flocker plugin verify policy.wasm --key RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3"
    )]
    Verify {
        /// The plugin
        file: PathBuf,
        /// The public key: a file, or the key itself
        #[arg(long, short = 'p', value_name = "FILE|KEY")]
        key: String,
    },
    /// Push a plugin, and its signature if it has one, to an OCI registry
    ///
    /// It becomes a "Wasm OCI Artifact" (config application/vnd.wasm.config.v0+json, layer application/wasm), as other
    /// tools for WebAssembly read it; the signature refers to it.
    #[command(
        after_help = "Examples:\n  flocker plugin push policy.wasm registry.example/acme/policy:1.0\n  flocker plugin push policy.wasm 127.0.0.1:5000/policy:1.0 --plain-http\n  flocker plugin push policy.wasm registry.example/acme/policy:1.0 --username me --password-stdin < token"
    )]
    Push(Push),
    /// Pull a plugin, and its signature if it has one, from an OCI registry
    ///
    /// What arrives is compared with its digest, with what the registry said of it, and with its signature if `--key`
    /// is given; only then the file is written. A node is given the file: `flocker-runtime --plugin FILE`.
    #[command(
        after_help = "Examples:\n  flocker plugin pull registry.example/acme/policy:1.0 --key flocker.pub\n  flocker plugin pull registry.example/acme/policy@sha256:4355a46b… -o /etc/flocker/policy.wasm"
    )]
    Pull(Pull),
}

/// Plugins travel as OCI artifacts, to and from any registry of container images.
#[derive(Debug, Args)]
pub(crate) struct Push {
    /// The plugin; FILE.minisig goes with it, if it is there
    pub(crate) file: PathBuf,
    /// Where to: REGISTRY/NAME:TAG
    pub(crate) reference: String,
    #[command(flatten)]
    pub(crate) registry: RegistryArgs,
}

#[derive(Debug, Args)]
pub(crate) struct Pull {
    /// Which: REGISTRY/NAME:TAG, or REGISTRY/NAME@sha256:DIGEST, which is always the same
    pub(crate) reference: String,
    /// The file that is written; its signature goes to FILE.minisig [default: NAME.wasm]
    #[arg(long, short = 'o', value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Write it only if the owner of this public key signed it: a file, or the key itself
    #[arg(long, short = 'p', value_name = "FILE|KEY")]
    pub(crate) key: Option<String>,
    #[command(flatten)]
    pub(crate) registry: RegistryArgs,
}

/// How to talk to a registry. Its certificate is checked against those that this machine trusts.
#[derive(Debug, Args)]
pub(crate) struct RegistryArgs {
    /// The registry has no TLS
    #[arg(long)]
    pub(crate) plain_http: bool,
    /// Log in under this name [default: as `docker login` left it in ~/.docker/config.json, or as nobody]
    #[arg(long, value_name = "NAME", requires = "password_stdin")]
    pub(crate) username: Option<String>,
    /// Read the password as a line from stdin
    #[arg(long, requires = "username")]
    pub(crate) password_stdin: bool,
}

const SCENARIOS: &str = "\
A scenario, in TOML (JSON has the same keys):

  settings = { zone = \"eu\" }

  [cluster]
  nodes = [
      { name = \"a\", memory-bytes = \"16GiB\", labels = { zone = \"eu\" } },
      { name = \"b\", memory-bytes = \"16GiB\", labels = { zone = \"us\" } },
  ]

  [[placement]]
  app = \"shop\"
  memory-bytes = \"1GiB\"
  expect = { node = \"a\", order = [\"a\", \"b\"] }

Questions are [[placement]], [[rebalance]], [[failover]], [[schedule]] and [[prune]].
sdk/scenarios.md describes them all; examples/scenarios/ has some to copy.
Status 1: an answer is not what was expected, or there is none.

A storage backend, in a folder that may be written to:
  flocker plugin test dir_backend.wasm --grant directory=pool:/srv/pool
Status 1: it breaks a rule.";

#[derive(Debug, Args)]
pub(crate) struct New {
    /// The language: rust, c, go, python, javascript, typescript
    pub(crate) language: String,
    /// The folder that is made, and the plugin's name: lower-case letters, digits and hyphens
    pub(crate) name: String,
    /// The kind of question that it answers; `backend` is one for rust alone
    #[arg(long, value_enum, default_value_t = NewHook::Placement)]
    pub(crate) hook: NewHook,
    /// The folder of the SDK [default: that of the checkout around this folder]
    #[arg(long, value_name = "DIR")]
    pub(crate) sdk: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum NewHook {
    /// Where an app goes
    Placement,
    /// Which apps had better be elsewhere
    Rebalance,
    /// What is snapshotted when, and which copies may go
    Backups,
    /// What becomes of the volumes of a silent node
    Failover,
    /// Where the bytes of volumes are: a storage backend
    Backend,
}

/// What an operator would write under `limits` into a node's configuration.
#[derive(Debug, Args)]
pub(crate) struct Limited {
    /// A limit other than a node's, such as fuel=4G, wall=5s or memory=32MiB; may be given several times
    #[arg(long = "limit", value_name = "LIMIT")]
    pub(crate) limits: Vec<Limit>,
}

/// What an operator would write into a node's configuration.
#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// Settings, as JSON, or the name of a file that holds them after an @ [default: none]
    #[arg(long = "settings", value_name = "JSON|@FILE")]
    pub(crate) text: Option<String>,
}
