//! What the daemon is told: flags, and a file in TOML with the same names. A flag wins over the file.

mod plugin;

use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::unix::fs::FileTypeExt as _,
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context as _, bail};
use clap::{Parser, ValueEnum};
use flocker_api::SOCKET_DEFAULT;
use flocker_btrfs::PoolConfig;
use flocker_docker::Subnet;
use flocker_model::{ByteSize, NodeName};
use flocker_plugins::{Configured, Grant, PublicKey};
use serde::Deserialize;

use plugin::FilePlugin;
pub(crate) use plugin::{BackendPlugin, Plugins};

/// The ports of the cluster: gRPC, the hop between proxies, streams between nodes.
pub(crate) const PORT_API: u16 = 4521;
pub(crate) const PORT_MESH: u16 = 4522;
pub(crate) const PORT_REPLICATION: u16 = 4523;

const EXAMPLES: &str = "\
Examples:
  flocker-runtime
      one node, everything under /var/lib/flocker, btrfs in a file, the store in a file
  flocker-runtime --node n1 --address 192.168.1.11 --plugin spread.wasm
      the first node of a cluster; it holds the store
  flocker-runtime --node n2 --address 192.168.1.12 --join 192.168.1.11:4521
      another node of it
  flocker-runtime --plugin dir_backend.wasm --grant directory=pool:/srv/pool
      a node that keeps its volumes where a storage backend does: here, in folders

