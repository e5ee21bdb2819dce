//! The wiring: the only place that knows two adapters at once.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use flocker_api::{Forward, Target};
use flocker_btrfs::{BtrfsBackend, PoolConfig};
use flocker_docker::{DockerConfig, DockerEngine};
use flocker_engine::{
    agent::{Agent, AgentParts},
    cluster::{Cluster, ClusterError, Versioned},
    control::Control,
    follower::{self, Followed},
    leader::{Leader, LeaderParts},
};
use flocker_model::Node;
use flocker_planner::{Policies, plan::Settings};
use flocker_plugins::{HostConfig, PluginHost};
use flocker_ports::{Backend, Store, SystemClock};
use flocker_proxy::{Limits, Proxy, ProxyConfig};
use flocker_replication::{Receiving, ReceivingConfig, Sender, SenderConfig};
use flocker_store::{EmbeddedStore, RemoteStore};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    config::{Config, PORT_API, PORT_MESH, PORT_REPLICATION, Pool},
    identity,
    machine::ThisMachine,
    peers::Directory,
    proxy::{ProxyRoutes, publish},
    wire,
};

/// Docker may start after us at boot; it is asked again after this pause.
const DOCKER_PAUSE: Duration = Duration::from_secs(2);

/// Calls that are under way when the daemon is asked to end are given so long.
const LAST_CALLS: Duration = Duration::from_millis(500);

/// What runs is given so long to end after we were asked to; then it is left as a crash would leave it.
const FAREWELL: Duration = Duration::from_secs(5);

/// Runs the node until it is asked to end.
pub(crate) async fn run(config: Config) -> anyhow::Result<()> {
    let stop = CancellationToken::new();
    // From the first moment on: one that still waits for Docker or for the store is asked to end as well.
    tokio::spawn(stop_at_signal(stop.clone()));
    match serve(config, stop.clone()).await {
        Err(error) if stop.is_cancelled() => {
            tracing::info!("ended before it was ready: {error:#}");
            Ok(())
        }
        ended => ended,
    }
}

async fn serve(config: Config, stop: CancellationToken) -> anyhow::Result<()> {
    let place = identity::open(&config.state_dir)?;
    let tasks = TaskTracker::new();

    let policies = plugins(&config).await?;
    let engine = Arc::new(docker(&config));
    let gateway = network(&engine, &stop).await?;
    let backend: Arc<BtrfsBackend> = Arc::new(pool(&config).await?);
    for trouble in backend.troubles() {
        tracing::warn!("{trouble}");
    }
    let listeners = Listeners::bind(&config).await?;
    let store = store(&config).await?;
    let cluster = Cluster::new(store.clone());
    let node = register(&config, &cluster, &place.identity, &stop).await?;
    let followed = follower::follow(cluster.clone(), stop.clone());

    let mut listen = vec![config.address];
    listen.extend(Some(gateway).filter(|gateway| *gateway != config.address));
    let limits = Limits::default();
    let proxy = Proxy::start(ProxyConfig {
        node: config.node.clone(),
        listen,
        mesh: listeners.mesh,
        limits,
    });
    let sender = Sender::new(backend.clone(), SenderConfig::default());
    let parts = AgentParts {
        node: config.node.clone(),
        backend: backend.clone(),
        engine: engine.clone(),
        replication: Arc::new(sender),
        routes: Arc::new(ProxyRoutes(proxy.clone())),
        clock: Arc::new(SystemClock),
        machine: Arc::new(ThisMachine),
    };
    let agent = Agent::open(parts, &config.state_dir.join("journal"))?;
    let leader = leader(&config, cluster, followed.clone(), agent.clone(), policies.clone());

    tasks.spawn(publish(proxy.clone(), followed, stop.clone()));
    let receiving: Arc<dyn Backend> = backend.clone();
    let receiving_config = ReceivingConfig::new(config.node.clone());
    tasks.spawn(Receiving::serve(listeners.replication, receiving, receiving_config, stop.clone()));
    let (supervising, halting) = (agent.clone(), agent.clone());
    let supervised = stop.clone();
    tasks.spawn(async move { supervising.supervise(supervised).await });
    if config.join.is_none() {
        let (leading, led) = (leader.clone(), stop.clone());
        tasks.spawn(async move { leading.lead(led).await });
    }
    let answering = Answering { config: &config, leader, agent, policies, store };
    answering.serve(listeners.api, &tasks, &stop)?;

    tracing::info!(node = %node.name, api = %node.api, socket = %config.socket.display(), %gateway, "ready");
    stop.cancelled().await;
    tracing::info!("ending; containers go on running");
    tasks.close();
    if tokio::time::timeout(FAREWELL, tasks.wait()).await.is_err() {
        tracing::warn!(
            "some tasks did not end in time; what they did is finished at the next start"
        );
    }
    // A step that is still under way ends here as in a crash; its order is given again.
    halting.halt();
    proxy.stop().await;
    Ok(())
}