With --config FILE, the same names, but for --log and --log-json, are keys of a TOML file:
  node = \"n1\"
  address = \"192.168.1.11\"
  pool-size = \"100GiB\"
  labels = { zone = \"east\" }
  [[plugin]]
  path = \"spread.wasm\"
  weight = 2
  [[plugin]]
  path = \"level.wasm\"
  settings = { margin_percent = 20 }
  limits = { fuel = \"4G\", wall = \"5s\" }
  [[plugin]]
  path = \"dir_backend.wasm\"
  grants = [\"directory=pool:/srv/pool\"]";

/// Keeps the volumes of containers on this node, and leads their clients to them. Runs in the foreground.
#[derive(Debug, Clone, Parser)]
#[command(name = "flocker-runtime", version, after_help = EXAMPLES)]
pub(crate) struct Flags {
    /// Read settings from this TOML file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The node's name [default: the host's name]
    #[arg(long, value_name = "NAME")]
    node: Option<NodeName>,
    /// The address under which other nodes and clients reach this one [default: 127.0.0.1]
    #[arg(long, value_name = "IP")]
    address: Option<IpAddr>,
    /// Where everything is kept [default: /var/lib/flocker]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// The unix socket for the `flocker` command [default: /run/flocker/flocker.sock, or STATE_DIR/flocker.sock with
    /// --state-dir]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Join the cluster whose store this node serves [default: hold the store here]
    #[arg(long, value_name = "IP:PORT")]
    join: Option<SocketAddr>,
    /// A policy or a storage backend, as a WebAssembly component; may be given several times. What it exports decides
    /// which it is; a storage backend keeps this node's volumes, in the place of a pool
    #[arg(long, value_name = "FILE")]
    plugin: Vec<PathBuf>,
    /// Load only plugins that the owner of this public key signed: each has its signature beside it, PLUGIN.minisig
    #[arg(long, value_name = "KEYFILE|KEY")]
    require_signed: Option<String>,
    /// Something that the storage backend may have, such as `directory=NAME:/PATH` or `kv=SIZE`; may be given several
    /// times. It gets what it needs and was granted
    #[arg(long, value_name = "GRANT")]
    grant: Vec<Grant>,
    /// The pool: `btrfs:DIR` on a btrfs filesystem, `file:PATH` for a btrfs filesystem in a file, `zfs:POOL/DATASET` for
    /// datasets below one of yours, or `zfs-file:PATH` for a ZFS pool in a file [default: file:STATE_DIR/pool.btrfs]
    #[arg(long, value_name = "POOL")]
    pool: Option<String>,
    /// The size of a pool in a file [default: 10GiB]
    #[arg(long, value_name = "SIZE")]
    pool_size: Option<ByteSize>,
    /// The folder with the keys of encrypted volumes, one file each [default: /etc/flocker/secrets]
    #[arg(long, value_name = "DIR")]
    secrets_dir: Option<PathBuf>,
    /// How volumes travel between nodes: `tls`, or `clear` for a network on which nobody else is. All nodes need the same
    /// [default: tls]
    #[arg(long, value_name = "tls|clear", hide_possible_values = true)]
    streams: Option<Streams>,
    /// Docker's socket [default: unix:///var/run/docker.sock]
    #[arg(long, value_name = "ADDRESS")]
    docker: Option<String>,
    /// The network of this node's containers, IP/BITS. Its gateway is --address where that lies in it, else the first
    /// address of it [default: Docker chooses]
    #[arg(long, value_name = "CIDR")]
    docker_subnet: Option<String>,
    /// A label of this node, KEY=VALUE; may be given several times
    #[arg(long, value_name = "KEY=VALUE")]
    label: Vec<String>,
    /// How often policies are asked about apps that are well where they are, in seconds [default: 30]
    #[arg(long, value_name = "SECONDS")]
    rebalance_every: Option<u64>,
    /// A policy moves an app again after so many seconds at the earliest [default: 300]
    #[arg(long, value_name = "SECONDS")]
    rebalance_cooldown: Option<u64>,
    /// The program that waits inside prepared containers [default: flocker-gate beside this program]
    #[arg(long, value_name = "FILE")]
    gate: Option<PathBuf>,
    /// The program that calls ZFS, for a pool on ZFS [default: flocker-zfs-helper beside this program]
    #[arg(long, value_name = "FILE")]
    zfs_helper: Option<PathBuf>,
    /// What to log, such as `info` or `flocker_engine=debug`
    #[arg(long, value_name = "FILTER", env = "FLOCKER_LOG", default_value = "info")]
    log: String,
    /// Log JSON, one object a line
    #[arg(long)]
    log_json: bool,
}

/// The file. Unknown keys are refused: a typing error must not become a default.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct File {
    node: Option<String>,
    address: Option<IpAddr>,
    state_dir: Option<PathBuf>,
    socket: Option<PathBuf>,
    join: Option<SocketAddr>,
    pool: Option<String>,
    pool_size: Option<String>,
    secrets_dir: Option<PathBuf>,
    streams: Option<Streams>,
    docker: Option<String>,
    docker_subnet: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    rebalance_every: Option<u64>,
    rebalance_cooldown: Option<u64>,
    gate: Option<PathBuf>,
    zfs_helper: Option<PathBuf>,
    require_signed: Option<String>,
    #[serde(default)]
    plugin: Vec<FilePlugin>,
}

/// How volumes travel between nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Streams {
    /// Under TLS 1.3, between the keys that nodes announced.
    #[default]
    Tls,
    /// As they are, from and to whoever connects.
    Clear,
}

/// Where the volumes are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Pool {
    /// A folder on a btrfs filesystem.
    Btrfs(PathBuf),
    /// A btrfs filesystem of our own in a file.
    File(PathBuf),
    /// Datasets below this one.
    Zfs(String),
    /// The same, in a pool of our own in a file.
    ZfsFile(PathBuf),
    /// Wherever a plugin keeps them.
    Plugin(BackendPlugin),
}

/// Everything the daemon is told.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) node: NodeName,
    pub(crate) address: IpAddr,
    pub(crate) state_dir: PathBuf,
    pub(crate) socket: PathBuf,
    pub(crate) join: Option<SocketAddr>,
    pub(crate) policies: Vec<Configured>,
    pub(crate) signed_by: Option<PublicKey>,
    pub(crate) pool: Pool,
    pub(crate) pool_size: ByteSize,
    pub(crate) secrets_dir: PathBuf,
    pub(crate) streams: Streams,
    pub(crate) docker: PathBuf,
    pub(crate) subnet: Option<Subnet>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) rebalance_every: Duration,
    pub(crate) rebalance_cooldown: Duration,
    pub(crate) gate: PathBuf,
    pub(crate) zfs_helper: PathBuf,
    pub(crate) log: String,
    pub(crate) log_json: bool,
    /// What it was read from.
    flags: Flags,
}

impl Config {
    /// What the daemon would be told if it were started now: its file may have changed.
    pub(crate) fn read_again(&self) -> anyhow::Result<Self> {
        Self::from_flags(self.flags.clone())
    }

    /// Flags over file over defaults.
    pub(crate) fn from_flags(flags: Flags) -> anyhow::Result<Self> {
        let told = flags.clone();
        let file = match &flags.config {
            None => File::default(),
            Some(path) => read(path)?,
        };
        let node = match (flags.node, file.node) {
            (Some(node), _) => node,
            (None, Some(name)) => NodeName::new(name)
                .context("`node` in the configuration file\nhint: write `node = \"n1\"`")?,
            (None, None) => host_name()?,
        };
        let address = flags.address.or(file.address).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        check_address(address)?;
        let join = flags.join.or(file.join);
        check_join(join, address)?;
        let own_place = flags.state_dir.or(file.state_dir);
        let socket =
            own_place.as_ref().map_or(SOCKET_DEFAULT.into(), |dir| dir.join("flocker.sock"));
        let state_dir = own_place.unwrap_or_else(|| "/var/lib/flocker".into());
        let Plugins { policies, backend } =
            Plugins::sorted(flags.plugin, flags.grant, file.plugin)?;
        let pool_given = flags.pool.or(file.pool);
        let is_pool_told =
            pool_given.is_some() || flags.pool_size.is_some() || file.pool_size.is_some();
        let pool = match (backend, pool_given) {
            (Some(backend), _) if is_pool_told => return Err(backend.beside_pool()),
            (Some(backend), _) => Pool::Plugin(backend),
            (None, None) => Pool::File(state_dir.join("pool.btrfs")),
            (None, Some(text)) => pool(&text)?,
        };
        let pool_size = pool_size(flags.pool_size, file.pool_size)?;
        let mut labels = file.labels;
        for label in &flags.label {
            let Some((key, value)) = label.split_once('=').filter(|(key, _)| !key.is_empty())
            else {
                bail!("`{label}` is not a label\nhint: write `--label zone=east`");
            };
            labels.insert(key.to_owned(), value.to_owned());
        }
        let subnet = flags
            .docker_subnet
            .or(file.docker_subnet)
            .map(|text| subnet(&text, address))
            .transpose()?;
        Ok(Self {
            node,
            address,
            socket: flags.socket.or(file.socket).unwrap_or(socket),
            join,
            policies,
            signed_by: signed_by(flags.require_signed.or(file.require_signed))?,
            pool,
            pool_size,
            secrets_dir: flags
                .secrets_dir
                .or(file.secrets_dir)
                .unwrap_or_else(|| "/etc/flocker/secrets".into()),
            streams: flags.streams.or(file.streams).unwrap_or_default(),
            docker: docker(flags.docker.or(file.docker))?,
            subnet,
            labels,
            rebalance_every: rebalance_every(flags.rebalance_every.or(file.rebalance_every))?,
            rebalance_cooldown: seconds(flags.rebalance_cooldown.or(file.rebalance_cooldown), 300),
            gate: gate(flags.gate.or(file.gate))?,
            // Looked for when a pool on ZFS is opened: nobody else needs it.
            zfs_helper: beside("flocker-zfs-helper", flags.zfs_helper.or(file.zfs_helper))?,
            log: flags.log,
            log_json: flags.log_json,
            state_dir,
            flags: told,
        })
    }
}