/// Cancels `stop` when the daemon is asked to end.
async fn stop_at_signal(stop: CancellationToken) {
    let (Ok(mut term), Ok(mut int)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::warn!("signals cannot be handled here; being asked to end is as being killed");
        return;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    stop.cancel();
}

async fn plugins(config: &Config) -> anyhow::Result<Arc<PluginHost>> {
    let cache = std::path::absolute(config.state_dir.join("plugin-cache"))?;
    let host_config = HostConfig { cache: Some(cache), ..HostConfig::default() };
    let wanted = config.plugins.clone();
    // Compiling a component takes its time, and a plugin's own start may use its whole budget.
    tokio::task::spawn_blocking(move || {
        let host = PluginHost::new(host_config)?;
        for plugin in wanted {
            host.load(&plugin.path, &plugin.settings, plugin.weight)?;
        }
        Ok(Arc::new(host))
    })
    .await?
}

fn docker(config: &Config) -> DockerEngine {
    DockerEngine::connect(DockerConfig {
        socket: config.docker.clone(),
        node: config.node.clone(),
        state_dir: config.state_dir.clone(),
        gate: config.gate.clone(),
        subnet: config.subnet,
    })
}

/// The node's bridge. Its address may be the node's own, so nothing can listen before it is there.
async fn network(
    engine: &DockerEngine,
    stop: &CancellationToken,
) -> anyhow::Result<std::net::IpAddr> {
    loop {
        match engine.ensure_network().await {
            Ok(gateway) => return Ok(gateway),
            Err(error @ flocker_ports::EngineError::Unreachable { .. }) => {
                tracing::warn!(%error, "waiting for the container engine");
            }
            Err(error) => return Err(error).context("could not make this node's network"),
        }
        tokio::select! {
            () = stop.cancelled() => bail!("asked to end while waiting for the container engine"),
            () = tokio::time::sleep(DOCKER_PAUSE) => {}
        }
    }
}

async fn pool(config: &Config) -> anyhow::Result<BtrfsBackend> {
    let pool = match &config.pool {
        Pool::Btrfs(folder) => PoolConfig::Filesystem(folder.clone()),
        Pool::File(path) => PoolConfig::File {
            state_dir: config.state_dir.clone(),
            path: path.clone(),
            size: config.pool_size,
        },
    };
    BtrfsBackend::open(pool).await.context("could not open the pool")
}

async fn store(config: &Config) -> anyhow::Result<Arc<dyn Store>> {
    match config.join {
        None => Ok(Arc::new(EmbeddedStore::open(&config.state_dir.join("store.redb")).await?)),
        Some(address) => Ok(Arc::new(RemoteStore::connect_lazy(&address.to_string())?)),
    }
}

/// The ports between nodes.
struct Listeners {
    api: TcpListener,
    mesh: TcpListener,
    replication: TcpListener,
}

impl Listeners {
    async fn bind(config: &Config) -> anyhow::Result<Self> {
        let bind = async |port: u16, what: &str| {
            let address = SocketAddr::new(config.address, port);
            TcpListener::bind(address).await.with_context(|| {
                format!("could not listen on {address} for {what}\nhint: `ss -ltnp 'sport = :{port}'` shows who has the port; `--address` must be an address of this machine")
            })
        };
        Ok(Self {
            api: bind(PORT_API, "gRPC").await?,
            mesh: bind(PORT_MESH, "other nodes' proxies").await?,
            replication: bind(PORT_REPLICATION, "streams from other nodes").await?,
        })
    }
}

/// Writes down who this node is. What operators set stays; a machine that took another one's name is refused.
async fn register(
    config: &Config,
    cluster: &Cluster,
    identity: &str,
    stop: &CancellationToken,
) -> anyhow::Result<Node> {
    let mut node = Node {
        name: config.node.clone(),
        api: SocketAddr::new(config.address, PORT_API),
        mesh: SocketAddr::new(config.address, PORT_MESH),
        replication: SocketAddr::new(config.address, PORT_REPLICATION),
        labels: config.labels.clone(),
        draining: false,
        identity: identity.to_owned(),
    };
    if let Some(store) = config.join {
        // Said at once: the first answer that there is none takes a while.
        tracing::info!(%store, "looking for the cluster's store");
    }
    let registering = async {
        loop {
            match try_register(cluster, &mut node).await {
                Ok(()) => return Ok(node),
                Err(error) if is_passing(&error) => {
                    tracing::warn!(%error, "waiting for the cluster's store");
                }
                Err(error) => return Err(error),
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => bail!("asked to end while waiting for the cluster's store"),
        registered = registering => registered,
    }
}

/// Whether the store may answer otherwise in a moment; a record that cannot be read stays what it is.
fn is_passing(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(ClusterError::Store(_)))
}

async fn try_register(cluster: &Cluster, node: &mut Node) -> anyhow::Result<()> {
    let changes = match cluster.get::<Node>(node.name.as_str()).await? {
        None => cluster.change().create(node),
        Some(Versioned { value: known, revision }) => {
            if known.identity != node.identity {
                bail!(
                    "the name `{}` belongs to another installation, which answers at {}\nhint: give this node another name with `--node`; if it replaces a machine that is gone, restore that one's `identity` file",
                    node.name,
                    known.api
                );
            }
            let mut labels: BTreeMap<_, _> = known.labels.clone();
            labels.extend(node.labels.clone());
            node.labels = labels;
            node.draining = known.draining;
            if known == *node {
                return Ok(());
            }
            cluster.change().replace(revision, node)
        }
    };
    cluster.commit(changes).await?;
    Ok(())
}

fn leader(
    config: &Config,
    cluster: Cluster,
    followed: Followed,
    agent: Agent,
    policies: Arc<PluginHost>,
) -> Leader {
    let policies: Arc<dyn Policies> = policies;
    Leader::new(LeaderParts {
        cluster,
        followed,
        peers: Arc::new(Directory::new(config.node.clone(), agent)),
        policies,
        clock: Arc::new(SystemClock),
        settings: Settings { cooldown: config.rebalance_cooldown, ..Settings::default() },
        rebalance_every: config.rebalance_every,
    })
}

/// What answers gRPC.
struct Answering<'a> {
    config: &'a Config,
    leader: Leader,
    agent: Agent,
    policies: Arc<PluginHost>,
    store: Arc<dyn Store>,
}

impl Answering<'_> {
    /// Operators through the unix socket, nodes through TCP. A node that does not lead passes operators' calls on.
    fn serve(
        self,
        api: TcpListener,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        let target = match self.config.join {
            None => Target::Here,
            Some(address) => Target::There(flocker_api::Address::Tcp(address).connect_lazy()?),
        };
        let control = wire::control_server(
            Control::new(self.leader),
            self.config.node.clone(),
            self.policies,
        );
        let control = Forward::new(control, move || target.clone());
        let socket = flocker_api::unix_listener(&self.config.socket)?;
        let operators = flocker_api::server().add_service(control.clone());
        let asked = stop.clone();
        let incoming = flocker_api::incoming_unix(socket);
        tasks.spawn(async move {
            let serving =
                operators.serve_with_incoming_shutdown(incoming, asked.clone().cancelled_owned());
            answer("operators", serving, asked).await;
        });
        let leads = self.config.join.is_none();
        let nodes = flocker_api::server()
            .add_service(control)
            .add_service(wire::agent_server(Arc::new(self.agent)))
            .add_optional_service(leads.then(|| flocker_store::serve(self.store)));
        let asked = stop.clone();
        let incoming = flocker_api::incoming_tcp(api);
        tasks.spawn(async move {
            let serving =
                nodes.serve_with_incoming_shutdown(incoming, asked.clone().cancelled_owned());
            answer("nodes", serving, asked).await;
        });
        Ok(())
    }
}

/// Answers until asked to end, and a moment longer: calls that are under way may finish, but a watch never would.
async fn answer(
    whom: &str,
    serving: impl Future<Output = Result<(), tonic::transport::Error>>,
    stop: CancellationToken,
) {
    let patience = async {
        stop.cancelled().await;
        tokio::time::sleep(LAST_CALLS).await;
    };
    tokio::select! {
        ended = serving => if let Err(error) = ended {
            tracing::error!(%error, "no longer answering {whom}");
        },
        () = patience => {}
    }
}