fn seconds(given: Option<u64>, default: u64) -> Duration {
    Duration::from_secs(given.unwrap_or(default))
}

fn rebalance_every(given: Option<u64>) -> anyhow::Result<Duration> {
    if given == Some(0) {
        bail!(
            "`--rebalance-every 0` would ask policies without a pause\nhint: give it one second at least, or a long time for never"
        );
    }
    Ok(seconds(given, 30))
}

/// Other nodes and clients are given this address, so it must lead to this machine alone.
fn check_address(address: IpAddr) -> anyhow::Result<()> {
    if address.is_unspecified() || address.is_multicast() {
        bail!(
            "nobody can reach this node at {address}\nhint: give it one address of this machine with `--address`"
        );
    }
    Ok(())
}

fn check_join(join: Option<SocketAddr>, address: IpAddr) -> anyhow::Result<()> {
    let Some(leader) = join else { return Ok(()) };
    if leader == SocketAddr::new(address, PORT_API) {
        bail!(
            "`--join {leader}` is this node itself\nhint: name the node that holds the cluster's store; that one is started without `--join`"
        );
    }
    if address.is_loopback() && !leader.ip().is_loopback() {
        bail!(
            "`--join {leader}`: other nodes cannot reach this one at {address}\nhint: give it an address with `--address`"
        );
    }
    Ok(())
}

fn pool_size(flag: Option<ByteSize>, file: Option<String>) -> anyhow::Result<ByteSize> {
    let size = match (flag, file) {
        (Some(size), _) => size,
        (None, Some(text)) => text.parse().context(
            "`pool-size` in the configuration file\nhint: write `pool-size = \"100GiB\"`",
        )?,
        (None, None) => PoolConfig::SIZE_DEFAULT,
    };
    if size < PoolConfig::SIZE_MIN {
        bail!(
            "a pool of {size} is too small\nhint: give it at least {} with `--pool-size`",
            PoolConfig::SIZE_MIN
        );
    }
    Ok(size)
}

fn read(path: &PathBuf) -> anyhow::Result<File> {
    let name = path.display();
    let text = fs::read_to_string(path).with_context(|| {
        format!("could not read `{name}`\nhint: `--config` names a file in TOML")
    })?;
    toml::from_str(&text).with_context(|| {
        format!("`{name}` is not a configuration\nhint: `flocker-runtime --help` shows an example")
    })
}

fn host_name() -> anyhow::Result<NodeName> {
    let name = rustix::system::uname().nodename().to_string_lossy().to_ascii_lowercase();
    let first = name.split('.').next().unwrap_or_default();
    NodeName::new(first).context(
        "the host's name cannot be the node's name\nhint: give the node a name with `--node`",
    )
}

fn pool(text: &str) -> anyhow::Result<Pool> {
    match text.split_once(':') {
        Some(("btrfs", path)) if !path.is_empty() => Ok(Pool::Btrfs(path.into())),
        Some(("file", path)) if !path.is_empty() => Ok(Pool::File(path.into())),
        Some(("zfs-file", path)) if !path.is_empty() => Ok(Pool::ZfsFile(path.into())),
        Some(("zfs", dataset)) if !dataset.is_empty() => Ok(Pool::Zfs(dataset.to_owned())),
        Some(_) | None => {
            bail!(
                "`{text}` is not a pool\nhint: write `--pool btrfs:DIR`, `--pool file:PATH`, `--pool zfs:POOL/DATASET` or `--pool zfs-file:PATH`"
            )
        }
    }
}

fn docker(text: Option<String>) -> anyhow::Result<PathBuf> {
    let text = text.unwrap_or_else(|| "unix:///var/run/docker.sock".to_owned());
    let path = text.strip_prefix("unix://").filter(|path| path.starts_with('/'));
    // One that is missing is waited for: Docker may start later than this node.
    let is_other =
        |path: &str| fs::metadata(path).is_ok_and(|found| !found.file_type().is_socket());
    match path {
        Some(path) if is_other(path) => bail!(
            "`{path}` is not a socket, so Docker cannot be asked there\nhint: write `--docker unix:///var/run/docker.sock`"
        ),
        Some(path) => Ok(path.into()),
        None => bail!(
            "`{text}` is not Docker's address\nhint: write `--docker unix:///var/run/docker.sock`"
        ),
    }
}

fn subnet(text: &str, address: IpAddr) -> anyhow::Result<Subnet> {
    let refuse =
        || format!("`{text}` is not a network\nhint: write `--docker-subnet 10.88.1.0/24`");
    let (network, prefix) = text.split_once('/').with_context(refuse)?;
    let network: IpAddr = network.parse().with_context(refuse)?;
    let prefix: u8 = prefix.parse().with_context(refuse)?;
    let bits = if network.is_ipv4() { 32 } else { 128 };
    if prefix == 0 || prefix > bits - 2 {
        bail!(refuse());
    }
    // What is given may have host bits: `10.88.1.7/24` is the network of `10.88.1.0`.
    let first = match network {
        IpAddr::V4(n) => IpAddr::V4(((n.to_bits() & (u32::MAX << (32 - prefix))) + 1).into()),
        IpAddr::V6(n) => IpAddr::V6(((n.to_bits() & (u128::MAX << (128 - prefix))) + 1).into()),
    };
    let within = |gateway| Subnet { gateway, prefix };
    let inside =
        address.is_ipv4() == network.is_ipv4() && within(address).cidr() == within(network).cidr();
    Ok(within(if inside { address } else { first }))
}

fn signed_by(key: Option<String>) -> anyhow::Result<Option<PublicKey>> {
    let read = |key: String| PublicKey::read(&key).context("`require-signed` needs a public key");
    key.map(read).transpose()
}

/// Another program of ours: the one that was named, or that beside this one.
fn beside(program: &str, given: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    let beside = || Some(std::env::current_exe().ok()?.parent()?.join(program));
    given.or_else(beside).context("the path of this program is not known")
}

fn gate(given: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    let path = beside("flocker-gate", given)?;
    if !path.is_file() {
        bail!(
            "the gate `{}` does not exist\nhint: build it with `cargo xtask build`, or name it with `--gate FILE`",
            path.display()
        );
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateway_is_the_nodes_address_where_that_lies_in_the_subnet() {
        let check = |subnet_text: &str, address: &str, gateway: &str| {
            let found = subnet(subnet_text, address.parse().unwrap()).unwrap();
            assert_eq!(
                found.gateway,
                gateway.parse::<IpAddr>().unwrap(),
                "{subnet_text} {address}"
            );
        };
        check("10.88.1.0/24", "10.88.1.7", "10.88.1.7");
        check("10.88.1.0/24", "192.168.0.4", "10.88.1.1");
        check("10.88.1.255/24", "192.168.0.4", "10.88.1.1");
        check("255.255.255.255/30", "192.168.0.4", "255.255.255.253");
        check("fd00:1::/64", "10.0.0.1", "fd00:1::1");
        check("fd00:1::7/64", "10.0.0.1", "fd00:1::1");
        for bad in ["10.88.1.0", "10.88.1.0/33", "x/24", "10.88.1.0/0"] {
            assert!(subnet(bad, "10.0.0.1".parse().unwrap()).is_err(), "{bad}");
        }
    }

    /// Every flag with a value that it cannot have: what is refused names it, and says what can be done.
    #[test]
    fn a_wrong_value_is_refused_by_name_with_a_hint() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "pool-size = \"much\"\n").unwrap();
        let file = file.display().to_string();
        let docker = format!("unix://{file}");
        let check = |flag: &str, value: &str| {
            // A gate that exists, so that only what is asked about is wrong.
            let arguments = ["flocker-runtime", "--node", "n1", "--gate", "/proc/self/exe"];
            let arguments = arguments.into_iter().chain([flag, value]);
            let said = match Flags::try_parse_from(arguments) {
                Err(error) => error.to_string().replace("For more information", "hint: "),
                Ok(flags) => {
                    let refused = Config::from_flags(flags).map(drop);
                    let (words, hints) = crate::last_words(&refused.expect_err(flag));
                    format!("{words}\nhint: {}", hints.join("\nhint: "))
                }
            };
            let (words, hint) = said.split_once("hint: ").unwrap_or((&said, ""));
            // A socket by its path; what is wrong in the file, by its key.
            let path = value.trim_start_matches("unix://");
            let named = [flag, path, "`pool-size` in the configuration file"];
            assert!(named.iter().any(|name| words.contains(name)), "{flag} {value}: {said}");
            assert!(!hint.trim().is_empty(), "{flag} {value}: {said}");
        };
        check("--address", "somewhere");
        check("--address", "0.0.0.0");
        check("--join", "n1");
        check("--join", "127.0.0.1:4521");
        check("--join", "10.1.2.3:4521");
        check("--pool", "zfs:");
        check("--pool", "tank/flocker");
        check("--pool-size", "much");
        check("--pool-size", "1.0 KiB");
        check("--streams", "ssl");
        check("--docker", "tcp://10.0.0.1:2375");
        check("--docker", &docker);
        check("--docker-subnet", "10.88.1.0");
        check("--label", "east");
        check("--rebalance-every", "0");
        check("--rebalance-every", "soon");
        check("--rebalance-cooldown", "-1");
        check("--plugin", "/nowhere/spread.wasm");
        check("--require-signed", "/nowhere/flocker.pub");
        check("--grant", "directory=pool");
        check("--grant", "kv=1MiB");
        check("--gate", "/nowhere/gate");
        check("--config", "/nowhere/node.toml");
        check("--config", &file);
    }

    /// The node's storage is one or the other, whichever way the pool was named.
    #[test]
    fn a_pool_beside_a_backend_plugin_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (backend, file) = (folder.path().join("b.wasm"), folder.path().join("node.toml"));
        let component = "(component (instance $nothing)
            (export \"flocker:plugin/storage-backend@0.1.0\" (instance $nothing)))";
        std::fs::write(&backend, wat::parse_str(component).unwrap()).unwrap();
        std::fs::write(&file, "pool-size = \"1GiB\"\n").unwrap();
        let plugin = ["flocker-runtime", "--node", "n1", "--gate", "/proc/self/exe", "--plugin"];
        let config = |rest: &[&str]| {
            let arguments = plugin.into_iter().chain([backend.to_str().unwrap()]);
            Config::from_flags(Flags::parse_from(arguments.chain(rest.iter().copied())))
        };

        for rest in [
            ["--pool", "btrfs:/srv"],
            ["--pool-size", "2GiB"],
            ["--config", file.to_str().unwrap()],
        ] {
            let (words, hints) = crate::last_words(&config(&rest).unwrap_err());
            assert!(words.contains("--pool") && words.contains("b.wasm"), "{rest:?}: {words}");
            assert!(!hints.is_empty(), "{rest:?}: {words}");
        }
        assert!(matches!(config(&[]).unwrap().pool, Pool::Plugin(_)));
    }

    #[test]
    fn a_typing_error_in_the_file_is_named() {
        let refused = toml::from_str::<File>("pol-size = \"1GiB\"\n").unwrap_err().to_string();
        assert!(refused.contains("pol-size"), "{refused}");
    }

    #[test]
    fn the_example_in_the_help_is_a_configuration() {
        let text = EXAMPLES.split_once("TOML file:\n").unwrap().1;
        let file: File = toml::from_str(text).unwrap();
        assert_eq!(file.plugin[0].weight, Some(2));
    }
}
